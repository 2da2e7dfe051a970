import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Geod, Transformer
from rasterio.transform import from_origin
from scipy import ndimage
from shapely.geometry import MultiPolygon, box

from tasks.inventory.compare import difference
from tasks.mapping.attributes import measure
from tasks.mapping.vectorise import Outlining, landslide_polygons, write_mask
from tasks.types import geodesic_area_m2

WEST, NORTH, GSD = 700000, 4912000, 10
ROWS, COLUMNS = 60, 80


@pytest.fixture
def levels():
    return np.full((ROWS, COLUMNS), 20, np.uint8)


@pytest.fixture
def write_score(tmp_path):
    def write(levels):
        path = tmp_path / "score.tif"
        profile = {
            "driver": "GTiff",
            "dtype": "uint8",
            "count": 1,
            "height": levels.shape[0],
            "width": levels.shape[1],
            "crs": "EPSG:32632",
            "transform": from_origin(WEST, NORTH, GSD, GSD),
            "nodata": 0,
        }
        with rasterio.open(path, "w", **profile) as score:
            score.write(levels, 1)
        return path

    return write


def ground(columns=COLUMNS, rows=ROWS):
    shape = box(WEST, NORTH - rows * GSD, WEST + columns * GSD, NORTH)
    return gpd.GeoSeries([shape], crs="EPSG:32632").to_crs("EPSG:4326")[0]


def test_each_body_becomes_one_valid_polygon_of_its_true_area(levels, write_score):
    levels[5:15, 5:25] = 230
    levels[30:34, 40:44] = 200
    found = landslide_polygons(write_score(levels), 0.5, 0, ground())
    assert len(found) == 2
    assert found.is_valid.all()
    assert found.crs.to_epsg() == 4326
    # The UTM scale factor here is 1.0001, so grid and geodesic area differ by 2 in 10,000.
    np.testing.assert_allclose(found["area_m2"], [200 * 100, 16 * 100], rtol=1e-3)
    np.testing.assert_allclose(found["score_mean"], [229 / 254, 199 / 254])


def test_a_body_across_the_antimeridian_is_cut_there(tmp_path):
    east, north = Transformer.from_crs(4326, 32760, always_xy=True).transform(180, -16.8)
    levels = np.full((64, 64), 20, np.uint8)
    levels[20:30, 20:44] = 230
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 64, "width": 64}
    place = {"crs": "EPSG:32760", "transform": from_origin(east - 320, north + 320, 10, 10)}
    with rasterio.open(tmp_path / "score.tif", "w", nodata=0, **profile, **place) as score:
        score.write(levels, 1)
    looked_at = MultiPolygon([box(179.9, -17, 180, -16), box(-180, -17, -179.9, -16)])
    found = landslide_polygons(tmp_path / "score.tif", 0.5, 0, looked_at)
    # The edge of the zone, where the UTM scale factor is 1.0009.
    assert found["area_m2"].iloc[0] == pytest.approx(24_000 / 1.0009**2, rel=1e-3)
    assert not found["touches_scene_edge"].iloc[0]
    west, east = found.geometry[0].geoms
    assert max(part.bounds[2] - part.bounds[0] for part in (west, east)) < 0.01
    measured = measure(found)
    assert measured["area_m2"].iloc[0] == found["area_m2"].iloc[0]
    assert measured["length_m"].iloc[0] == pytest.approx(240, rel=1e-2)
    assert measured["width_m"].iloc[0] == pytest.approx(100, rel=1e-2)
    itself = difference(found.assign(number=1), found.assign(number=1), looked_at)
    assert list(itself.changes["change"]) == ["unchanged"] and not itself.not_comparable.before


def test_bodies_that_touch_at_a_corner_are_two(levels, write_score):
    levels[10:14, 10:14] = 255
    levels[14:18, 14:18] = 255
    found = landslide_polygons(write_score(levels), 0.5, 0, ground())
    assert len(found) == 2


def test_a_hole_stays_a_hole(levels, write_score):
    levels[10:20, 10:20] = 255
    levels[14:16, 14:16] = 20
    (outline,) = landslide_polygons(write_score(levels), 0.5, 0, ground()).geometry
    assert len(outline.interiors) == 1


def test_smaller_than_the_minimum_mapping_unit_is_left_out(levels, write_score):
    levels[10, 10:12] = 255
    levels[30:32, 30:32] = 255
    found = landslide_polygons(write_score(levels), 0.5, 300, ground())
    assert len(found) == 1


def test_nothing_found_is_an_empty_frame_with_its_columns(levels, write_score):
    found = landslide_polygons(write_score(levels), 0.5, 0, ground())
    assert found.empty
    assert {"area_m2", "score_mean", "touches_cloud_edge"} <= set(found.columns)
    assert found.crs.to_epsg() == 4326


