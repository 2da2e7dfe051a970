"""An elevation model opened on north-up grids of square cells in metres, whatever its own are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from shapely.geometry import MultiPolygon, Point, box

from tasks.datasets import dataset_sha256
from tasks.errors import RasterError
from tasks.imagery.hosts import is_remote
from tasks.imagery.rasters import GDAL_OPTIONS, read_errors

DemSource = str | Path | Sequence[str | Path]

_LOWEST_M, _HIGHEST_M = -500.0, 9000.0
_HIGHEST_FT = 29_100.0
# Web Mercator's metres are half a metre at 60 degrees; continental grids stay within 2 %.
_LARGEST_DISTORTION = 0.02
_FEET = {
    "ft": 0.3048,
    "foot": 0.3048,
    "feet": 0.3048,
    "international foot": 0.3048,
    "us survey foot": 1200 / 3937,
    "us-ft": 1200 / 3937,
    "ftus": 1200 / 3937,
}
_METRIC = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("dm", "decimetre", "decimetres", "decimeter", "decimeters"), 0.1),
    **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 0.01),
}
_UNITS = _FEET | _METRIC
_VOIDS = (-32768.0, -32767.0, -9999.0, -99999.0, 9999.0, 32767.0, 65535.0)
_SAMPLE_PX = 1024
_SUSPECT = 20
_SUFFIXES = (".tif", ".tiff", ".hgt", ".img", ".vrt", ".dem", ".bil", ".asc")


@dataclass(frozen=True)
class _Sheet:
    """One file of a DEM: heights in m are stored numbers x `scale` + `offset`.

    `bounds` are in the CRS of the `Dem`; `nodata` is the number that means unknown, if any.
    """

    name: str
    source: DatasetReader
    bounds: tuple[float, float, float, float]
    nodata: float | None
    scale: float
    offset: float


@dataclass(frozen=True)
class Dem:
    """An open elevation model of one or several files.

    `crs` is projected, in metres that are metres on the ground; `bounds` (west, south, east, north)
    and `cells`, the affine of the DEM's own cells, are in it. `feet` says whether heights are
    converted from feet.
    """

    sheets: tuple[_Sheet, ...]
    crs: CRS
    cells: rasterio.Affine
    feet: bool

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north end of all files, in `crs`."""
        west, south, east, north = np.array([sheet.bounds for sheet in self.sheets]).T
        return float(west.min()), float(south.min()), float(east.max()), float(north.max())

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
        elevation = np.full(grid.shape, np.nan, np.float32)
        here = box(*transform_bounds(str(grid.crs), self.crs.to_wkt(), *grid.boundingbox.bbox))
        for sheet in self.sheets:
            if here.intersects(box(*sheet.bounds)) and np.isnan(elevation).any():
                with read_errors("DEM", sheet.name):
                    heights = _on_grid(sheet, grid)
                elevation = np.where(np.isnan(elevation), heights, elevation)
        return elevation


def _on_grid(sheet: _Sheet, grid: GeoBox) -> NDArray[np.float32]:
    rows, cols = grid.shape
    with WarpedVRT(
        sheet.source,
        crs=str(grid.crs),
        transform=grid.transform,
        width=cols,
        height=rows,
        resampling=Resampling.bilinear,
        dtype="float32",
        src_nodata=sheet.nodata,
        nodata=np.nan,
    ) as view:
        heights: NDArray[np.float32] = view.read(1)
    heights = heights * np.float32(sheet.scale) + np.float32(sheet.offset)
    heights[~((heights > _LOWEST_M) & (heights < _HIGHEST_M))] = np.nan
    return heights


def find_dem(dem: DemSource, aoi: MultiPolygon) -> tuple[str, ...]:
    """The files of an elevation model.

    Args:
        dem: a raster, on disk or by URL; several; a folder of them; or a STAC API or catalog, of
            whose items over the AOI the asset `data` (Copernicus), `elevation` or `dem` is taken.
        aoi: area in EPSG:4326.

    Raises:
        RasterError: a file does not exist, a folder holds no raster, or a STAC source no elevation
            over the AOI.
        CatalogError, TransientError: the STAC source cannot be used, or not now.
    """
    if not isinstance(dem, str | Path):
        return tuple(map(str, dem))
    path = Path(dem)
    catalog = path / "catalog.json" if (path / "catalog.json").is_file() else dem
    if str(catalog).endswith(".json") or (
        is_remote(str(dem)) and not str(dem).lower().split("?")[0].endswith(_SUFFIXES)
    ):
        # a DEM of one file, as mapping an image takes, should not wait for pystac
        from tasks.susceptibility.dem_stac import stac_dem

        return stac_dem(str(catalog), aoi)
    if path.is_dir():
        files = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise RasterError(f"DEM folder {dem} holds no raster; give a file, or a folder of some")
        return tuple(files)
    if _is_on_disk(str(dem)) and not path.is_file():
        raise RasterError(f"DEM {dem} does not exist; check its path")
    return (str(dem),)


