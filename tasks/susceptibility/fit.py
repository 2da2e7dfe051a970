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
REPEATS = 3
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
    Spatial figures are over `REPEATS` partitions into `FOLDS` folds, random ones over one.
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

    Spatial folds are k-means districts of landslides; unfailed ground belongs to the nearest.
    Random folds deal landslides and unfailed ground at random. No fold shares a landslide with
    another, and everything is fitted inside the fold. A fold that lacks a class ranks nothing and
    is left out of the mean. Cells of different folds are never ranked against each other, since
    that makes a worthless model look worse than chance (Parker et al. 2007, BMC Bioinformatics 8,
    326).

    Args:
        samples: cells of both classes.
        seed: of the folds, the forests and the bootstrap.

    Raises:
        SamplingError: one class lies in a single place, so that none is left to learn from.
    """
    spatial, random = spatial_folds(samples, seed), random_folds(samples, seed)
    scores, shuffled = _held_out(samples, spatial, seed, explain=True)
    scores_random, _ = _held_out(samples, random, seed)
    return Validation(
        auc_spatial=_auc_interval(samples, spatial, scores, seed),
        auc_random=_auc_interval(samples, random, scores_random, seed),
        roc_spatial=_mean_roc(samples, spatial, scores),
        roc_random=_mean_roc(samples, random, scores_random),
        importance=_importance(samples, spatial, scores, shuffled, seed),
        fold_aucs=tuple(
            float(roc_auc_score(samples.y[test], scores[repeat, test]))
            for repeat, test in _two_class_folds(samples, spatial)
        ),
        folds=_describe(samples, spatial),
    )


def spatial_folds(samples: Samples, seed: int) -> NDArray[np.int64]:
    """Districts of the ground, so that a forest is scored where it has not been.

    Returns:
        Fold of each cell in each partition, (REPEATS, n): k-means clusters of landslide centres; a
        cell that did not fail belongs to the nearest.

    Raises:
        SamplingError: one class lies in a single district.
    """
    where = np.column_stack([samples.easting, samples.northing])
    owner = np.unique(samples.landslide[samples.y], return_inverse=True)[1]
    cells = np.bincount(owner)
    centres = np.column_stack([np.bincount(owner, axis) / cells for axis in where[samples.y].T])
    if len(np.unique(centres, axis=0)) < FOLDS:
        raise SamplingError(
            f"the landslides lie in fewer than {FOLDS} places, too few to hold one out in turn; "
            "enlarge the area of interest"
        )
    folds = np.empty((REPEATS, len(where)), dtype=np.int64)
    for repeat in range(REPEATS):
        districts = KMeans(FOLDS, n_init=1, random_state=seed + repeat).fit(centres)
        folds[repeat] = districts.predict(where)
        folds[repeat, samples.y] = districts.labels_[owner]
        if len(np.unique(folds[repeat, ~samples.y])) < 2:
            raise SamplingError(
                "all unfailed ground lies in one district, which leaves none to learn from when it "
                "is held out; enlarge the area of interest"
            )
    return folds


def random_folds(samples: Samples, seed: int) -> NDArray[np.int64]:
    """Landslides and unfailed cells dealt at random, a landslide whole: (1, n)."""
    unit = _units(samples)
    failed = np.zeros(unit.max() + 1, dtype=bool)
    failed[unit] = samples.y
    fold = np.empty(len(failed), dtype=np.int64)
    random = np.random.default_rng(seed)
    for of_class in (failed, ~failed):
        fold[of_class] = random.permutation(np.arange(of_class.sum()) % FOLDS)
    return fold[None, unit]


def _units(samples: Samples) -> NDArray[np.int64]:
    """What must stay together: a landslide's cells share a number, each absence has its own."""
    alone = samples.landslide == ABSENCE
    unit = np.where(alone, np.cumsum(alone) + samples.landslide.max(), samples.landslide)
    return np.unique(unit, return_inverse=True)[1]


