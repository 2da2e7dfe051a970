from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from tasks.susceptibility.applicability import fit_applicability, upper_whisker
from tasks.susceptibility.sampling import Samples


def made(x, names=("slope", "rock"), categorical=frozenset()) -> Samples:
    x = np.asarray(x, dtype=np.float32)
    none = np.zeros(len(x))
    return Samples(names, x, none > 0, none, none, none.astype(int), categorical)


@pytest.fixture
def drawn() -> Samples:
    random = np.random.default_rng(0)
    return made(random.normal([10, 0], [5, 1], (300, 2)))


FOLDS = np.arange(300) % 5


def test_the_index_is_the_weighted_distance_to_the_nearest_sample(drawn):
    fitted = fit_applicability(drawn, {"slope": 0.2, "rock": 0.1}, FOLDS)
    x = np.random.default_rng(1).normal([12, 1], [9, 3], (50, 2)).astype(np.float32)
    scale = np.array([0.2, 0.1]) / drawn.x.astype(float).std(axis=0)
    expected = cdist(x * scale, drawn.x * scale).min(axis=1) / pdist(drawn.x * scale).mean()
    np.testing.assert_allclose(fitted.dissimilarity(x), expected, rtol=1e-4)


def test_training_samples_are_like_themselves_and_far_ground_is_outside(drawn):
    fitted = fit_applicability(drawn, {"slope": 1.0, "rock": 1.0}, FOLDS)
    np.testing.assert_allclose(fitted.dissimilarity(drawn.x), 0, atol=1e-6)
    far = np.array([[90, 0], [10, 9]], dtype=np.float32)
    assert (fitted.dissimilarity(far) > fitted.threshold).all()


def test_ground_strange_only_in_what_does_not_matter_is_inside(drawn):
    fitted = fit_applicability(drawn, {"slope": 1.0, "rock": -0.3}, FOLDS)
    assert fitted.weights == {"slope": 1.0, "rock": 0.0}
    strange = np.array([[10, 99]], dtype=np.float32)
    assert fitted.dissimilarity(strange)[0] < fitted.threshold


def test_without_any_important_factor_all_weigh_the_same(drawn):
    assert set(fit_applicability(drawn, {}, FOLDS).weights.values()) == {1.0}


def test_the_threshold_is_measured_to_other_folds(drawn):
    near = fit_applicability(drawn, {"slope": 1.0, "rock": 1.0}, FOLDS).threshold
    split = (drawn.x[:, 0] > 10).astype(int)
    assert fit_applicability(drawn, {"slope": 1.0, "rock": 1.0}, split).threshold > 2 * near


def test_a_class_never_met_is_outside_and_one_met_is_not():
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=300), random.integers(1, 4, 300)])
    samples = made(x, categorical=frozenset({"rock"}))
    fitted = fit_applicability(samples, {"slope": 1.0, "rock": 1.0}, FOLDS)
    met, unmet = fitted.dissimilarity(np.array([[0, 2], [0, 7]], dtype=np.float32))
    assert met < fitted.threshold < unmet


@pytest.mark.parametrize("importance", [0.001, -0.1], ids=["little", "none"])
@pytest.mark.parametrize("met", [3, 1], ids=["several met", "one met"])
def test_a_class_never_met_is_outside_whatever_its_factor_is_worth(importance, met):
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(size=300), random.integers(1, met + 1, 300)])
    samples = made(x, categorical=frozenset({"rock"}))
    fitted = fit_applicability(samples, {"slope": 1.0, "rock": importance}, FOLDS)
    cells = np.array([[0, 1], [0, 7], [9, 1]], dtype=np.float32)
    inside = fitted.applies(cells, fitted.dissimilarity(cells))
    np.testing.assert_array_equal(inside, [True, False, False])


def test_a_constant_factor_weighs_nothing(drawn):
    x = drawn.x.copy()
    x[:, 1] = 4
    fitted = fit_applicability(replace(drawn, x=x), {"slope": 1.0, "rock": 1.0}, FOLDS)
    other = np.array([[10, 4], [10, 5]], dtype=np.float32)
    same, different = fitted.dissimilarity(other)
    assert same == different


def test_the_whisker_leaves_outliers_out():
    assert upper_whisker(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 100])) == 8
