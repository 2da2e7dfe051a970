from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from tasks.errors import SamplingError
from tasks.susceptibility import parallel
from tasks.susceptibility.auc import auc, bootstraps, interval
from tasks.susceptibility.curves import mean_roc, rate_curve
from tasks.susceptibility.folds import (
    FOLDS,
    REPEATS,
    Folds,
    district_folds,
    random_folds,
    taken,
    units,
)
from tasks.susceptibility.sampling import ABSENCE, Samples
from tasks.susceptibility.validation import (
    Validation,
    cross_validate,
    hold_out,
    score_held_out,
)


@pytest.fixture(scope="module")
def validation(samples: Samples) -> Validation:
    return cross_validate(samples, "logistic", seed=0)


def scattered(cells: int, seed: int = 1) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random, random.uniform(0, 10_000, cells), random.uniform(0, 10_000, cells)


def made_up(y: np.ndarray, x: np.ndarray, easting: np.ndarray, northing: np.ndarray) -> Samples:
    """Each failed cell is a landslide of its own."""
    landslide = np.where(y, np.cumsum(y) - 1, ABSENCE)
    return Samples(("signal", "noise"), x.astype(np.float32), y, easting, northing, landslide)


def test_kaghan_is_ranked_better_than_chance(validation):
    for score in (validation.spatial, validation.random):
        assert 0.6 < score.auc.low < score.auc.value < score.auc.high < 0.9
    assert next(iter(validation.importance)) in ("slope", "elevation", "relief")
    losses = [loss.value for loss in validation.importance.values()]
    assert len(losses) == 10 and losses == sorted(losses, reverse=True)


def test_random_folds_flatter_the_forest(samples):
    few = taken(samples, np.flatnonzero(np.arange(len(samples.y)) % 3 == 0))
    validation = cross_validate(few, "rf", repeats=1, explain=False)
    assert validation.gap == validation.random.auc.value - validation.spatial.auc.value > 0


def test_the_headline_is_the_plain_mean_of_the_folds_aucs(points):
    folds = district_folds(points, FOLDS, REPEATS)
    held = hold_out(points, folds, "logistic")
    score = score_held_out(points, held)
    own = [
        roc_auc_score(points.y[fold.test], scores)
        for fold, scores in zip(held.folds, held.scores, strict=True)
    ]
    np.testing.assert_allclose(score.fold_aucs, own)
    assert score.auc.value == pytest.approx(np.mean(own))
    assert score.sd == pytest.approx(np.std(own, ddof=1))
    truth = [points.y[fold.test] for fold in held.folds]
    assert score.average_precision == pytest.approx(
        np.mean([average_precision_score(*pair) for pair in zip(truth, held.scores, strict=True)])
    )
    assert score.brier == pytest.approx(
        brier_score_loss(np.concatenate(truth), np.concatenate(held.scores)), abs=1e-6
    )


def test_ties_and_weights_count_as_scikit_learn_counts_them():
    random = np.random.default_rng(0)
    y, score = random.random(200) < 0.4, random.integers(0, 12, 200) / 12
    weight = random.integers(0, 4, (3, 200)).astype(np.float32)
    expected = [roc_auc_score(y, score, sample_weight=row) for row in weight]
    np.testing.assert_allclose(auc(y, score, weight), expected)
    assert np.isnan(auc(y, score, (weight * ~y)[:1])).all()


def test_a_bootstrap_draws_landslides_whole_and_as_many_as_there_are(samples):
    unit = units(samples)
    drawn = bootstraps(unit, 5, seed=0)
    assert (drawn[0] == 1).all()
    for draw in drawn[1:]:
        times = np.array([draw[unit.of == number][0] for number in range(len(unit.failed))])
        np.testing.assert_array_equal(draw, times[unit.of])
        assert times[unit.failed].sum() == unit.failed.sum()
        assert times[~unit.failed].sum() == (~unit.failed).sum()


def test_an_interval_is_the_middle_95_percent_of_the_draws_about_the_samples_own_value():
    draws = np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))
    told = interval(np.array([0.7, *draws, np.nan]))
    assert (told.value, told.low, told.high) == pytest.approx((0.7, 0.025, 0.975))


@pytest.mark.parametrize("model", ["logistic", "hgb", "svm", "woe", "fr", "ensemble"])
def test_what_is_held_out_teaches_nothing(points, model):
    """Spoil half of the held-out samples: the other half is scored as before."""
    folds = Folds((np.arange(350) % 2)[None], "every other sample")
    fair = hold_out(points, folds, model).scores[0]
    x, y = points.x.copy(), points.y.copy()
    x[:175:2], y[:175:2] = x[:175:2] * 50 + 1000, ~y[:175:2]
    spoilt = hold_out(replace(points, x=x, y=y), folds, model).scores[0]
    np.testing.assert_array_equal(spoilt[88:], fair[88:])
    assert (spoilt[:88] != fair[:88]).any()


def test_a_worthless_factor_is_called_chance():
    random, easting, northing = scattered(1000)
    y = random.random(1000) < 0.5
    validation = cross_validate(made_up(y, random.random((1000, 2)), easting, northing), "logistic")
    for score in (validation.spatial, validation.random):
        assert score.auc.value == pytest.approx(0.5, abs=0.06)


def test_a_perfect_factor_is_called_perfect_and_a_constant_one_useless():
    random, easting, northing = scattered(300)
    y = random.random(300) < 0.5
    x = np.column_stack([y + 0.1 * random.random(300), np.full(300, 4.0)])
    validation = cross_validate(made_up(y, x, easting, northing), "rf", repeats=1)
    assert validation.spatial.auc.value > 0.999
    assert validation.importance["signal"].low > 0.3
    assert validation.importance["noise"].value == 0


