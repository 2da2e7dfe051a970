"""Conditioning factors of landslides, derived from a DEM on one metric grid over an AOI."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from rasterio.io import DatasetWriter
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, Point, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import RasterError
from tasks.publish.products import room_for, scratch_beside
from tasks.susceptibility import terrain
from tasks.susceptibility.dem import Dem, DemSource, find_dem, open_dem
from tasks.susceptibility.drainage import Drainage, Pulled, drain
from tasks.susceptibility.planes import Plane, read_around, side_by_side, tiles
from tasks.susceptibility.slope_units import Channels
from tasks.susceptibility.stack import (
    BLOCK_PX,
    GDAL_CACHE_BYTES,
    Factor,
    FactorStack,
    describe_stack,
)
from tasks.susceptibility.voids import mend
from tasks.types import Doubt

NEIGHBOURHOOD_M = 300.0
MARGIN_M = 600.0
MAX_CELLS = 400_000_000
LEAST_COVERAGE = 0.01

Grid = NDArray[np.floating]


@dataclass(frozen=True)
class Ground:
    """One tile of a site, with what its measures are made from, each when first asked for.

    Grids have the tile's shape unless they say otherwise, NaN where the terrain is unknown.
    """

    site: Site
    number: int

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres."""
        return self.site.cell_m

    @cached_property
    def elevation(self) -> NDArray[np.float32]:
        """Elevation in m with `site.halo` more cells on each side."""
        window = self.site.wide(self.site.tiles[self.number])
        return read_around(self.site.elevation, window, self.site.halo, np.nan)

    def inner(self, values: Grid, halo: int | None = None) -> Grid:
        """The tile's part of a grid that is wider, by default as much as `elevation`."""
        halo = self.site.halo if halo is None else halo
        return values[halo:-halo, halo:-halo]

    @cached_property
    def derivatives(self) -> terrain.Derivatives:
        """Derivatives of elevation, two more cells on each side."""
        around = self.elevation[self.site.halo - 3 : 3 - self.site.halo or None]
        around = around[:, self.site.halo - 3 : 3 - self.site.halo or None]
        return terrain.Derivatives(
            *(each[1:-1, 1:-1] for each in terrain.derivatives(around, self.cell_m))
        )

    def derived(self, measure: Callable[[terrain.Derivatives], Grid]) -> Grid:
        """A measure of the derivatives."""
        return self.inner(measure(self.derivatives), 2)

    @cached_property
    def slope_deg(self) -> Grid:
        """Slope in degrees."""
        return self.derived(terrain.slope_deg)

    @cached_property
    def accumulation_m2(self) -> Grid:
        """Area in m² that drains through each cell, itself included."""
        cells = self.site.drainage.cells.read(self.site.wide(self.site.tiles[self.number]))
        return np.asarray(cells * self.cell_m**2)

    def pulled(self, values: Pulled) -> Grid:
        """What water brings up to each cell."""
        return self.site.crop(values.of_tile(self.number), self.number)

    @property
    def height_above_channel(self) -> Grid:
        """Height in m above the channel each cell drains to, depressions filled."""
        window = self.site.wide(self.site.tiles[self.number])
        return self.site.drainage.filled.read(window) - self.pulled(self.site.foot)

    def square(self, side_m: float) -> int:
        """Cells (odd) of a square of `side_m`."""
        return math.ceil(side_m / self.cell_m) // 2 * 2 + 1