def _held_out(
    samples: Samples, folds: NDArray[np.int64], seed: int, *, explain: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of each cell by forests that did not see its fold.

    Returns:
        Scores (repeats, n), and if `explain` the scores with each factor shuffled among the fold's
        cells, (factors, repeats, n).
    """
    factors = len(samples.names) if explain else 0
    scores, shuffled = np.empty(folds.shape), np.empty((factors, *folds.shape))
    random = np.random.default_rng(seed)
    for repeat, fold in np.ndindex(len(folds), FOLDS):
        test = folds[repeat] == fold
        forest = _forest(samples.x[~test], samples.y[~test], seed)
        x = samples.x[test]
        copies = np.tile(x, (1 + factors, 1, 1))
        for factor in range(factors):
            random.shuffle(copies[1 + factor, :, factor])
        predicted = forest.predict_proba(copies.reshape(-1, x.shape[1]))[:, 1]
        scores[repeat, test], shuffled[:, repeat, test] = np.split(
            predicted.reshape(-1, len(x)), [1]
        )
    return scores, shuffled


def _forest(x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> RandomForestClassifier:
    forest = RandomForestClassifier(n_estimators=50, max_depth=50, random_state=seed, n_jobs=-1)
    # several threads add up the trees in any order, and the last bit of the score with them
    return forest.fit(x, y).set_params(n_jobs=1)


def _auc_interval(
    samples: Samples, folds: NDArray[np.int64], scores: NDArray[np.float64], seed: int
) -> Interval:
    ranks, once = _Ranks.of(folds, scores), np.ones(len(samples.y))
    drawn = [_auc(ranks, samples.y, weight) for weight in _bootstraps(samples, seed, BOOTSTRAPS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(_auc(ranks, samples.y, once), float(low), float(high))


def _importance(
    samples: Samples,
    folds: NDArray[np.int64],
    scores: NDArray[np.float64],
    shuffled: NDArray[np.float64],
    seed: int,
) -> dict[str, Interval]:
    ranks, without = _Ranks.of(folds, scores), [_Ranks.of(folds, score) for score in shuffled]
    once = np.ones(len(samples.y))
    losses = np.array(
        [
            [
                _auc(ranks, samples.y, weight) - _auc(shuffle, samples.y, weight)
                for shuffle in without
            ]
            for weight in (once, *_bootstraps(samples, seed, IMPORTANCE_BOOTSTRAPS))
        ]
    )
    low, high = np.percentile(losses[1:], [2.5, 97.5], axis=0)
    return {
        samples.names[i]: Interval(float(losses[0, i]), float(low[i]), float(high[i]))
        for i in np.argsort(-losses[0])
    }


class _Ranks(NamedTuple):
    """Fold and rank of score of each cell as one number, so that counting is one bincount."""

    key: NDArray[np.int64]
    repeats: int
    levels: int

    @classmethod
    def of(cls, folds: NDArray[np.int64], scores: NDArray[np.float64]) -> Self:
        level = np.unique(scores, return_inverse=True)[1].reshape(scores.shape)
        levels = int(level.max()) + 1
        fold = folds + FOLDS * np.arange(len(folds))[:, None]
        return cls((fold * levels + level).ravel(), len(folds), levels)

    def totals(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight of cells, (n,), summed to (repeats * FOLDS, levels)."""
        folds = self.repeats * FOLDS
        flat = np.bincount(self.key, np.tile(weight, self.repeats), folds * self.levels)
        return flat.astype(np.float64, copy=False).reshape(folds, self.levels)


def _auc(ranks: _Ranks, y: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """Mean over folds of the area under the ROC curve; ties count half."""
    failed, unfailed = ranks.totals(weight * y), ranks.totals(weight * ~y)
    won = (failed * (np.cumsum(unfailed, axis=1) - unfailed / 2)).sum(axis=1)
    of_failed, of_unfailed = failed.sum(axis=1), unfailed.sum(axis=1)
    both = (of_failed > 0) & (of_unfailed > 0)
    return float((won[both] / of_unfailed[both]).sum() / of_failed[both].sum())


def _two_class_folds(
    samples: Samples, folds: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Repeat and cells of every fold that can be ranked."""
    for repeat, fold in np.ndindex(len(folds), FOLDS):
        test = folds[repeat] == fold
        if 0 < samples.y[test].sum() < test.sum():
            yield repeat, test


def _mean_roc(
    samples: Samples, folds: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """True positive rate at each false positive rate, averaged as the AUC is."""
    at = np.linspace(0, 1, ROC_POINTS)
    tests = list(_two_class_folds(samples, folds))
    curves = [roc_curve(samples.y[test], scores[repeat, test])[:2] for repeat, test in tests]
    mean = np.average(
        [np.interp(at, *curve) for curve in curves],
        axis=0,
        weights=[samples.y[test].sum() for _, test in tests],
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


def _describe(samples: Samples, folds: NDArray[np.int64]) -> str:
    counts = sorted(
        len(np.unique(samples.landslide[samples.y & (folds[repeat] == fold)]))
        for repeat, fold in np.ndindex(REPEATS, FOLDS)
    )
    silent = REPEATS * FOLDS - len(list(_two_class_folds(samples, folds)))
    left_out = f"; {silent} without unfailed ground left out" if silent else ""
    return (
        f"{FOLDS} districts by k-means, {REPEATS} times, each with {counts[0]} to {counts[-1]} "
        f"landslides{left_out}"
    )
