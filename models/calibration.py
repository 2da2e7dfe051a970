"""Whether a score of 0.7 means that seven such pixels in ten are landslides."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import Mask

# The bits of positive floats are in the order of the floats; without the last nine, scores are told
# apart to one in 16,000 of themselves, however small they are.
_DROPPED_BITS = 9
_BINS = 10
LEVELS = (int(np.float32(1).view(np.int32)) >> _DROPPED_BITS) + 1


class ScoreCounts:
    """Valid pixels of many tiles counted by score, landslides apart.

    What is asked of pooled pixels, whatever their number, follows from these counts.
    """

    def __init__(self) -> None:
        self.landslide = np.zeros(LEVELS, np.int64)
        self.stable = np.zeros(LEVELS, np.int64)

    def add(self, truth: Mask, score: NDArray[np.float32], valid: Mask) -> None:
        """Count one tile: landslides, scores in 0-1, and where somebody looked, all (h, w)."""
        level = score[valid].astype(np.float32).view(np.int32) >> _DROPPED_BITS
        true = truth[valid]
        np.add.at(self.landslide, level[true], 1)
        np.add.at(self.stable, level[~true], 1)

    def pr_curve(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Recall and precision from the highest score down, at every score that occurs."""
        tp, fp = (np.cumsum(counts[::-1]) for counts in (self.landslide, self.stable))
        kept = (self.landslide + self.stable)[::-1] > 0
        tp, fp = tp[kept], fp[kept]
        return tp / max(int(self.landslide.sum()), 1), tp / np.maximum(tp + fp, 1)

    def pr_auc(self) -> float:
        """Area under the pooled precision-recall curve by steps; NaN without landslides."""
        if not self.landslide.any():
            return float("nan")
        recall, precision = self.pr_curve()
        return float((np.diff(recall, prepend=0) * precision).sum())

    def reliability(self) -> list[dict[str, float | int | None]]:
        """Mean score and observed share of landslides of the pixels in ten bins of equal width."""
        level, which = _levels(_BINS)
        count, hits = self.landslide + self.stable, self.landslide
        pixels, true, total = (
            np.bincount(which, weights=values, minlength=_BINS)
            for values in (count, hits, count * level)
        )
        return [
            {
                "from": number / _BINS,
                "to": (number + 1) / _BINS,
                "pixels": int(pixels[number]),
                "mean_score": float(total[number] / pixels[number]) if pixels[number] else None,
                "observed": float(true[number] / pixels[number]) if pixels[number] else None,
            }
            for number in range(_BINS)
        ]

    def histogram(self, bins: int) -> NDArray[np.int64]:
        """Landslide pixels and others, (2, bins), by score in bins of equal width."""
        _, which = _levels(bins)
        both = (self.landslide, self.stable)
        counts = [np.bincount(which, weights=values, minlength=bins) for values in both]
        return np.asarray(counts).astype(np.int64)


def sureness(total: float, squares: float) -> float:
    """Mean score of pixels in which each counts by its own score, 0-1.

    It lies near the scores of what stands out, however little of the ground that is. It is low
    where nothing stands out: where there is no landslide, or none that the network knows as such.

    Args:
        total: sum of the scores of pixels, 0-1 each.
        squares: sum of their squares.
    """
    return squares / total if total else 0.0


def _levels(bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Score of every level, and which of the bins of equal width it lies in."""
    bits = np.arange(LEVELS, dtype=np.int32) << _DROPPED_BITS
    level = bits.view(np.float32).astype(np.float64)
    return level, np.minimum((level * bins).astype(np.int64), bins - 1)


def expected_calibration_error(bins: list[dict[str, float | int | None]]) -> float:
    """Mean distance of score and observed share over the bins of `reliability`, by their pixels.

    NaN without pixels (Naeini et al. 2015).
    """
    total = sum(float(row["pixels"] or 0) for row in bins)
    gaps = [
        float(row["pixels"] or 0) * abs(float(row["mean_score"] or 0) - float(row["observed"] or 0))
        for row in bins
    ]
    return sum(gaps) / total if total else float("nan")
