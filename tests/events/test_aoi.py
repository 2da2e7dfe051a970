import json
import math
from pathlib import Path

import geopandas
import pytest
from shapely.geometry import Point, box

from tasks.errors import AreaError
from tasks.events.aoi import geodesic_buffer, geodesic_disc, read_aoi, split_at_antimeridian
from tasks.events.request import event_from_fields, read_event
from tasks.types import geodesic_area_m2

EXAMPLE = Path(__file__).parents[2] / "examples" / "emilia_romagna_2023"


def ring(west, south, east, north):
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


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


@pytest.fixture
def write(tmp_path):
    def write(geometry):
        path = tmp_path / "area.geojson"
        path.write_text(json.dumps(geometry))
        return path

    return write


def test_the_bundled_area_is_the_patch():
    aoi = read_aoi(EXAMPLE / "aoi.geojson", near=read_event(EXAMPLE / "event.json"))
    assert aoi.how == "given"
    assert aoi.area_km2 == pytest.approx(1.28**2, rel=2e-3)


def test_feature_collection_feature_and_geometry_are_the_same_area(write):
    bare = polygon(ring(10, 44, 11, 45))
    feature = {"type": "Feature", "properties": {}, "geometry": bare}
    collection = {"type": "FeatureCollection", "features": [feature]}
    areas = {read_aoi(write(content)).geometry.wkt for content in (bare, feature, collection)}
    assert len(areas) == 1


def test_overlapping_features_count_once(write):
    parts = [polygon(ring(0, 0, 1, 1)), polygon(ring(0.5, 0, 1.5, 1))]
    features = [{"type": "Feature", "properties": {}, "geometry": part} for part in parts]
    aoi = read_aoi(write({"type": "FeatureCollection", "features": features}))
    assert aoi.area_km2 == pytest.approx(geodesic_area_m2(box(0, 0, 1.5, 1)) / 1e6, rel=1e-3)


def test_a_projected_geopackage_comes_out_in_degrees(tmp_path):
    path = tmp_path / "area.gpkg"
    square = box(705_280, 4_911_360, 706_560, 4_912_640)
    geopandas.GeoDataFrame(geometry=[square], crs=32632).to_file(path)
    assert read_aoi(path).geometry.bounds == pytest.approx(
        read_aoi(EXAMPLE / "aoi.geojson").geometry.bounds, abs=1e-6
    )


@pytest.mark.parametrize(
    "geometry",
    [
        polygon(ring(179, -18, 181, -17)),
        polygon(ring(-181, -18, -179, -17)),
        {
            "type": "MultiPolygon",
            "coordinates": [[ring(179, -18, 180, -17)], [ring(-180, -18, -179, -17)]],
        },
    ],
)
def test_an_area_across_the_antimeridian_is_split_there(write, geometry):
    aoi = read_aoi(write(geometry))
    assert aoi.geometry.is_valid
    assert sorted(part.bounds for part in aoi.geometry.geoms) == [
        (-180, -18, -179, -17),
        (179, -18, 180, -17),
    ]


def test_a_utm_area_across_the_antimeridian_is_split_there(tmp_path):
    path = tmp_path / "area.gpkg"
    square = box(800_000, 8_000_000, 840_000, 8_020_000)
    geopandas.GeoDataFrame(geometry=[square], crs=32760).to_file(path)
    aoi = read_aoi(path)
    assert sorted(round(part.bounds[0]) for part in aoi.geometry.geoms) == [-180, 180]
    assert aoi.area_km2 == pytest.approx(800, rel=5e-3)


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]), r"Self-intersection\[0.5 0.5\]"),
        (polygon([[0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]]), "is 3D"),
        (polygon(), "is empty"),
        ({"type": "FeatureCollection", "features": []}, "is empty"),
        ({"type": "Feature", "properties": {}, "geometry": None}, "is empty"),
        ({"type": "Point", "coordinates": [1, 2]}, "is a Point"),
        (polygon(ring(10, 44, 10.000001, 44.000001)), "covers no ground"),
        (polygon(ring(-179, -18, 179, -17)), "spans 358 degrees of longitude"),
        (polygon(ring(-100, -18, 81, -17)), "spans 181 degrees of longitude"),
        (polygon(ring(42, 141, 43, 142)), "look swapped"),
        (polygon(ring(705_280, 4_911_360, 706_560, 4_912_640)), "not degrees"),
        (polygon(ring(400, 0, 401, 1)), "off the globe"),
        (polygon([[0, 0], [1, 0], [1, 1], [0, 1]]), "closed"),
        (polygon([[0, 0], [math.nan, 0], [1, 1], [0, 0]]), "Invalid Coordinate"),
    ],
)
def test_what_is_no_area_is_refused_by_name(write, geometry, reason):
    path = write(geometry)
    with pytest.raises(AreaError, match=reason) as caught:
        read_aoi(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "<html></html>", "[]", "{}"])
