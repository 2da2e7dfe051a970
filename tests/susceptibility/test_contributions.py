"""Shapley values: exact for models whose values are known, and always adding up."""

import numpy as np
import pytest

from tasks.susceptibility.contributions import contributions


class Told:
    """A model that is a formula."""

    def __init__(self, formula):
        self.predict = lambda x: np.asarray([formula(row) for row in x], np.float32)


OTHERS = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
PLACE = np.array([2.0, -1.0, 5.0], np.float32)


def test_of_a_sum_each_factor_adds_what_it_is_more_than_the_others():
    model = Told(lambda row: 0.5 * row[0] - 2 * row[1])
    average, added = contributions(model, PLACE, OTHERS, orders=2000)
    wanted = [0.5 * (2 - OTHERS[:, 0].mean()), -2 * (-1 - OTHERS[:, 1].mean()), 0]
    assert added == pytest.approx(wanted, abs=0.1)
    assert average == pytest.approx(np.mean(model.predict(OTHERS)), abs=0.1)


def test_what_only_two_do_together_is_shared_by_both():
    ones = np.zeros((5, 2), np.float32)
    _, added = contributions(Told(lambda row: row[0] * row[1]), np.ones(2, np.float32), ones)
    assert added == pytest.approx([0.5, 0.5])


def test_all_together_are_the_prediction_of_the_place():
    model = Told(lambda row: np.sin(row[0]) * row[1] + row[2] ** 2)
    average, added = contributions(model, PLACE, OTHERS)
    assert average + added.sum() == pytest.approx(float(model.predict(PLACE[None])[0]), abs=1e-4)


def test_a_factor_nothing_depends_on_adds_nothing():
    _, added = contributions(Told(lambda row: row[0]), PLACE, OTHERS)
    assert added[1] == added[2] == 0


def test_surroundings_belong_to_their_factor():
    patches = np.random.default_rng(1).normal(size=(50, 2, 3, 3)).astype(np.float32)
    model = Told(lambda row: row[0].sum())
    average, added = contributions(model, patches[0], patches[1:])
    assert added[1] == 0
    assert average + added.sum() == pytest.approx(patches[0, 0].sum(), abs=1e-4)


def test_equal_seeds_give_equal_values():
    model = Told(lambda row: row[0] * row[1] * row[2])
    first, again = (contributions(model, PLACE, OTHERS, seed=3)[1] for _ in range(2))
    assert (first == again).all()
