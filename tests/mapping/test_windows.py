from itertools import pairwise

import numpy as np
import pytest

from tasks.errors import BadInputError
from tasks.mapping.windows import WindowPlan, bands, blend_weights, window_starts

LENGTHS = [1, 63, 64, 65, 100, 112, 128, 129, 1000]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 8, 32])
def test_windows_cover_every_pixel_and_none_outside(length, overlap):
    plan = WindowPlan(64, overlap)
    seen = np.zeros(length, int)
    for start in window_starts(length, plan):
        assert start >= 0
        assert start + min(plan.size, length) <= length
        seen[start : start + plan.size] += 1
    assert seen.min() >= 1


def test_neighbours_share_at_least_the_overlap_and_lie_evenly():
    gaps = np.diff(window_starts(1000, WindowPlan(64, 16)))
    assert set(gaps) == {46, 47}


@pytest.mark.parametrize(("length", "windows"), [(64, 1), (65, 2), (112, 2), (113, 3), (160, 3)])
def test_there_are_no_more_windows_than_the_overlap_asks_for(length, windows):
    assert len(window_starts(length, WindowPlan(64, 16))) == windows


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 5, 16, 32])
def test_no_pixel_is_without_weight(length, overlap):
    plan = WindowPlan(64, overlap)
    total = np.zeros(length)
    for start in window_starts(length, plan):
        weights = blend_weights(start, length, plan)
        total[start : start + len(weights)] += weights
    assert total.min() > 0


def test_weights_are_full_at_the_border_of_the_scene_and_fall_towards_neighbours():
    plan = WindowPlan(64, 16)
    first, middle = blend_weights(0, 160, plan), blend_weights(48, 160, plan)
    assert first[0] == 1
    assert first[-16] == 1
    np.testing.assert_array_equal(first[-4:], 0)
    assert (np.diff(first[-16:]) <= 0).all()
    assert 0 < first[-8] < 1
    np.testing.assert_array_equal(middle, middle[::-1])


def test_weights_of_neighbours_add_up_to_one_over_a_regular_overlap():
    plan = WindowPlan(64, 16)
    left, right = blend_weights(0, 112, plan), blend_weights(48, 112, plan)
    np.testing.assert_allclose(left[48:] + right[:16], 1)


@pytest.mark.parametrize("height", LENGTHS)
@pytest.mark.parametrize("overlap", [0, 16, 32])
def test_rows_a_band_alone_sees_are_those_no_other_band_covers(height, overlap):
    plan = WindowPlan(64, overlap)
    found = bands(height, plan)
    for band in found:
        others = np.zeros(height, bool)
        for other in found:
            if other is not band:
                others[other.start : other.stop] = True
        alone = np.arange(band.alone, band.below)
        assert not others[alone].any()
        assert band.start <= band.alone <= band.below <= band.stop
    assert [(a.following, b.start) for a, b in pairwise(found)] == [
        (b.start, b.start) for b in found[1:]
    ]
    assert (found[0].start, found[-1].following) == (0, height)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 16, "overlap": 0},
        {"size": 64, "overlap": 33},
        {"size": 64, "overlap": -1},
        {"views": 3},
        {"batch": 0},
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(BadInputError, match="overlap|views"):
        WindowPlan(**wrong)
