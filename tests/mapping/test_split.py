"""Bodies that are several landslides come apart where a geomorphologist would cut them."""

from contextlib import ExitStack

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from scipy import ndimage
from shapely.geometry import box

from tasks.errors import RasterError
from tasks.mapping.split import Splitting, open_elevation, read_ground, split_mask
from tasks.mapping.vectorise import Outlining, landslide_polygons

WEST, NORTH, GSD = 700000, 4912000, 10
Y, X = np.mgrid[:60, :110]
SPLIT = Outlining(split=Splitting(waist=0.5, smallest_part_m2=300))


def disc(y, x, radius):
    return np.hypot(Y - y, X - x) < radius


TWO_DISCS = disc(30, 30, 20) | disc(30, 75, 20) | ((abs(Y - 30) < 5) & (X > 30) & (X < 75))
LONG_SLIDE = (abs(Y - 20 - 0.2 * X) < 7) & (X > 5) & (X < 100)
SIDE_BY_SIDE = (Y > 5) & (Y < 55) & (X > 25) & (X < 75)
RIDGE_BETWEEN = 60.0 - Y + 8 * np.cos((X - 50) / 25 * 2 * np.pi)


def blobs(seed, sigma=2.0):
    noise = np.random.default_rng(seed).standard_normal(Y.shape)
    labels, _ = ndimage.label(ndimage.gaussian_filter(noise, sigma) > 0)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1


@pytest.fixture
def write_raster(tmp_path):
    def write(name, values, nodata=0.0, crs="EPSG:32632"):
        path = tmp_path / name
        grid = {"height": values.shape[0], "width": values.shape[1], "crs": crs, "nodata": nodata}
        transform = from_origin(WEST, NORTH, GSD, GSD)
        with rasterio.open(
            path, "w", "GTiff", count=1, dtype=values.dtype, transform=transform, **grid
        ) as raster:
            raster.write(values, 1)
        return path

    return write


@pytest.fixture
def outline(write_raster):
    """Landslides of a mask, split, and whatever else is asked for."""

    def polygons(mask, outlining=SPLIT, dem=None, levels=None):
        levels = np.full(mask.shape, 200, np.uint8) if levels is None else levels
        score = write_raster("score.tif", np.where(mask, levels, 20).astype(np.uint8))
        scene = box(WEST, NORTH - 60 * GSD, WEST + 110 * GSD, NORTH)
        looked_at = gpd.GeoSeries([scene], crs="EPSG:32632").to_crs("EPSG:4326")[0]
        return landslide_polygons(score, 0.5, 0, looked_at, outlining, dem)

    return polygons


def test_two_discs_joined_by_a_neck_are_cut_across_the_neck():
    lobes = split_mask(TWO_DISCS, 0.5, 30)
    assert lobes.max() == 2
    left, right = lobes[disc(30, 30, 12)], lobes[disc(30, 75, 12)]
    assert len(set(left)) == len(set(right)) == 1
    assert left[0] != right[0]
    cut = np.nonzero(lobes[:, :-1] * lobes[:, 1:] == 2)[1]
    assert 45 < cut.mean() < 60


@pytest.mark.parametrize("body", [LONG_SLIDE, disc(30, 50, 25), SIDE_BY_SIDE])
def test_one_slide_stays_one(body):
    assert split_mask(body, 0.5, 30).max() == 1


def test_a_wider_neck_than_the_waist_is_no_cut():
    assert split_mask(TWO_DISCS, 0.2, 30).max() == 1


def test_slides_from_two_hollows_are_cut_along_the_ridge():
    guide = read_ground(SIDE_BY_SIDE, RIDGE_BETWEEN, 1.0, 10.0)
    lobes = split_mask(SIDE_BY_SIDE, 0.5, 30, guide)
    assert lobes.max() == 2
    cut = np.nonzero(lobes[:, :-1] * lobes[:, 1:] == 2)[1]
    np.testing.assert_allclose(cut, 50, atol=3)


def test_a_plane_is_no_ridge_however_steep():
    guide = read_ground(SIDE_BY_SIDE, 100.0 - 2 * Y + 0.5 * X, 1.0, 10.0)
    assert not guide.ridge.any()


def test_what_flows_through_a_neck_stays_one_and_what_flows_past_it_does_not():
    along = read_ground(TWO_DISCS, 200.0 - X, 1.0, 10.0)
    assert split_mask(TWO_DISCS, 0.5, 30, along).max() == 1
    past = read_ground(TWO_DISCS, 200.0 - Y, 1.0, 10.0)
    assert split_mask(TWO_DISCS, 0.5, 30, past).max() == 2


def test_ground_that_is_not_known_throughout_guides_nothing():
    elevation = 200.0 - X
    elevation[0, 0] = np.nan
    assert read_ground(TWO_DISCS, elevation, 1.0, 10.0) is None


