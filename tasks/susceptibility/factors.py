"""Conditioning factors of landslides, derived from a DEM on one metric grid over an AOI."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter
from shapely.geometry import MultiPolygon, Point, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import FactorError, RasterError
from tasks.percent import percent
from tasks.publish.products import room_for, scratch_beside
from tasks.susceptibility.dem import Dem, DemSource, find_dem, open_dem
from tasks.susceptibility.factor_file import FactorTable, read_factor_file
from tasks.susceptibility.layers import Layer, open_layers
from tasks.susceptibility.measures import MEASURES
from tasks.susceptibility.planes import TILE, Plane, side_by_side, tiles
from tasks.susceptibility.site import Ground, Site
from tasks.susceptibility.stack import (
    BLOCK_PX,
    GDAL_CACHE_BYTES,
    Factor,
    FactorStack,
    describe_stack,
)
from tasks.susceptibility.voids import mend
from tasks.types import Doubt

MARGIN_M = 600.0
MAX_CELLS = 400_000_000
LEAST_COVERAGE = 0.01
LEAST_KNOWN = 0.5
_FULL = 0.995
_LEAST_MARGIN = 3  # the neighbours of the neighbours of the area's cells, and theirs


TERRAIN = FactorTable(tuple(MEASURES)[:10])


def read_factors(path: Path) -> FactorTable:
    """Read the operator's list of factors; see `factor_file.read_factor_file`."""
    return read_factor_file(path, tuple(MEASURES), TERRAIN.terrain)


def derive_factors(
    dem: DemSource,
    aoi: MultiPolygon,
    path: Path,
    *,
    table: FactorTable = TERRAIN,
    resolution_m: float | None = None,
) -> FactorStack:
    """Derive factors over an AOI, tile by tile; nothing the size of the grid is held.

    The DEM is read around the AOI only, by bilinear resampling where its grid differs. A factor
    that is known on less than `LEAST_KNOWN` of the known ground, or the same everywhere, is left
    out with a doubt.

    Args:
        dem: elevation as `find_dem` takes it, any CRS; where that does not measure in metres on the
            ground it is warped to UTM. Small holes are bridged, large areas of exactly 0 m unknown.
        aoi: area in EPSG:4326.
        path: GeoTIFF to make or replace.
        table: which factors, of `MEASURES` and of further layers; and whether to write slope units
            to `units_path(path)`.
        resolution_m: side of a cell; by default the DEM's own, doubled as often as needed to hold
            at most `MAX_CELLS` cells.

    Returns:
        The stack over the part of the AOI's bounding box that the DEM covers.

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or knows less than
            `LEAST_COVERAGE` of the AOI.
        FactorError: a layer cannot be used, or no factor is left.
        StorageError: `path` cannot be written.
    """
    files = find_dem(dem, aoi)
    source = ", ".join(PurePath(file).name for file in files)
    with scratch_beside(path) as folder:
        with open_dem(files, _place(aoi)) as opened:
            area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
            grid = _grid(opened, source, area, resolution_m)
            elevation, doubts = _elevation(opened, grid, folder)
        site = Site(grid, area, _margin(grid), elevation, folder)
        coverage = _coverage(site)
        if coverage < LEAST_COVERAGE:
            raise RasterError(
                f"DEM {source} knows {percent(coverage)} of the area of interest; give one that "
                "covers it"
            )
        recipe = [_of_terrain(name, source) for name in table.terrain]
        recipe += open_layers(table.layers, grid)
        for need in sorted({need for name in table.terrain for need in MEASURES[name].needs}):
            getattr(site, need)  # made once, and not by whichever thread asks first
        partial = folder / path.name
        with room_for(partial):
            ranges = _write(partial, site, recipe)
            if table.slope_units:
                _write_units(units_path(partial), site)
        factors, more = _usable([layer.factor for layer in recipe], ranges)
        stack = FactorStack(partial, grid, factors, coverage, (*doubts, *more), table.absent)
        describe_stack(stack)
        if table.slope_units:
            units_path(partial).replace(units_path(path))
        partial.replace(path)
    return replace(stack, path=path)


def _of_terrain(name: str, source: str) -> Layer:
    measure = MEASURES[name]
    return Layer(Factor(name, "continuous", measure.unit, source), measure.of)


def _margin(grid: GeoBox) -> int:
    return max(math.ceil(MARGIN_M / grid.resolution.x) + 1, _LEAST_MARGIN)


