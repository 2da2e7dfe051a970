from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from pyproj import Geod
from rasterio.enums import Resampling
from rasterio.warp import calculate_default_transform, reproject
from shapely.affinity import rotate
from shapely.geometry import Point, box

from tasks.mapping.attributes import measure, with_scenes
from tasks.mapping.relief import RELIEF_COLUMNS, relief_doubts
from tasks.mapping.volume import volume_m3
from tasks.types import Mosaic, Scene, geodesic_measures
from tests.conftest import DATA, EXAMPLE

WEST, NORTH = 700000, 4912000


def landslides(*boxes):
    frame = gpd.GeoDataFrame(geometry=[box(*b) for b in boxes], crs="EPSG:32632")
    return frame.to_crs("EPSG:4326")


def raster(path, values, cell=10.0, crs="EPSG:32632", west=WEST, north=NORTH, **profile):
    rows, cols = values.shape
    transform = Affine(cell, 0, west, 0, -cell, north)
    size = {"driver": "GTiff", "count": 1, "height": rows, "width": cols, "dtype": values.dtype}
    with rasterio.open(path, "w", **size, crs=crs, transform=transform, **profile) as output:
        output.write(values, 1)
    return path


def heights(function, size=100):
    """Elevations on a grid of 10 m cells, from east and north in m from its lower left corner."""
    east, north = np.meshgrid(np.arange(size) * 10 + 5.0, (size - np.arange(size)) * 10 - 5.0)
    return function(east, north).astype(np.float32)


@pytest.fixture
def plane(tmp_path):
    """A plane that falls 1 m in 2 m to the east, known only in its western half."""
    return raster(
        tmp_path / "plane.tif",
        heights(lambda east, _: np.where(east < 500, 800 - 0.5 * east, np.nan)),
    )


def test_a_rectangle_has_its_own_length_width_area_and_perimeter():
    (row,) = measure(landslides((WEST, NORTH - 300, WEST + 100, NORTH)), None).itertuples()
    # The UTM scale factor here is 1.0001.
    assert row.length_m == pytest.approx(300, rel=1e-3)
    assert row.width_m == pytest.approx(100, rel=1e-3)
    assert row.area_m2 == pytest.approx(30_000, rel=1e-3)
    assert row.perimeter_m == pytest.approx(800, rel=1e-3)


@pytest.mark.parametrize(("crs", "latitude"), [("EPSG:3413", 88.0), ("EPSG:3031", -88.0)])
def test_a_landslide_near_a_pole_has_its_sides_too(crs, latitude):
    at = gpd.GeoSeries([Point(10, latitude)], crs="EPSG:4326").to_crs(crs)[0]
    outline = gpd.GeoSeries([box(at.x, at.y, at.x + 300, at.y + 100)], crs=crs)
    measured = measure(gpd.GeoDataFrame(geometry=outline.to_crs("EPSG:4326")))
    assert measured["length_m"][0] == pytest.approx(300, rel=0.05)
    assert measured["width_m"][0] == pytest.approx(100, rel=0.05)


def test_relief_is_unknown_and_never_zero_without_a_dem():
    measured = measure(landslides((WEST, NORTH - 300, WEST + 100, NORTH)), None)
    assert measured[list(RELIEF_COLUMNS)].isna().all(axis=None)


def test_relief_of_a_slide_on_a_plane(plane):
    (row,) = measure(
        landslides((WEST + 100, NORTH - 300, WEST + 300, NORTH - 200)), plane
    ).itertuples()
    assert row.elevation_max_m == pytest.approx(800 - 50, abs=5.1)
    assert row.drop_m == pytest.approx(100, abs=6)
    assert row.h_over_l == pytest.approx(0.5, abs=0.03)
    for slope in (row.slope_mean_deg, row.slope_min_deg, row.slope_max_deg):
        assert slope == pytest.approx(np.degrees(np.arctan(0.5)), abs=0.01)
    assert row.slope_std_deg == pytest.approx(0, abs=0.01)
    assert row.aspect_concentration == pytest.approx(1, abs=1e-6)
    assert (row.relief_share, row.length_axis) == (pytest.approx(1, abs=1e-6), "downslope")


def test_length_runs_down_the_slope_and_width_across_it(plane):
    broad = landslides((WEST + 100, NORTH - 400, WEST + 200, NORTH - 100))
    (downslope,) = measure(broad, plane).itertuples()
    (longest,) = measure(broad).itertuples()
    assert (downslope.length_m, downslope.width_m) == pytest.approx((100, 300), rel=1e-3)
    assert (longest.length_m, longest.width_m) == pytest.approx((300, 100), rel=1e-3)
    assert (downslope.length_axis, longest.length_axis) == ("downslope", "longest")


