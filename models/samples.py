"""One labelled tile as every dataset gives it: the record that training and evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.normalisation import Statistics

Split = Literal["train", "validation", "test"]
RGB = ("red", "green", "blue")
# Longitude and latitude of the four corners, in the order of the pixels: the first row from its
# first column to its last, then the last row back. No box: that of a tile on a grid turned against
# north reaches over its neighbours.
Footprint = tuple[tuple[float, float], ...]
# Of a whole scene, of the bands named, at the pixel sizes in metres that a network looks at.
SceneStatistics = Callable[[tuple[str, ...], tuple[float, float]], Statistics]


@dataclass(frozen=True)
class Sample:
    """A tile and what is known of it.

    Attributes:
        name: unique in its dataset; for a file, what a person would look for.
        image: (bands, h, w), any number type; finite where valid.
        mask: bool (h, w), True on a landslide.
        valid: bool (h, w), True where somebody looked.
        bands: common names, in order.
        gsd_m: ground size of a pixel, None where nobody says.
        event: what triggered the landslides, or the place; empty where unknown.
        source: the dataset, with the sensor if it has several.
        split: what the dataset's authors, or the paper that uses it, keep the tile for.
        footprint: where it lies, None without a place on the ground.
        scene: statistics of the scene it was cut from, by which it is normalised, as `scarp map`
            would; None for its own.
        around: the tile with the ground about it, which a network sees beside it when it is
            scored, as it would in a map; None where nothing about it is known.
        within: rows and columns of the tile in `around`.
    """

    name: str
    image: NDArray[Any]
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    bands: tuple[str, ...]
    gsd_m: float | None = None
    event: str = ""
    source: str = ""
    split: Split = "test"
    footprint: Footprint | None = None
    scene: SceneStatistics | None = None
    around: Sample | None = None
    within: tuple[slice, slice] = (slice(None), slice(None))

    def __post_init__(self) -> None:
        """Refuse what no network can use.

        Raises:
            ModelError: shapes differ, bands are not as many as named, or a valid pixel is NaN.
        """
        if self.image.shape[1:] != self.mask.shape or self.mask.shape != self.valid.shape:
            raise ModelError(
                f"{self.name}: the image is {size_of(self.image)} and the mask "
                f"{size_of(self.mask)} pixels; they must be of the same size"
            )
        if len(self.image) != len(self.bands):
            raise ModelError(
                f"{self.name}: has {len(self.image)} bands, not {len(self.bands)} "
                f"({', '.join(self.bands)})"
            )
        if np.issubdtype(self.image.dtype, np.floating):
            strange = np.count_nonzero(~np.isfinite(self.image).all(axis=0) & self.valid)
            if strange:
                raise ModelError(
                    f"{self.name}: {strange} pixels are NaN or infinite and not marked as nodata; "
                    "declare nodata in the file, or leave the tile out"
                )

    def pick(self, bands: Sequence[str], whose: str) -> NDArray[Any]:
        """The bands asked for, (bands, h, w), in that order.

        Raises:
            ModelError: one is missing; `whose` says who needs it.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            enough = len(self.bands) >= len(bands)
            unsaid = "undefined" in self.bands or (enough and not set(bands) & set(self.bands))
            fix = (
                "; say which is which in the file (gdal_edit.py -colorinterp_1 red …) or by --bands"
            )
            raise ModelError(
                f"{self.name}: band {missing[0]!r} is missing (it has {', '.join(self.bands)}); "
                f"{whose} need {', '.join(bands)}{fix if unsaid else ''}"
            )
        if tuple(bands) == self.bands:
            return self.image
        return self.image[[self.bands.index(band) for band in bands]]


@dataclass(frozen=True)
class Entry:
    """A tile that is not read yet; `read` opens it, and may raise ModelError that names it.

    `group` tells tiles that lie on the same ground or beside each other, such as cuts of one scene;
    tiles of a group are resampled together. Empty: a group of its own. `place` is the picture that
    a tile was cut from, with its rows and columns there, where such cuts overlap.
    """

    name: str
    read: Callable[[], Sample]
    event: str = ""
    source: str = ""
    split: Split = "test"
    group: str = ""
    place: tuple[str, slice, slice] | None = None


def moved(entry: Entry, **known: Any) -> Entry:
    """The entry with another event or split, and so what it reads."""

    def read() -> Sample:
        return replace(entry.read(), **known)

    return replace(entry, read=read, **known)


def size_of(pixels: NDArray[Any]) -> str:
    """Width × height of an array whose last axes are rows and columns."""
    return f"{pixels.shape[-1]}×{pixels.shape[-2]}"


def as_mask(values: NDArray[Any], name: str | Path) -> NDArray[np.bool_]:
    """Landslide mask of stored numbers: 0 is none, and 1 or 255, but not both, is landslide.

    Raises:
        ModelError: there are other values, so that nobody can say which is landslide.
    """
    found = np.unique(values)
    if not (np.isin(found, (0, 1)).all() or np.isin(found, (0, 255)).all()):
        shown = ", ".join(f"{value:g}" for value in found[:6]) + (", …" if len(found) > 6 else "")
        raise ModelError(
            f"{name}: the mask holds the values {shown}; it must hold 0 for no landslide and "
            "either 1 or 255 for landslide"
        )
    return np.asarray(values != 0)


def tiles_of(shape: tuple[int, int], size: int, overlap: float = 0.0) -> list[tuple[slice, slice]]:
    """Cuts that cover a raster, row by row.

    Args:
        shape: rows and columns.
        size: side in pixels; of cuts without overlap the longest side, which all come near.
        overlap: share of the side that neighbours have in common at least, 0 to below 1; the last
            cut of a row is moved inwards.
    """

    def places(length: int) -> list[slice]:
        if not overlap or length <= size:
            count = -(-length // size)
            edges = [length * i // count for i in range(count + 1)]
            return [slice(a, b) for a, b in pairwise(edges)]
        starts = list(range(0, length - size + 1, max(1, round(size * (1 - overlap)))))
        starts += [length - size] if starts[-1] + size < length else []
        return [slice(start, start + size) for start in starts]

    return [(row, column) for row in places(shape[0]) for column in places(shape[1])]


def some_of(names: Sequence[str]) -> str:
    """The first five of many names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def group_of(entry: Entry) -> str:
    """What must be resampled together with this tile."""
    return f"{entry.source}/{entry.group}" if entry.group else f"{entry.source}//{entry.name}"
