"""One image of an event from the scenes chosen, on one grid, read and written block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.features import shapes
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, box, shape
from shapely.geometry.base import BaseGeometry

from tasks.errors import NoImageryError, RasterError
from tasks.events.aoi import as_multipolygon, continuous_longitudes, split_at_antimeridian
from tasks.imagery.clouds import middle
from tasks.imagery.masks import COLOURS, Seen, blank, mask_of, read_mask
from tasks.imagery.rasters import BandOnGrid, area_on, grid_wkt, inside, on_grid, open_band
from tasks.publish.products import room_for, written_aside
from tasks.types import AreaOfInterest, Mosaic, Scene

BLOCK_PX = 512
MAX_SCENES = 255
KEPT_DTYPES = frozenset({"uint8", "uint16", "int16", "float32"})
# Methods of projection whose metres grow towards the poles.
STRETCHED = ("Mercator", "Popular Visualisation Pseudo Mercator")
# A straight line of a projected CRS bends in degrees; by under 2 cm over this.
SEGMENT_M = 1_000.0
INTERPRETATION = {
    "red": ColorInterp.red,
    "green": ColorInterp.green,
    "blue": ColorInterp.blue,
    "nir": ColorInterp.undefined,
}


@dataclass(frozen=True)
class _SceneOnGrid:
    """The bands of one scene opened on the mosaic's grid."""

    bands: tuple[BandOnGrid, ...]
    mask: BandOnGrid | None


@dataclass(frozen=True)
class _Numbers:
    """How stored numbers become the mosaic's: unchanged, shifted, or reflectance as float32."""

    dtype: str
    as_reflectance: bool

    def convert(self, values: NDArray[Any], band: BandOnGrid) -> NDArray[Any]:
        """Convert one block; where data is, the result is never below 1 for shifted integers."""
        if self.as_reflectance:
            return (values * band.scale + band.offset).astype(np.float32)
        if band.offset == 0:
            return values.astype(self.dtype)
        # ESA's own harmonisation: the offset is taken off in stored numbers; 0 stays no data.
        shifted = values.astype(np.int32) + round(band.offset / band.scale)
        return np.clip(shifted, 1, np.iinfo(self.dtype).max).astype(self.dtype)


def prepare_mosaic(
    scenes: Sequence[Scene],
    aoi: AreaOfInterest,
    folder: Path,
    grid: GeoBox | None = None,
    moved_px: tuple[float, float] = (0.0, 0.0),
) -> Mosaic:
    """Put the chosen scenes on one grid; each pixel comes from the first that shows it clear.

    The grid is the scenes' own where they share a projected CRS, aligned to the finest scene, else
    the area's UTM zone at the finest ground size; it covers the area as far as scenes do. Scenes
    on the grid are copied number by number, others are resampled bilinearly (cloud masks: nearest).
    Stored numbers are kept where all scenes have the same scale; an offset, such as Sentinel-2's
    since January 2022, is taken off so that scenes compare. Scenes of unlike scale become
    reflectance in float32. What `tasks.imagery.masks.blank` knows counts as not seen. Memory does
    not grow with the scenes: 512 × 512 px are held at a time.

    Args:
        scenes: the scenes to use, the one preferred first, at most 255.
        aoi: the area; nothing outside it is observed.
        folder: where `mosaic.tif` and `scene_index.tif` are written or replaced.
        grid: put it on this grid instead.
        moved_px: move the ground of the scenes this far to the east and south, in pixels.

    Returns:
        The mosaic: tiled GeoTIFF in uint8, uint16, int16 or float32, bands red, green, blue (and
        nir if every scene has it), internal mask; the index of scenes; and the observed area, the
        pixels seen clear cut to the area. The same input makes the same bytes.

    Raises:
        NoImageryError: no scenes are given, or none shows any ground of the area clear.
        RasterError: a scene's file is missing, truncated or without CRS, or 8-bit pictures are
            mixed with measurements.
        TransientError: the server that holds a scene timed out or answered 429 or 5xx.
        StorageError: the disk is full or the folder cannot be written.
    """
    if not 0 < len(scenes) <= MAX_SCENES:
        raise NoImageryError(f"{len(scenes)} scenes to make a mosaic of; choose 1 to {MAX_SCENES}")
    grid = grid or event_grid(scenes, aoi)
    east, south = moved_px
    read_at = GeoBox(grid.shape, grid.affine @ rasterio.Affine.translation(-east, -south), grid.crs)
    names = [*COLOURS, "nir"] if all("nir" in scene.bands for scene in scenes) else list(COLOURS)
    path, index_path = folder / "mosaic.tif", folder / "scene_index.tif"
    with written_aside(path) as aside, written_aside(index_path) as index_aside, room_for(path):
        with ExitStack() as stack:
            opened = [stack.enter_context(_opened(scene, names, read_at)) for scene in scenes]
            numbers = _common_numbers(opened)
            image = stack.enter_context(_new_image(aside, grid, names, numbers.dtype))
            index = stack.enter_context(_new_index(index_aside, grid))
            area = area_on(aoi.geometry, grid_wkt(grid))
            _fill(image, index, opened, numbers, area, grid)
        observed = _observed(index_aside, aoi)
    return Mosaic(path, index_path, tuple(scenes), observed)


