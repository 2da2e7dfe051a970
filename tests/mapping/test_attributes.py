from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from tasks.mapping.attributes import RELIEF_COLUMNS, measure, volume_m3, with_scenes
from tasks.susceptibility.factors import FactorStack
from tasks.types import Mosaic, Scene

WEST, NORTH = 700000, 4912000


def landslides(*boxes):
    frame = gpd.GeoDataFrame(geometry=[box(*b) for b in boxes], crs="EPSG:32632")
    return frame.to_crs("EPSG:4326")


@pytest.fixture
def terrain():
    """A plane that falls 1 m in 2 m to the east, known only in its western half."""
    columns = np.tile(np.arange(100), (100, 1))
    elevation = np.where(columns < 50, 800 - 5.0 * (columns + 0.5), np.nan)
    known = np.isfinite(elevation)
    layers = {
        "elevation": elevation,
        "slope": np.where(known, 26.565, np.nan),
        "northness": np.where(known, 0.0, np.nan),
        "eastness": np.where(known, 1.0, np.nan),
    }
    grid = GeoBox((100, 100), Affine(10, 0, WEST, 0, -10, NORTH), "EPSG:32632")
    return FactorStack(tuple(layers), np.stack(list(layers.values())).astype("float32"), grid, 0.5)


def test_a_rectangle_has_its_own_length_width_area_and_perimeter():
    (row,) = measure(landslides((WEST, NORTH - 300, WEST + 100, NORTH)), None).itertuples()
    # The UTM scale factor here is 1.0001.
    assert row.length_m == pytest.approx(300, rel=1e-3)
    assert row.width_m == pytest.approx(100, rel=1e-3)
    assert row.area_m2 == pytest.approx(30_000, rel=1e-3)
    assert row.perimeter_m == pytest.approx(800, rel=1e-3)


def test_relief_is_unknown_and_never_zero_without_a_dem():
    measured = measure(landslides((WEST, NORTH - 300, WEST + 100, NORTH)), None)
    assert measured[list(RELIEF_COLUMNS)].isna().all(axis=None)


def test_relief_of_a_slide_on_a_plane(terrain):
    (row,) = measure(
        landslides((WEST + 100, NORTH - 200, WEST + 300, NORTH - 100)), terrain
    ).itertuples()
    assert row.elevation_max_m == pytest.approx(800 - 5 * 10.5, abs=5)
    assert row.drop_m == pytest.approx(100, abs=6)
    assert row.h_over_l == pytest.approx(0.5, abs=0.03)
    assert row.slope_mean_deg == pytest.approx(26.565, abs=0.01)
    assert row.aspect_deg == pytest.approx(90, abs=0.01)


def test_relief_is_unknown_where_the_dem_is(terrain):
    measured = measure(landslides((WEST + 700, NORTH - 200, WEST + 900, NORTH - 100)), terrain)
    assert measured[list(RELIEF_COLUMNS)].isna().all(axis=None)
    assert measured["area_m2"].notna().all()


def test_volume_follows_guzzetti():
    # 0.074 * 10000 ** 1.45, worked by hand: 10 ** 5.8 = 630957.3.
    np.testing.assert_allclose(volume_m3(np.array([10_000.0])), 46_690.84, rtol=1e-6)


def test_an_empty_frame_gets_its_columns(terrain):
    empty = gpd.GeoDataFrame({"score_mean": []}, geometry=[], crs="EPSG:4326")
    measured = measure(empty, terrain)
    assert {"area_m2", "volume_m3", *RELIEF_COLUMNS} <= set(measured.columns)


def test_each_landslide_knows_the_scene_that_saw_it(tmp_path):
    import rasterio

    index = np.ones((50, 50), np.uint8)
    index[:, 25:] = 2
    path = tmp_path / "index.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 50, "width": 50}
    transform = Affine(10, 0, WEST, 0, -10, NORTH)
    with rasterio.open(path, "w", **profile, crs="EPSG:32632", transform=transform) as raster:
        raster.write(index, 1)
    area = landslides((WEST, NORTH - 500, WEST + 500, NORTH)).geometry[0]
    scenes = tuple(
        Scene(f"c/{name}", "p", "c", name, taken, 10, ("red",), "EPSG:32632", area, {})
        for name, taken in (("a", datetime(2023, 5, 23, tzinfo=UTC)), ("b", None))
    )
    found = landslides(
        (WEST + 50, NORTH - 100, WEST + 100, NORTH - 50),
        (WEST + 350, NORTH - 100, WEST + 400, NORTH - 50),
    )
    attributed = with_scenes(found, Mosaic(path, path, scenes, area))
    assert list(attributed["scene_id"]) == ["c/a", "c/b"]
    assert attributed["acquired_at"][0] == scenes[0].acquired_at
    assert attributed["acquired_at"].isna()[1]
