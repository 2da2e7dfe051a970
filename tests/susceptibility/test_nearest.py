from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from tasks.susceptibility.nearest import Nearest
from tasks.susceptibility.nearest_kernels import LEAF


@pytest.mark.parametrize("columns", [1, 2, 10, 23])
@pytest.mark.parametrize("points", [1, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF + 5, 2000])
def test_the_nearest_point_is_as_far_as_scipy_says(points, columns):
    random = np.random.default_rng(points + columns)
    known, asked = random.normal(size=(points, columns)), random.normal(size=(500, columns)) * 2
    distance = Nearest.of(known).distance(asked)
    np.testing.assert_allclose(distance, KDTree(known).query(asked)[0], rtol=1e-4, atol=1e-6)


def test_a_point_itself_is_no_distance_away_and_none_asked_is_none_told():
    points = np.random.default_rng(0).normal(1e4, 1, (300, 4))
    nearest = Nearest.of(points)
    np.testing.assert_array_equal(nearest.distance(points), 0)
    assert nearest.distance(points[:0]).shape == (0,)


def test_points_all_in_one_place_are_one_point():
    nearest = Nearest.of(np.ones((200, 3)))
    np.testing.assert_allclose(nearest.distance(np.array([[1, 1, 1], [1, 1, 3]])), [0, 2])