def find_mosaic(scenes: Sequence[Scene], aoi: AreaOfInterest, folder: Path) -> Mosaic | None:
    """What `prepare_mosaic` left in a folder that holds nothing but a mosaic of these scenes."""
    path, index_path = folder / "mosaic.tif", folder / "scene_index.tif"
    if not path.exists() or not index_path.exists():
        return None
    return Mosaic(path, index_path, tuple(scenes), _observed(index_path, aoi))


def event_grid(scenes: Sequence[Scene], aoi: AreaOfInterest, band: str = "red") -> GeoBox:
    """The grid of an event's mosaic (see `prepare_mosaic`), north up, by a band of its scenes.

    Raises:
        NoImageryError: no scene meets the area.
        RasterError: a scene's file is missing, no raster or without CRS.
    """
    finest = min(scenes, key=lambda scene: scene.gsd_m)
    with open_band(finest, band) as dataset:
        transform, crs = _north_up(dataset), CRS(dataset.crs.to_wkt())
    shared = len({scene.crs for scene in scenes}) == 1
    own = shared and _is_ground_metres(crs) and transform.b == transform.d == 0
    if not own:
        crs = CRS.utm(*middle(aoi.geometry))
        transform = rasterio.Affine(finest.gsd_m, 0, 0, 0, -finest.gsd_m, 0)
    wanted = box(*area_on(aoi.geometry, crs.to_wkt()).bounds)
    covered = shapely.union_all([_bounds_on(scene, band, crs) for scene in scenes])
    part = shapely.intersection(wanted, box(*covered.bounds))
    if part.area == 0:
        raise NoImageryError(
            f"none of the scenes {', '.join(scene.id for scene in scenes)} meets the area; "
            "check the area of interest or name other images"
        )
    return _snapped(part.bounds, transform, crs)


def _north_up(dataset: DatasetReader) -> rasterio.Affine:
    """The grid of an image whose rows may run from south to north, or columns from east to west."""
    own = dataset.transform
    left = own.c + min(own.a, 0) * dataset.width
    top = own.f + max(own.e, 0) * dataset.height
    return rasterio.Affine(abs(own.a), own.b, left, own.d, -abs(own.e), top)


def _is_ground_metres(crs: CRS) -> bool:
    """Whether lengths on the grid are lengths on the ground, which those of Mercator's are not."""
    if not crs.projected or crs.units[0] != "metre":
        return False
    operation = crs.proj.coordinate_operation
    return not (operation and operation.method_name.startswith(STRETCHED))


