"""The LDM-Net paper's random forest, and an AUC for it that can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score, roc_curve

from tasks.errors import SamplingError
from tasks.susceptibility.sampling import ABSENCE, Samples
from tasks.types import Interval

MODEL = "random-forest(n_estimators=50, max_depth=50)"
FOLDS = 5
BOOTSTRAPS = 500
PERMUTATIONS = 3


@dataclass(frozen=True)
class Validation:
    """How well a forest ranks cells it has not seen.

    `auc_spatial`, the headline, is over whole districts held out in turn; `auc_random` over
    landslides held out at random, which flatters. Both pool the predictions of all folds; their
    95 % intervals are bootstrapped over landslides, not cells. `roc_*` are (points, 2) arrays of
    false and true positive rate. `importance` is the loss of spatial AUC when a factor is shuffled
    among the held-out cells. `fold_aucs` holds the spatial AUC of each fold that has both classes.
    """

    auc_spatial: Interval
    auc_random: Interval
    roc_spatial: NDArray[np.float64]
    roc_random: NDArray[np.float64]
    importance: dict[str, Interval]
    fold_aucs: tuple[float, ...]
    folds: str


def fit_forest(samples: Samples, seed: int) -> RandomForestClassifier:
    """Fit the LDM-Net paper's forest: 50 trees of depth 50, other parameters scikit-learn's own.

    Args:
        samples: cells of both classes.
        seed: equal seeds fit equal forests.
    """
    return _forest(samples.x, samples.y, seed)


def cross_validate(samples: Samples, seed: int) -> Validation:
    """Score the forest by spatial and by random cross-validation.

    Spatial folds are k-means clusters of the ground, a landslide going whole to the cluster of its
    centre; random folds deal landslides and absences at random. No fold shares a landslide with
    another, and everything is fitted inside the fold. A fold without one class still counts in the
    pooled AUC.

    Args:
        samples: cells of both classes.
        seed: of the folds, the forests and the bootstrap.

    Raises:
        SamplingError: one class lies in a single fold, so that none is left to learn from.
    """
    spatial, random = _spatial_folds(samples, seed), _random_folds(samples, seed)
    for failed, what in ((True, "landslides"), (False, "unfailed cells")):
        if len(np.unique(spatial[samples.y == failed])) < 2:
            raise SamplingError(
                f"all {what} lie in one of {FOLDS} districts, which leaves none to learn from when "
                "it is held out; enlarge the area of interest"
            )
    held_out, shuffled = _held_out(samples, spatial, seed, explain=True)
    held_out_random, _ = _held_out(samples, random, seed)
    return Validation(
        auc_spatial=_auc_interval(samples, held_out, seed),
        auc_random=_auc_interval(samples, held_out_random, seed),
        roc_spatial=_roc(samples, held_out),
        roc_random=_roc(samples, held_out_random),
        importance=_importance(samples, held_out, shuffled, seed),
        fold_aucs=tuple(
            float(roc_auc_score(samples.y[fold], held_out[fold]))
            for fold in (spatial == number for number in range(FOLDS))
            if 0 < samples.y[fold].sum() < fold.sum()
        ),
        folds=_describe(samples, spatial),
    )


def _spatial_folds(samples: Samples, seed: int) -> NDArray[np.int64]:
    where = np.column_stack([samples.easting, samples.northing])
    unit = _units(samples)
    size = np.bincount(unit)
    centre = np.column_stack([np.bincount(unit, axis) / size for axis in where.T])
    clusters = KMeans(FOLDS, n_init=10, random_state=seed).fit_predict(centre, sample_weight=size)
    return np.asarray(clusters[unit], dtype=np.int64)


def _random_folds(samples: Samples, seed: int) -> NDArray[np.int64]:
    unit = _units(samples)
    failed = np.zeros(unit.max() + 1, dtype=bool)
    failed[unit] = samples.y
    fold = np.empty(len(failed), dtype=np.int64)
    random = np.random.default_rng(seed)
    for of_class in (failed, ~failed):
        fold[of_class] = random.permutation(np.arange(of_class.sum()) % FOLDS)
    return fold[unit]


def _units(samples: Samples) -> NDArray[np.int64]:
    """What must stay together: a landslide's cells share a number, each absence has its own."""
    alone = samples.landslide == ABSENCE
    unit = np.where(alone, np.cumsum(alone) + samples.landslide.max(), samples.landslide)
    return np.unique(unit, return_inverse=True)[1]


