import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from shapely.geometry import Point

from tasks.errors import AreaError
from tasks.events.request import event_from_fields, read_event
from tasks.events.shakemap import ShakeMap, read_shakemap
from tasks.events.shaken import keefer_upper_area_km2, magnitude_distance_aoi, shakemap_aoi

DATA = Path(__file__).parents[3] / "shared" / "data" / "usgs_groundfailure_loma_prieta"
EXAMPLE = Path(__file__).parents[2] / "examples" / "emilia_romagna_2023"


def quake(longitude, latitude, magnitude=6.6):
    return event_from_fields(
        {
            "id": "quake",
            "kind": "earthquake",
            "occurred_at": "2018-09-05T18:07:59Z",
            "longitude": longitude,
            "latitude": latitude,
            "magnitude": magnitude,
        }
    )


def cone(longitude, latitude, cells=41, spacing=0.05, hole=False):
    """A map whose PGA falls evenly from 0.5 g at its middle to 0.1 g one degree away."""
    half = cells // 2
    rows, cols = np.mgrid[-half : half + 1, -half : half + 1] * spacing
    pga = (0.5 - 0.4 * np.hypot(rows, cols)).clip(0).astype(np.float32)
    if hole:
        pga[half, half] = np.nan
    edge = (half + 0.5) * spacing
    affine = Affine(spacing, 0, longitude - edge, 0, -spacing, latitude + edge)
    return ShakeMap(Path("cone.xml"), affine, pga * 10, pga, pga * 100, network="us", code="cone")


@pytest.fixture(scope="module")
def loma_prieta():
    return read_shakemap(DATA / "grid.xml")


def test_the_contour_runs_between_the_points():
    aoi = shakemap_aoi(cone(20, 0.5), pga_g=0.3)
    (ring,) = aoi.geometry.geoms
    distances = np.hypot(*(np.array(ring.exterior.coords) - (20, 0.5)).T)
    assert distances == pytest.approx(0.5, abs=0.003)


def test_the_contour_of_intensity_is_drawn_as_well():
    by_pga, by_mmi = (
        shakemap_aoi(cone(20, 0.5), **asked) for asked in ({"pga_g": 0.3}, {"mmi": 3.0})
    )
    assert by_mmi.area_km2 == pytest.approx(by_pga.area_km2, rel=1e-5)
    assert "intensity of at least 3" in by_mmi.how


def test_unknown_points_are_left_out():
    whole, holed = (shakemap_aoi(cone(20, 0.5, hole=hole), pga_g=0.3) for hole in (False, True))
    assert not holed.geometry.contains(Point(20, 0.5))
    assert whole.area_km2 - holed.area_km2 == pytest.approx(2 * 0.05**2 * 111.2**2, rel=0.02)


def test_a_contour_across_the_antimeridian_is_split_there():
    aoi = shakemap_aoi(cone(179.8, 67.5), pga_g=0.3)
    assert aoi.geometry.is_valid
    assert aoi.geometry.bounds[0] == -180
    assert aoi.geometry.bounds[2] == 180


def test_a_buffer_is_geodesic():
    for place in ((20, 0.5), (25, 67)):
        plain, wide = (shakemap_aoi(cone(*place), pga_g=0.3, buffer_m=m) for m in (0, 10_000))
        (ring,), (outer,) = plain.geometry.geoms, wide.geometry.geoms
        north, further = ring.bounds[3], outer.bounds[3]
        assert (further - north) * 111_200 == pytest.approx(10_000, rel=0.01)
        assert outer.contains(ring)
    assert "10000 m round it" in wide.how


def test_the_sea_is_cut_from_the_shaken_ground(loma_prieta):
    aoi = shakemap_aoi(loma_prieta)
    assert aoi.geometry.contains(Point(-122.0, 37.1))
    assert not aoi.geometry.intersects(Point(-122.0, 36.8))
    assert aoi.how.startswith("ShakeMap us:19891018000415 v1: PGA of at least 0.1 g")


def test_an_area_that_ends_with_the_map_says_so(loma_prieta):
    assert "edge of the map" in shakemap_aoi(loma_prieta).how
    assert "edge of the map" not in shakemap_aoi(cone(20, 0.5), pga_g=0.3).how


def test_a_map_without_strong_shaking_has_no_area(loma_prieta):
    with pytest.raises(AreaError, match=r"no ground has a PGA of at least 2 g, the most is 1\.14"):
        shakemap_aoi(loma_prieta, pga_g=2)


def test_a_map_without_the_layer_has_no_area(loma_prieta):
    unknown = dataclasses.replace(loma_prieta, mmi=np.full_like(loma_prieta.mmi, np.nan))
    with pytest.raises(AreaError, match="no layer to draw an intensity"):
        shakemap_aoi(unknown, mmi=6)


def test_shaking_in_the_sea_has_no_area():
    with pytest.raises(AreaError, match="lies in the sea"):
        shakemap_aoi(cone(-40, 30), pga_g=0.3)


def test_keefer_bound_goes_through_its_published_points():
    assert keefer_upper_area_km2(5.8) == pytest.approx(1_500)
    assert keefer_upper_area_km2(9.2) == pytest.approx(500_000)


@pytest.mark.parametrize(("magnitude", "radius_km"), [(5.8, 21.9), (6.6, 43.3), (7.8, 120.6)])
def test_the_disc_is_as_large_as_the_bound(magnitude, radius_km):
    aoi = magnitude_distance_aoi(quake(65, 48, magnitude))
    assert aoi.area_km2 == pytest.approx(math.pi * radius_km**2, rel=5e-3)
    assert "Keefer 1984" in aoi.how
    assert f"M {magnitude:g}" in aoi.how


def test_small_earthquakes_and_rainstorms_have_no_derived_area():
    assert magnitude_distance_aoi(quake(142, 43, 4.0)).area_km2 > 0
    with pytest.raises(AreaError, match=r"below M 4\.0"):
        magnitude_distance_aoi(quake(142, 43, 3.9))
    with pytest.raises(AreaError, match="give an area of interest file"):
        magnitude_distance_aoi(read_event(EXAMPLE / "event.json"))


def test_an_epicentre_in_the_sea_leaves_the_land_around_it():
    aoi = magnitude_distance_aoi(quake(142.4, 38.3, 9.1))
    assert 0 < aoi.area_km2 < keefer_upper_area_km2(9.1) / 3
    assert not aoi.geometry.intersects(Point(142.4, 38.3))
    assert aoi.how.startswith("provisional")


def test_an_earthquake_far_from_land_has_no_area():
    with pytest.raises(AreaError, match="within 43 km of event quake lies in the sea"):
        magnitude_distance_aoi(quake(-40, 30))
