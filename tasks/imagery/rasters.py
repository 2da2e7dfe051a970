"""Opening rasters: one place that turns GDAL's errors into sentences that name scene and file."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.features import geometry_mask
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from models.ground import ground_sample_m
from tasks.errors import AccessError, CatalogError, RasterError, TransientError
from tasks.imagery.hosts import gdal_options, is_remote, without_query
from tasks.types import Scene

# A deadline for every read over the network, and a few tries; small files beside a COG are not
# looked for. The block cache is small so that memory does not grow with the scene; rasterio takes
# it in bytes, whatever GDAL's documentation says of small numbers. What came over the network is
# kept longer, still compressed, so that a tile on the seam of two blocks comes once. GDAL doubles
# what it asks for while reads follow each other, until that is 100 chunks: small chunks end this
# at 200 kB, where the usual ones take 1.6 MB that nobody wanted.
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_CACHEMAX": 40 << 20,
    "CPL_VSIL_CURL_CACHE_SIZE": 128 << 20,
    "CPL_VSIL_CURL_CHUNK_SIZE": 2 << 10,
}
# A straight side in degrees bends in a projection; by under 2 cm over this.
_SEGMENT_DEG = 0.01
_REFUSED = re.compile(r"(response_code=|code: |HTTP )(401|403)", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"(response_code=|code: |HTTP )(429|5\d\d)|timed? ?out|could not (resolve|connect)",
    re.IGNORECASE,
)


def band_href(
    path: str,
    *,
    bands: tuple[int, ...] = (),
    scale: float = 1.0,
    offset: float = 0.0,
    nodata: float | None = None,
) -> str:
    """Name one band of a raster, with what its metadata say of it, as something rasterio opens.

    A plain single-band file keeps its path; otherwise GDAL's `vrt://` form carries the band number,
    scale, offset and nodata value.

    Args:
        path: file path or http(s) URL of the raster.
        bands: 1-based number of the band, and of the alpha band that goes with it if there is
            one; empty where the file has only one band.
        scale: reflectance = stored number × scale + offset.
        offset: see `scale`.
        nodata: the stored number that means no data, where the file itself does not say so.

    Raises:
        CatalogError: a `?` in the path, which GDAL takes for the beginning of its own options.
    """
    options: dict[str, str] = {}
    if bands:
        options["bands"] = ",".join(map(str, bands))
    if (scale, offset) != (1.0, 0.0):
        options |= {"a_scale": repr(scale), "a_offset": repr(offset)}
    if nodata is not None:
        options["a_nodata"] = repr(nodata)
    if not options:
        return path
    if "?" in path:
        what = "an address with a query" if is_remote(path) else "a path with a question mark"
        raise CatalogError(
            f"{without_query(path)}?… is {what}, of which GDAL reads no single band and no scale; "
            "fetch the file or name it otherwise"
        )
    return f"vrt://{_gdal_path(path)}?{urlencode(options, safe=',')}"


def _gdal_path(path: str) -> str:
    """What GDAL calls a path, URL or `s3://` object."""
    if path.startswith("s3://"):
        return path.replace("s3://", "/vsis3/", 1)
    return f"/vsicurl/{path}" if is_remote(path) else path


def source_path(href: str) -> str:
    """The file or URL behind what `band_href` made."""
    if not href.startswith("vrt://"):
        return href
    path = href.removeprefix("vrt://").rpartition("?")[0].removeprefix("/vsicurl/")
    return path.replace("/vsis3/", "s3://", 1) if path.startswith("/vsis3/") else path


@contextmanager
def open_band(
    scene: Scene, band: str, overview_level: int | None = None
) -> Iterator[DatasetReader]:
    """Open one band of a scene; wrap each read of it in `read_errors` (see `open_raster`)."""
    where = f"scene {scene.id}, band {band}"
    with open_raster(scene.hrefs[band], where, overview_level) as dataset:
        yield dataset


@contextmanager
def open_raster(
    href: str, where: str, overview_level: int | None = None
) -> Iterator[DatasetReader]:
    """Open a georeferenced raster.

    Args:
        href: a path, a URL or what `band_href` made.
        where: what the raster is; begins the sentence of every error.
        overview_level: which overview to open in its place, 0 the finest; None for the raster.

    Yields:
        The open dataset.

    Raises:
        RasterError: the file is missing, truncated, no raster or without CRS or geotransform.
        TransientError: the server that holds it timed out or answered 429 or 5xx.
    """
    path = source_path(href)
    if not is_remote(path) and not Path(path).is_file():
        raise RasterError(f"{where}: {path} does not exist; fetch it again or mend the catalog")
    with rasterio.Env(**GDAL_OPTIONS, **gdal_options(path)):
        with read_errors(where, path):
            dataset = _open_quietly(href, overview_level)
        with dataset:
            if dataset.crs is None:
                raise RasterError(f"{where}: {path} has no CRS; assign one (gdal_edit.py -a_srs)")
            if dataset.transform.is_identity:
                raise RasterError(f"{where}: {path} has no geotransform; georeference it first")
            yield dataset


@contextmanager
def read_errors(where: str, path: str) -> Iterator[None]:
    """Turn a failed read into the sentence that says which file failed and what to do.

    Raises:
        AccessError: the server that holds it does not let us.
        RasterError: the file is truncated or no raster.
        TransientError: the server that holds it timed out or answered 429 or 5xx.
    """
    try:
        yield
    except RasterioError as error:
        reason, path = without_query(_root_reason(error)), without_query(path)
        if is_remote(path) and (refused := _REFUSED.search(reason)):
            raise AccessError(
                f"{where}: {path} answered HTTP {refused[2]}; its credentials are missing, expired "
                "or do not permit it"
            ) from error
        if is_remote(path) and _TRANSIENT.search(reason):
            raise TransientError(f"{where}: {path} is out of reach: {reason}") from error
        raise RasterError(
            f"{where}: {path} cannot be read: {reason}; it may be truncated: fetch it again"
        ) from error


@dataclass(frozen=True)
class BandOnGrid:
    """One band of a scene as seen on another grid; read it window by window."""

    scene: Scene
    band: str
    dtype: str
    scale: float
    offset: float
    _view: WarpedVRT

    def read(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored numbers and where they are data, both (rows, cols) of the window.

        A pixel is data where the source covers it, no nodata value or mask says otherwise, and
        the number is finite.

        Raises:
            RasterError: the file is truncated.
            TransientError: the server that holds it timed out or answered 429 or 5xx.
        """
        where = f"scene {self.scene.id}, band {self.band}"
        with read_errors(where, source_path(self.scene.hrefs[self.band])):
            values, alpha = self._view.read((1, self._view.count), window=window)
        return values, (alpha > 0) & np.isfinite(values)

    def read_all(self, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """All bands of the file, (bands, rows, cols), and where it covers the window, (rows, cols).

        Raises: see `read`.
        """
        where = f"scene {self.scene.id}, band {self.band}"
        with read_errors(where, source_path(self.scene.hrefs[self.band])):
            *layers, alpha = self._view.read(window=window)
        return np.stack(layers), alpha > 0


@contextmanager
def on_grid(
    scene: Scene, band: str, grid: GeoBox, resampling: Resampling, coarser: float = 1.01
) -> Iterator[BandOnGrid]:
    """Open one band of a scene warped to a grid, without reading it.

    On a coarser grid an overview is read in place of the band: the coarsest whose pixels are at
    most `coarser` times the grid's.

    Raises:
        RasterError: see `open_raster`.
        TransientError: see `open_raster`.
    """
    with open_band(scene, band) as dataset:
        level = _overview_level(dataset, grid, coarser)
    with open_band(scene, band, level) as dataset:
        rows, cols = grid.shape
        has_alpha = ColorInterp.alpha in dataset.colorinterp
        with WarpedVRT(
            dataset,
            crs=grid_wkt(grid),
            transform=grid.affine,
            height=rows,
            width=cols,
            resampling=resampling,
            add_alpha=not has_alpha,
        ) as view:
            # A scale of 0 is one that somebody left out.
            scale, offset = dataset.scales[0] or 1.0, dataset.offsets[0]
            yield BandOnGrid(scene, band, dataset.dtypes[0], scale, offset, view)


def _overview_level(dataset: DatasetReader, grid: GeoBox, coarser: float) -> int | None:
    """The coarsest overview that will do for a grid in metres; None where there is none."""
    wanted = math.sqrt(abs(grid.affine.a * grid.affine.e)) / ground_sample_m(dataset)
    fine_enough = [level for level, by in enumerate(dataset.overviews(1)) if by <= wanted * coarser]
    return max(fine_enough, default=None)


def grid_wkt(grid: GeoBox) -> str:
    """The CRS of a grid as WKT; a grid of ours always has one."""
    assert grid.crs is not None
    return str(grid.crs.to_wkt())


def area_on(area: MultiPolygon, crs: str) -> BaseGeometry:
    """An area of EPSG:4326 in another CRS, its sides densified so that they bend as they must."""
    dense = shapely.segmentize(area, _SEGMENT_DEG)
    to_crs = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    return shapely.transform(dense, to_crs.transform, interleaved=False)


def inside(area: BaseGeometry, grid: GeoBox, all_touched: bool = False) -> NDArray[np.bool_]:
    """Pixels of a grid whose centre lies in an area of the grid's CRS, (rows, cols)."""
    mask: NDArray[np.bool_] = geometry_mask(
        [area], grid.shape, grid.affine, invert=True, all_touched=all_touched
    )
    return mask


def _open_quietly(href: str, overview_level: int | None) -> DatasetReader:
    options = {} if overview_level is None else {"overview_level": overview_level}
    with warnings.catch_warnings():
        # `open_raster` turns what the warning says into an error.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(_gdal_path(href) if href.startswith("s3://") else href, **options)


def _root_reason(error: BaseException) -> str:
    """The innermost message of a chain of GDAL errors, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
