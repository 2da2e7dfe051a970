"""An elevation model opened on north-up grids of square cells in metres, whatever its own are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Proj
from pyproj.aoi import AreaOfInterest as Bounds
from pyproj.database import query_utm_crs_info
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from shapely.geometry import Point

from tasks.errors import RasterError

_LOWEST_M, _HIGHEST_M = -500.0, 9000.0
# Web Mercator's metres are half a metre at 60 degrees; continental grids stay within 2 %.
_LARGEST_DISTORTION = 0.02


@dataclass(frozen=True)
class Dem:
    """An open elevation raster.

    `crs` is projected, in metres that are metres on the ground; `bounds` (west, south, east, north)
    and `cells`, the affine of the DEM's own cells, are in it. `cell_m` is the side of a cell.
    """

    source: DatasetReader
    crs: CRS
    bounds: tuple[float, float, float, float]
    cells: rasterio.Affine

    @property
    def cell_m(self) -> float:
        """Side of the DEM's own cells in metres, the shorter where they are not square."""
        return float(min(abs(self.cells.a), abs(self.cells.e)))

    def grid(self, bounds: tuple[float, float, float, float], cell_m: float) -> GeoBox:
        """The smallest grid over `bounds` (in `crs`) whose cells begin where the DEM's do."""
        own = self.cells
        left = own.c + math.floor((bounds[0] - own.c) / cell_m + 1e-6) * cell_m
        top = own.f - math.floor((own.f - bounds[3]) / cell_m + 1e-6) * cell_m
        rows = math.ceil((top - bounds[1]) / cell_m - 1e-6)
        cols = math.ceil((bounds[2] - left) / cell_m - 1e-6)
        transform = rasterio.Affine(cell_m, 0, left, 0, -cell_m, top)
        return GeoBox((max(rows, 1), max(cols, 1)), transform, self.crs.to_wkt())

    def read(self, grid: GeoBox) -> NDArray[np.float32]:
        """Elevation in metres on a grid, NaN where the DEM knows none; bilinear between cells."""
        rows, cols = grid.shape
        with WarpedVRT(
            self.source,
            crs=str(grid.crs),
            transform=grid.transform,
            width=cols,
            height=rows,
            resampling=Resampling.bilinear,
            dtype="float32",
            nodata=np.nan,
        ) as view:
            elevation: NDArray[np.float32] = view.read(1)
        # voids are often stored as -32768 without being declared
        elevation[~((elevation > _LOWEST_M) & (elevation < _HIGHEST_M))] = np.nan
        return elevation


@contextmanager
def open_dem(path: Path, place: Point) -> Iterator[Dem]:
    """Open a DEM in its own CRS where that measures in metres on the ground, else in UTM.

    Args:
        path: elevation raster in metres.
        place: a point of the ground in question, EPSG:4326.

    Raises:
        RasterError: it is missing, unreadable or has no CRS; also for what fails to be read while
            it is open.
    """
    try:
        with rasterio.open(path) as source:
            crs = _metric_crs(source, place, path)
            with WarpedVRT(source, crs=crs.to_wkt()) as native:
                bounds, cells = tuple(native.bounds), native.transform
            yield Dem(source, crs, bounds, cells)
    except (RasterioError, CPLE_BaseError) as error:
        raise RasterError(
            f"DEM {path} cannot be read, it is missing or damaged: {error}"
        ) from error


def _metric_crs(source: DatasetReader, place: Point, path: Path) -> CRS:
    if source.crs is None:
        raise RasterError(
            f"DEM {path} has no CRS: assign one, for example with gdal_edit.py -a_srs"
        )
    crs = CRS.from_user_input(source.crs)
    in_metres = crs.is_projected and all(axis.unit_name == "metre" for axis in crs.axis_info[:2])
    if in_metres and _is_true_to_scale(crs, place):
        return crs
    zones = query_utm_crs_info(
        datum_name="WGS 84", area_of_interest=Bounds(place.x, place.y, place.x, place.y)
    )
    if not zones:
        raise RasterError(
            f"DEM {path} is not in metres and no UTM zone holds {place.y:.2f}°N {place.x:.2f}°E; "
            "reproject it to a metric CRS"
        )
    return CRS.from_authority(zones[0].auth_name, zones[0].code)


def _is_true_to_scale(crs: CRS, place: Point) -> bool:
    here = Proj(crs).get_factors(place.x, place.y)
    scales = np.array([here.meridional_scale, here.parallel_scale])
    return bool((abs(scales - 1) < _LARGEST_DISTORTION).all())
