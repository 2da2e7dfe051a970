"""Whether weights know the ground that they were shown, told by their scores alone.

A map without landslides says "none here" of ground the network knows, and nothing of other ground.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from models.calibration import sureness
from models.cards import Card
from tasks.publish.products import SCORE_NODATA, SCORE_OFFSET, SCORE_SCALE
from tasks.types import Doubt

# Of the sureness on what the weights were judged on. In tiles below it they found a seventh to a
# half of the landslides, in those above four to nearly nine in ten (docs/accuracy.md).
UNSURE = 0.6
_SCORES = np.arange(256) * SCORE_SCALE + SCORE_OFFSET


def sureness_of(score: Path) -> float:
    """How sure a score COG is of what it finds (`models.calibration.sureness`), block by block."""
    counts = np.zeros(256, np.int64)
    with rasterio.open(score) as source:
        for _, window in source.block_windows(1):
            counts += np.bincount(source.read(1, window=window).ravel(), minlength=256)
    counts[SCORE_NODATA] = 0
    return sureness(float(counts @ _SCORES), float(counts @ _SCORES**2))


def sureness_doubts(score: Path, card: Card) -> list[Doubt]:
    """The reservation that goes with a score less sure than its weights' card lets expect."""
    if card.sureness is None or (here := sureness_of(score)) >= UNSURE * card.sureness:
        return []
    text = (
        f"weights {card.name} are less sure of this ground ({here:.2f}) than of that on which they "
        f"were judged ({card.sureness:.2f}): either it holds few landslides or none, or they do "
        "not know them here; look at the image before taking ground that is not mapped for safe"
    )
    return [Doubt("weights-unsure", text)]
