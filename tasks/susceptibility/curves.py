"""Curves that tell how well held-out samples are ranked, and how well their scores are odds.

Curves of folds are averaged, as the AUC is, since scores of different folds have no common scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

POINTS = 101
CALIBRATION_BINS = 10

Labels = Sequence[NDArray[np.bool_]]
Scores = Sequence[NDArray[np.floating]]


def mean_roc(labels: Labels, scores: Scores) -> NDArray[np.float64]:
    """False and mean true positive rate, from (0, 0) to (1, 1): (POINTS + 1, 2)."""
    at = np.linspace(0, 1, POINTS)
    curves = [roc_curve(y, score)[:2] for y, score in zip(labels, scores, strict=True)]
    mean = np.mean([np.interp(at, *curve) for curve in curves], axis=0)
    return np.column_stack([np.append(0, at), np.append(0, mean)])


def mean_precision_recall(labels: Labels, scores: Scores) -> NDArray[np.float64]:
    """Recall and mean precision at the samples' share of failures: (POINTS, 2)."""
    at = np.linspace(0, 1, POINTS)
    curves = [precision_recall_curve(y, score)[:2] for y, score in zip(labels, scores, strict=True)]
    mean = np.mean([np.interp(at, recall[::-1], p[::-1]) for p, recall in curves], axis=0)
    return np.column_stack([at, mean])


def calibration(labels: Labels, scores: Scores) -> NDArray[np.float64]:
    """Whether ground scored 0.7 fails seven times in ten.

    Returns:
        Mean score, share that failed and count of samples in bins of about equal count, by
        ascending score, (at most `CALIBRATION_BINS`, 3).
    """
    score, y = np.concatenate(scores), np.concatenate(labels)
    edges = np.unique(np.quantile(score, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]))
    number = np.searchsorted(edges, score, side="right")
    count = np.bincount(number, minlength=len(edges) + 1)
    sums = np.column_stack([np.bincount(number, of, len(count)) for of in (score, y)])
    filled = count > 0
    return np.column_stack([sums[filled] / count[filled, None], count[filled]])


def rate_curve(roc: NDArray[np.float64], landslide_share: float) -> NDArray[np.float64]:
    """Share of landslides in the most susceptible share of the ground (Chung & Fabbri 2003).

    Of held-out samples it is the prediction rate curve, of those fitted on the success rate curve.

    Args:
        roc: (false, true) positive rates of samples drawn evenly from each class, (points, 2).
        landslide_share: part of the ground that failed, 0-1.

    Returns:
        Share of the ground, share of landslides, (points, 2).
    """
    false, true = roc.T
    return np.column_stack([(1 - landslide_share) * false + landslide_share * true, true])