def test_the_end_of_the_scene_and_a_cloud_are_told_apart(levels, write_score):
    levels[20:40, 30:50] = 0
    levels[25:30, 22:30] = 255
    levels[50:55, 72:80] = 240
    levels[5:10, 5:10] = 220
    levels[40:45, 60:66] = 210
    levels[:, 66:68] = 0
    found = landslide_polygons(write_score(levels), 0.5, 0, ground(columns=66))
    flags = {
        round(row.score_mean * 254) + 1: (row.touches_scene_edge, row.touches_cloud_edge)
        for row in found.itertuples()
    }
    assert flags == {
        255: (False, True),
        240: (True, False),
        220: (False, False),
        210: (True, False),
    }


@pytest.fixture
def real_like(write_score):
    """Bodies of all sizes beside clouds that cross every band."""
    noise = np.random.default_rng(3)
    score = ndimage.gaussian_filter(noise.standard_normal((ROWS * 3, COLUMNS * 3)), 2)
    cloud = ndimage.gaussian_filter(noise.standard_normal(score.shape), 12)
    levels = np.interp(score, (score.min(), score.max()), (1, 255)).astype(np.uint8)
    return write_score(np.where(cloud > 0.03, 0, levels))


def test_the_frame_is_the_same_whatever_bands_it_is_made_from(real_like):
    whole = landslide_polygons(real_like, 0.55, 300, ground(150, 180), band_rows=1000)
    assert whole["touches_cloud_edge"].any()
    assert whole["touches_scene_edge"].any()
    assert len(whole) > 30
    for rows in (1, 7, 64):
        banded = landslide_polygons(real_like, 0.55, 300, ground(150, 180), band_rows=rows)
        assert banded.equals(whole)


def test_areas_and_perimeters_are_geodesic(real_like):
    found = landslide_polygons(real_like, 0.55, 0, ground(240, 180))
    np.testing.assert_allclose(found["area_m2"], found.geometry.map(geodesic_area_m2), rtol=1e-9)
    expected = found.geometry.map(Geod(ellps="WGS84").geometry_length).abs()
    np.testing.assert_allclose(found["perimeter_m"], expected, rtol=1e-9)
    assert found["area_m2"].is_monotonic_decreasing
    assert (found["score_max"] >= found["score_mean"]).all()


def test_each_body_is_its_own_unless_split(real_like):
    found = landslide_polygons(real_like, 0.55, 0, ground(240, 180))
    assert sorted(found["body"]) == list(range(1, len(found) + 1))
    assert not found["amalgamated"].any()


def test_simplified_neighbours_stay_valid_and_apart(real_like):
    as_mapped = landslide_polygons(real_like, 0.5, 0, ground(240, 180))
    simple = landslide_polygons(real_like, 0.5, 0, ground(240, 180), Outlining(simplify_m=15))
    assert len(simple) == len(as_mapped)
    assert simple.is_valid.all()
    vertices = [shapely.get_num_coordinates(frame.geometry).sum() for frame in (simple, as_mapped)]
    assert vertices[0] < vertices[1] / 2
    assert shapely.area(simple.geometry).sum() == pytest.approx(simple.union_all().area, rel=1e-12)
    assert simple["area_m2"].sum() == pytest.approx(as_mapped["area_m2"].sum(), rel=0.05)


def test_small_holes_are_filled_on_the_ground(levels, write_score):
    levels[10:20, 10:20] = 255
    levels[14:16, 14:16] = levels[18, 18] = 20
    score = write_score(levels)
    (outline,) = landslide_polygons(score, 0.5, 0, ground(), Outlining(hole_area_m2=300)).geometry
    assert len(outline.interiors) == 1


def test_a_body_as_long_as_a_scene_is_valid_on_the_ground(tmp_path):
    path = tmp_path / "score.tif"
    levels = np.full((40, 9000), 250, np.uint8)
    levels[1, 4500] = levels[-2, 4500] = 20
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 40, "width": 9000}
    grid = {"crs": "EPSG:32632", "transform": from_origin(460000, 6660000, GSD, GSD), "nodata": 0}
    with rasterio.open(path, "w", **profile, **grid) as score:
        score.write(levels, 1)
    found = landslide_polygons(path, 0.5, 0, box(8, 59, 10, 61))
    assert found.is_valid.all()


def test_a_mask_keeps_unknown_apart_from_stable(levels, write_score, tmp_path):
    levels[0:10] = 0
    levels[20:30, 20:30] = 255
    mask = write_mask(write_score(levels), tmp_path / "mask.tif", 0.5, {"SCARP_EVENT": "e"})
    with rasterio.open(mask) as result:
        values = result.read(1)
        assert result.nodata == 255
    assert (values[:10] == 255).all()
    assert (values[20:30, 20:30] == 1).all()
    assert values[40, 40] == 0
