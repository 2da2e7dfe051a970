"""What is read of a remote COG: the area's tiles, of the overview that is fine enough."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from shapely.geometry import MultiPolygon, box

from tasks.imagery.rasters import on_grid
from tasks.types import Scene

SIDE_PX, TILE_PX, PIXEL_M = 4096, 256, 10
WEST, NORTH = 600_000, 5_000_000
BYTES_PER_PIXEL = 2


@pytest.fixture(scope="module")
def cog(tmp_path_factory) -> Path:
    """Noise that does not compress, so that tiles have the bytes of their pixels; overviews."""
    folder = tmp_path_factory.mktemp("cog")
    noise = np.random.default_rng(0).integers(1, 65_535, (SIDE_PX, SIDE_PX), dtype=np.uint16)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    place = rasterio.Affine(PIXEL_M, 0, WEST, 0, -PIXEL_M, NORTH)
    shape = {"height": SIDE_PX, "width": SIDE_PX, "transform": place, "nodata": 0}
    with rasterio.open(folder / "plain.tif", "w", **profile, **shape) as raster:
        raster.write(noise, 1)
    path = folder / "B04.tif"
    rasterio.shutil.copy(
        folder / "plain.tif", path, driver="COG", blocksize=TILE_PX, compress="NONE"
    )
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == [2, 4, 8, 16]
    return path


def scene_at(url: str) -> Scene:
    taken = datetime(2023, 5, 23, tzinfo=UTC)
    footprint = MultiPolygon([box(10, 44, 11, 45)])
    hrefs = {"red": f"vrt:///vsicurl/{url}?a_scale=0.0001&a_offset=-0.1"}
    return Scene("s", "p", "c", "s", taken, 10, ("red",), "EPSG:32632", footprint, hrefs)


@pytest.mark.parametrize(("step_m", "overview_m"), [(10, 10), (20, 20), (35, 20), (100, 80)])
def test_only_the_tiles_of_the_area_are_read_of_the_overview_fine_enough(
    cog, serve, step_m, overview_m
):
    server = serve(cog.parent)
    west, side_m = WEST + 3_010, 20_000
    south = NORTH - 3_010 - side_m
    grid = GeoBox.from_bbox(
        (west, south, west + side_m, south + side_m), "EPSG:32632", resolution=step_m
    )
    with on_grid(scene_at(f"{server.url}/B04.tif"), "red", grid, Resampling.nearest) as band:
        values, valid = band.read()
    assert values.shape == grid.shape
    assert valid.all()
    tile_m = TILE_PX * overview_m
    first, last = (west - WEST) // tile_m, (west - WEST + side_m - 1) // tile_m
    # The warp looks a few pixels beyond the area, which may be one more row and column of tiles.
    tiles = (last - first + 2) ** 2 * TILE_PX**2 * BYTES_PER_PIXEL
    window = (side_m / overview_m) ** 2 * BYTES_PER_PIXEL
    assert window <= server.sent_bytes <= 1.02 * tiles


def test_a_block_on_the_seam_of_two_windows_comes_once(cog, serve):
    """Read as the mosaic reads, in windows that do not lie on the tiles."""
    server = serve(cog.parent)
    bounds = (WEST + 1_010, NORTH - 31_010, WEST + 31_010, NORTH - 1_010)
    grid = GeoBox.from_bbox(bounds, "EPSG:32632", resolution=PIXEL_M)
    with on_grid(scene_at(f"{server.url}/B04.tif"), "red", grid, Resampling.nearest) as band:
        for top in range(0, grid.shape[0], 512):
            for left in range(0, grid.shape[1], 512):
                width = min(512, grid.shape[1] - left)
                height = min(512, grid.shape[0] - top)
                band.read(rasterio.windows.Window(left, top, width, height))
    window = grid.shape[0] * grid.shape[1] * BYTES_PER_PIXEL
    assert server.sent_bytes <= 1.3 * window
