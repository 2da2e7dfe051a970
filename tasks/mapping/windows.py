"""Overlapping windows over a grid, and the weights that blend them. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.errors import BadInputError

VIEWS = (1, 4, 8)


@dataclass(frozen=True)
class WindowPlan:
    """How a network is led over a scene.

    Attributes:
        size: side of a window in pixels.
        overlap: pixels that neighbours share at least.
        views: how often each window is scored: 1 as it is, 4 with its flips, 8 with its
            transposition too; scores of all views are averaged.
        batch: windows of one row given to the network at once.
    """

    size: int = 512
    overlap: int = 64
    views: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be followed, such as windows that never advance."""
        if self.size < 32 or not 0 <= self.overlap <= self.size // 2:
            raise BadInputError(
                f"window size {self.size} and overlap {self.overlap}: the size must be at least 32 "
                "and the overlap between 0 and half the size"
            )
        if self.views not in VIEWS or self.batch < 1:
            raise BadInputError(
                f"views {self.views} and batch {self.batch}: views must be one of {VIEWS} "
                "and a batch at least 1"
            )


def usual_overlap(size: int) -> int:
    """Pixels that windows of a size share where nobody says otherwise."""
    return size // 8


@dataclass(frozen=True)
class Band:
    """One row of windows: rows `start` to `stop` of the `height` of a scene.

    Rows from `alone` to `below` are seen by no other row of windows (none if `alone` is not less
    than `below`); those before `following`, where the next row of windows starts, are final once
    this band has been added to the ones above.
    """

    height: int
    start: int
    stop: int
    alone: int
    below: int
    following: int


def window_starts(length: int, plan: WindowPlan) -> list[int]:
    """First pixel of each window along one axis of `length` pixels.

    As few windows as cover [0, length) without stepping outside it, spread evenly, so that each
    sees as much of the scene as any; an axis shorter than a window has the single start 0.
    """
    room = max(0, length - plan.size)
    gaps = -(-room // (plan.size - plan.overlap))
    return [room * i // max(gaps, 1) for i in range(gaps + 1)]


def bands(height: int, plan: WindowPlan) -> list[Band]:
    """The rows of windows of a scene of `height` rows, from top to bottom."""
    starts = window_starts(height, plan)
    rows = min(plan.size, height)
    found = []
    for number, start in enumerate(starts):
        stop = start + rows
        following = starts[number + 1] if number + 1 < len(starts) else height
        alone = starts[number - 1] + rows if number else 0
        # Where nothing is seen by this row alone, all of it waits for its neighbours.
        alone = alone if alone < following else stop
        found.append(Band(height, start, stop, alone, max(alone, following), following))
    return found


def blend_weights(start: int, length: int, plan: WindowPlan) -> NDArray[np.float32]:
    """Weight of each pixel of the window at `start`, along one axis.

    Towards every neighbour a quarter of the overlap has no weight, since a network sees least
    there, and half of it is a linear ramp; all else, the border of the scene included, has 1.

    Returns:
        float32, shape (min(plan.size, length),), values in [0, 1]; no pixel is without weight in
        all of its windows.
    """
    size = min(plan.size, length)
    weights = np.ones(size, np.float32)
    unseen = plan.overlap // 4
    ramp = np.zeros(plan.overlap, np.float32)
    slope = np.arange(plan.overlap - 2 * unseen, dtype=np.float32) + 0.5
    ramp[unseen : plan.overlap - unseen] = slope / max(slope.size, 1)
    ramp[plan.overlap - unseen :] = 1
    if start > 0:
        weights[: plan.overlap] = ramp
    if start + size < length:
        weights[size - plan.overlap :] = np.minimum(weights[size - plan.overlap :], ramp[::-1])
    return weights