def _elevation(dem: Dem, grid: GeoBox, folder: Path) -> tuple[Plane, tuple[Doubt, ...]]:
    """Elevation of a grid and its margin, mended, with what there is to say of it."""
    wide = grid.pad(_margin(grid))
    shape = (wide.height, wide.width)
    raw = Plane.make(folder / "raw", shape, np.float32)
    windows = tiles(shape, 2 * TILE)
    for window in windows:
        raw.write(dem.read(wide[window.toslices()]), window)
    elevation = Plane.make(folder / "elevation", shape, np.float32)
    bridged, zeros = mend(raw, elevation, windows)
    raw.path.unlink()
    cells = shape[0] * shape[1]
    doubts = []
    if dem.feet:
        text = "the elevation model is in feet by its own account, and was converted to metres"
        doubts.append(Doubt("dem-in-feet", text))
    if bridged:
        share = percent(bridged / cells)
        text = f"holes in the elevation model were bridged: {share} of the ground"
        doubts.append(Doubt("dem-voids-filled", text))
    if zeros:
        text = (
            f"{percent(zeros / cells)} of the ground has an elevation of exactly 0 m in large "
            "pieces, which is taken for sea or for unmeasured ground and has no value"
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


@dataclass(frozen=True)
class _Range:
    """What a factor is on the ground whose terrain is known: least and greatest value, and where.

    `known` is the share, 0-1, of that ground where it has a value.
    """

    least: float
    greatest: float
    known: float


def _write(path: Path, site: Site, recipe: Sequence[Layer]) -> list[_Range]:
    """Write every factor, and find out what it is like."""

    def derived(number: int) -> tuple[NDArray[np.float32], NDArray[np.float64], int]:
        ground = Ground(site, number)
        values = np.empty((len(recipe), *ground.inside.shape), np.float32)
        known = ground.inside & np.isfinite(ground.inner(ground.elevation))
        for layer, made in zip(values, recipe, strict=True):
            layer[:] = made.of(ground)
            layer[~known] = np.nan
            if made.factor.name in MEASURES:
                known &= np.isfinite(layer)
        return values, np.array([_extent(layer[known]) for layer in values]), int(known.sum())

    extents, cells = [], 0
    with _created(path, site.grid, [layer.factor.name for layer in recipe]) as dataset:
        results = side_by_side(derived, range(len(site.tiles)))
        for tile, (values, extent, known) in zip(site.tiles, results, strict=True):
            dataset.write(values, window=tile)
            extents.append(extent)
            cells += known
    least, greatest, found = np.stack(extents, axis=-1).transpose(1, 0, 2)
    return [
        _Range(low.min(), high.max(), count.sum() / max(cells, 1))
        for low, high, count in zip(least, greatest, found, strict=True)
    ]


def _extent(values: NDArray[np.float32]) -> tuple[float, float, int]:
    """Least and greatest finite value, and how many there are."""
    finite = values[np.isfinite(values)]
    return finite.min(initial=np.inf), finite.max(initial=-np.inf), finite.size


def _usable(
    factors: Sequence[Factor], ranges: Sequence[_Range]
) -> tuple[tuple[Factor, ...], tuple[Doubt, ...]]:
    """The factors worth using, and why others are not."""
    kept, doubts = [], []
    for factor, range_ in zip(factors, ranges, strict=True):
        name = f"factor {factor.name} ({factor.source})"
        if range_.known < LEAST_KNOWN:
            text = f"{name} is known on {percent(range_.known)} of the ground and was left out"
            doubts.append(Doubt("factor-partial", text))
        elif range_.least == range_.greatest:
            text = f"{name} is {range_.least:g} everywhere and was left out"
            doubts.append(Doubt("factor-constant", text))
        else:
            kept.append(factor)
            if range_.known < _FULL:
                text = (
                    f"{name} is known on {percent(range_.known)} of the ground; the rest has no "
                    "value in the map"
                )
                doubts.append(Doubt("factor-partial", text))
    if not kept:
        raise FactorError(f"no factor can be used: {'; '.join(doubt.text for doubt in doubts)}")
    return tuple(kept), tuple(doubts)


def units_path(path: Path) -> Path:
    """Where the slope units of the stack at `path` lie: `slope_units.tif` beside it.

    An int32 GeoTIFF on the stack's grid: 1, 2, … for each half-basin, 0 where the terrain is
    unknown. Folds that keep a unit whole cut no slope.
    """
    return path.with_name("slope_units.tif")


def _write_units(path: Path, site: Site) -> None:
    """Number the slope units of the area from 1 on, and write them."""
    units = site.channels.units()

    def coded(number: int) -> NDArray[np.int64]:
        code = site.crop(units(number), number)
        return np.where(site.inside(site.tiles[number]), code, -1)

    numbers = range(len(site.tiles))
    every = [np.unique(code) for code in side_by_side(coded, numbers)]
    known = np.unique(np.concatenate(every))
    known = known[known >= 0]
    with _created(path, site.grid, ["slope unit"], "int32", 0) as dataset:
        for tile, code in zip(site.tiles, side_by_side(coded, numbers), strict=True):
            unit = np.where(code >= 0, np.searchsorted(known, code) + 1, 0)
            dataset.write(unit.astype(np.int32), 1, window=tile)


@contextmanager
def _created(
    path: Path, grid: GeoBox, names: Sequence[str], dtype: str = "float32", nodata: float = np.nan
) -> Iterator[DatasetWriter]:
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=len(names),
            dtype=dtype,
            nodata=nodata,
            crs=str(grid.crs),
            transform=grid.transform,
            tiled=True,
            blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX,
            interleave="band",
            bigtiff="IF_SAFER",
        ) as dataset,
    ):
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
        yield dataset


def check_dem(dem: DemSource, aoi: MultiPolygon) -> None:
    """Find out before any work starts that rasters cannot serve as a DEM of an AOI (EPSG:4326).

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or lies elsewhere.
    """
    with open_dem(dem, _place(aoi)) as opened:
        area = gpd.GeoSeries([aoi], crs="EPSG:4326").to_crs(opened.crs).iloc[0]
        _grid(opened, str(dem), area, None)


def _place(aoi: MultiPolygon) -> Point:
    """A point of the largest part: the centre of an AOI across the antimeridian is off the map."""
    return max(aoi.geoms, key=lambda part: part.area).representative_point()


def _grid(dem: Dem, name: str, area: BaseGeometry, resolution_m: float | None) -> GeoBox:
    """The part of the area's bounding box that the DEM covers; `area` in the DEM's CRS."""
    extent = box(*dem.bounds).intersection(box(*area.bounds))
    if extent.area == 0:
        raise RasterError(
            f"DEM {name} does not overlap the area of interest; give one that covers it, or check "
            "its CRS"
        )
    return dem.grid(extent.bounds, resolution_m or _size_that_fits(dem.cell_m, extent.area))


def _size_that_fits(own_m: float, area_m2: float) -> float:
    doublings = math.ceil(math.log2(max(1.0, area_m2 / own_m**2 / MAX_CELLS)) / 2)
    return float(own_m * 2**doublings)
