"""Absences from ground that a first model finds safe (Huang et al. 2024).

The semi-supervised step of Huang et al. (2024), "Modelling landslide susceptibility prediction: A
review and construction of semi-supervised imbalanced theory", Earth-Science Reviews 250, 104700, as
its abstract tells it: a first model is trained on landslides and random ground, its map cut into
five classes, landslides in the lowest left out as doubtful, and absences drawn anew from the two
lowest. Here the first model is the paper's random forest, and cells stand for slope units.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.errors import SamplingError
from tasks.publish.products import quantise
from tasks.susceptibility.classes import LEVELS, natural_breaks
from tasks.susceptibility.folds import taken
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.sampling import LEAST_ABSENCES, LEAST_LANDSLIDES, Samples
from tasks.susceptibility.schemes import Scheme
from tasks.types import Doubt

POOL = 10  # absences drawn for each that is wanted
LOW_CLASSES = 2


def pooled(scheme: Scheme) -> Scheme:
    """The scheme that draws enough absences to choose from."""
    return replace(scheme, ratio=scheme.ratio * POOL)


def keep_low(pool: Samples, ratio: float, seed: int) -> Samples:
    """Choose among samples drawn by a `pooled` scheme.

    Args:
        pool: presences first, absences in random order.
        ratio: absences for each presence.
        seed: of the first model.

    Raises:
        SamplingError: the first model leaves too few landslides or absences.
    """
    presences, absences = np.flatnonzero(pool.y), np.flatnonzero(~pool.y)
    first = np.concatenate([presences, absences[: round(ratio * len(presences))]])
    score = fit_model("rf", taken(pool.alone(), first), seed).predict(pool.own)
    level = quantise(score)
    bounds = natural_breaks(np.bincount(level, minlength=LEVELS))
    number = np.searchsorted(bounds, level) + 1
    sure = presences[number[presences] > 1]
    low = absences[number[absences] <= LOW_CLASSES][: max(LEAST_ABSENCES, round(ratio * len(sure)))]
    kept = taken(pool, np.concatenate([sure, low]))
    if kept.landslides < LEAST_LANDSLIDES or len(low) < LEAST_ABSENCES:
        raise SamplingError(
            f"sampling from low ground leaves {kept.landslides} landslides and {len(low)} absences "
            f"of at least {LEAST_LANDSLIDES} and {LEAST_ABSENCES}; take another sampling scheme"
        )
    return kept


def low_ground_doubt(scheme: Scheme) -> list[Doubt]:
    """What choosing samples by a model does to every AUC measured on them."""
    if not scheme.low_only:
        return []
    text = (
        f"sampling scheme {scheme.name} lets a first model choose the samples, which makes them "
        "easy to tell apart: its AUCs are higher than the same map earns on ground drawn at random"
    )
    return [Doubt("samples-chosen-by-model", text)]