@pytest.mark.parametrize("towards_deg", [30, 120, 200, 330])
def test_length_and_width_follow_a_slope_that_falls_any_way(tmp_path, towards_deg):
    towards = np.radians(towards_deg)
    falling = heights(lambda e, n: 900 - 0.4 * (e * np.sin(towards) + n * np.cos(towards)))
    dem = raster(tmp_path / "dem.tif", falling)
    upright = box(WEST + 450, NORTH - 650, WEST + 550, NORTH - 350)
    turned = gpd.GeoDataFrame(geometry=[rotate(upright, -towards_deg)], crs="EPSG:32632")
    (row,) = measure(turned.to_crs("EPSG:4326"), dem).itertuples()
    assert (row.length_m, row.width_m) == pytest.approx((300, 100), rel=0.01)


def test_aspect_is_told_from_true_north_and_not_from_the_grids(tmp_path):
    # Grid north lies 2 degrees off true north this far from the zone's central meridian.
    east, north = 800_000, 4_912_000
    plane = raster(tmp_path / "p.tif", heights(lambda _, up: 500 + 0.3 * up), west=east)
    slide = gpd.GeoDataFrame(
        geometry=[box(east + 400, north - 600, east + 500, north - 400)], crs="EPSG:32632"
    )
    middle = slide.centroid.iloc[0]
    ends = gpd.GeoSeries([middle, Point(middle.x, middle.y - 100)], crs="EPSG:32632").to_crs(4326)
    downhill, _, _ = Geod(ellps="WGS84").inv(ends.x[0], ends.y[0], ends.x[1], ends.y[1])
    (row,) = measure(slide.to_crs(4326), plane).itertuples()
    assert row.aspect_deg == pytest.approx(downhill % 360, abs=0.01)
    assert abs(row.aspect_deg - 180) > 2


def test_a_cone_faces_every_way_and_has_no_axis(tmp_path):
    def cone(east, north):
        return 900 - 0.4 * np.hypot(east - 500, north - 500)

    dem = raster(tmp_path / "cone.tif", heights(cone))
    whole, flank = measure(
        landslides(
            (WEST + 300, NORTH - 700, WEST + 700, NORTH - 300),
            (WEST + 490, NORTH - 900, WEST + 510, NORTH - 700),
        ),
        dem,
    ).itertuples()
    assert whole.aspect_concentration < 0.001
    assert np.isnan(whole.aspect_deg) and whole.length_axis == "longest"
    assert whole.slope_max_deg == pytest.approx(np.degrees(np.arctan(0.4)), abs=0.1)
    # Degrees of meridian convergence here: 1.7.
    assert flank.aspect_deg == pytest.approx(180, abs=2)
    assert flank.drop_m == pytest.approx(80, abs=5)


def test_level_ground_has_a_slope_and_no_aspect(tmp_path):
    level = raster(tmp_path / "level.tif", heights(lambda east, _: 0 * east + 7))
    (row,) = measure(
        landslides((WEST + 300, NORTH - 700, WEST + 700, NORTH - 500)), level
    ).itertuples()
    assert (row.slope_mean_deg, row.drop_m) == (0, 0)
    assert np.isnan(row.aspect_deg) and row.length_m == pytest.approx(400, rel=1e-3)


def test_relief_is_unknown_where_the_dem_is_and_half_where_half_is_known(plane):
    measured = measure(
        landslides(
            (WEST + 700, NORTH - 200, WEST + 900, NORTH - 100),
            (WEST + 400, NORTH - 300, WEST + 600, NORTH - 200),
            (WEST + 100, NORTH - 300, WEST + 300, NORTH - 200),
            (WEST + 90_000, NORTH - 300, WEST + 90_100, NORTH - 200),
        ),
        plane,
    )
    relief = [name for name in RELIEF_COLUMNS if name != "relief_share"]
    assert measured.loc[[0, 3], [*relief, "h_over_l"]].isna().all(axis=None)
    assert measured["relief_share"].tolist() == pytest.approx([0, 0.5, 1, 0], abs=1e-4)
    assert measured["length_axis"].tolist() == ["longest", "downslope", "downslope", "longest"]
    assert measured[["area_m2", "length_m"]].notna().all(axis=None)
    (doubt,) = relief_doubts(measured)
    assert doubt.code == "dem-partial"
    assert "of 4 landslides the elevation model knows nothing of 2" in doubt.text
    assert "only a part of 1" in doubt.text


