"""Grids too large to hold: planes of numbers on disk, read and written a window at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from rasterio.windows import Window

T = TypeVar("T")
R = TypeVar("R")

TILE = 512
THREADS = 2


@dataclass(frozen=True)
class Plane:
    """A grid of numbers in a file of its own, (rows, cols).

    Each access maps the file for its own duration: what stays mapped counts as the process's
    memory, and would grow with the grid.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @classmethod
    def make(cls, path: Path, shape: tuple[int, int], dtype: DTypeLike) -> Plane:
        """Reserve a file of zeros.

        Raises:
            OSError: the disk has no room; found here, since a mapped write cannot say so.
        """
        plane = cls(path, shape, np.dtype(dtype))
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shape[0] * shape[1] * plane.dtype.itemsize)
        return plane

    def read(self, window: Window) -> NDArray[Any]:
        """The numbers of a window, a copy."""
        return np.array(self._mapped("r")[window.toslices()])

    def write(self, values: NDArray[Any], window: Window) -> None:
        """Replace the numbers of a window."""
        self._mapped("r+")[window.toslices()] = values

    def at(self, cells: NDArray[np.integer]) -> NDArray[Any]:
        """The numbers of single cells, given as flat indices."""
        return np.array(self._mapped("r").reshape(-1)[cells])

    def _mapped(self, mode: Any) -> NDArray[Any]:
        return np.memmap(self.path, self.dtype, mode, shape=self.shape)


def tiles(shape: tuple[int, int], side: int = TILE) -> list[Window]:
    """Windows of at most `side` x `side` cells that cover a grid, row by row."""
    rows, cols = shape
    return [
        Window(left, top, min(side, cols - left), min(side, rows - top))
        for top in range(0, rows, side)
        for left in range(0, cols, side)
    ]


def read_around(plane: Plane, window: Window, halo: int, beyond: Any) -> NDArray[Any]:
    """A window of a plane with `halo` more cells on each side, `beyond` the grid's edge."""
    rows, cols = plane.shape
    top, left = max(window.row_off - halo, 0), max(window.col_off - halo, 0)
    bottom = min(window.row_off + window.height + halo, rows)
    right = min(window.col_off + window.width + halo, cols)
    values = np.full((window.height + 2 * halo, window.width + 2 * halo), beyond, plane.dtype)
    row, col = top - window.row_off + halo, left - window.col_off + halo
    values[row : row + bottom - top, col : col + right - left] = plane.read(
        Window(left, top, right - left, bottom - top)
    )
    return values


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(function, items)` on `THREADS` threads, in order, few results waiting at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        pending: deque[Any] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
