import numpy as np
import pytest

from tasks.mapping.windows import WindowPlan, blend_weights, window_starts


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 128, 129, 1000])
@pytest.mark.parametrize("overlap", [0, 8, 32])
def test_windows_cover_every_pixel_and_none_outside(length, overlap):
    plan = WindowPlan(64, overlap)
    seen = np.zeros(length, int)
    for start in window_starts(length, plan):
        assert start >= 0
        assert start + min(plan.size, length) <= length
        seen[start : start + plan.size] += 1
    assert seen.min() >= 1


def test_neighbours_share_at_least_the_overlap():
    starts = window_starts(1000, WindowPlan(64, 16))
    assert max(np.diff(starts)) == 48


def test_weights_are_full_at_the_border_of_the_scene_and_fall_towards_neighbours():
    plan = WindowPlan(64, 16)
    first, middle = blend_weights(0, 200, plan), blend_weights(48, 200, plan)
    assert first[0] == 1
    assert first[-1] < first[-16] < 1
    assert middle[0] == middle[-1] == pytest.approx(0.5 / 16)
    assert (middle > 0).all()


def test_weights_of_neighbours_add_up_to_one_over_a_regular_overlap():
    plan = WindowPlan(64, 16)
    left, right = blend_weights(0, 112, plan), blend_weights(48, 112, plan)
    np.testing.assert_allclose(left[48:] + right[:16], 1)


@pytest.mark.parametrize(("size", "overlap"), [(16, 0), (64, 33), (64, -1)])
def test_a_plan_that_cannot_advance_is_refused(size, overlap):
    with pytest.raises(ValueError, match="overlap"):
        WindowPlan(size, overlap)
