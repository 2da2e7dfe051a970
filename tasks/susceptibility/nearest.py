"""How far the nearest of many points is, in as many dimensions as there are factors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility.nearest_kernels import LEAF, search


class Nearest(NamedTuple):
    """Points in leaves of neighbours, each with the box about it.

    In ten dimensions any tree visits a fifth of its leaves, so large leaves that are measured many
    points at a time answer twice as fast as scipy's, whose leaves are small. All is float32.

    `leaves` holds the points, (leaves, columns, LEAF), the last of a leaf repeated to fill it;
    `low` and `high` are the ends of its box, (columns, leaves).
    """

    leaves: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def of(cls, points: NDArray[np.floating]) -> Self:
        """Arrange points, (n, columns), at least one."""
        points = points.astype(np.float32)
        rows = np.array([np.resize(leaf, LEAF) for leaf in _leaves(points, np.arange(len(points)))])
        leaves = np.ascontiguousarray(points[rows].transpose(0, 2, 1))
        low, high = leaves.min(axis=2).T, leaves.max(axis=2).T
        return cls(leaves, np.ascontiguousarray(low), np.ascontiguousarray(high))

    def distance(self, cells: NDArray[np.floating]) -> NDArray[np.float64]:
        """Euclidean distance of each cell, (n, columns), to its nearest point, (n,)."""
        squared = np.empty(len(cells), np.float32)
        search(np.ascontiguousarray(cells, np.float32), *self, squared)
        return np.sqrt(squared.astype(np.float64))


def _leaves(points: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows in groups of at most `LEAF`, by halving where the points spread the most."""
    if len(rows) <= LEAF:
        yield rows
        return
    widest = int(np.ptp(points[rows], axis=0).argmax())
    order = rows[np.argsort(points[rows, widest], kind="stable")]
    # whole leaves on the left, so that only the last one has room to spare
    half = -(-len(rows) // (2 * LEAF)) * LEAF
    yield from _leaves(points, order[:half])
    yield from _leaves(points, order[half:])
