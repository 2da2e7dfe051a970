"""Conditioning factors of landslides, derived from a DEM on one metric grid over an AOI."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, Point, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import RasterError
from tasks.publish.products import room_for, scratch_beside
from tasks.susceptibility import terrain
from tasks.susceptibility.dem import Dem, open_dem
from tasks.susceptibility.planes import Plane, padded, side_by_side, tiles
from tasks.susceptibility.stack import (
    BLOCK_PX,
    GDAL_CACHE_BYTES,
    Factor,
    FactorStack,
    describe_stack,
)

NEIGHBOURHOOD_M = 300.0
MARGIN_M = 600.0
MAX_CELLS = 12_000_000
LEAST_COVERAGE = 0.01

Grid = NDArray[np.floating]


@dataclass(frozen=True)
class Ground:
    """What the measures of one tile are made from.

    `elevation` has `halo` more cells on each side than the tile; `accumulation_m2` has not.
    """

    elevation: NDArray[np.float32]
    halo: int
    cell_m: float
    accumulation_m2: NDArray[np.float32]

    @cached_property
    def derivatives(self) -> terrain.Derivatives:
        """Of the tile's cells."""
        near = self.halo - 1
        around = self.elevation[near : -near or None, near : -near or None]
        return terrain.Derivatives(
            *(each[1:-1, 1:-1] for each in terrain.derivatives(around, self.cell_m))
        )

    @cached_property
    def slope_deg(self) -> Grid:
        """Slope of the tile's cells in degrees."""
        return terrain.slope_deg(self.derivatives)

    def inner(self, values: Grid) -> Grid:
        """The tile's part of a grid that has the halo."""
        return values[self.halo : -self.halo, self.halo : -self.halo]

    def square(self, side_m: float) -> int:
        """Cells (odd) of a square of `side_m`."""
        return math.ceil(side_m / self.cell_m) // 2 * 2 + 1


def _relief(side_m: float) -> Callable[[Ground], Grid]:
    return lambda g: g.inner(terrain.local_relief(g.elevation, g.square(side_m)))


def _position(side_m: float) -> Callable[[Ground], Grid]:
    return lambda g: g.inner(terrain.topographic_position(g.elevation, g.square(side_m)))


MEASURES: dict[str, tuple[str, Callable[[Ground], Grid]]] = {
    "elevation": ("m", lambda g: g.inner(g.elevation)),
    "slope": ("degrees", lambda g: g.slope_deg),
    "northness": ("1", lambda g: terrain.northness(g.derivatives)),
    "eastness": ("1", lambda g: terrain.eastness(g.derivatives)),
    "plan_curvature": ("1/m", lambda g: terrain.plan_curvature(g.derivatives)),
    "profile_curvature": ("1/m", lambda g: terrain.profile_curvature(g.derivatives)),
    "relief": ("m", _relief(NEIGHBOURHOOD_M)),
    "topographic_position": ("m", _position(NEIGHBOURHOOD_M)),
    "flow_accumulation": ("log10 m2", lambda g: np.log10(g.accumulation_m2)),
    "wetness": (
        "ln m",
        lambda g: terrain.wetness_index(g.accumulation_m2, g.slope_deg, g.cell_m),
    ),
}
FACTORS = tuple(MEASURES)


def derive_factors(
    dem: Path,
    aoi: MultiPolygon,
    path: Path,
    *,
    names: Sequence[str] = FACTORS,
    resolution_m: float | None = None,
) -> FactorStack:
    """Derive factors from a DEM over an AOI, tile by tile; nothing the size of the grid is held.

    The DEM is read around the AOI only, by bilinear resampling where its grid differs.

    Args:
        dem: elevation raster in metres, any CRS; where that does not measure in metres on the
            ground it is warped to UTM.
        aoi: area in EPSG:4326.
        path: GeoTIFF to make or replace.
        names: which of `MEASURES`.
        resolution_m: side of a cell; by default the DEM's own, doubled as often as needed to hold
            at most `MAX_CELLS` cells.

    Returns:
        The stack over the part of the AOI's bounding box that the DEM covers.

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or knows less than
            `LEAST_COVERAGE` of the AOI.
        StorageError: `path` cannot be written.
    """
    factors = tuple(Factor(name, "continuous", MEASURES[name][0], dem.name) for name in names)
    with scratch_beside(path) as folder:
        with open_dem(dem, _place(aoi)) as opened:
            area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
            grid = _grid(opened, dem, area, resolution_m)
            site = _Site.prepare(opened, grid, area, folder)
        coverage = min(1.0, site.known_cells * grid.resolution.x**2 / area.area)
        if coverage < LEAST_COVERAGE:
            raise RasterError(
                f"DEM {dem} knows {coverage:.1%} of the area of interest; give one that covers it"
            )
        stack = FactorStack(folder / path.name, grid, factors, coverage)
        with room_for(stack.path):
            _write(stack, site)
            describe_stack(stack)
        stack.path.replace(path)
    return replace(stack, path=path)