def _is_on_disk(name: str) -> bool:
    return not is_remote(name) and not name.startswith("/vsi")


def dem_digest(files: Sequence[str]) -> str:
    """SHA-256 of a DEM: of its only file, or of the digests (URLs where remote) of several."""
    digests = [dataset_sha256(Path(name)) if _is_on_disk(name) else name for name in files]
    if len(digests) == 1 and _is_on_disk(files[0]):
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@contextmanager
def open_dem(dem: DemSource, place: Point) -> Iterator[Dem]:
    """Open a DEM in its own CRS where that measures in metres on the ground, else in UTM.

    Args:
        dem: elevation raster, or the files `find_dem` found, whose first decides the CRS and cells.
            Heights are in metres, or in feet where the file says so.
        place: a point of the ground in question, EPSG:4326.

    Raises:
        RasterError: it is missing, unreadable, has no CRS or seems to be in feet without saying so;
            also for what fails to be read while it is open.
    """
    files = [dem] if isinstance(dem, str | Path) else list(dem)
    try:
        # on disk, a file's neighbours may hold its CRS
        options = GDAL_OPTIONS if any(is_remote(str(file)) for file in files) else {}
        with rasterio.Env(**options), ExitStack() as opened:
            sources = [opened.enter_context(rasterio.open(file)) for file in files]
            crs = _metric_crs(sources[0], place, files[0])
            sheets = [_sheet(str(f), s, crs, place) for f, s in zip(files, sources, strict=True)]
            with WarpedVRT(sources[0], crs=crs.to_wkt()) as native:
                cells = native.transform
            feet = any(_in_metres(source) in _FEET.values() for source in sources)
            yield Dem(tuple(sheets), crs, cells, feet)
    except (RasterioError, CPLE_BaseError) as error:
        named = ", ".join(map(str, files[:3]))
        raise RasterError(
            f"DEM {named} cannot be read, it is missing or damaged: {error}"
        ) from error


def _sheet(name: str, source: DatasetReader, crs: CRS, place: Point) -> _Sheet:
    _metric_crs(source, place, name)
    if ColorInterp.red in source.colorinterp:
        raise RasterError(f"DEM {name}: is a picture in colours; give an elevation raster")
    with WarpedVRT(source, crs=crs.to_wkt()) as native:
        bounds = tuple(native.bounds)
    factor, nodata = _in_metres(source), source.nodata
    if nodata is None or factor is None:
        values = _sampled(source)
        if nodata is None:
            nodata = next((void for void in _VOIDS if (values == void).any()), None)
        if factor is None:
            _refuse_feet(values[values != nodata] * source.scales[0] + source.offsets[0], name)
    scale, offset = source.scales[0] * (factor or 1), source.offsets[0] * (factor or 1)
    return _Sheet(name, source, bounds, nodata, scale, offset)


def _in_metres(source: DatasetReader) -> float | None:
    """What a unit of height is in metres; None where the file does not say."""
    crs = source.crs and CRS.from_user_input(source.crs)
    vertical = crs.sub_crs_list[-1].axis_info[0].unit_name if crs and crs.sub_crs_list else ""
    named = (source.units[0] or source.tags(1).get("units", "") or vertical).strip().lower()
    return _UNITS.get(named)


def _sampled(source: DatasetReader) -> NDArray[np.float64]:
    """Some of the stored numbers, none of them interpolated."""
    shrink = max(1.0, max(source.shape) / _SAMPLE_PX)
    shape = (math.ceil(source.height / shrink), math.ceil(source.width / shrink))
    values = source.read(1, out_shape=shape, resampling=Resampling.nearest)
    return np.asarray(values, dtype=np.float64)


def _refuse_feet(values: NDArray[np.float64], name: str) -> None:
    too_high = values[(values > _HIGHEST_M) & (values < _HIGHEST_FT)]
    if len(np.unique(too_high)) > _SUSPECT:
        raise RasterError(
            f"DEM {name} has heights up to {too_high.max():.0f}, higher than any mountain in "
            "metres: if they are in feet, say so in its unit (gdal_edit.py -units ft) or convert it"
        )


def _metric_crs(source: DatasetReader, place: Point, path: str | Path) -> CRS:
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
