import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import MultiPolygon, Point, box

from tasks.errors import RasterError
from tasks.events.refine import refined_aoi
from tasks.types import AreaOfInterest

CELL = 0.002


@pytest.fixture
def prior(tmp_path):
    """One degree square of which the west expects nine times what the east does."""

    def prior(west=10.0, unknown=None):
        expected = np.full((500, 500), 0.01, np.float32)
        expected[:, :250] = 0.09
        if unknown is not None:
            expected[unknown] = np.nan
        profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": np.nan}
        grid = {"height": 500, "width": 500, "transform": Affine(CELL, 0, west, 0, -CELL, 46)}
        path = tmp_path / "prior.tif"
        with rasterio.open(path, "w", **profile, **grid, crs="EPSG:4326") as raster:
            raster.write(expected, 1)
        return path

    return prior


def aoi(*boxes):
    return AreaOfInterest(MultiPolygon([box(*one) for one in boxes]), "ShakeMap")


def test_the_ground_that_expects_least_is_left_out(prior):
    whole = aoi((10, 45, 11, 46))
    refined = refined_aoi(whole, prior(), 0.9)
    assert refined.area_km2 == pytest.approx(whole.area_km2 / 2, rel=0.02)
    assert refined.geometry.contains(Point(10.2, 45.5))
    assert not refined.geometry.contains(Point(10.8, 45.5))
    assert refined.how == "ShakeMap; of it the ground that expects 90% of the landslides"


def test_a_share_asked_for_is_not_rounded_to_all_or_nothing(prior):
    how = refined_aoi(aoi((10, 45, 11, 46)), prior(), 0.999).how
    assert "expects 99.9% of the landslides" in how


def test_asking_for_all_leaves_the_area_as_it_is(prior):
    whole = aoi((10, 45, 11, 46))
    assert refined_aoi(whole, prior(), 1.0) is whole


def test_unknown_ground_is_kept(prior):
    corner = np.s_[:100, 400:]
    refined = refined_aoi(aoi((10, 45, 11, 46)), prior(unknown=corner), 0.9)
    assert refined.geometry.contains(Point(10.9, 45.9))
    assert not refined.geometry.contains(Point(10.9, 45.1))


def test_ground_beyond_the_map_is_kept(prior):
    refined = refined_aoi(aoi((10, 45, 11, 46), (20, 45, 21, 46)), prior(), 0.9)
    assert refined.geometry.contains(Point(20.5, 45.5))


def test_an_area_across_the_antimeridian_is_refined_on_both_sides(prior):
    whole = aoi((179.5, 45, 180, 46), (-180, 45, -179.5, 46))
    refined = refined_aoi(whole, prior(west=179.5), 0.9)
    assert refined.geometry.is_valid
    assert refined.geometry.contains(Point(179.7, 45.5))
    assert not refined.geometry.contains(Point(-179.7, 45.5))


def test_a_missing_map_is_named(tmp_path):
    with pytest.raises(RasterError, match=r"none\.tif cannot be read"):
        refined_aoi(aoi((10, 45, 11, 46)), tmp_path / "none.tif", 0.9)
