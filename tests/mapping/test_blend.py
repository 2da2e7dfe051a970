"""Blending window by window and row by row equals blending the whole scene at once."""

import numpy as np
import pytest

from tasks.mapping.blend import ScoredWindow, blend_row, join, no_carry
from tasks.mapping.windows import WindowPlan, bands, blend_weights, window_starts
from tasks.publish.products import quantise


def some_windows(height, width, plan, seed):
    """Random scores of every window, some without ground; {(row, column): (score, seen)}."""
    dice = np.random.default_rng(seed)
    shape = min(plan.size, height), min(plan.size, width)
    ground = dice.random((height, width)) < 0.8
    windows = {}
    for row in window_starts(height, plan):
        for column in window_starts(width, plan):
            seen = ground[row : row + shape[0], column : column + shape[1]]
            windows[row, column] = dice.random(shape, np.float32), seen
    return windows, ground


def at_once(windows, height, width, plan):
    total, weight = np.zeros((2, height, width))
    low, high = np.full((height, width), np.inf), np.full((height, width), -np.inf)
    times = np.zeros((height, width), int)
    for (row, column), (score, seen) in windows.items():
        place = np.s_[row : row + score.shape[0], column : column + score.shape[1]]
        share = seen * np.outer(
            blend_weights(row, height, plan), blend_weights(column, width, plan)
        )
        total[place] += share * score
        weight[place] += share
        low[place] = np.where(share > 0, np.minimum(low[place], score), low[place])
        high[place] = np.where(share > 0, np.maximum(high[place], score), high[place])
        times[place] += share > 0
    with np.errstate(invalid="ignore"):
        score = quantise(total / weight)
    return score, quantise(np.where(times > 1, high - low, np.nan))


@pytest.mark.parametrize("height", [20, 33, 64, 65, 90, 200])
@pytest.mark.parametrize("width", [20, 65, 90, 150])
@pytest.mark.parametrize("overlap", [0, 7, 32])
def test_row_by_row_equals_at_once(height, width, overlap):
    plan = WindowPlan(64, overlap)
    windows, ground = some_windows(height, width, plan, seed=height + width)
    found, carry = np.zeros((2, height, width), np.uint8), no_carry(width, True)
    for band in bands(height, plan):
        row = [
            ScoredWindow(column, *windows[band.start, column])
            for column in window_starts(width, plan)
        ]
        done, carry = join(carry, blend_row(row, band, width, plan, True), band)
        found[:, band.start : band.following] = done
    score, disagreement = at_once(windows, height, width, plan)
    assert np.abs(found[0].astype(int) - score).max() <= 1  # float32 sums against float64
    assert np.abs(found[1].astype(int) - disagreement).max() <= 1
    np.testing.assert_array_equal(found[1] > 0, disagreement > 0)
    np.testing.assert_array_equal(found[0] > 0, ground)
    assert carry.shape[1] == 0


def test_disagreement_is_unknown_where_one_window_looked_and_the_difference_where_two_did():
    plan = WindowPlan(64, 16)
    (band,) = bands(64, plan)
    seen = np.ones((64, 64), bool)
    row = [
        ScoredWindow(c, np.full((64, 64), s, np.float32), seen) for c, s in ((0, 0.2), (48, 0.7))
    ]
    (_, found), _ = join(no_carry(112, True), blend_row(row, band, 112, plan, True), band)
    both = slice(52, 60)
    assert (found[:, both] == quantise(np.array([0.5]))).all()
    assert (found[:, :48] == 0).all()
    assert (found[:, 64:] == 0).all()
