"""The score from which a pixel is mapped, chosen on tiles held out of training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.calibration import ScoreCounts
from models.errors import ModelError
from models.samples import Entry, Sample

_STEPS = 100


def check_choosable(held: Sequence[Entry]) -> None:
    """See, before anything is trained, that there is something to choose a threshold by.

    Raises:
        ModelError: no tile held out of training holds a landslide.
    """
    if not holds_landslide(held):
        raise _nothing_to_choose_by()


def holds_landslide(entries: Sequence[Entry]) -> bool:
    """Whether any tile shows a landslide; reads them until one does."""
    samples = (entry.read() for entry in entries)
    return any((sample.mask & sample.valid).any() for sample in samples)


def best_threshold(held: Sequence[Entry], score: Callable[[Sample], NDArray[np.float32]]) -> float:
    """The threshold, in hundredths, at which the mean over datasets of the pooled F1 is largest.

    Every dataset counts alike, however many pixels it has. Of thresholds that score alike the
    middle one is taken.

    Args:
        held: tiles to choose on.
        score: landslide score of a tile, float32 (h, w) in 0-1.

    Raises:
        ModelError: no tile holds a landslide, so that there is nothing to choose by.
    """
    counts: defaultdict[str, ScoreCounts] = defaultdict(ScoreCounts)
    for entry in held:
        sample = entry.read()
        counts[entry.source].add(sample.mask, score(sample), sample.valid)
    curves = []
    for pixels in counts.values():
        hit, wrong = pixels.histogram(_STEPS)[:, ::-1].cumsum(axis=1)
        if hit[-1]:
            curves.append(2 * hit / (hit + wrong + hit[-1]))
    if not curves:
        raise _nothing_to_choose_by()
    mean = np.mean(curves, axis=0)[:-1]  # a threshold of 0 maps everything
    best = np.flatnonzero(mean == mean.max())
    return round(1 - float(best[len(best) // 2] + 1) / _STEPS, 2)


def _nothing_to_choose_by() -> ModelError:
    return ModelError(
        "no tile held out of training holds a landslide to choose a threshold by; add tiles that "
        "do, or say which with --set threshold=0.5"
    )
