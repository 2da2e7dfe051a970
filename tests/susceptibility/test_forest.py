from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from tasks.susceptibility.forest import PackedForest
from tasks.susceptibility.sampling import Samples


@pytest.fixture(scope="module")
def forest(samples: Samples) -> RandomForestClassifier:
    forest = RandomForestClassifier(n_estimators=50, max_depth=50, random_state=0)
    return forest.fit(samples.x, samples.y)


@pytest.mark.parametrize("cells", [1, 511, 514, 3000])
def test_the_packed_forest_says_to_the_last_bit_what_the_forest_says(forest, samples, cells):
    x = np.resize(samples.x, (cells, samples.x.shape[1]))
    probability, _ = PackedForest.of(forest).predict_with_spread(x)
    np.testing.assert_array_equal(probability, forest.predict_proba(x)[:, 1])


def test_cells_on_a_threshold_go_the_way_the_forest_sends_them(forest, samples):
    tree = forest.estimators_[0].tree_
    splits = np.flatnonzero(tree.children_left >= 0)
    on = np.resize(samples.x, (len(splits), samples.x.shape[1]))
    on[np.arange(len(splits)), tree.feature[splits]] = tree.threshold[splits]
    on[::2] *= -1
    probability, _ = PackedForest.of(forest).predict_with_spread(on)
    np.testing.assert_array_equal(probability, forest.predict_proba(on)[:, 1])


def test_both_zeros_are_one():
    x = np.array([[-1.0], [0.0], [-0.0], [1.0]] * 5, dtype=np.float32)
    forest = RandomForestClassifier(n_estimators=9, random_state=0).fit(x, np.arange(20) % 4 == 3)
    probability, _ = PackedForest.of(forest).predict_with_spread(x)
    np.testing.assert_array_equal(probability, forest.predict_proba(x)[:, 1])


def test_the_spread_is_the_trees_standard_deviation(forest, samples):
    _, spread = PackedForest.of(forest).predict_with_spread(samples.x)
    each = [tree.predict_proba(samples.x)[:, 1] for tree in forest.estimators_]
    np.testing.assert_allclose(spread, np.std(each, axis=0), atol=1e-7)


def test_more_factors_than_fit_are_refused():
    x = np.random.default_rng(0).normal(size=(20, 300))
    forest = RandomForestClassifier(n_estimators=2).fit(x, np.arange(20) % 2 == 0)
    with pytest.raises(ValueError, match="300 factors do not fit"):
        PackedForest.of(forest)