@dataclass(frozen=True)
class Site:
    """The terrain of a grid and of `margin` cells around it, on disk in `folder`.

    The grid's `tiles` and the wider drainage's windows correspond, so that neither is cut by the
    other.
    """

    grid: GeoBox
    area: BaseGeometry
    margin: int
    elevation: Plane
    folder: Path

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres."""
        return float(self.grid.resolution.x)

    @property
    def halo(self) -> int:
        """How far the widest measure looks, in cells."""
        return self.margin

    @cached_property
    def tiles(self) -> list[Window]:
        """Windows that cover the grid."""
        return tiles((self.grid.height, self.grid.width))

    @cached_property
    def drainage(self) -> Drainage:
        """How the water runs, the margin included."""
        windows = [self._reaching_out(tile) for tile in self.tiles]
        return drain(self.elevation, windows, self.folder)

    @cached_property
    def channels(self) -> Channels:
        """Where the water gathers."""
        return Channels.of(self.drainage, self.cell_m)

    @cached_property
    def foot(self) -> Pulled:
        """Elevation of the channel each cell drains to."""
        return self.channels.foot()

    @cached_property
    def distance(self) -> Pulled:
        """Way to the channel each cell drains to."""
        return self.channels.distance()

    def wide(self, tile: Window) -> Window:
        """A window of the grid as one of the planes, which begin earlier."""
        return Window(
            tile.col_off + self.margin, tile.row_off + self.margin, tile.width, tile.height
        )

    def crop(self, values: Grid, number: int) -> Grid:
        """The part of a drainage window that belongs to the tile."""
        tile, window = self.wide(self.tiles[number]), self.drainage.windows[number]
        top, left = tile.row_off - window.row_off, tile.col_off - window.col_off
        return values[top : top + tile.height, left : left + tile.width]

    def inside(self, tile: Window) -> NDArray[np.bool_]:
        """Cells of a tile whose centre lies in the area."""
        part = self.grid[tile.toslices()]
        mask: NDArray[np.bool_] = ~geometry_mask([self.area], part.shape, part.transform)
        return mask

    def _reaching_out(self, tile: Window) -> Window:
        """A tile as a window of the planes, with the margin where it lies at the grid's edge."""
        rows, cols = self.grid.shape
        top = tile.row_off + self.margin * (tile.row_off > 0)
        left = tile.col_off + self.margin * (tile.col_off > 0)
        last_row, last_col = tile.row_off + tile.height, tile.col_off + tile.width
        bottom = last_row + self.margin * (1 + (last_row == rows))
        right = last_col + self.margin * (1 + (last_col == cols))
        return Window(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class Measure:
    """A factor made from the terrain alone; `needs` names what of a `Site` it reads."""

    unit: str
    of: Callable[[Ground], Grid]
    needs: tuple[str, ...] = ()


def _relief(side_m: float) -> Measure:
    return Measure("m", lambda g: g.inner(terrain.local_relief(g.elevation, g.square(side_m))))


def _position(side_m: float) -> Measure:
    return Measure(
        "m", lambda g: g.inner(terrain.topographic_position(g.elevation, g.square(side_m)))
    )


def _of_water(unit: str, measure: Callable[[Grid, Grid, float], Grid]) -> Measure:
    return Measure(unit, lambda g: measure(g.accumulation_m2, g.slope_deg, g.cell_m), ("drainage",))


MEASURES = {
    "elevation": Measure("m", lambda g: g.inner(g.elevation)),
    "slope": Measure("degrees", lambda g: g.slope_deg),
    "northness": Measure("1", lambda g: g.derived(terrain.northness)),
    "eastness": Measure("1", lambda g: g.derived(terrain.eastness)),
    "plan_curvature": Measure("1/m", lambda g: g.derived(terrain.plan_curvature)),
    "profile_curvature": Measure("1/m", lambda g: g.derived(terrain.profile_curvature)),
    "relief": _relief(NEIGHBOURHOOD_M),
    "topographic_position": _position(NEIGHBOURHOOD_M),
    "flow_accumulation": Measure("log10 m2", lambda g: np.log10(g.accumulation_m2), ("drainage",)),
    "wetness": _of_water("ln m", terrain.wetness_index),
    "total_curvature": Measure("1/m2", lambda g: g.derived(terrain.total_curvature)),
    "roughness": Measure("1", lambda g: g.derived(terrain.ruggedness)),
    "relief_100": _relief(100.0),
    "relief_1000": _relief(1000.0),
    "topographic_position_100": _position(100.0),
    "topographic_position_1000": _position(1000.0),
    "stream_power": _of_water("ln m", terrain.stream_power_index),
    "channel_distance": Measure("m", lambda g: g.pulled(g.site.distance), ("distance",)),
    "channel_height": Measure("m", lambda g: g.height_above_channel, ("foot",)),
}
FACTORS = tuple(MEASURES)[:10]


def derive_factors(
    dem: DemSource,
    aoi: MultiPolygon,
    path: Path,
    *,
    names: Sequence[str] = FACTORS,
    resolution_m: float | None = None,
) -> FactorStack:
    """Derive factors from a DEM over an AOI, tile by tile; nothing the size of the grid is held.

    The DEM is read around the AOI only, by bilinear resampling where its grid differs.

    Args:
        dem: elevation as `find_dem` takes it, any CRS; where that does not measure in metres on the
            ground it is warped to UTM. Small holes are bridged, large areas of exactly 0 m unknown.
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
    files = find_dem(dem, aoi)
    source = ", ".join(PurePath(file).name for file in files)
    factors = tuple(Factor(name, "continuous", MEASURES[name].unit, source) for name in names)
    with scratch_beside(path) as folder:
        with open_dem(files, _place(aoi)) as opened:
            area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
            grid = _grid(opened, source, area, resolution_m)
            elevation, doubts = _elevation(opened, grid, folder)
        site = Site(grid, area, _margin(grid), elevation, folder)
        coverage = _coverage(site)
        if coverage < LEAST_COVERAGE:
            raise RasterError(
                f"DEM {source} knows {coverage:.1%} of the area of interest; give one that "
                "covers it"
            )
        stack = FactorStack(folder / path.name, grid, factors, coverage, doubts)
        with room_for(stack.path):
            _write(stack, site)
            describe_stack(stack)
        stack.path.replace(path)
    return replace(stack, path=path)


def _margin(grid: GeoBox) -> int:
    return math.ceil(MARGIN_M / grid.resolution.x) + 1


def _elevation(dem: Dem, grid: GeoBox, folder: Path) -> tuple[Plane, tuple[Doubt, ...]]:
    """Elevation of a grid and its margin, mended, with what there is to say of it."""
    wide = grid.pad(_margin(grid))
    shape = (wide.height, wide.width)
    raw = Plane.make(folder / "raw", shape, np.float32)
    for window in tiles(shape):
        raw.write(dem.read(wide[window.toslices()]), window)
    elevation = Plane.make(folder / "elevation", shape, np.float32)
    bridged, zeros = mend(raw, elevation, tiles(shape))
    raw.path.unlink()
    cells = shape[0] * shape[1]
    doubts = []
    if dem.feet:
        text = "the elevation model is in feet by its own account, and was converted to metres"
        doubts.append(Doubt("dem-in-feet", text))
    if bridged:
        text = f"holes in the elevation model were bridged: {bridged / cells:.2%} of the ground"
        doubts.append(Doubt("dem-voids-filled", text))
    if zeros:
        text = (
            f"{zeros / cells:.1%} of the ground has an elevation of exactly 0 m in large pieces, "
            "which is taken for sea or for unmeasured ground and has no value"
        )
        doubts.append(Doubt("dem-zeros", text))
    if grid.resolution.x > 1.5 * dem.cell_m:
        text = (
            f"the factors are on cells of {grid.resolution.x:.0f} m and the elevation model on "
            f"{dem.cell_m:.0f} m"
        )
        doubts.append(Doubt("dem-coarsened", text))
    return elevation, tuple(doubts)


def _coverage(site: Site) -> float:
    """Share of the area whose elevation is known."""
    known = sum(
        int((np.isfinite(site.elevation.read(site.wide(tile))) & site.inside(tile)).sum())
        for tile in site.tiles
    )
    return float(min(1.0, known * site.cell_m**2 / site.area.area))


def _write(stack: FactorStack, site: Site) -> None:
    def derived(number: int) -> NDArray[np.float32]:
        ground, tile = Ground(site, number), site.tiles[number]
        values = np.empty((len(stack.factors), tile.height, tile.width), np.float32)
        for layer, name in zip(values, stack.names, strict=True):
            layer[:] = MEASURES[name].of(ground)
        values[:, ~site.inside(tile)] = np.nan
        return values

    for name in stack.names:
        for need in MEASURES[name].needs:
            getattr(site, need)  # made once, and not by whichever thread asks first
    with _created(stack) as dataset:
        results = side_by_side(derived, range(len(site.tiles)))
        for tile, values in zip(site.tiles, results, strict=True):
            dataset.write(values, window=tile)


@contextmanager
def _created(stack: FactorStack) -> Iterator[DatasetWriter]:
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
        yield dataset


def check_dem(dem: DemSource, aoi: MultiPolygon) -> None:
    """Find out before any work starts that a DEM cannot serve an AOI (EPSG:4326).

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or lies elsewhere.
    """
    files = find_dem(dem, aoi)
    with open_dem(files, _place(aoi)) as opened:
        area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
        _grid(opened, ", ".join(files[:3]), area, None)


def _place(aoi: MultiPolygon) -> Point:
    """A point of the largest part: the centre of an AOI across the antimeridian is off the map."""
    return max(aoi.geoms, key=lambda part: part.area).representative_point()


def _grid(dem: Dem, name: str, area: BaseGeometry, resolution_m: float | None) -> GeoBox:
    """The part of the area's bounding box that the DEM covers; `area` in the DEM's CRS."""
    extent = box(*dem.bounds).intersection(box(*area.bounds))
    if extent.area == 0:
        raise RasterError(f"DEM {name} does not overlap the area of interest")
    return dem.grid(extent.bounds, resolution_m or _size_that_fits(dem.cell_m, extent.area))


def _size_that_fits(own_m: float, area_m2: float) -> float:
    doublings = math.ceil(math.log2(max(1.0, area_m2 / own_m**2 / MAX_CELLS)) / 2)
    return float(own_m * 2**doublings)
