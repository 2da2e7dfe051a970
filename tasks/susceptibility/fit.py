"""The LDM-Net paper's random forest, and an AUC for it that can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

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
IMPORTANCE_BOOTSTRAPS = 200
PERMUTATIONS = 3
ROC_POINTS = 201


@dataclass(frozen=True)
class Validation:
    """How well a forest ranks cells it has not seen.

    `auc_spatial`, the headline, is over whole districts held out in turn; `auc_random` over
    landslides held out at random, which flatters. Each is the mean of the folds' AUCs weighted by
    their failed cells; the 95 % intervals are bootstrapped over landslides, not cells. `roc_*` are
    (points, 2) arrays of false and mean true positive rate. `importance` is the loss of spatial AUC
    when a factor is shuffled among the held-out cells, most important first. `fold_aucs` holds the
    spatial AUC of each fold that has both classes, and `folds` says in words what the folds are.
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
    another, and everything is fitted inside the fold. A fold that lacks a class ranks nothing and
    is left out of the mean. Cells of different folds are never ranked against each other, since
    that makes a worthless model look worse than chance (Parker et al. 2007, BMC Bioinformatics 8,
    326).

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
    scores, shuffled = _held_out(samples, spatial, seed, explain=True)
    scores_random, _ = _held_out(samples, random, seed)
    return Validation(
        auc_spatial=_auc_interval(samples, spatial, scores, seed),
        auc_random=_auc_interval(samples, random, scores_random, seed),
        roc_spatial=_mean_roc(samples, spatial, scores),
        roc_random=_mean_roc(samples, random, scores_random),
        importance=_importance(samples, spatial, scores, shuffled, seed),
        fold_aucs=tuple(
            float(roc_auc_score(samples.y[fold], scores[fold]))
            for fold in _two_class_folds(samples, spatial)
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


def _auc_interval(
    samples: Samples, fold: NDArray[np.int64], scores: NDArray[np.float64], seed: int
) -> Interval:
    keys, once = _Keys.of(fold, scores), np.ones(len(samples.y))
    resampled = [_auc(keys, samples.y, weight) for weight in _bootstraps(samples, seed, BOOTSTRAPS)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(_auc(keys, samples.y, once), float(low), float(high))


def _importance(
    samples: Samples,
    fold: NDArray[np.int64],
    scores: NDArray[np.float64],
    shuffled: NDArray[np.float64],
    seed: int,
) -> dict[str, Interval]:
    keys = _Keys.of(fold, scores)
    repeats = [[_Keys.of(fold, repeat) for repeat in factor] for factor in shuffled]
    losses = np.array(
        [
            _auc(keys, samples.y, weight)
            - np.array(
                [np.mean([_auc(key, samples.y, weight) for key in factor]) for factor in repeats]
            )
            for weight in (
                np.ones(len(samples.y)),
                *_bootstraps(samples, seed, IMPORTANCE_BOOTSTRAPS),
            )
        ]
    )
    low, high = np.percentile(losses[1:], [2.5, 97.5], axis=0)
    return {
        samples.names[i]: Interval(float(losses[0, i]), float(low[i]), float(high[i]))
        for i in np.argsort(-losses[0])
    }


class _Keys(NamedTuple):
    """Fold and rank of the score of each cell as one number, so that counting is one bincount."""

    key: NDArray[np.int64]
    folds: int
    levels: int

    @classmethod
    def of(cls, fold: NDArray[np.int64], scores: NDArray[np.float64]) -> Self:
        level = np.unique(scores, return_inverse=True)[1]
        levels = int(level.max()) + 1
        return cls(fold * levels + level, int(fold.max()) + 1, levels)

    def totals(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight at each level of each fold, (folds, levels)."""
        flat = np.bincount(self.key, weight, self.folds * self.levels).astype(
            np.float64, copy=False
        )
        return flat.reshape(self.folds, self.levels)


def _auc(keys: _Keys, y: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """Mean over folds of the area under the ROC curve, by ranks; ties count half."""
    failed, unfailed = keys.totals(weight * y), keys.totals(weight * ~y)
    won = (failed * (np.cumsum(unfailed, axis=1) - unfailed / 2)).sum(axis=1)
    of_failed, of_unfailed = failed.sum(axis=1), unfailed.sum(axis=1)
    both = (of_failed > 0) & (of_unfailed > 0)
    return float((won[both] / of_unfailed[both]).sum() / of_failed[both].sum())


def _two_class_folds(samples: Samples, fold: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    for number in np.unique(fold):
        test = fold == number
        if 0 < samples.y[test].sum() < test.sum():
            yield test


def _mean_roc(
    samples: Samples, fold: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """True positive rate at each false positive rate, averaged as the AUC is."""
    at = np.linspace(0, 1, ROC_POINTS)
    tests = list(_two_class_folds(samples, fold))
    curves = [roc_curve(samples.y[test], scores[test])[:2] for test in tests]
    mean = np.average(
        [np.interp(at, *curve) for curve in curves],
        axis=0,
        weights=[samples.y[test].sum() for test in tests],
    )
    return np.column_stack([np.append(0, at), np.append(0, mean)])


def _bootstraps(samples: Samples, seed: int, count: int) -> Iterator[NDArray[np.float64]]:
    """How often each cell counts when landslides and absences are drawn with replacement."""
    unit = _units(samples)
    failed = np.zeros(unit.max() + 1, dtype=bool)
    failed[unit] = samples.y
    random = np.random.default_rng(seed)
    for _ in range(count):
        drawn = np.zeros(len(failed))
        for of_class in (np.flatnonzero(failed), np.flatnonzero(~failed)):
            drawn += np.bincount(random.choice(of_class, len(of_class)), minlength=len(failed))
        yield drawn[unit]


def _describe(samples: Samples, fold: NDArray[np.int64]) -> str:
    counts = [
        len(np.unique(samples.landslide[samples.y & (fold == number)])) for number in range(FOLDS)
    ]
    silent = FOLDS - len(list(_two_class_folds(samples, fold)))
    left_out = f", {silent} of them left out since they hold one class only" if silent else ""
    return (
        f"{FOLDS} k-means districts with {', '.join(map(str, counts))} landslides{left_out}; "
        f"{samples.y.sum()} failed and {(~samples.y).sum()} unfailed cells"
    )