@dataclass(frozen=True)
class _Site:
    """The terrain of a grid and of `margin` cells around it, on disk."""

    grid: GeoBox
    area: BaseGeometry
    margin: int
    elevation: Plane
    accumulation: Plane
    known_cells: int

    @classmethod
    def prepare(cls, dem: Dem, grid: GeoBox, area: BaseGeometry, folder: Path) -> _Site:
        margin = math.ceil(MARGIN_M / grid.resolution.x) + 1
        wide = grid.pad(margin)
        elevation = Plane.make(folder / "elevation", wide.shape, np.float32)
        for window in tiles(wide.shape):
            elevation.write(dem.read(_part(wide, window)), window)
        accumulation = Plane.make(folder / "accumulation", wide.shape, np.float32)
        everything = Window(0, 0, wide.width, wide.height)
        accumulation.write(
            terrain.flow_accumulation_m2(elevation.read(everything), grid.resolution.x), everything
        )
        site = cls(grid, area, margin, elevation, accumulation, 0)
        known = sum(
            int((np.isfinite(elevation.read(site.wide(w))) & site.inside(w)).sum())
            for w in tiles(grid.shape)
        )
        return replace(site, known_cells=known)

    def wide(self, window: Window, halo: int = 0) -> Window:
        """A window of the grid, `halo` wider, as one of the planes, which begin earlier."""
        around = padded(window, halo)
        return Window(
            around.col_off + self.margin, around.row_off + self.margin, around.width, around.height
        )

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Cells of a window whose centre lies in the area."""
        part = _part(self.grid, window)
        mask: NDArray[np.bool_] = ~geometry_mask([self.area], part.shape, part.transform)
        return mask

    def ground(self, window: Window) -> Ground:
        halo = self.margin - 1
        return Ground(
            self.elevation.read(self.wide(window, halo)),
            halo,
            self.grid.resolution.x,
            self.accumulation.read(self.wide(window)),
        )


def _write(stack: FactorStack, site: _Site) -> None:
    def derived(window: Window) -> tuple[Window, NDArray[np.float32]]:
        ground, outside = site.ground(window), ~site.inside(window)
        values = np.empty((len(stack.factors), window.height, window.width), np.float32)
        for layer, name in zip(values, stack.names, strict=True):
            layer[:] = MEASURES[name][1](ground)
        values[:, outside] = np.nan
        return window, values

    grid = stack.geobox
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES),
        rasterio.open(
            stack.path,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=len(stack.factors),
            dtype="float32",
            nodata=np.nan,
            crs=str(grid.crs),
            transform=grid.transform,
            tiled=True,
            blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX,
            interleave="band",
            bigtiff="IF_SAFER",
        ) as dataset,
    ):
        for number, factor in enumerate(stack.factors, start=1):
            dataset.set_band_description(number, factor.name)
        for window, values in side_by_side(derived, tiles(grid.shape)):
            dataset.write(values, window=window)


def check_dem(dem: Path, aoi: MultiPolygon) -> None:
    """Find out before any work starts that a DEM cannot serve an AOI (EPSG:4326).

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or lies elsewhere.
    """
    with open_dem(dem, _place(aoi)) as opened:
        area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
        _grid(opened, dem, area, None)


def _place(aoi: MultiPolygon) -> Point:
    """A point of the largest part: the centre of an AOI across the antimeridian is off the map."""
    return max(aoi.geoms, key=lambda part: part.area).representative_point()


def _grid(dem: Dem, path: Path, area: BaseGeometry, resolution_m: float | None) -> GeoBox:
    """The part of the area's bounding box that the DEM covers; `area` in the DEM's CRS."""
    extent = box(*dem.bounds).intersection(box(*area.bounds))
    if extent.area == 0:
        raise RasterError(f"DEM {path} does not overlap the area of interest")
    return dem.grid(extent.bounds, resolution_m or _size_that_fits(dem.cell_m, extent.area))


def _part(grid: GeoBox, window: Window) -> GeoBox:
    return grid[window.toslices()]


def _size_that_fits(own_m: float, area_m2: float) -> float:
    doublings = math.ceil(math.log2(max(1.0, area_m2 / own_m**2 / MAX_CELLS)) / 2)
    return float(own_m * 2**doublings)
