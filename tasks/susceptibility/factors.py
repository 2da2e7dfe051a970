"""Conditioning factors of landslides, derived from a DEM on one metric grid over an AOI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from shapely.geometry import MultiPolygon, Point, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import RasterError
from tasks.susceptibility import terrain
from tasks.susceptibility.dem import Dem, open_dem

FACTORS = (
    "elevation",
    "slope",
    "northness",
    "eastness",
    "plan_curvature",
    "profile_curvature",
    "relief",
    "topographic_position",
    "flow_accumulation",
    "wetness",
)
NEIGHBOURHOOD_M = 300.0
MARGIN_M = 600.0
MAX_CELLS = 12_000_000
LEAST_COVERAGE = 0.01
_BAND_ROWS = 256
_MEASURES = {
    "slope": terrain.slope_deg,
    "northness": terrain.northness,
    "eastness": terrain.eastness,
    "plan_curvature": terrain.plan_curvature,
    "profile_curvature": terrain.profile_curvature,
}


@dataclass(frozen=True)
class FactorStack:
    """Factors on one grid.

    `values` is float32, (factors, rows, cols) in the order of `names`, NaN where the terrain is
    unknown or outside the AOI. `geobox` is north-up, square, in a metric CRS. `coverage` is the
    share (0-1) of the AOI whose elevation the DEM knows.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]
    geobox: GeoBox
    coverage: float

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """One factor by its name, (rows, cols)."""
        layer: NDArray[np.float32] = self.values[self.names.index(name)]
        return layer

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where every factor has a value, (rows, cols)."""
        return np.asarray(np.isfinite(self.values).all(axis=0))


def derive_factors(dem: Path, aoi: MultiPolygon, resolution_m: float | None = None) -> FactorStack:
    """Derive `FACTORS` from a DEM over an AOI.

    elevation, relief and topographic_position are in m, slope in degrees, curvatures in 1/m,
    northness and eastness in -1..1, flow_accumulation is log10 m² and wetness ln m. Relief and
    position look at a square of `NEIGHBOURHOOD_M`. The DEM is read around the AOI only, by bilinear
    resampling where its grid differs.

    Args:
        dem: elevation raster in metres, any CRS; where that does not measure in metres on the
            ground it is warped to UTM.
        aoi: area in EPSG:4326.
        resolution_m: side of a cell; by default the DEM's own, doubled as often as needed to hold
            at most `MAX_CELLS` cells.

    Returns:
        The stack over the part of the AOI's bounding box that the DEM covers.

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or knows less than
            `LEAST_COVERAGE` of the AOI.
    """
    with open_dem(dem, _place(aoi)) as opened:
        area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
        grid = _grid(opened, dem, area, resolution_m)
        margin = _cells(MARGIN_M, grid) + 1
        elevation = opened.read(grid.pad(margin))
    inside = ~geometry_mask([area], grid.shape, grid.transform)
    cropped = elevation[margin:-margin, margin:-margin]
    coverage = _coverage(np.isfinite(cropped) & inside, grid, area)
    if coverage < LEAST_COVERAGE:
        raise RasterError(
            f"DEM {dem} knows {coverage:.1%} of the area of interest; give one that covers it"
        )
    values = np.empty((len(FACTORS), *grid.shape), dtype=np.float32)
    _fill(dict(zip(FACTORS, values, strict=True)), elevation, margin, grid)
    values[:, ~inside] = np.nan
    return FactorStack(FACTORS, values, grid, coverage)


def check_dem(dem: Path, aoi: MultiPolygon) -> None:
    """Find out before any work starts that a DEM cannot serve an AOI (EPSG:4326).

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or lies elsewhere.
    """
    with open_dem(dem, _place(aoi)) as opened:
        area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
        _grid(opened, dem, area, None)


def _fill(
    layers: dict[str, NDArray[np.float32]],
    elevation: NDArray[np.float32],
    margin: int,
    grid: GeoBox,
) -> None:
    """Write each factor into its layer; `elevation` has `margin` more cells on each side."""
    size = grid.resolution.x
    inner = np.s_[margin:-margin, margin:-margin]
    layers["elevation"][:] = elevation[inner]
    for top in range(0, grid.shape[0], _BAND_ROWS):
        rows = slice(top, min(top + _BAND_ROWS, grid.shape[0]))
        around = np.s_[rows.start + margin - 1 : rows.stop + margin + 1, margin - 1 : 1 - margin]
        derivatives = terrain.derivatives(elevation[around], size)
        for name, measure in _MEASURES.items():
            layers[name][rows] = measure(derivatives)[1:-1, 1:-1]
    square = _cells(NEIGHBOURHOOD_M, grid) // 2 * 2 + 1
    layers["relief"][:] = terrain.local_relief(elevation, square)[inner]
    layers["topographic_position"][:] = terrain.topographic_position(elevation, square)[inner]
    accumulation = terrain.flow_accumulation_m2(elevation, size)[inner]
    layers["flow_accumulation"][:] = np.log10(accumulation)
    layers["wetness"][:] = terrain.wetness_index(accumulation, layers["slope"], size)


def _place(aoi: MultiPolygon) -> Point:
    """A point of the largest part: the centre of an AOI across the antimeridian is off the map."""
    return max(aoi.geoms, key=lambda part: part.area).representative_point()


def _grid(dem: Dem, path: Path, area: BaseGeometry, resolution_m: float | None) -> GeoBox:
    """The part of the area's bounding box that the DEM covers; `area` in the DEM's CRS."""
    extent = box(*dem.bounds).intersection(box(*area.bounds))
    if extent.area == 0:
        raise RasterError(f"DEM {path} does not overlap the area of interest")
    return dem.grid(extent.bounds, resolution_m or _size_that_fits(dem.cell_m, extent.area))


def _size_that_fits(own_m: float, area_m2: float) -> float:
    doublings = math.ceil(math.log2(max(1.0, area_m2 / own_m**2 / MAX_CELLS)) / 2)
    return float(own_m * 2**doublings)


def _cells(distance_m: float, grid: GeoBox) -> int:
    return math.ceil(distance_m / grid.resolution.x)


def _coverage(known: NDArray[np.bool_], grid: GeoBox, area: BaseGeometry) -> float:
    return float(min(1.0, known.sum() * grid.resolution.x**2 / area.area))
