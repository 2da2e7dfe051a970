"""Outlines of connected bodies of pixels, exact on the pixel grid, from their corners alone.

Whether an outline turns at the corner of a pixel depends on the four pixels around it, so corners
are found in bands of rows and outlines never have to be cut at a seam and joined again. Along a row
of pixel corners the turns are, in pairs, the ends of an outline's straight sides; along a column
too. Following a side across, the next one down, and so on, closes a ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import shapely
from numpy.typing import NDArray

Integers = NDArray[np.integer]
Outlines = NDArray[np.object_]


@dataclass(frozen=True)
class Corners:
    """The turns of outlines in raster order; arrays of shape (n,).

    `row` and `column` number corners of pixels, `label` names what lies inside the outline. Where
    two pixels touch at a corner only, outlines turn twice: the first turn has its row's side to
    its left, the second to its right, and `down` (bool) tells whether the column's side leads down.
    """

    row: Integers
    column: Integers
    label: Integers
    down: NDArray[np.bool_]


def find_corners(labels: Integers, row: int) -> Corners:
    """Turns of the outlines between rows of labels, the scene's side edges included.

    Args:
        labels: (rows + 1, columns), 0 outside; labels that differ are never neighbours by a side,
            except that one body may be named differently above and below.
        row: number of the row of corners between the first two rows of labels.
    """
    labels = np.pad(labels, ((0, 0), (1, 1)))
    inside = labels > 0
    upper, lower = inside[:-1], inside[1:]
    a, b, c, d = upper[:, :-1], upper[:, 1:], lower[:, :-1], lower[:, 1:]
    crosses = (a == d) & (b == c) & (a != b)
    y, x = np.nonzero((a ^ b ^ c ^ d) | crosses)
    twice = crosses[y, x]
    left = np.maximum(labels[y, x], labels[y + 1, x])
    right = np.maximum(labels[y, x + 1], labels[y + 1, x + 1])
    first = np.cumsum(1 + twice) - (1 + twice)
    label = np.repeat(np.where(twice, left, np.maximum(left, right)), 1 + twice)
    label[first[twice] + 1] = right[twice]
    down = np.zeros(len(label), bool)
    down[first[twice]] = ~upper[y, x][twice]
    down[first[twice] + 1] = upper[y, x][twice]
    return Corners(np.repeat(y + row, 1 + twice), np.repeat(x, 1 + twice), label, down)


def outlines(bands: Sequence[Corners], body: Integers) -> Outlines:
    """Polygons of bodies numbered 0, 1, … in the raster order of their first pixels.

    Args:
        bands: corners of a whole scene, from the top down.
        body: the body that each label names, label 1 first.

    Returns:
        Valid polygons, one a body; x is the column and y the row of pixel corners, vertices only
        where the outline turns.
    """
    row, column, label, down = (
        np.concatenate([getattr(band, name) for band in bands])
        for name in ("row", "column", "label", "down")
    )
    owner = body[label - 1]
    (first,) = np.nonzero((row[:-1] == row[1:]) & (column[:-1] == column[1:]))
    # A body that meets itself at a corner is parted there by what lies outside: rings that
    # touch, as the Simple Features standard wants, and not one ring that touches itself.
    first = first[owner[first] == owner[first + 1]]
    for turn in (first, first + 1):
        down[turn] ^= True
    along_columns = np.lexsort((down, row, column))
    mate = np.empty_like(along_columns)
    mate[along_columns[0::2]], mate[along_columns[1::2]] = along_columns[1::2], along_columns[0::2]
    order, ring = _follow(mate)
    rings = shapely.linearrings(column[order], row[order], indices=ring)
    # A body's first ring in raster order is its shell, the others are holes.
    owner = owner[order[np.flatnonzero(np.diff(ring, prepend=-1))]]
    by_body = np.argsort(owner, kind="stable")
    return np.asarray(shapely.polygons(rings[by_body], indices=owner[by_body]), object)


@numba.njit(cache=True)
def _follow(mate: Integers) -> tuple[Integers, Integers]:
    """Walk every ring: its turns in order, and the number of the ring each belongs to."""
    order, ring = np.empty_like(mate), np.empty_like(mate)
    seen = np.zeros(len(mate), np.bool_)
    walked, rings = 0, 0
    for start in range(len(mate)):
        turn = start
        while not seen[turn]:
            for end in (turn, turn ^ 1):
                seen[end] = True
                order[walked], ring[walked] = end, rings
                walked += 1
            turn = mate[turn ^ 1]
        rings = ring[walked - 1] + 1
    return order, ring