def test_equal_seeds_validate_equally(points):
    first, again = (cross_validate(points, "rf", seed=5, repeats=1) for _ in range(2))
    assert first.spatial.fold_aucs == again.spatial.fold_aucs
    assert first.random.auc == again.random.auc
    assert first.importance == again.importance


def test_processes_score_what_one_alone_does(points, monkeypatch):
    folds = district_folds(points, FOLDS, 1)
    alone = hold_out(points, folds, "rf", explain=True)
    monkeypatch.setattr(parallel, "WORTH_PROCESSES_S", 0.0)
    told = []
    together = hold_out(points, folds, "rf", explain=True, progress=lambda *n: told.append(n))
    both = zip(alone.scores + alone.shuffled, together.scores + together.shuffled, strict=True)
    for one, other in both:
        np.testing.assert_array_equal(one, other)
    assert told == [(done, 5) for done in range(1, 6)]


def test_clustered_landslides_look_better_at_random_than_in_space():
    """A factor that says only where one is, is worth nothing elsewhere."""
    random, easting, northing = scattered(1500)
    district = (easting // 500 + 20 * (northing // 500)).astype(int)
    y = random.permutation(np.arange(400) % 2 == 0)[district]
    x = np.column_stack([easting, northing])
    cells = made_up(y, x, easting, northing)
    validation = cross_validate(cells, "rf", repeats=1, explain=False)
    assert validation.random.auc.value > 0.85
    assert validation.spatial.auc.value < 0.65


def test_the_interval_is_over_landslides_not_cells():
    """Twenty copies of a cell in one landslide are no more evidence than one."""
    random, easting, northing = scattered(120)
    y = np.arange(120) % 2 == 0
    x = np.column_stack([y + 2 * random.random(120), random.random(120)])
    one = made_up(y, x, easting, northing)
    many = taken(one, np.repeat(np.arange(120), np.where(y, 20, 1)))
    narrow, wide = (
        cross_validate(cells, "logistic", explain=False).random.auc for cells in (one, many)
    )
    assert wide.high - wide.low > 0.7 * (narrow.high - narrow.low)


def test_folds_that_cannot_be_ranked_are_a_doubt(points):
    west = points.easting < np.median(points.easting)
    lonely = taken(points, np.flatnonzero(points.y <= west))
    validation = cross_validate(lonely, "logistic", explain=False)
    left_out = validation.spatial.left_out
    assert left_out and left_out + len(validation.spatial.fold_aucs) == FOLDS * REPEATS
    (doubt,) = validation.doubts
    assert doubt.code == "folds-left-out"
    assert f"{left_out} of 15 folds (5 districts by k-means, 3 times)" in doubt.text
    assert replace(validation, random=validation.spatial).doubts == (doubt, doubt)


def test_fewer_landslides_or_unfailed_samples_than_folds_are_refused(points):
    failed = np.flatnonzero(points.y)
    lonely = taken(points, np.concatenate([failed, np.flatnonzero(~points.y)[:4]]))
    with pytest.raises(SamplingError, match="and 4 unfailed samples are too few for 5 folds"):
        cross_validate(lonely, "logistic")
    few = taken(points, np.concatenate([failed[:4], np.flatnonzero(~points.y)]))
    with pytest.raises(SamplingError, match="4 landslides and .* are too few for 5 folds"):
        cross_validate(few, "logistic")
    assert cross_validate(few, "logistic", folds=2, explain=False).random.left_out == 0


def test_a_distance_is_kept_to_what_is_held_out_in_space_alone(points):
    near, far = (
        cross_validate(points, "logistic", repeats=1, explain=False, buffer_m=metres)
        for metres in (0.0, 400.0)
    )
    assert far.spatial.fold_aucs != near.spatial.fold_aucs
    assert far.random.fold_aucs == near.random.fold_aucs


def test_progress_is_told_for_both_kinds_of_folds(points):
    told = []
    cross_validate(
        points, "logistic", repeats=2, explain=False, progress=lambda *said: told.append(said)
    )
    assert told[9] == ("held out in space", 10, 10)
    assert told[-1] == ("held out at random", 10, 10)


def test_unpenalised_odds_are_as_calibrated_as_they_are_many():
    random, easting, northing = scattered(4000)
    x = random.normal(size=(4000, 2))
    y = random.random(4000) < expit(2 * x[:, 0])
    samples = made_up(y, x, easting, northing)
    score = score_held_out(samples, hold_out(samples, random_folds(samples, 5, 1), "logistic"))
    predicted, observed, count = score.calibration.T
    assert count.sum() == 4000
    np.testing.assert_allclose(predicted, observed, atol=0.06)
    recall, precision = score.precision_recall.T
    assert np.trapezoid(precision, recall) == pytest.approx(score.average_precision, abs=0.02)


def test_the_prediction_rate_is_what_counting_cells_gives():
    """A tenth of a thousand cells failed; the curve from evenly drawn samples is that of all."""
    random = np.random.default_rng(2)
    failed = np.arange(1000) < 100
    score = random.normal(size=1000) + failed
    counted = np.cumsum(failed[np.argsort(-score)]) / 100
    ground, landslides = rate_curve(mean_roc([failed], [score]), 0.1).T
    np.testing.assert_allclose(
        np.interp(np.linspace(0.05, 1, 20), ground, landslides), counted[49::50], atol=0.03
    )
