"""What events have in common, so that a model of some can map another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.errors import AssessmentError
from tasks.susceptibility.folds import FOLDS, REPEATS, Folds, district_folds, group_folds
from tasks.susceptibility.sampling import ABSENCE, Samples
from tasks.susceptibility.stack import Factor, FactorStack


def shared_factors(stacks: Sequence[FactorStack]) -> list[FactorStack]:
    """The stacks with the factors that all have, in the order of the first.

    A class is shared only if its numbers mean the same everywhere, which takes their names; units
    must agree. What is left out of the first is told as absent there.

    Raises:
        AssessmentError: they share none.
    """
    first, *others = stacks
    meanings = [{_meaning(factor) for factor in stack.factors} for stack in others]
    shared = [
        factor.name
        for factor in first.factors
        if (factor.kind == "continuous" or factor.classes)
        and all(_meaning(factor) in known for known in meanings)
    ]
    if not shared:
        raise AssessmentError(
            "the events share no factor; derive them from the same terrain factors and layers"
        )
    left_out = [factor.name for factor in first.factors if factor.name not in shared]
    kept = [
        replace(
            stack,
            factors=tuple(
                next(factor for factor in stack.factors if factor.name == name) for name in shared
            ),
        )
        for stack in stacks
    ]
    kept[0] = replace(kept[0], absent=(*first.absent, *left_out))
    return kept


def _meaning(factor: Factor) -> tuple[object, ...]:
    classes = tuple(sorted((factor.classes or {}).items()))
    return factor.name, factor.kind, factor.unit, classes


def pooled_samples(each: Sequence[Samples], seed: int) -> tuple[Samples, Folds]:
    """Samples of several events as one, and folds that hold each event out in turn.

    Landslides are numbered through. Of a single event the folds are its districts, for nothing else
    can be held out.

    Args:
        each: samples of each event, of the same factors.
        seed: of the districts.
    """
    if len(each) == 1:
        return each[0], district_folds(each[0], FOLDS, REPEATS, seed)
    first = 0
    numbers = []
    for samples in each:
        numbers.append(np.where(samples.y, samples.landslide + first, ABSENCE))
        first += int(samples.landslide.max()) + 1
    pooled = replace(
        each[0],
        x=np.concatenate([samples.x for samples in each]),
        y=np.concatenate([samples.y for samples in each]),
        easting=np.concatenate([samples.easting for samples in each]),
        northing=np.concatenate([samples.northing for samples in each]),
        landslide=np.concatenate(numbers),
    )
    group = np.repeat(np.arange(len(each)), [len(samples.y) for samples in each])
    return pooled, group_folds(group)._replace(said=f"each of {len(each)} events in turn")