def test_a_slide_one_pixel_wide_stays_one_with_a_dem(outline, write_raster):
    dem = write_raster("dem.tif", (200.0 - Y).astype(np.float32), nodata=-9999.0)
    assert len(outline((X == 30) & (Y > 10), dem=dem)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_lobes_fill_the_body_hold_together_and_are_large_enough(seed):
    mask = blobs(seed)
    lobes = split_mask(mask, 0.8, 40)
    np.testing.assert_array_equal(lobes > 0, mask)
    sizes = np.bincount(lobes.ravel())[1:]
    assert len(sizes) > 1
    assert sizes.min() >= 40
    for lobe in range(1, lobes.max() + 1):
        assert ndimage.label(lobes == lobe)[1] == 1


def test_parts_share_the_number_of_their_body(outline):
    mask = TWO_DISCS | ((Y > 55) & (X < 10))
    found = outline(mask)
    assert found["amalgamated"].tolist() == [True, True, False]
    assert found["body"].tolist() == [1, 1, 2]
    assert found["area_m2"].is_monotonic_decreasing


@pytest.mark.parametrize("simplify_m", [0.0, 25.0])
def test_parts_neither_overlap_nor_leave_a_gap(outline, simplify_m):
    mask = blobs(1, 3.0)
    splitting = Splitting(waist=0.9, smallest_part_m2=3000)
    found = outline(mask, Outlining(split=splitting, simplify_m=simplify_m))
    assert len(found) > 3
    assert found.is_valid.all()
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    whole = outline(mask, Outlining(simplify_m=simplify_m))
    assert found["area_m2"].sum() == pytest.approx(whole["area_m2"].sum(), rel=0.02)
    if not simplify_m:
        # A corner where parts meet on a straight side of the grid bends it by less than a µm.
        differing = found.union_all().symmetric_difference(whole.union_all())
        assert shapely.area(differing) < 1e-7 * shapely.area(whole.union_all())


def test_nothing_to_split_is_an_empty_frame(outline):
    found = outline(np.zeros(Y.shape, bool))
    assert found.empty
    assert {"body", "amalgamated", "score_max"} <= set(found.columns)


def test_each_part_has_its_own_score_and_edges(outline):
    levels = np.where(X < 52, 240, 160)
    mask = TWO_DISCS.copy()
    mask[28:32, :30] = True
    found = outline(mask, levels=levels)
    left, right = (found[found["score_max"] > 0.9], found[found["score_max"] < 0.9])
    assert len(left) == len(right) == 1
    assert left["touches_scene_edge"].tolist() == [True]
    assert right["touches_scene_edge"].tolist() == [False]
    assert (found["score_mean"] <= found["score_max"]).all()


def test_a_dem_in_any_grid_guides_and_one_with_a_gap_does_not_harm(outline, write_raster):
    ridge = (RIDGE_BETWEEN * GSD).astype(np.float32)
    assert len(outline(SIDE_BY_SIDE)) == 1
    assert len(outline(SIDE_BY_SIDE, dem=write_raster("dem.tif", ridge, nodata=-9999.0))) == 2
    ridge[20:25] = -9999
    assert len(outline(SIDE_BY_SIDE, dem=write_raster("gap.tif", ridge, nodata=-9999.0))) == 1


def test_a_dem_in_feet_is_read_as_the_rest_of_scarp_reads_it(write_raster):
    feet = write_raster("feet.tif", ((200.0 - Y) * 10).astype(np.float32), nodata=None)
    with rasterio.open(feet, "r+") as dem:
        dem.units = ("ft",)
    score = write_raster("score.tif", np.full(Y.shape, 200, np.uint8))
    with rasterio.open(score) as grid, ExitStack() as stack:
        elevation = open_elevation(stack, feet, grid)
        heights = elevation.read((slice(10, 12), slice(20, 23)))
    expected = [[(200 - row) * 3.048] * 3 for row in (10, 11)]
    assert heights == pytest.approx(np.array(expected), abs=0.01)


@pytest.mark.parametrize(("cell_px", "parts"), [(5, 1), (20, 2)])
def test_a_dem_too_coarse_for_a_body_does_not_guide_it(outline, tmp_path, cell_px, parts):
    along = (200.0 - X).astype(np.float32)[::cell_px, ::cell_px]
    transform = from_origin(WEST, NORTH, cell_px * GSD, cell_px * GSD)
    profile = {"count": 1, "dtype": "float32", "crs": "EPSG:32632", "transform": transform}
    height, width = along.shape
    path = tmp_path / "dem.tif"
    with rasterio.open(path, "w", "GTiff", height=height, width=width, **profile) as dem:
        dem.write(along, 1)
    assert len(outline(TWO_DISCS, dem=path)) == parts


def test_a_dem_that_is_none_is_named(outline, tmp_path):
    (tmp_path / "broken.tif").write_text("no elevations")
    with pytest.raises(RasterError, match=r"DEM .*broken\.tif"):
        outline(TWO_DISCS, dem=tmp_path / "broken.tif")


def test_a_dem_without_a_crs_is_named(outline, write_raster):
    dem = write_raster("adrift.tif", (200.0 - Y).astype(np.float32), crs=None)
    with pytest.raises(RasterError, match=r"adrift\.tif.*no CRS"):
        outline(TWO_DISCS, dem=dem)