def test_without_a_dem_nothing_is_doubted_about_one():
    measured = measure(landslides((WEST, NORTH - 300, WEST + 100, NORTH)))
    assert measured["relief_share"].isna().all() and relief_doubts(measured) == []


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035"])
def test_a_dem_in_another_crs_gives_the_same_relief(tmp_path, crs):
    here = EXAMPLE / "dem.tif"
    with rasterio.open(here) as own:
        transform, width, height = calculate_default_transform(
            own.crs, crs, own.width, own.height, *own.bounds
        )
        warped = np.full((height, width), np.nan, np.float32)
        reproject(
            rasterio.band(own, 1), warped, dst_transform=transform, dst_crs=crs,
            dst_nodata=np.nan, resampling=Resampling.cubic,
        )  # fmt: skip
    other = tmp_path / "other.tif"
    size = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "float32"}
    with rasterio.open(other, "w", **size, crs=crs, transform=transform) as output:
        output.write(warped, 1)
    reference = gpd.read_file(EXAMPLE / "landslides.gpkg").to_crs(4326)
    large = reference[geodesic_measures(reference.geometry.to_numpy())[0] > 2000]
    there = measure(large, other)
    close = measure(large, here)
    whole = (there["relief_share"] > 0.99).to_numpy()
    assert whole.sum() > 5
    for name, tolerance in (("elevation_mean_m", 1.0), ("slope_mean_deg", 1.0), ("length_m", 5.0)):
        difference = (there[name] - close[name])[whole].abs()
        assert difference.median() < tolerance, name


def test_real_landslides_in_real_mountains_are_measured_alike_in_blocks_of_any_size(monkeypatch):
    slides = gpd.read_file(DATA / "kaghan_lsat" / "landslides.gpkg").to_crs(4326)
    dem = DATA / "kaghan_lsat" / "AW3D30.tif"
    whole = measure(slides, dem)
    monkeypatch.setattr("tasks.mapping.relief.BLOCK_CELLS", 50)
    pd.testing.assert_frame_equal(measure(slides, dem), whole)
    known = whole[whole["slope_mean_deg"].notna()]
    assert len(known) > 3000
    assert known["slope_mean_deg"].between(0, 90).all()
    assert 25 < known["slope_mean_deg"].median() < 45
    assert (known["slope_min_deg"] <= known["slope_mean_deg"] + 1e-9).all()
    assert (known["slope_mean_deg"] <= known["slope_max_deg"] + 1e-9).all()
    assert (known["elevation_min_m"] <= known["elevation_mean_m"] + 1e-9).all()


@pytest.mark.parametrize(
    ("relation", "volume"),
    # Worked by hand: log10 of 10,000 m² is 4, so log10 V is log10 α + 4 γ.
    [
        ("guzzetti2009", 46_690.84),
        ("larsen2010-soil", 10 ** (-0.649 + 4 * 1.262)),
        ("larsen2010-bedrock", 10 ** (-0.63 + 4 * 1.41)),
    ],
)
def test_volume_follows_the_relation_that_is_asked_for_and_names_it(relation, volume):
    np.testing.assert_allclose(volume_m3(np.array([10_000.0]), relation), volume, rtol=1e-6)
    (row,) = measure(
        landslides((WEST, NORTH - 100, WEST + 100, NORTH)), None, relation
    ).itertuples()
    assert row.volume_m3 == pytest.approx(volume, rel=2e-3)
    assert ("2009" if relation == "guzzetti2009" else "2010") in row.volume_relation


def test_an_empty_frame_gets_its_columns(plane):
    empty = gpd.GeoDataFrame({"score_mean": []}, geometry=[], crs="EPSG:4326")
    measured = measure(empty, plane)
    assert {"area_m2", "volume_m3", *RELIEF_COLUMNS} <= set(measured.columns)


def test_each_landslide_knows_the_scene_that_saw_it(tmp_path):
    index = np.ones((600, 600), np.uint8)
    index[:, 300:] = 2
    index[500:] = 0
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    path = raster(tmp_path / "index.tif", index, **blocks)
    area = landslides((WEST, NORTH - 6000, WEST + 6000, NORTH)).geometry[0]
    scenes = tuple(
        Scene(f"c/{name}", "p", "c", name, taken, 10, ("red",), "EPSG:32632", area, {})
        for name, taken in (("a", datetime(2023, 5, 23, tzinfo=UTC)), ("b", None))
    )
    found = landslides(
        (WEST + 3500, NORTH - 100, WEST + 3600, NORTH - 50),
        (WEST + 50, NORTH - 3000, WEST + 100, NORTH - 2950),
        (WEST + 50, NORTH - 5600, WEST + 100, NORTH - 5500),
        (WEST - 500, NORTH - 100, WEST - 400, NORTH - 50),
    )
    attributed = with_scenes(found, Mosaic(path, path, scenes, area))
    assert list(attributed["scene_id"][:2]) == ["c/b", "c/a"]
    assert list(attributed["scene_id"].isna()) == [False, False, True, True]
    assert attributed["acquired_at"][1] == scenes[0].acquired_at
    assert attributed["acquired_at"].isna().tolist() == [True, False, True, True]
