"""Maps of the landslides expected of a ShakeMap, computed and written a band of rows at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.features import geometry_mask
from rasterio.io import DatasetReader, DatasetWriter, MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, box

from tasks.errors import RasterError
from tasks.events.impact_layers import NowickiJesseeLayers, Strength
from tasks.events.shakemap import ShakeMap
from tasks.events.shaken import LEAST_PGA_G
from tasks.publish.products import room_for, scratch_beside, write_cog
from tasks.susceptibility import physical, terrain
from tasks.susceptibility.dem import open_dem
from tasks.types import geodesic_measures

Floats = NDArray[np.float64]

_BAND_ROWS = 256
_TILE = 1024
_WGS84 = "EPSG:4326"


@dataclass(frozen=True)
class ExpectedMap:
    """What a map adds up to: the area expected to slide, and the largest value on it, 0-1."""

    expected_km2: float
    largest: float


def map_nowicki_jessee(
    shakemap: ShakeMap, layers: NowickiJesseeLayers, target: Path | None
) -> ExpectedMap:
    """The share of ground that landslides cover, as the USGS computes it.

    `physical.nowicki_jessee` on the cells of the slope layer whose centres lie between the points
    of the ShakeMap; shaking, slope and CTI are interpolated bilinearly, classes are those of the
    nearest cell, and a cell is known where every layer knows its own nearest cell. The expected
    area counts cells with a PGA of at least 0.1 g, as the USGS's alert does (`Hagg_0.10g`).

    Args:
        shakemap: with PGA and PGV.
        layers: the ground.
        target: the COG to write, float32, 0-1, NaN where unknown; None writes nothing.

    Returns:
        The aggregate hazard, the sum of coverage times geodesic area, and the largest coverage.

    Raises:
        RasterError: a layer cannot be read, or together they know no cell of the ShakeMap.
        StorageError: `target` cannot be written.
    """
    with ExitStack() as opened:
        slope = opened.enter_context(_open(layers.slope))
        ground = {
            "slope": slope,
            "cti": opened.enter_context(_open(layers.cti)),
            "pgv": opened.enter_context(_points(shakemap, shakemap.pgv_cm_s)),
            "pga": opened.enter_context(_points(shakemap, shakemap.pga_g)),
        }
        classes = {
            "lithology": opened.enter_context(_open(layers.lithology)),
            "landcover": opened.enter_context(_open(layers.landcover)),
        }
        grid = _cells_between_points(slope, shakemap)
        written = opened.enter_context(_writing(target, grid, "nowicki-jessee-2018"))
        expected, largest = 0.0, -math.inf
        for first, last in pairwise([*range(0, grid.shape[0], _BAND_ROWS), grid.shape[0]]):
            band = grid[first:last, :]
            on = {name: _on_grid(source, band) for name, source in ground.items()} | {
                name: _on_grid(source, band, Resampling.nearest) for name, source in classes.items()
            }
            if layers.slope_unit == "gradient":
                on["slope"] = np.degrees(np.arctan(on["slope"]))
            coverage = physical.nowicki_jessee(
                on["pgv"], on["slope"], on["lithology"], on["cti"], on["landcover"]
            ).coverage
            shaken = np.where(on["pga"] >= LEAST_PGA_G, coverage, np.nan)
            expected += float(np.nansum(shaken * _cell_km2(band)))
            largest = max(largest, float(np.max(coverage, initial=-1, where=~np.isnan(coverage))))
            _write(written, coverage, Window(0, first, *coverage.shape[::-1]))
        if largest < 0:
            raise RasterError(
                f"the layers of {layers.slope.parent} know no cell of ShakeMap {shakemap.path}; "
                "give layers of the shaken ground"
            )
    return ExpectedMap(expected, largest)


def map_newmark(
    shakemap: ShakeMap,
    strength: Strength,
    dem: Path,
    aoi: MultiPolygon,
    magnitude: float | None,
    target: Path | None,
) -> ExpectedMap:
    """The share of slopes that slide by their Newmark displacement, on the DEM's own cells.

    Slope by Evans (1980), critical acceleration of the infinite slope and probability by Jibson et
    al. (2000), displacement by Jibson (2007), equation 7 with a magnitude and 6 without.

    Args:
        shakemap: with PGA, interpolated bilinearly.
        strength: one strength for all slopes.
        dem: elevation in metres.
        aoi: where, EPSG:4326.
        magnitude: of the earthquake.
        target: the COG to write, float32, 0-0.335, NaN where unknown; None writes nothing.

    Returns:
        The sum of probability times area over the AOI, and the largest probability.

    Raises:
        RasterError: the DEM cannot be read, or knows no shaken slope of the AOI.
        StorageError: `target` cannot be written.
    """
    place = max(aoi.geoms, key=lambda part: part.area).representative_point()
    with ExitStack() as opened:
        ground = opened.enter_context(open_dem(dem, place))
        area = geopandas.GeoSeries([aoi], crs=_WGS84).to_crs(ground.crs).iloc[0]
        extent = box(*ground.bounds).intersection(box(*area.bounds))
        if extent.area == 0:
            raise RasterError(f"DEM {dem} does not overlap the area of interest")
        grid = ground.grid(extent.bounds, ground.cell_m)
        pga = opened.enter_context(_points(shakemap, shakemap.pga_g, near=place.x))
        written = opened.enter_context(_writing(target, grid, "newmark"))
        expected, largest = 0.0, -math.inf
        for window in _tiles(grid):
            tile = grid[window.toslices()]
            slope = terrain.slope_deg(terrain.derivatives(ground.read(tile.pad(1)), ground.cell_m))
            held = physical.critical_acceleration_g(
                slope[1:-1, 1:-1],
                strength.cohesion_kpa,
                strength.friction_deg,
                strength.unit_weight_kn_m3,
                strength.thickness_m,
                strength.saturation,
            )
            moved = physical.newmark_displacement_cm(held, _on_grid(pga, tile), magnitude)
            sliding = physical.newmark_probability(moved)
            sliding[geometry_mask([area], tile.shape, tile.transform)] = np.nan
            expected += float(np.nansum(sliding)) * ground.cell_m**2 / 1e6
            largest = max(largest, float(np.max(sliding, initial=-1, where=~np.isnan(sliding))))
            _write(written, sliding, window)
        if largest < 0:
            raise RasterError(
                f"DEM {dem} knows no slope of the area of interest that ShakeMap {shakemap.path} "
                "covers; give a DEM of the shaken ground"
            )
    return ExpectedMap(expected, largest)


def _cells_between_points(slope: DatasetReader, shakemap: ShakeMap) -> GeoBox:
    """The slope layer's cells, going on round the earth, with centres between outer points."""
    own = slope.transform
    lon, lat = shakemap.longitudes, shakemap.latitudes
    left = math.ceil((lon[0] - own.c) / own.a - 0.5 - 1e-6)
    right = math.floor((lon[-1] - own.c) / own.a - 0.5 + 1e-6) + 1
    top = math.ceil((lat[0] - own.f) / own.e - 0.5 - 1e-6)
    bottom = math.floor((lat[-1] - own.f) / own.e - 0.5 + 1e-6) + 1
    cells = own @ Affine.translation(left, top)
    return GeoBox((max(bottom - top, 1), max(right - left, 1)), cells, _WGS84)


