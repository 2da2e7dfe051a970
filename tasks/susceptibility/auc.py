"""Area under the ROC curve: of a fold, as a mean over folds, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility.folds import Split, Units
from tasks.types import Interval


def auc(
    y: NDArray[np.bool_], score: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How often a failed sample scores above an unfailed one; ties count half (Hanley 1982).

    Args:
        y: whether each sample failed, (n,).
        score: its score, (n,).
        weight: how often it counts, (draws, n).

    Returns:
        The area in each draw, (draws,); NaN where a draw lacks a class.
    """
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    lower = np.searchsorted(ranked, ranked, side="left")
    upper = np.searchsorted(ranked, ranked, side="right")
    failed, counts = y[order], weight[:, order]
    passed = np.zeros((len(weight), len(y) + 1))
    np.cumsum(counts * ~failed, axis=1, out=passed[:, 1:])
    counts = counts[:, failed]
    won = (counts * (passed[:, lower[failed]] + passed[:, upper[failed]])).sum(axis=1) / 2
    pairs = counts.sum(axis=1) * passed[:, -1]
    nowhere = np.full(len(weight), np.nan)
    return np.asarray(np.divide(won, pairs, out=nowhere, where=pairs > 0))


def fold_aucs(
    y: NDArray[np.bool_], folds: Sequence[Split], scores: Sequence[NDArray[np.floating]]
) -> NDArray[np.float64]:
    """The AUC of each fold on its own samples, (folds,); `scores` are those of each fold's test."""
    return np.array(
        [
            auc(y[fold.test], score, np.ones((1, len(score))))[0]
            for fold, score in zip(folds, scores, strict=True)
        ]
    )


def mean_auc(
    y: NDArray[np.bool_],
    folds: Sequence[Split],
    scores: Sequence[NDArray[np.floating]],
    draws: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Mean of the folds' AUCs in each draw, (draws,); folds that a draw robs of a class count not.

    Samples of different folds are never ranked against each other, since that makes a worthless
    model look worse than chance (Parker et al. 2007, BMC Bioinformatics 8, 326).
    """
    each = np.array(
        [
            auc(y[fold.test], score, draws[:, fold.test])
            for fold, score in zip(folds, scores, strict=True)
        ]
    )
    ranked = np.isfinite(each)
    count = ranked.sum(axis=0)
    total = np.where(ranked, each, 0).sum(axis=0)
    nowhere = np.full(len(draws), np.nan)
    return np.asarray(np.divide(total, count, out=nowhere, where=count > 0))


def bootstraps(unit: Units, draws: int, seed: int) -> NDArray[np.float32]:
    """How often each sample counts when landslides and unfailed cells are drawn with replacement.

    The first draw is the samples as they are. Landslides are drawn, not their cells, for cells of
    one landslide are no independent evidence.

    Returns:
        float32 (1 + draws, n).
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros((1 + draws, len(unit.failed)), dtype=np.float32)
    drawn[0] = 1
    for of_class in (np.flatnonzero(unit.failed), np.flatnonzero(~unit.failed)):
        chances = np.full(len(of_class), 1 / max(len(of_class), 1))
        drawn[1:, of_class] = random.multinomial(len(of_class), chances, size=draws)
    return drawn[:, unit.of]


def guesses(auc: Interval) -> bool:
    """Whether an AUC cannot be told from that of guessing: its interval reaches 0.5."""
    return auc.low <= 0.5


def interval(values: NDArray[np.float64]) -> Interval:
    """The first value, with the middle 95 % of the others around it."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return Interval(float(values[0]), float(low), float(high))