def _bounds_on(scene: Scene, band: str, crs: CRS) -> BaseGeometry:
    with open_band(scene, band) as dataset:
        return box(*transform_bounds(dataset.crs, crs.to_wkt(), *dataset.bounds))


def _snapped(
    bounds: tuple[float, float, float, float], transform: rasterio.Affine, crs: CRS
) -> GeoBox:
    """The smallest grid over `bounds` whose pixels are those of `transform`.

    Bounds that miss a pixel's edge by under a hundredth of a pixel are taken to lie on it.
    """
    west, south, east, north = bounds
    step_x, step_y = transform.a, -transform.e
    first = math.floor((west - transform.c) / step_x + 0.01)
    last = math.ceil((east - transform.c) / step_x - 0.01)
    top = math.floor((transform.f - north) / step_y + 0.01)
    bottom = math.ceil((transform.f - south) / step_y - 0.01)
    corner = rasterio.Affine(
        step_x, 0, transform.c + first * step_x, 0, -step_y, transform.f - top * step_y
    )
    return GeoBox((max(bottom - top, 1), max(last - first, 1)), corner, crs)


@contextmanager
def _opened(scene: Scene, names: Sequence[str], grid: GeoBox) -> Iterator[_SceneOnGrid]:
    """Open every band of a scene on the grid."""
    with ExitStack() as stack:
        bands = tuple(
            stack.enter_context(on_grid(scene, name, grid, _resampling(scene, name, grid)))
            for name in names
        )
        mask = None
        if name := mask_of(scene):
            mask = stack.enter_context(on_grid(scene, name, grid, Resampling.nearest))
        yield _SceneOnGrid(bands, mask)


def _resampling(scene: Scene, name: str, grid: GeoBox) -> Resampling:
    """Nearest where the band's pixels are the grid's, so that numbers stay; else bilinear."""
    with open_band(scene, name) as dataset:
        columns, rows = ~dataset.transform @ (grid.affine.c, grid.affine.f)
        same_size = np.allclose(
            (dataset.transform.a, dataset.transform.e, dataset.transform.b, dataset.transform.d),
            (grid.affine.a, grid.affine.e, 0, 0),
        )
        same_crs = CRS(dataset.crs.to_wkt()) == grid.crs
    on_pixels = abs(columns - round(columns)) < 0.01 and abs(rows - round(rows)) < 0.01
    return Resampling.nearest if same_crs and same_size and on_pixels else Resampling.bilinear


def _common_numbers(opened: Sequence[_SceneOnGrid]) -> _Numbers:
    """Decide on one kind of number for all scenes."""
    bands = [band for scene in opened for band in scene.bands]
    dtypes = {band.dtype for band in bands}
    if "uint8" in dtypes and len(dtypes) > 1:
        named = ", ".join(sorted({f"{band.scene.id} ({band.dtype})" for band in bands}))
        raise RasterError(
            f"8-bit pictures cannot be mixed with measurements: {named}; use one kind"
        )
    dtype = str(np.result_type(*dtypes))
    kept = dtype if dtype in KEPT_DTYPES else "float32"
    unlike_scales = len({band.scale for band in bands}) > 1
    offset_of_floats = kept == "float32" and any(band.offset for band in bands)
    if unlike_scales or offset_of_floats:
        return _Numbers("float32", as_reflectance=True)
    return _Numbers(kept, as_reflectance=False)


@contextmanager
def _new_image(
    path: Path, grid: GeoBox, names: Sequence[str], dtype: str
) -> Iterator[DatasetWriter]:
    """Open the mosaic for writing, with an internal mask and band names."""
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **tiled_profile(grid, len(names), dtype)) as image,
    ):
        image.colorinterp = [INTERPRETATION[name] for name in names]
        for number, name in enumerate(names, start=1):
            image.set_band_description(number, name)
        yield image


def _new_index(path: Path, grid: GeoBox) -> DatasetWriter:
    index = rasterio.open(path, "w", **tiled_profile(grid, 1, "uint8"), nodata=0)
    index.set_band_description(1, "scene")
    return index


