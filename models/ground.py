"""How large the pixels of a raster are on the ground, whatever grid they lie on."""

from __future__ import annotations

import math

from pyproj import Geod
from rasterio._err import CPLE_BaseError
from rasterio.io import DatasetReader
from rasterio.warp import transform as reprojected

# The metres of UTM are true within 0.1 %; Mercator's are half a metre at 60 degrees.
_TRUE = 0.02
_EARTH = Geod(ellps="WGS84")


def ground_sample_m(dataset: DatasetReader) -> float:
    """Side in metres of a square as large as a pixel in the middle of a raster with a CRS.

    As its grid says where that measures in metres of the ground, else as long as it is there.
    """
    pixel = dataset.transform
    side = math.sqrt(abs(pixel.a * pixel.e - pixel.b * pixel.d))
    on_earth = _on_earth_m(dataset)
    if not dataset.crs.is_projected:
        return on_earth
    on_grid = float(side * dataset.crs.linear_units_factor[1])
    return on_grid if abs(on_grid - on_earth) <= _TRUE * on_grid or not on_earth else on_earth


def _on_earth_m(dataset: DatasetReader) -> float:
    """By geodesics along a row and a column; 0 where the CRS does not reach."""
    middle = dataset.width / 2, dataset.height / 2
    steps = [middle, (middle[0] + 1, middle[1]), (middle[0], middle[1] + 1)]
    eastings, northings = zip(*(dataset.transform @ step for step in steps), strict=True)
    try:
        east, north = reprojected(dataset.crs, "EPSG:4326", eastings, northings)
    except CPLE_BaseError:
        return 0.0
    if not all(map(math.isfinite, (*east, *north))):
        return 0.0
    ways = _EARTH.inv([east[0]] * 2, [north[0]] * 2, east[1:], north[1:])
    (row, column), (along_row, along_column) = ways[2], ways[0]
    return math.sqrt(row * column * abs(math.sin(math.radians(along_row - along_column))))
