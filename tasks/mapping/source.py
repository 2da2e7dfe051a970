"""The image as a network reads it: bands by name, at a resolution the network was trained for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from models.cards import Card
from models.ground import ground_sample_m
from models.normalisation import Statistics
from models.pictures import band_numbers
from tasks.errors import RasterError
from tasks.imagery.rasters import open_raster, read_errors

_STATISTICS_PX = 1024
_THINNEST = 4
_SQUARE_PX = 512
_CHECKSUM_BYTES = 1 << 24


@dataclass(frozen=True)
class Source:
    """An open image; bands in the card's order, on the working grid."""

    image: str
    card: Card
    dataset: DatasetReader
    indexes: tuple[int, ...]

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored numbers (bands, rows, cols) and where somebody looked (rows, cols).

        Raises:
            RasterError: the file is truncated.
            TransientError: the server that holds it timed out or answered 429 or 5xx.
        """
        with read_errors("image", self.image):
            pixels = self.dataset.read(self.indexes, window=window)
            seen = self._seen(window)
        if np.issubdtype(pixels.dtype, np.floating):
            seen &= np.isfinite(pixels).all(axis=0)
        return pixels, seen

    def _seen(self, window: Window) -> NDArray[np.bool_]:
        """Where the mask is not zero.

        GDAL takes an alpha band for a mask only beside one or three bands of whole numbers, so
        that of others, which a resampled image has, is read as such.
        """
        colours = self.dataset.colorinterp
        if ColorInterp.alpha in colours:
            alpha = self.dataset.read(colours.index(ColorInterp.alpha) + 1, window=window)
        else:
            alpha = self.dataset.dataset_mask(window=window)
        return np.asarray(alpha > 0)

    def statistics(self) -> Statistics:
        """Of about a million pixels spread over the scene, whatever the windows.

        All pixels of a small scene; of a large one thinned-out squares, taken here and there until
        a million valid pixels are found.

        Raises:
            RasterError: no pixel is valid.
        """
        height, width = self.dataset.shape
        thin = min(_THINNEST, -(-max(height, width) // _STATISTICS_PX))
        found: list[NDArray[np.float32]] = []
        for square in _spread_out(height, width):
            pixels, seen = self.read(square)
            part = pixels[:, ::thin, ::thin]
            found.append(part[:, seen[::thin, ::thin]].astype(np.float32))
            if sum(values.shape[1] for values in found) >= _STATISTICS_PX**2:
                break
        values = np.concatenate(found, axis=1)
        if not values.size:
            raise RasterError(f"{self.image}: no pixel is valid, so there is nothing to map")
        return Statistics.of(values)

    def identity(self) -> dict[str, Any]:
        """What tells this image from another: its grid and, for a file, size and checksum."""
        grid = {
            "shape": list(self.dataset.shape),
            "bands": list(self.indexes),
            "dtype": self.dataset.dtypes[0],
            "crs": self.dataset.crs.to_wkt(),
            "transform": list(self.dataset.transform)[:6],
        }
        path = Path(self.image)
        if not path.is_file():
            return grid | {"address": self.image}
        return grid | {"bytes": path.stat().st_size, "crc32": _crc32(path)}


class Normaliser:
    """Numbers of an image to what the network saw in training; 0 where nobody looked."""

    def __init__(self, card: Card, statistics: Statistics, dtype: str) -> None:
        self._card, self._statistics = card, statistics
        kind = np.dtype(dtype)
        # Short integers take few values, so all of them are normalised beforehand.
        self._values: NDArray[np.float32] | None = None
        if kind.kind in "ui" and kind.itemsize <= 2:
            self._unsigned = np.dtype(f"u{kind.itemsize}")
            every = np.arange(1 << 8 * kind.itemsize, dtype=self._unsigned).view(kind)
            bands = len(statistics.mean)
            self._values = self._apply(np.broadcast_to(every, (bands, 1, every.size)))[:, 0]

    def __call__(
        self, pixels: NDArray[Any], seen: NDArray[np.bool_], out: NDArray[np.float32]
    ) -> None:
        """Fill `out` (bands, rows, cols) from the stored numbers of one window."""
        if self._values is None:
            out[:] = self._apply(pixels)
        else:
            for band, values, place in zip(pixels, self._values, out, strict=True):
                np.take(values, band.view(self._unsigned), out=place, mode="clip")
        out *= seen

    def _apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        return self._card.normalisation.apply(pixels, self._statistics)


@contextmanager
def open_source(image: str | Path, card: Card) -> Iterator[Source]:
    """Open an image for a network.

    It is read at its own resolution if the network was trained for it, else resampled to the
    nearest end of the card's range.

    Args:
        image: a path, or anything else rasterio opens: projected, north up, its bands called as
            in `card.bands` (`models.pictures.band_numbers`), with a mask (internal, alpha or
            nodata) that is zero where nobody looked.
        card: the bands and the resolution the weights were trained with.

    Raises:
        RasterError: the image is missing, truncated, not georeferenced, geographic or rotated, or
            lacks a band or finer pixels.
        TransientError: the server that holds it timed out or answered 429 or 5xx.
    """
    name = str(image).removeprefix("/vsicurl/")
    # Whoever scores a part of it may stand in another folder.
    name = name if "://" in name else str(Path(name).absolute())
    with open_raster(name, "image") as dataset:
        _check(dataset, name)
        indexes = _band_indexes(dataset, name, card)
        with read_errors("image", name), _working_grid(dataset, card) as view:
            yield Source(name, card, view, indexes)


def _check(dataset: DatasetReader, name: str) -> None:
    if not dataset.crs.is_projected:
        raise RasterError(
            f"{name}: the image must be in a projected CRS, it has {dataset.crs}; "
            "reproject it to UTM"
        )
    if dataset.transform.b or dataset.transform.d:
        raise RasterError(f"{name}: the image's grid is rotated; warp it north up (gdalwarp)")


def _band_indexes(dataset: DatasetReader, name: str, card: Card) -> tuple[int, ...]:
    numbers = band_numbers(dataset)
    names = list(numbers.values())
    missing = [band for band in card.bands if band not in names]
    if missing:
        raise RasterError(
            f"{name}: band {missing[0]!r} is missing (it has {names}); weights {card.name!r} "
            f"need {list(card.bands)}"
        )
    return tuple(list(numbers)[names.index(band)] for band in card.bands)


@contextmanager
def _working_grid(dataset: DatasetReader, card: Card) -> Iterator[DatasetReader]:
    gsd = ground_sample_m(dataset)
    if problem := card.too_coarse(gsd):
        raise RasterError(f"{dataset.name}: {problem}")
    factor = card.working_gsd_m(gsd) / gsd
    if abs(factor - 1) < 0.01:
        yield dataset
        return
    width, height = (max(1, round(side / factor)) for side in (dataset.width, dataset.height))
    scale = Affine.scale(dataset.width / width, dataset.height / height)
    with WarpedVRT(
        dataset,
        crs=dataset.crs,
        transform=dataset.transform @ scale,
        width=width,
        height=height,
        resampling=Resampling.average if factor > 1 else Resampling.bilinear,
        add_alpha=True,
    ) as view:
        yield view


def _spread_out(height: int, width: int) -> Iterator[Window]:
    """The squares that tile a scene, in an order that is soon everywhere.

    Steps of the golden ratio round all of them (Weyl's sequence), next to which none is missed.
    """
    rows, columns = -(-height // _SQUARE_PX), -(-width // _SQUARE_PX)
    squares = rows * columns
    step = round(squares * (5**0.5 - 1) / 2)
    while math.gcd(step, squares) != 1:
        step += 1
    for i in range(squares):
        row, column = divmod(i * step % squares, columns)
        yield Window(column * _SQUARE_PX, row * _SQUARE_PX, _SQUARE_PX, _SQUARE_PX).intersection(
            Window(0, 0, width, height)
        )


def _crc32(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while part := file.read(_CHECKSUM_BYTES):
            found = zlib.crc32(part, found)
    return found
