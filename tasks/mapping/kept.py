"""What was scored before and stays: only ground that nobody had seen is mapped anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from tasks.mapping.raw import Grid


@dataclass(frozen=True)
class Kept:
    """An earlier score on the grid of a new one; without one, nothing is kept."""

    _view: WarpedVRT | None

    def levels(self, window: Window) -> NDArray[np.uint8]:
        """Stored levels (rows, cols), uint8, 0 where nobody had looked."""
        if self._view is None:
            return np.zeros((round(window.height), round(window.width)), np.uint8)
        levels: NDArray[np.uint8] = self._view.read(1, window=window)
        return levels


@contextmanager
def open_kept(path: str | None, grid: Grid) -> Iterator[Kept]:
    """Open an earlier score raster on a grid; pixels of another grid are the nearest ones.

    Args:
        path: a raster `segment_scene` made; None keeps nothing.
        grid: of the new score.
    """
    if path is None:
        yield Kept(None)
        return
    rows, cols = grid.shape
    with (
        rasterio.open(path) as score,
        WarpedVRT(
            score,
            crs=grid.crs,
            transform=grid.transform,
            height=rows,
            width=cols,
            resampling=Resampling.nearest,
        ) as view,
    ):
        yield Kept(view)