def tiled_profile(grid: GeoBox, count: int, dtype: str) -> dict[str, Any]:
    """How rasters that are written block by block lie on disk."""
    rows, cols = grid.shape
    return {
        "driver": "GTiff",
        "height": rows,
        "width": cols,
        "count": count,
        "dtype": dtype,
        "crs": grid_wkt(grid),
        "transform": grid.affine,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "deflate",
        "zlevel": 1,
        "predictor": 3 if dtype == "float32" else 2,
        "interleave": "pixel",
        "bigtiff": "if_safer",
    }


def _fill(
    image: DatasetWriter,
    index: DatasetWriter,
    scenes: Sequence[_SceneOnGrid],
    numbers: _Numbers,
    area: BaseGeometry,
    grid: GeoBox,
) -> None:
    """Write every block: pixels, mask and which scene each pixel is from.

    Pixels of the area are those whose centre lies in it, or that it touches if none does.
    """
    windows = [window for _, window in image.block_windows(1)]
    touched = not any(inside(area, _part(grid, window)).any() for window in windows)
    for window in windows:
        pending = inside(area, _part(grid, window), all_touched=touched)
        block = np.zeros((image.count, *pending.shape), numbers.dtype)
        sources = np.zeros(pending.shape, np.uint8)
        for number, scene in enumerate(scenes, start=1):
            if not pending.any():
                break
            values, clear = _read_clear(scene, window, pending, numbers)
            block[:, clear] = values[:, clear]
            sources[clear] = number
            pending &= ~clear
        image.write(block, window=window)
        image.write_mask(np.where(sources > 0, 255, 0).astype(np.uint8), window=window)
        index.write(sources, 1, window=window)


def _part(grid: GeoBox, window: Window) -> GeoBox:
    rows, cols = window.toslices()
    return grid[rows, cols]


def _read_clear(
    scene: _SceneOnGrid,
    window: Window,
    pending: NDArray[np.bool_],
    numbers: _Numbers,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One scene's block, (bands, rows, cols), and which of the pending pixels it shows clear."""
    clear = pending.copy()
    block = np.zeros((len(scene.bands), *pending.shape), numbers.dtype)
    if scene.mask is not None:
        clear &= read_mask(scene.mask, window) == Seen.GROUND
    if not clear.any():
        return block, clear
    colours = []
    for number, band in enumerate(scene.bands):
        values, valid = band.read(window)
        clear &= valid
        if number < len(COLOURS):
            colours.append(values)
        block[number] = numbers.convert(np.where(valid, values, 0), band)
    return block, clear & ~blank(colours)


def _observed(index_path: Path, aoi: AreaOfInterest) -> MultiPolygon:
    """The pixels that some scene showed clear, as polygons in EPSG:4326 cut to the area."""
    with rasterio.open(index_path) as index:
        parts = shapes(rasterio.band(index, 1), connectivity=4, transform=index.transform)
        seen = [shape(outline) for outline, number in parts if number > 0]
        crs = index.crs.to_wkt()
    if not seen:
        raise NoImageryError(
            "the scenes chosen show no ground of the area clear: all of it is cloud, nodata or "
            "blank; choose others"
        )
    return part_of_area(seen, crs, aoi)


def part_of_area(outlines: Sequence[BaseGeometry], crs: str, aoi: AreaOfInterest) -> MultiPolygon:
    """Outlines of pixels of a CRS as one geometry in EPSG:4326, cut to an area."""
    to_wgs84 = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    dense = shapely.segmentize(as_multipolygon(shapely.union_all(outlines)), SEGMENT_M)
    degrees = shapely.transform(dense, to_wgs84.transform, interleaved=False)
    ground = split_at_antimeridian(shapely.make_valid(continuous_longitudes(degrees)))
    return as_multipolygon(shapely.intersection(ground, aoi.geometry))