def test_a_file_that_is_no_map_is_refused_by_name(tmp_path, content):
    path = tmp_path / "area.geojson"
    path.write_text(content)
    with pytest.raises(AreaError, match=r"area\.geojson cannot be read as an area"):
        read_aoi(path)


def test_a_file_without_crs_is_refused(tmp_path):
    path = tmp_path / "area.gpkg"
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)]).to_file(path)
    with pytest.raises(AreaError, match="names no CRS"):
        read_aoi(path)


def test_several_layers_must_be_told_apart(tmp_path):
    path = tmp_path / "area.gpkg"
    for number, layer in enumerate(("a", "b")):
        square = box(number, 0, number + 1, 1)
        geopandas.GeoDataFrame(geometry=[square], crs=4326).to_file(path, layer=layer)
    with pytest.raises(AreaError, match=r"several layers \(a, b\)"):
        read_aoi(path)
    assert read_aoi(path, layer="b").geometry.bounds == (1, 0, 2, 1)
    with pytest.raises(AreaError, match="Layer 'c'"):
        read_aoi(path, layer="c")


@pytest.mark.parametrize(
    ("area", "event", "reason"),
    [
        (ring(44, 11, 45, 12), quake(11.5, 44.5), "look swapped"),
        (ring(-178.5, -18, -177.5, -17), quake(178, -17.5), "wrong side of the antimeridian"),
        (ring(10, 44, 11, 45), quake(142, 42.7), "give the area of this event"),
    ],
)
def test_an_area_far_from_its_event_is_refused(write, area, event, reason):
    with pytest.raises(AreaError, match=reason):
        read_aoi(write(polygon(area)), near=event)


def test_a_straight_edge_of_a_projected_area_is_straight_on_the_ground(tmp_path):
    path = tmp_path / "area.gpkg"
    geopandas.GeoSeries([box(4.0e6, 3.0e6, 4.6e6, 3.1e6)], crs=3035).to_file(path)
    beside = [Point(4.3e6, 3.0e6 + metres) for metres in (-100, 100)]
    outside, inside = geopandas.GeoSeries(beside, crs=3035).to_crs(4326)
    area = read_aoi(path).geometry
    assert area.contains(inside) and not area.contains(outside)


def test_an_area_just_across_the_antimeridian_from_its_event_is_near(write):
    path = write(polygon(ring(-180, -18, -179.5, -17)))
    assert read_aoi(path, near=quake(179.9, -17.5)).area_km2 > 0


@pytest.mark.parametrize(
    ("longitude", "latitude", "parts"),
    [(142, 42.7, 1), (179.9, -17, 2), (-179.9, 60, 2), (0, 89.5, 1), (120, -89.9, 1), (0, 0, 1)],
)
def test_a_disc_is_valid_anywhere_on_earth(longitude, latitude, parts):
    disc = geodesic_disc(longitude, latitude, 100_000)
    assert disc.is_valid
    assert len(disc.geoms) == parts
    assert disc.contains(Point(longitude, latitude))
    assert geodesic_area_m2(disc) == pytest.approx(math.pi * 1e10, rel=1e-3)


@pytest.mark.parametrize("longitude", [0, 179.95])
def test_a_buffer_that_reaches_over_a_pole_holds_it(longitude):
    area = split_at_antimeridian(box(longitude - 2, 88.1, longitude + 2, 88.7))
    wider = geodesic_buffer(area, 200_000)
    assert wider.is_valid
    assert wider.contains(Point(0, 90).buffer(0.01).intersection(box(-180, -90, 180, 90)))
    # 200 km from 88.7° N over the pole: 145.2 km to it, 54.8 km down the other side.
    assert wider.contains(Point(longitude - 179, 89.515))
    assert not wider.contains(Point(longitude - 179, 89.505))


def test_a_buffer_keeps_its_distance_everywhere():
    for longitude, latitude in ((10, 0), (10, 60), (179.99, -17), (10, 89.48), (179.99, -89.5)):
        disc = geodesic_disc(longitude, latitude, 50_000)
        wider = geodesic_buffer(disc, 10_000)
        expected = geodesic_disc(longitude, latitude, 60_000)
        assert wider.is_valid
        assert geodesic_area_m2(wider.symmetric_difference(expected)) < 1e-3 * geodesic_area_m2(
            wider
        )
