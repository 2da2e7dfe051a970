from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from tasks.errors import AssessmentError
from tasks.susceptibility.classical import FactorClasses
from tasks.susceptibility.dependence import partial_dependence
from tasks.susceptibility.folds import taken
from tasks.susceptibility.learners import LEARNERS, MEMBERS, fit_model
from tasks.susceptibility.names import MODELS
from tasks.susceptibility.sampling import Samples

FITTED = [name for name in LEARNERS if name not in ("physical", "cnn", "ensemble")]


@pytest.mark.parametrize("name", FITTED)
def test_every_model_ranks_and_takes_a_class_it_never_saw(points, name):
    seen = taken(points, np.flatnonzero(points.x[:, 2] != 3))
    model = fit_model(name, seen, seed=1)
    predicted = model.predict(points.x)
    assert predicted.shape == points.y.shape and predicted.dtype == np.float32
    assert predicted.min() >= 0 and predicted.max() <= 1
    assert roc_auc_score(points.y, predicted) > 0.75
    np.testing.assert_array_equal(predicted, fit_model(name, seen, seed=1).predict(points.x))


@pytest.mark.parametrize("name", FITTED)
def test_a_constant_factor_and_one_class_of_rock_stop_no_model(points, name):
    x = points.x.copy()
    x[:, 1:] = 2
    predicted = fit_model(name, replace(points, x=x)).predict(x)
    assert np.isfinite(predicted).all() and predicted.std() > 0


def test_the_forest_is_the_papers(points):
    own = RandomForestClassifier(n_estimators=50, max_depth=50, random_state=7)
    own.fit(points.x, points.y)
    assert (own.max_features, own.min_samples_leaf, own.bootstrap) == ("sqrt", 1, True)
    np.testing.assert_allclose(
        fit_model("rf", points, seed=7).predict(points.x),
        own.predict_proba(points.x)[:, 1],
        atol=1e-6,
    )


def test_more_factors_than_a_forest_takes_are_refused(points):
    many = replace(points, names=tuple(f"f{i}" for i in range(300)), x=np.tile(points.x, 100))
    with pytest.raises(AssessmentError, match="takes 256 factors and there are 300"):
        fit_model("rf", many)


def test_logistic_regression_is_the_generalised_linear_model_without_penalty(points):
    """Newton's iterations on the likelihood, as R's glm runs them, end in the same place."""
    amounts = replace(points, x=points.x * [10, 0.01, 1] + [300, 0, 0], categorical=frozenset())
    told = fit_model("logistic", amounts).explain()
    design = np.column_stack([np.ones(350), amounts.x])
    beta = np.zeros(4)
    for _ in range(25):
        p = expit(design @ beta)
        beta += np.linalg.solve((design.T * (p * (1 - p))) @ design, design.T @ (points.y - p))
    assert told["intercept"] == pytest.approx(beta[0], rel=1e-3)
    np.testing.assert_allclose(list(told["coefficients"].values()), beta[1:], rtol=1e-3)
    np.testing.assert_allclose(
        fit_model("logistic", amounts).predict(amounts.x), expit(design @ beta), atol=1e-4
    )


def test_classes_are_weighed_one_by_one(points):
    weights = fit_model("logistic", points).explain()["coefficients"]
    assert {"rock=0", "rock=1", "rock=2", "rock=3"} < set(weights)
    assert max((w, name) for name, w in weights.items() if "rock" in name)[1] == "rock=2"


def test_weight_of_evidence_is_the_log_of_two_shares(points):
    weights = fit_model("woe", points).explain()["weights"]["rock"]
    second = points.x[:, 2] == 2
    failed, unfailed = ((second & y).sum() for y in (points.y, ~points.y))
    share = (failed + 0.5) / (points.y.sum() + 2), (unfailed + 0.5) / ((~points.y).sum() + 2)
    assert weights["2"] == pytest.approx(np.log(share[0] / share[1]))


def test_frequency_ratio_is_the_share_of_a_class_that_failed(points):
    weights = fit_model("fr", points).explain()["weights"]["rock"]
    second = points.x[:, 2] == 2
    ratio = (points.y[second].sum() / points.y.sum()) / second.mean()
    assert weights["2"] == pytest.approx(ratio * points.y.mean())


def test_one_factor_in_classes_predicts_the_share_that_failed(points):
    only = replace(points, names=("rock",), x=points.x[:, 2:])
    for name in ("woe", "fr"):
        predicted = fit_model(name, only).predict(only.x)
        for level in range(4):
            there = points.x[:, 2] == level
            assert predicted[there][0] == pytest.approx(points.y[there].mean(), abs=0.02)


def test_amounts_are_cut_into_classes_of_equal_count():
    values = np.random.default_rng(0).gamma(2, 10, 1000).astype(np.float32)
    cut = FactorClasses.of("slope", values, categorical=False)
    np.testing.assert_allclose(np.bincount(cut.number(values)), 100, atol=2)
    many_zeros = np.where(np.arange(1000) < 600, 0, values).astype(np.float32)
    assert len(cut.labels()) == 10
    assert len(FactorClasses.of("distance", many_zeros, categorical=False).labels()) < 10


def test_slopes_fail_by_mechanics_where_steep_wet_or_shaken(points):
    x = np.array([[10, 5, 0.1], [30, 5, 0.1], [50, 5, 0.1], [30, 9, 0.1], [30, 5, 1]], np.float32)
    names = ("slope", "wetness", "pga")
    still = replace(points, names=names[:2], x=np.tile(x[:, :2], (70, 1)), categorical=frozenset())
    level, steep, cliff, wet, _ = fit_model("physical", still).predict(x[:, :2])
    assert level == 0 < steep < cliff <= 1 and wet > steep
    shaken = replace(points, names=names, x=np.tile(x, (70, 1)), categorical=frozenset())
    *calm, strong = fit_model("physical", shaken).predict(x)
    assert strong > calm[1] and max(calm) <= 0.335
    with pytest.raises(AssessmentError, match="needs a factor 'slope' in degrees; there are steep"):
        fit_model("physical", points)


def test_an_ensemble_weighs_its_members_and_says_how_far_they_differ(points):
    ensemble = fit_model("ensemble", points)
    weights = ensemble.explain()["weights"]
    assert list(weights) == list(MEMBERS)
    assert min(weights.values()) >= 0 and sum(weights.values()) == pytest.approx(1)
    each = np.array([learn(points, 0).predict(points.x) for learn in MEMBERS.values()])
    mean, spread = ensemble.predict_with_spread(points.x)
    np.testing.assert_allclose(mean, np.array(list(weights.values())) @ each, atol=1e-6)
    assert (spread >= 0).all() and spread.max() <= np.ptp(each, axis=0).max()


def test_partial_dependence_follows_the_factor(points):
    curves = partial_dependence(fit_model("logistic", points), points)
    rising, falling, rock = (curves[name] for name in points.names)
    assert (np.diff(rising.susceptibility) > 0).all() and (np.diff(rising.values) > 0).all()
    assert (np.diff(falling.susceptibility) < 0).all()
    np.testing.assert_array_equal(rock.values, [0, 1, 2, 3])
    assert rock.susceptibility.argmax() == 2


def test_a_model_that_does_not_exist_is_named_with_those_that_do(points: Samples):
    with pytest.raises(AssessmentError, match="no model 'forest'; take one of rf, logistic, hgb"):
        fit_model("forest", points)


def test_every_name_has_what_fits_it():
    assert tuple(LEARNERS) == MODELS
