"""Holes in an elevation model: small ones are bridged, seas of zeros are not taken for ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage
from scipy.interpolate import griddata

from tasks.susceptibility.planes import Plane, read_around, side_by_side

# A hole is bridged, and an area of zeros taken for ground, only if it has fewer cells than this.
# Both are then decided alike by every tile that looks as far beyond its edge.
LARGE_CELLS = 256
_RIM = 2
_EIGHT = np.ones((3, 3), dtype=bool)


def mend(raw: Plane, mended: Plane, windows: Sequence[Window]) -> tuple[int, int]:
    """Copy elevation, with small holes bridged and large areas of exactly 0 m made unknown.

    A hole is bridged by linear interpolation from its rim. The sea, and what no sensor measured,
    is 0 in many DEMs; measured ground is so only here and there.

    Args:
        raw: elevation in m, NaN where unknown.
        mended: the plane to write, of the same shape.
        windows: tiles that cover both.

    Returns:
        How many cells were bridged, and how many zeros made unknown.
    """

    def mend_tile(window: Window) -> tuple[int, int]:
        elevation = raw.read(window)
        if np.isfinite(elevation).all() and (elevation != 0).all():
            mended.write(elevation, window)
            return 0, 0
        halo = LARGE_CELLS + _RIM
        around = read_around(raw, window, halo, np.nan)
        inner = np.s_[halo:-halo, halo:-halo]
        zeros = _large(around == 0)
        around[zeros] = np.nan
        before = np.isnan(around[inner])
        for patch, hole in _holes(around, inner):
            around[patch][hole] = _bridged(around[patch], hole)
        mended.write(around[inner], window)
        return int((before & np.isfinite(around[inner])).sum()), int(zeros[inner].sum())

    counts = np.array(list(side_by_side(mend_tile, windows)))
    bridged, zeroed = counts.sum(axis=0)
    return int(bridged), int(zeroed)


def _large(wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells that lie in connected areas of at least `LARGE_CELLS`."""
    label, _ = ndimage.label(wanted, _EIGHT)
    sizes = np.bincount(label.ravel())
    sizes[0] = 0
    return np.asarray(sizes[label] >= LARGE_CELLS)


def _holes(
    elevation: NDArray[np.float32], inner: tuple[slice, slice]
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Small holes with a rim all around that reach the inner part: a patch, and its hole."""
    label, _ = ndimage.label(np.isnan(elevation), _EIGHT)
    sizes = np.bincount(label.ravel())
    rows, cols = elevation.shape
    ours = set(np.unique(label[inner]).tolist()) - {0}
    places = ndimage.find_objects(label)
    for number in sorted(ours):
        down, right = places[number - 1]
        framed = down.start >= _RIM and right.start >= _RIM
        framed &= down.stop <= rows - _RIM and right.stop <= cols - _RIM
        if framed and sizes[number] < LARGE_CELLS:
            patch = (
                slice(down.start - _RIM, down.stop + _RIM),
                slice(right.start - _RIM, right.stop + _RIM),
            )
            yield patch, label[patch] == number


def _bridged(patch: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    known = ndimage.binary_dilation(hole, _EIGHT) & np.isfinite(patch)
    values = griddata(np.argwhere(known), patch[known], np.argwhere(hole), method="linear")
    return np.asarray(values)