def _on_grid(
    source: DatasetReader, grid: GeoBox, resampling: Resampling = Resampling.bilinear
) -> Floats:
    """A raster on a grid, float64, NaN where unknown; longitudes beyond 180 are taken round."""
    if grid.crs is not None and grid.crs.projected:
        return _warped(source, grid, resampling)
    cells, width = grid.transform, grid.shape[1]
    turn = min(max(math.ceil((180 - cells.c) / cells.a - 0.5), 0), width)
    if turn == width or source.bounds.right > 180 + cells.a:
        return _warped(source, grid, resampling)
    beyond = grid[:, turn:]
    round_the_earth = Affine.translation(-360, 0) @ beyond.transform
    pieces = [grid[:, :turn]] if turn else []
    pieces.append(GeoBox(beyond.shape, round_the_earth, grid.crs))
    return np.hstack([_warped(source, piece, resampling) for piece in pieces])


def _warped(source: DatasetReader, grid: GeoBox, resampling: Resampling) -> Floats:
    try:
        with WarpedVRT(
            source,
            src_crs=source.crs or _WGS84,
            crs=str(grid.crs),
            transform=grid.transform,
            width=grid.shape[1],
            height=grid.shape[0],
            resampling=resampling,
            nodata=np.nan,
            dtype="float32",
        ) as view:
            values: Floats = view.read(1).astype(np.float64)
    except (RasterioError, CPLE_BaseError) as error:
        raise _unreadable(source.name, error) from error
    return values


