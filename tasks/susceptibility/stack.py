"""Conditioning factors of landslides on one grid, on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from tasks.errors import RasterError
from tasks.types import Doubt

BLOCK_PX = 512
GDAL_CACHE_BYTES = 64 << 20
_TAG = "SCARP_FACTORS"


@dataclass(frozen=True)
class Factor:
    """One conditioning factor: what it is called, measured in and made from.

    A `categorical` factor holds whole numbers, `classes` their names where they are known; they
    are labels and must be neither averaged nor ordered. `source` names the file.
    """

    name: str
    kind: Literal["continuous", "categorical"]
    unit: str
    source: str
    classes: dict[int, str] | None = None


@dataclass(frozen=True)
class FactorStack:
    """Factors on one grid, in a tiled GeoTIFF of float32 bands, NaN where unknown.

    Unknown is what lies outside the area of interest or where a factor's source knows nothing.
    `factors` are the bands to use, found by their descriptions; the file may hold more. `geobox` is
    north-up, square, in a metric CRS. `coverage` is the share (0-1) of the area of interest whose
    elevation the DEM knows. `absent` names what was not given.
    """

    path: Path
    geobox: GeoBox
    factors: tuple[Factor, ...]
    coverage: float
    doubts: tuple[Doubt, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names, in the order of every array of them."""
        return tuple(factor.name for factor in self.factors)

    def blocks(
        self, cells: int = 1 << 19, halo: int = 0
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """All factors window by window, (factors, rows, cols), of about `cells` cells each.

        The windows cover the grid, row by row of blocks, without overlap; the factors reach `halo`
        cells further on each side, NaN beyond the grid.
        """
        rows, cols = self.geobox.shape
        width = max(1, cells // BLOCK_PX**2) * BLOCK_PX
        with self._open() as (dataset, bands):
            for top in range(0, rows, BLOCK_PX):
                for left in range(0, cols, width):
                    window = Window(left, top, min(width, cols - left), min(BLOCK_PX, rows - top))
                    yield window, _read_around(dataset, bands, window, halo)

    def at(
        self, rows: NDArray[np.integer], cols: NDArray[np.integer], halo: int = 0
    ) -> NDArray[np.float32]:
        """All factors of single cells, (cells, factors).

        With a `halo` those of the cells around them too, (cells, factors, side, side), where side
        is 2 `halo` + 1; NaN beyond the grid.
        """
        side = 2 * halo + 1
        values = np.empty((len(rows), len(self.factors), side, side), np.float32)
        block = rows // BLOCK_PX * (self.geobox.width // BLOCK_PX + 1) + cols // BLOCK_PX
        order = np.argsort(block, kind="stable")
        with self._open() as (dataset, bands):
            for group in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
                if len(group):
                    top, left = int(rows[group].min()), int(cols[group].min())
                    height = int(rows[group].max()) - top + 1
                    width = int(cols[group].max()) - left + 1
                    read = _read_around(dataset, bands, Window(left, top, width, height), halo)
                    patches = sliding_window_view(read, (side, side), axis=(1, 2))
                    near = patches[:, rows[group] - top, cols[group] - left]
                    values[group] = near.transpose(1, 0, 2, 3)
        return values if halo else values[:, :, 0, 0]

    def read(self, name: str, window: Window | None = None) -> NDArray[np.float32]:
        """One factor, (rows, cols), of a window or, where the grid is small enough, of it all."""
        with self._open() as (dataset, bands):
            layer: NDArray[np.float32] = dataset.read(bands[self.names.index(name)], window=window)
        return layer

    def known(self, window: Window | None = None) -> NDArray[np.bool_]:
        """Where every factor has a value, (rows, cols)."""
        with self._open() as (dataset, bands):
            known = np.isfinite(dataset.read(bands[0], window=window))
            for band in bands[1:]:
                known &= np.isfinite(dataset.read(band, window=window))
        return np.asarray(known)

    @contextmanager
    def _open(self) -> Iterator[tuple[DatasetReader, list[int]]]:
        """The file, and the numbers of the factors' bands."""
        with (
            rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES),
            _read_errors(self.path),
            rasterio.open(self.path) as dataset,
        ):
            yield dataset, [dataset.descriptions.index(name) + 1 for name in self.names]


def _read_around(
    dataset: DatasetReader, bands: list[int], window: Window, halo: int
) -> NDArray[np.float32]:
    """A window of some bands with `halo` more cells on each side, NaN beyond the grid."""
    wide = Window(
        window.col_off - halo,
        window.row_off - halo,
        window.width + 2 * halo,
        window.height + 2 * halo,
    )
    inside = wide.intersection(Window(0, 0, dataset.width, dataset.height))
    values = np.full((len(bands), wide.height, wide.width), np.nan, np.float32)
    top, left = inside.row_off - wide.row_off, inside.col_off - wide.col_off
    values[:, top : top + inside.height, left : left + inside.width] = dataset.read(
        bands, window=inside
    )
    return values


def describe_stack(stack: FactorStack) -> None:
    """Write into a stack's file what `open_stack` gives back."""
    record = {
        "factors": [asdict(factor) for factor in stack.factors],
        "coverage": stack.coverage,
        "doubts": [asdict(doubt) for doubt in stack.doubts],
        "absent": stack.absent,
    }
    with rasterio.open(stack.path, "r+") as dataset:
        dataset.update_tags(**{_TAG: json.dumps(record)})


def open_stack(path: Path) -> FactorStack:
    """Find again what `derive_factors` left at `path`.

    Raises:
        RasterError: the file is missing, damaged or was not made by `derive_factors`.
    """
    with _read_errors(path), rasterio.open(path) as dataset:
        record = json.loads(dataset.tags().get(_TAG, "null"))
        geobox = GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())
    if record is None:
        raise RasterError(f"{path} is not a factor stack that Scarp made; derive the factors again")
    return FactorStack(
        path,
        geobox,
        tuple(_factor(factor) for factor in record["factors"]),
        record["coverage"],
        tuple(Doubt(**doubt) for doubt in record["doubts"]),
        tuple(record["absent"]),
    )


def _factor(record: dict[str, object]) -> Factor:
    classes = record["classes"]
    named = {int(k): str(v) for k, v in classes.items()} if isinstance(classes, dict) else None
    return Factor(**{**record, "classes": named})  # type: ignore[arg-type]


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise RasterError(
            f"factor stack {path} cannot be read, it is missing or damaged: {error}; "
            "derive the factors again"
        ) from error
