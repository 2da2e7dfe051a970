"""How large a pixel is on the ground, on grids of every kind."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from models.ground import ground_sample_m
from models.pictures import read_image

CORNER = Affine.translation(600_000, 4_700_000)
SQUARE = Affine.scale(3, -3)


@pytest.fixture
def sized(tmp_path):
    """The size of a pixel in the middle of a raster of 64 × 64 on a grid."""

    def measure(crs, grid):
        path = tmp_path / "raster.tif"
        kind = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
        with rasterio.open(path, "w", crs=crs, transform=grid, **kind) as file:
            file.write(np.ones((3, 64, 64), np.uint8))
        with rasterio.open(path) as dataset:
            found = ground_sample_m(dataset)
        assert read_image(path).gsd_m == found, "tiles and scenes are measured by one rule"
        return found

    return measure


@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_a_grid_turned_against_north_has_pixels_as_large_as_before(sized, degrees):
    turned = CORNER @ Affine.rotation(degrees) @ SQUARE
    assert sized("EPSG:32654", turned) == pytest.approx(3)


def test_metres_of_utm_are_taken_as_they_are_written(sized):
    assert sized("EPSG:32654", CORNER @ SQUARE) == 3


def test_feet_are_measured_in_metres(sized):
    feet = Affine.translation(6_500_000, 2_000_000) @ SQUARE
    assert sized("EPSG:2229", feet) == pytest.approx(3 * 1200 / 3937)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:3395"])
def test_metres_of_mercator_are_half_as_long_at_60_degrees(sized, crs):
    assert sized(crs, Affine(10, 0, 1e6, 0, -10, 8_399_737)) == pytest.approx(5, rel=0.01)


def test_degrees_are_measured_both_ways(sized):
    second = 1 / 3600
    grid = Affine(2 * second, 0, 142, 0, -second, 60)
    assert sized("EPSG:4326", grid) == pytest.approx(30.9, rel=0.01)
    across_the_end = Affine(2 * second, 0, 180 - 32.5 * 2 * second, 0, -second, 60)
    assert sized("EPSG:4326", across_the_end) == pytest.approx(30.9, rel=0.01)