def _cell_km2(grid: GeoBox) -> Floats:
    """Geodesic area of the cells of each row in km², shape (rows, 1)."""
    own = grid.transform
    edges = own.f + own.e * np.arange(grid.shape[0] + 1)
    cells = [box(0, south, own.a, north) for north, south in pairwise(edges)]
    return geodesic_measures(cells)[0][:, None] / 1e6


def _tiles(grid: GeoBox) -> Iterator[Window]:
    for top in range(0, grid.shape[0], _TILE):
        for left in range(0, grid.shape[1], _TILE):
            yield Window(
                left, top, min(_TILE, grid.shape[1] - left), min(_TILE, grid.shape[0] - top)
            )


@contextmanager
def _open(path: Path) -> Iterator[DatasetReader]:
    try:
        with warnings.catch_warnings():
            # The check below turns what the warning says into an error.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(path)
    except (RasterioError, CPLE_BaseError) as error:
        raise _unreadable(path, error) from error
    with source:
        if source.crs is not None and source.crs.is_projected:
            raise RasterError(f"{path} is in {source.crs}; give it in degrees (EPSG:4326)")
        if not (source.transform.a > 0 > source.transform.e):
            raise RasterError(
                f"{path} is not a grid with north up that GDAL can place; convert it, for example "
                f"with gmt grdconvert {path.name} {path.stem}.tif=gd:GTiff"
            )
        yield source


def _unreadable(path: Path | str, error: Exception) -> RasterError:
    return RasterError(f"{path} cannot be read, it is missing or damaged: {error}")


@contextmanager
def _points(
    shakemap: ShakeMap, values: NDArray[np.float32], near: float | None = None
) -> Iterator[DatasetReader]:
    """A layer of a ShakeMap as a raster, turned round the earth to where `near` is (degrees)."""
    if np.isnan(values).all():
        raise RasterError(f"ShakeMap {shakemap.path} lacks PGA or PGV, which the model needs")
    affine = shakemap.affine
    if near is not None:
        turns = round((shakemap.longitudes.mean() - near) / 360)
        affine = Affine.translation(-360 * turns, 0) @ affine
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float32",
        "nodata": np.nan,
        "crs": _WGS84,
        "transform": affine,
        "height": values.shape[0],
        "width": values.shape[1],
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(values, 1)
        with memory.open() as raster:
            yield raster


@contextmanager
def _writing(target: Path | None, grid: GeoBox, model: str) -> Iterator[DatasetWriter | None]:
    """A raster to fill; it becomes the COG `target` if the block ends well."""
    if target is None:
        yield None
        return
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float32",
        "nodata": np.nan,
        "crs": str(grid.crs),
        "transform": grid.transform,
        "height": grid.shape[0],
        "width": grid.shape[1],
        "tiled": True,
        "compress": "DEFLATE",
    }
    with scratch_beside(target) as folder:
        aside = folder / "whole.tif"
        with rasterio.open(aside, "w", **profile) as raster:
            raster.set_band_description(1, "share of the ground expected to slide")
            yield raster
        write_cog(aside, target, tags={"model": model}, overview_resampling="average")


def _write(raster: DatasetWriter | None, values: Floats, window: Window) -> None:
    if raster is None:
        return
    with room_for(Path(raster.name)):
        raster.write(values.astype(np.float32), 1, window=window)
