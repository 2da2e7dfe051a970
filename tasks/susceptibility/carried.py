"""What events have in common, so that a model of some can map another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from shapely.geometry import MultiPolygon

from tasks.errors import AssessmentError
from tasks.susceptibility.folds import FOLDS, REPEATS, Folds, district_folds, group_folds
from tasks.susceptibility.sampling import ABSENCE, Samples
from tasks.susceptibility.stack import Factor, FactorStack
from tasks.types import Doubt, geodesic_area_m2

MUCH_LARGER = 1.5


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


def cells_doubts(here: FactorStack, there: Mapping[str, FactorStack]) -> list[Doubt]:
    """What is to be said of events whose cells are of another size than those that are mapped.

    Slope, curvature and what drains through a cell depend on how large it is.
    """
    own = here.geobox.resolution.x
    sizes = {name: stack.geobox.resolution.x for name, stack in there.items()}
    return [
        Doubt(
            "cells-differ",
            f"the model learned from cells of {size:.3g} m in {name} and is asked of cells of "
            f"{own:.3g} m, on which slope and curvature are others; give elevation models alike",
        )
        for name, size in sizes.items()
        if max(own, size) > MUCH_LARGER * min(own, size)
    ]


def ground_doubts(seen: Mapping[str, MultiPolygon]) -> list[Doubt]:
    """What is to be said of events that saw the same ground: held out, one is known by the other.

    Args:
        seen: area that was seen clear for each event, EPSG:4326.
    """
    shared = {
        (one, other): geodesic_area_m2(seen[one] & seen[other]) / 1e6
        for one, other in combinations(seen, 2)
    }
    return [
        Doubt(
            "events-share-ground",
            f"{one} and {other} share {km2:.3g} km² of ground, so each is held out from a model "
            "that knows its ground by the other; the AUC is not one of ground unseen",
        )
        for (one, other), km2 in shared.items()
        if km2
    ]


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