def _held_out(
    samples: Samples, fold: NDArray[np.int64], seed: int, *, explain: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of each cell by a forest that did not see its fold.

    Returns:
        Scores (n,), and if `explain` the scores with one factor shuffled among the fold's cells,
        (factors, PERMUTATIONS, n).
    """
    scores = np.empty(len(samples.y))
    factors = len(samples.names)
    shuffled = np.empty((factors, PERMUTATIONS, len(samples.y)) if explain else (0, 0, 0))
    random = np.random.default_rng(seed)
    for test in (fold == number for number in np.unique(fold)):
        forest = _forest(samples.x[~test], samples.y[~test], seed)
        scores[test] = _score(forest, samples.x[test])
        for factor, repeat in np.ndindex(shuffled.shape[:2]):
            x = samples.x[test]
            x[:, factor] = random.permutation(x[:, factor])
            shuffled[factor, repeat, test] = _score(forest, x)
    return scores, shuffled


def _forest(x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> RandomForestClassifier:
    forest = RandomForestClassifier(n_estimators=50, max_depth=50, random_state=seed, n_jobs=-1)
    return forest.fit(x, y).set_params(n_jobs=1)


def _score(forest: RandomForestClassifier, x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(forest.predict_proba(x)[:, 1])


def _auc_interval(samples: Samples, scores: NDArray[np.float64], seed: int) -> Interval:
    level = _levels(scores)
    resampled = [_auc(level, samples.y, weight) for weight in _bootstraps(samples, seed)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(roc_auc_score(samples.y, scores)), float(low), float(high))


def _importance(
    samples: Samples, scores: NDArray[np.float64], shuffled: NDArray[np.float64], seed: int
) -> dict[str, Interval]:
    """Loss of AUC by shuffling each factor, most important first."""
    level = _levels(scores)
    levels = [[_levels(repeat) for repeat in repeats] for repeats in shuffled]
    ones = np.ones(len(samples.y))
    losses = np.array(
        [
            [
                _auc(level, samples.y, weight)
                - np.mean([_auc(repeat, samples.y, weight) for repeat in repeats])
                for repeats in levels
            ]
            for weight in (ones, *_bootstraps(samples, seed))
        ]
    )
    low, high = np.percentile(losses[1:], [2.5, 97.5], axis=0)
    order = np.argsort(-losses[0])
    return {
        samples.names[i]: Interval(float(losses[0, i]), float(low[i]), float(high[i]))
        for i in order
    }


def _levels(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.unique(scores, return_inverse=True)[1]


def _bootstraps(samples: Samples, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each cell counts when landslides and absences are drawn with replacement."""
    unit = _units(samples)
    failed = np.zeros(unit.max() + 1, dtype=bool)
    failed[unit] = samples.y
    random = np.random.default_rng(seed)
    for _ in range(BOOTSTRAPS):
        drawn = np.zeros(len(failed))
        for of_class in (np.flatnonzero(failed), np.flatnonzero(~failed)):
            drawn += np.bincount(random.choice(of_class, len(of_class)), minlength=len(failed))
        yield drawn[unit]


def _auc(level: NDArray[np.int64], y: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """Weighted area under the ROC curve by ranks; `level` orders the scores, ties are equal."""
    size = level.max() + 1
    positive = np.bincount(level, weight * y, size)
    negative = np.bincount(level, weight * ~y, size)
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / (positive.sum() * negative.sum()))


def _roc(samples: Samples, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    false_positive, true_positive, _ = roc_curve(samples.y, scores)
    return np.column_stack([false_positive, true_positive])


def _describe(samples: Samples, fold: NDArray[np.int64]) -> str:
    counts = [
        len(np.unique(samples.landslide[samples.y & (fold == number)])) for number in range(FOLDS)
    ]
    return (
        f"{FOLDS} k-means districts with {', '.join(map(str, counts))} landslides; "
        f"{samples.y.sum()} failed and {(~samples.y).sum()} unfailed cells"
    )
