"""From scores of overlapping windows to one score a pixel, holding only what is not final yet.

Sums are arrays (planes, rows, cols), float32. The planes are the weighted sum of scores and the sum
of weights; where disagreement is asked for, also the lowest score, the highest, and how many
windows gave one. Sums of one row of windows do not depend on any other row, and rows are added from
top to bottom, so that the same bytes come out wherever and in whatever order they were scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.mapping.windows import Band, WindowPlan, blend_weights, window_starts
from tasks.publish.products import quantise

Sums = NDArray[np.float32]
_COLUMNS_AT_ONCE = 1024
_EMPTY = np.array([0, 0, np.inf, -np.inf, 0], np.float32)[:, None, None]


@dataclass(frozen=True)
class ScoredWindow:
    """What the network says of one window; (rows, cols) both, None where nothing is seen."""

    column: int
    score: NDArray[np.float32] | None
    seen: NDArray[np.bool_] | None


@dataclass(frozen=True)
class BandScores:
    """One row of windows blended: sums where other rows see the pixel too, final levels between.

    `levels` is uint8 (rasters, rows, cols): the score and, if asked for, the disagreement.
    """

    above: Sums
    levels: NDArray[np.uint8]
    below: Sums


def blend_row(
    windows: Iterable[ScoredWindow], band: Band, width: int, plan: WindowPlan, disagreement: bool
) -> BandScores:
    """Blend the windows of one row, which come from left to right, one window wide at a time."""
    starts = [*window_starts(width, plan), width]
    rows, columns = band.stop - band.start, min(plan.size, width)
    alone, below = band.alone - band.start, band.below - band.start
    planes = 5 if disagreement else 2
    result = BandScores(
        np.empty((planes, alone, width), np.float32),
        np.empty((1 + disagreement, below - alone, width), np.uint8),
        np.empty((planes, rows - below, width), np.float32),
    )
    down = blend_weights(band.start, band.height, plan)
    sums = np.broadcast_to(_EMPTY[:planes], (planes, rows, columns)).copy()
    for window, following in zip(windows, starts[1:], strict=True):
        if window.score is not None and window.seen is not None:
            across = blend_weights(window.column, width, plan)
            _add(sums, window.score, window.seen * np.outer(down, across))
        final = following - window.column
        place = slice(window.column, following)
        result.above[..., place] = sums[:, :alone, :final]
        result.levels[..., place] = levels(sums[:, alone:below, :final])
        result.below[..., place] = sums[:, below:, :final]
        sums[..., : columns - final] = sums[..., final:]
        sums[..., columns - final :] = _EMPTY[:planes]
    return result


def join(carry: Sums, scores: BandScores, band: Band) -> tuple[NDArray[np.uint8], Sums]:
    """Add a band to what the ones above left over.

    Args:
        carry: sums of the rows from `band.start` on that bands above have seen; none at the top.
        scores: the band's; its sums are used up.
        band: where it lies.

    Returns:
        The final levels of rows `band.start` to `band.following`, and the carry of the next band.
    """
    above = np.require(scores.above, requirements="W")
    shared = above[:, : carry.shape[1]]
    shared[:2] += carry[:2]
    if len(shared) > 2:
        np.minimum(shared[2], carry[2], out=shared[2])
        np.maximum(shared[3], carry[3], out=shared[3])
        shared[4] += carry[4]
    final = band.following - band.start
    done = np.concatenate([levels(above[:, :final]), scores.levels], axis=1)
    if final == above.shape[1]:
        return done, scores.below
    return done, np.concatenate([above[:, final:], scores.below], axis=1)


def no_carry(width: int, disagreement: bool) -> Sums:
    """What the first band finds above it."""
    return np.empty((5 if disagreement else 2, 0, width), np.float32)


def levels(sums: Sums) -> NDArray[np.uint8]:
    """Stored levels (rasters, rows, cols) of final sums.

    The disagreement is the difference between the highest and the lowest score that windows with
    weight gave a pixel; where fewer than two did, it is unknown, not 0.
    """
    result = np.empty((1 + (len(sums) > 2), *sums.shape[1:]), np.uint8)
    for left in range(0, sums.shape[2], _COLUMNS_AT_ONCE):
        part = np.s_[..., left : left + _COLUMNS_AT_ONCE]
        total, weight, *others = sums[part]
        with np.errstate(invalid="ignore"):
            result[0][part] = quantise(total / weight)
            if others:
                low, high, count = others
                result[1][part] = quantise(np.where(count > 1, high - low, np.nan))
    return result


def _add(sums: Sums, score: NDArray[np.float32], share: NDArray[np.float32]) -> None:
    sums[0] += share * score
    sums[1] += share
    if len(sums) == 2:
        return
    counted = share > 0
    np.minimum(sums[2], score, out=sums[2], where=counted)
    np.maximum(sums[3], score, out=sums[3], where=counted)
    sums[4] += counted
