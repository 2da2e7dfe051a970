import math

import numpy as np
import pytest

from models.boundaries import boundary_f1

SEEN = np.ones((40, 40), bool)


def square(top, left, side=10):
    drawn = np.zeros((40, 40), bool)
    drawn[top : top + side, left : left + side] = True
    return drawn


def test_a_shift_of_two_pixels_is_right_within_two_and_partly_wrong_within_one():
    assert boundary_f1(square(10, 10), square(10, 10), SEEN, 1) == 1
    assert boundary_f1(square(10, 10), square(10, 12), SEEN, 2) == 1
    assert boundary_f1(square(10, 10), square(10, 11), SEEN, 1) == 1
    assert 0 < boundary_f1(square(10, 10), square(10, 12), SEEN, 1) < 1


def test_by_hand():
    # 36 boundary pixels each; far away all are wrong, and in part none that is not near counts
    assert boundary_f1(square(2, 2), square(25, 25), SEEN, 2) == 0
    both = square(2, 2) | square(25, 25)
    assert boundary_f1(square(2, 2), both, SEEN, 1) == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_the_edge_of_the_tile_and_of_what_was_seen_is_no_boundary():
    whole = np.ones((40, 40), bool)
    assert math.isnan(boundary_f1(whole, whole, SEEN, 1))
    half = SEEN.copy()
    half[:, 20:] = False
    assert math.isnan(boundary_f1(half, half, half, 1))
    assert boundary_f1(half, half, SEEN, 1) == 1


def test_nothing_mapped_scores_zero_and_nothing_true_has_no_score():
    nothing = np.zeros((40, 40), bool)
    assert boundary_f1(square(5, 5), nothing, SEEN, 2) == 0
    assert math.isnan(boundary_f1(nothing, square(5, 5), SEEN, 2))
