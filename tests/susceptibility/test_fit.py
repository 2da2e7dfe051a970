from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import SamplingError
from tasks.susceptibility.fit import (
    FOLDS,
    REPEATS,
    Validation,
    cross_validate,
    fit_forest,
    random_folds,
    spatial_folds,
)
from tasks.susceptibility.sampling import ABSENCE, Samples


@pytest.fixture(scope="module")
def validation(samples: Samples) -> Validation:
    return cross_validate(samples, seed=0)


def made_up(y: np.ndarray, x: np.ndarray, easting: np.ndarray, northing: np.ndarray) -> Samples:
    """Each failed cell is a landslide of its own."""
    landslide = np.where(y, np.cumsum(y) - 1, ABSENCE)
    return Samples(("signal", "noise"), x.astype(np.float32), y, easting, northing, landslide)


def only(samples: Samples, cells: np.ndarray) -> Samples:
    per_cell = ("x", "y", "easting", "northing", "landslide")
    return replace(samples, **{name: getattr(samples, name)[cells] for name in per_cell})


def scattered(cells: int, seed: int = 1) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random, random.uniform(0, 10_000, cells), random.uniform(0, 10_000, cells)


def test_the_forest_is_the_papers(samples):
    forest = fit_forest(samples, seed=7)
    assert (forest.n_estimators, forest.max_depth, forest.random_state) == (50, 50, 7)
    assert (forest.max_features, forest.min_samples_leaf, forest.bootstrap) == ("sqrt", 1, True)
    again = fit_forest(samples, seed=7)
    np.testing.assert_array_equal(
        forest.predict_proba(samples.x[:200]), again.predict_proba(samples.x[:200])
    )


@pytest.mark.parametrize("folds_of", [spatial_folds, random_folds])
def test_no_two_folds_share_a_landslide(samples, folds_of):
    folds = folds_of(samples, 0)
    assert folds.shape[1] == len(samples.y)
    for fold in folds:
        assert set(fold) == set(range(FOLDS))
        for landslide in np.unique(samples.landslide[samples.y]):
            assert len(set(fold[samples.landslide == landslide])) == 1


def test_spatial_folds_are_compact_and_random_folds_are_not(samples):
    def spread(folds: np.ndarray) -> float:
        fold = folds[0]
        return float(np.mean([samples.easting[fold == number].std() for number in range(FOLDS)]))

    assert spread(spatial_folds(samples, 0)) < 0.7 * spread(random_folds(samples, 0))


def test_kaghan_is_ranked_better_than_chance_and_random_folds_flatter(validation):
    spatial, random = validation.auc_spatial, validation.auc_random
    assert 0.6 < spatial.low < spatial.value < spatial.high < 0.9
    assert random.low < random.value < random.high
    assert random.value > spatial.value
    assert next(iter(validation.importance)) in ("slope", "elevation")
    assert len(validation.importance) == 10


def test_the_headline_is_the_folds_mean_weighted_by_failed_cells(samples, validation):
    failed = [np.bincount(fold[samples.y]) for fold in spatial_folds(samples, 0)]
    assert validation.auc_spatial.value == pytest.approx(
        np.average(validation.fold_aucs, weights=np.concatenate(failed)), abs=1e-9
    )


@pytest.mark.parametrize("kind", ["spatial", "random"])
def test_the_curve_rises_from_corner_to_corner_and_holds_its_area(validation, kind):
    x, y = getattr(validation, f"roc_{kind}").T
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= -1e-12).all()
    auc = getattr(validation, f"auc_{kind}").value
    assert np.trapezoid(y, x) == pytest.approx(auc, abs=0.01)


def test_a_worthless_factor_is_called_chance():
    random, easting, northing = scattered(1000)
    y = random.random(1000) < 0.5
    validation = cross_validate(made_up(y, random.random((1000, 2)), easting, northing), seed=0)
    for auc in (validation.auc_spatial, validation.auc_random):
        assert auc.value == pytest.approx(0.5, abs=0.06)


def test_a_perfect_factor_is_called_perfect_and_a_constant_one_useless():
    random, easting, northing = scattered(300)
    y = random.random(300) < 0.5
    x = np.column_stack([y + 0.1 * random.random(300), np.full(300, 4.0)])
    validation = cross_validate(made_up(y, x, easting, northing), seed=5)
    assert validation.auc_spatial.value > 0.999
    assert validation.importance["signal"].low > 0.3
    assert validation.importance["noise"].value == 0


def test_equal_seeds_validate_equally(samples):
    few = np.flatnonzero(np.arange(len(samples.y)) % 20 == 0)
    drawn = only(samples, few)
    first, again = cross_validate(drawn, seed=5), cross_validate(drawn, seed=5)
    assert first.auc_spatial == again.auc_spatial
    assert first.auc_random == again.auc_random
    assert first.importance == again.importance


def test_clustered_landslides_look_better_at_random_than_in_space():
    """A factor that says only where one is, is worth nothing elsewhere."""
    random, easting, northing = scattered(1500)
    district = (easting // 500 + 20 * (northing // 500)).astype(int)
    y = random.permutation(np.arange(400) % 2 == 0)[district]
    x = np.column_stack([easting, northing])
    validation = cross_validate(made_up(y, x, easting, northing), seed=0)
    assert validation.auc_random.value > 0.85
    assert validation.auc_spatial.value < 0.65


def test_the_interval_is_over_landslides_not_cells():
    """A hundred copies of a cell in one landslide are no more evidence than one."""
    random, easting, northing = scattered(120)
    y = np.arange(120) % 2 == 0
    x = np.column_stack([y + 2 * random.random(120), random.random(120)])
    one = made_up(y, x, easting, northing)
    copies = np.repeat(np.arange(120), np.where(y, 20, 1))
    many = only(one, copies)
    narrow, wide = (cross_validate(cells, seed=0).auc_random for cells in (one, many))
    assert wide.high - wide.low > 0.7 * (narrow.high - narrow.low)


def test_a_district_without_unfailed_ground_is_left_out_and_counted():
    random, easting, northing = scattered(500)
    y = random.random(500) < 0.5
    far = np.arange(500) >= 450
    y[far] = True
    easting = np.where(far, easting + 1e6, easting)
    x = np.column_stack([y + 2 * random.random(500), random.random(500)])
    validation = cross_validate(made_up(y, x, easting, northing), seed=0)
    assert 0.5 < validation.auc_spatial.value < 1
    left_out = REPEATS * FOLDS - len(validation.fold_aucs)
    assert left_out >= REPEATS
    assert f"{left_out} without unfailed ground left out" in validation.folds


def test_landslides_all_in_one_place_cannot_be_validated():
    random, easting, northing = scattered(200)
    y = np.arange(200) < 20
    easting, northing = np.where(y, 5e5, easting), np.where(y, 5e6, northing)
    with pytest.raises(SamplingError, match="fewer than 5 places"):
        cross_validate(made_up(y, random.random((200, 2)), easting, northing), seed=0)


def test_unfailed_ground_all_in_one_district_cannot_be_validated():
    random, easting, northing = scattered(200)
    y = np.arange(200) < 150
    easting = np.where(y, easting, 1e7)
    with pytest.raises(SamplingError, match="all unfailed ground lies in one district"):
        cross_validate(made_up(y, random.random((200, 2)), easting, northing), seed=0)
