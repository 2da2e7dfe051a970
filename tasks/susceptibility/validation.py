"""An AUC that can be believed: models scored on ground they have not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from tasks.errors import SamplingError
from tasks.susceptibility.auc import bootstraps, fold_aucs, interval, mean_auc
from tasks.susceptibility.curves import calibration, mean_precision_recall, mean_roc
from tasks.susceptibility.folds import (
    FOLDS,
    REPEATS,
    Folds,
    Split,
    district_folds,
    random_folds,
    splits,
    taken,
    units,
)
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.parallel import each
from tasks.susceptibility.sampling import Samples
from tasks.types import Doubt, Interval

BOOTSTRAPS = 500
IMPORTANCE_BOOTSTRAPS = 200

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """How well a model ranks samples that were held out.

    `folds` says what was held out. `auc` is the plain mean of `fold_aucs`, each the AUC of a fold
    on its own samples; its 95 % interval is bootstrapped over landslides. `sd` is the folds'
    standard deviation. `left_out` counts the folds that lack a class and rank nothing. `roc`,
    `precision_recall` and `calibration` are as `curves` has them, `average_precision` is the mean
    of the folds and `brier` the mean squared error of the score; all but the ROC hold for the share
    of failures among the samples.
    """

    folds: str
    auc: Interval
    sd: float
    fold_aucs: tuple[float, ...]
    left_out: int
    roc: NDArray[np.float64]
    precision_recall: NDArray[np.float64]
    calibration: NDArray[np.float64]
    average_precision: float
    brier: float


@dataclass(frozen=True)
class Validation:
    """How far a model can be believed: `spatial` is the headline, `random` flatters.

    `gap` is by how much. `importance` is the loss of spatial AUC when a factor is shuffled among
    the held-out samples, most important first; empty where it was not asked for.
    """

    spatial: Score
    random: Score
    importance: dict[str, Interval]

    @property
    def gap(self) -> float:
        """Random minus spatial AUC."""
        return self.random.auc.value - self.spatial.auc.value

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Folds that could not be ranked."""
        return tuple(
            Doubt(
                "folds-left-out",
                f"{score.left_out} of {score.left_out + len(score.fold_aucs)} folds ({score.folds})"
                " are left out, for want of landslides or of unfailed ground",
            )
            for score in (self.spatial, self.random)
            if score.left_out
        )


@dataclass(frozen=True)
class HeldOut:
    """Scores of every fold's test samples, with those where one factor each is shuffled."""

    said: str
    folds: list[Split]
    left_out: int
    scores: list[NDArray[np.float32]]
    shuffled: list[NDArray[np.float32]]


def cross_validate(
    samples: Samples,
    model: str = "rf",
    seed: int = 0,
    *,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    spatial: Folds | None = None,
    buffer_m: float = 0.0,
    explain: bool = True,
    progress: Progress | None = None,
) -> Validation:
    """Score a model on ground held out in space, and on samples held out at random.

    Args:
        samples: cells of both classes.
        model: a key of `LEARNERS`.
        seed: of the folds, the models and the bootstrap.
        folds: folds in a partition.
        repeats: partitions of either kind.
        spatial: what to hold out in space; by default `folds` districts, `repeats` times.
        buffer_m: samples nearer than this to one held out in space are not fitted on.
        explain: measure `importance`, which takes a score for each factor.
        progress: told the kind of folds, and how many of how many are done.

    Raises:
        SamplingError: fewer landslides or unfailed samples than folds, or all in one fold.
        AssessmentError: there is no such model.
    """
    unfailed = int((~samples.y).sum())
    if min(samples.landslides, unfailed) < folds:
        raise SamplingError(
            f"{samples.landslides} landslides and {unfailed} unfailed samples are too few for "
            f"{folds} folds; add some, or ask for fewer folds"
        )
    in_space = hold_out(
        samples,
        spatial or district_folds(samples, folds, repeats, seed),
        model,
        seed,
        buffer_m=buffer_m,
        explain=explain,
        progress=progress and partial(progress, "held out in space"),
    )
    at_random = hold_out(
        samples,
        random_folds(samples, folds, repeats, seed),
        model,
        seed,
        progress=progress and partial(progress, "held out at random"),
    )
    return Validation(
        score_held_out(samples, in_space, seed),
        score_held_out(samples, at_random, seed),
        importance(samples, in_space, seed) if explain else {},
    )


