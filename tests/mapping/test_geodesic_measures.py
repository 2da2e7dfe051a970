import numpy as np
import pytest
from pyproj import Geod
from shapely import normalize
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from tasks.types import geodesic_area_m2, geodesic_measures, geodesic_rims

# `normalize` turns shells one way round and holes the other, which is what pyproj wants.
SLIDE = normalize(Point(142, 42.7).buffer(0.002))
RING = normalize(SLIDE - Point(142, 42.7).buffer(0.001))
FAR = normalize(box(11, 44, 11.01, 44.01))
SHAPES = [SLIDE, RING, FAR, MultiPolygon([FAR, RING])]


def test_many_areas_at_once_measure_as_one_by_one():
    areas, perimeters = geodesic_measures(SHAPES)
    geod = Geod(ellps="WGS84")
    expected = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in SHAPES]
    np.testing.assert_allclose(areas, expected, rtol=1e-12)
    expected = [abs(geod.geometry_length(shape)) for shape in SHAPES]
    np.testing.assert_allclose(perimeters, expected, rtol=1e-12)


def test_the_rims_of_holes_are_part_of_a_boundary():
    hole = Polygon(RING.interiors[0])
    slide, outer, inner, pair = geodesic_rims([SLIDE, RING, hole, MultiPolygon([FAR, RING])])
    assert outer == pytest.approx(slide + inner) and inner > 0.4 * slide
    assert pair == pytest.approx(geodesic_rims([FAR])[0] + outer)
    assert geodesic_rims([Polygon(), Point(1, 1)]).tolist() == [0, 0]
    assert geodesic_rims([]).shape == (0,)


def test_an_area_is_the_same_whichever_way_its_rings_run():
    turned = Polygon(RING.exterior, [hole.reverse() for hole in RING.interiors])
    mixed = MultiPolygon([FAR.reverse(), turned])
    assert geodesic_area_m2(turned) == pytest.approx(geodesic_area_m2(RING))
    assert geodesic_area_m2(mixed) == pytest.approx(geodesic_area_m2(FAR) + geodesic_area_m2(RING))


def test_lines_and_nothing_have_no_area():
    collection = GeometryCollection([LineString([(0, 0), (1, 1)]), SLIDE])
    areas, _ = geodesic_measures([Polygon(), collection, SLIDE])
    assert areas[0] == 0
    assert areas[1] == areas[2] > 0
    assert all(measured.shape == (0,) for measured in geodesic_measures([]))
