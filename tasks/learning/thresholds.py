"""The score from which a pixel is mapped, chosen on tiles held out of training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.samples import Entry, Sample

_STEPS = 100


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
    # Pixels by score, from the highest down: [landslide or not, step]
    counts: defaultdict[str, NDArray[np.int64]] = defaultdict(
        lambda: np.zeros((2, _STEPS), np.int64)
    )
    for entry in held:
        sample = entry.read()
        step = (score(sample) * _STEPS).astype(int).clip(0, _STEPS - 1)
        for kind, pixels in enumerate((sample.mask & sample.valid, ~sample.mask & sample.valid)):
            counts[entry.source][kind] += np.bincount(step[pixels], minlength=_STEPS)[::-1]
    curves = []
    for mapped in counts.values():
        hit, wrong = mapped.cumsum(axis=1)
        if hit[-1]:
            curves.append(2 * hit / (hit + wrong + hit[-1]))
    if not curves:
        raise ModelError("no tile held out of training holds a landslide to choose a threshold by")
    mean = np.mean(curves, axis=0)[:-1]  # a threshold of 0 maps everything
    best = np.flatnonzero(mean == mean.max())
    return round(1 - float(best[len(best) // 2] + 1) / _STEPS, 2)