def hold_out(
    samples: Samples,
    folds: Folds,
    model: str = "rf",
    seed: int = 0,
    *,
    buffer_m: float = 0.0,
    explain: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> HeldOut:
    """Score each fold by a model fitted to the others; everything is fitted inside the fold.

    Args:
        samples: cells of both classes.
        folds: what is held out in turn, see `folds`.
        model: a key of `LEARNERS`.
        seed: of the models and the shuffling.
        buffer_m: samples nearer than this to a held-out one are not fitted on.
        explain: score each fold also with each factor shuffled among its samples, which gives
            `shuffled` as (factors, tests) a fold; else (0, tests).
        progress: told how many folds of how many are done.

    Raises:
        SamplingError: no fold can be fitted and ranked.
    """
    usable, left_out = splits(samples, folds, buffer_m)
    score = partial(_score_fold, samples, model, seed, len(samples.names) if explain else 0)
    own, shuffled = [], []
    for done, (scores, others) in enumerate(each(score, list(enumerate(usable))), start=1):
        own.append(scores)
        shuffled.append(others)
        if progress:
            progress(done, len(usable))
    return HeldOut(folds.said, usable, left_out, own, shuffled)


def _score_fold(
    samples: Samples, model: str, seed: int, factors: int, numbered: tuple[int, Split]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores of a fold's tests, (tests,), and with each factor shuffled, (factors, tests)."""
    number, fold = numbered
    fitted = fit_model(model, taken(samples, fold.train), seed)
    random = np.random.default_rng((seed, number))
    x = samples.x[fold.test]
    shuffled = np.empty((factors, len(x)), np.float32)
    for factor in range(factors):
        copy = x.copy()
        random.shuffle(copy[:, factor])
        shuffled[factor] = fitted.predict(copy)
    return fitted.predict(x), shuffled


def score_held_out(samples: Samples, held: HeldOut, seed: int = 0) -> Score:
    """Turn held-out scores into a `Score`."""
    aucs = fold_aucs(samples.y, held.folds, held.scores)
    draws = bootstraps(units(samples), BOOTSTRAPS, seed)
    tests = [samples.y[fold.test] for fold in held.folds]
    return Score(
        folds=held.said,
        auc=interval(mean_auc(samples.y, held.folds, held.scores, draws)),
        sd=float(aucs.std(ddof=1)) if len(aucs) > 1 else 0.0,
        fold_aucs=tuple(aucs.tolist()),
        left_out=held.left_out,
        roc=mean_roc(tests, held.scores),
        precision_recall=mean_precision_recall(tests, held.scores),
        calibration=calibration(tests, held.scores),
        average_precision=float(np.mean(list(map(average_precision_score, tests, held.scores)))),
        brier=float(np.mean((np.concatenate(tests) - np.concatenate(held.scores)) ** 2)),
    )


def importance(samples: Samples, held: HeldOut, seed: int = 0) -> dict[str, Interval]:
    """Loss of mean AUC when each factor is shuffled among a fold's samples, largest first."""
    draws = bootstraps(units(samples), IMPORTANCE_BOOTSTRAPS, seed)
    whole = mean_auc(samples.y, held.folds, held.scores, draws)
    losses = {
        name: interval(whole - mean_auc(samples.y, held.folds, without, draws))
        for name, without in zip(samples.names, zip(*held.shuffled, strict=True), strict=True)
    }
    return dict(sorted(losses.items(), key=lambda loss: -loss[1].value))
