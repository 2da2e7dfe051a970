"""What an automatic inventory teaches about susceptibility beside what a manual one does.

A model of each inventory is scored on the samples of both (LDM-Net paper, Table 6, has the two
where each is scored on its own). All share the same folds, and landslides that touch are held out
together, so that none is scored where its likeness in the other inventory was learned from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.errors import SamplingError
from tasks.susceptibility.auc import bootstraps, interval, mean_auc
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
from tasks.susceptibility.sampling import ABSENCE, Samples
from tasks.susceptibility.validation import BOOTSTRAPS
from tasks.types import Interval

Side = Literal["manual", "automatic"]
SIDES: tuple[Side, Side] = get_args(Side)
# Ground this near to what is held out is not learned from: the inventories draw edges differently.
BUFFER_M = 100.0

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class CrossAuc:
    """AUC of models learned from either inventory, with 95 % intervals over landslides.

    `spatial[a][b]` is of a model learned from `a` and scored on samples of `b` in districts held
    out; `random[a]` is of `a` on its own samples, held out at random.
    `change_spatial` and `change_random` are of the automatic inventory's own AUC against the manual
    one's, as a share of it, `change_on_manual` with both models scored on the manual samples.
    `left_out` counts the districts that were not scored, since without one of them an inventory has
    no landslide, or no unfailed ground, to learn from.
    """

    spatial: dict[Side, dict[Side, Interval]]
    random: dict[Side, Interval]
    change_spatial: Interval
    change_random: Interval
    change_on_manual: Interval
    left_out: int = 0


def same_landslides(manual: gpd.GeoDataFrame, automatic: gpd.GeoDataFrame) -> dict[Side, Labels]:
    """One number for all landslides of two inventories that touch, directly or through others."""
    outlines = np.concatenate([manual.geometry.to_numpy(), automatic.geometry.to_numpy()])
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(outlines),) * 2)
    _, labels = connected_components(links, directed=False)
    first, second = np.split(labels.astype(np.int64), [len(manual)])
    return {"manual": first, "automatic": second}


def cross_auc(
    samples: dict[Side, Samples],
    labels: dict[Side, Labels],
    *,
    model: str = "rf",
    seed: int = 0,
    repeats: int = REPEATS,
) -> CrossAuc:
    """Score a model of each inventory on the samples of both.

    Args:
        samples: cells drawn for each inventory, on one grid with the same factors.
        labels: what `same_landslides` gives for their landslides.
        model: a key of `LEARNERS`.
        seed: of the folds, the models and the bootstrap.
        repeats: partitions into districts.

    Raises:
        SamplingError: the landslides lie in too few places, or those of an inventory in one fold.
    """
    pair = _joined(samples, labels)
    owner = np.repeat(SIDES, [len(samples[side].y) for side in SIDES])
    draws = bootstraps(units(pair), BOOTSTRAPS, seed)
    districts = district_folds(pair, FOLDS, repeats, seed)
    spatial, left_out = _crossed(pair, owner, districts, draws, model, seed, BUFFER_M)
    random, _ = _crossed(pair, owner, random_folds(pair, FOLDS, 1, seed), draws, model, seed, 0.0)
    own = spatial["manual", "manual"]
    return CrossAuc(
        spatial={one: {two: interval(spatial[one, two]) for two in SIDES} for one in SIDES},
        random={side: interval(random[side, side]) for side in SIDES},
        change_spatial=interval(spatial["automatic", "automatic"] / own - 1),
        change_random=interval(random["automatic", "automatic"] / random["manual", "manual"] - 1),
        change_on_manual=interval(spatial["automatic", "manual"] / own - 1),
        left_out=left_out,
    )


def _joined(samples: dict[Side, Samples], labels: dict[Side, Labels]) -> Samples:
    """Samples of both inventories as one, manual first; touching landslides have one number."""
    first, second = (
        replace(own, landslide=np.where(own.y, labels[side][own.landslide], ABSENCE))
        for side, own in samples.items()
    )
    both = {
        part: np.concatenate([getattr(first, part), getattr(second, part)])
        for part in ("x", "y", "easting", "northing", "landslide")
    }
    return Samples(names=first.names, categorical=first.categorical, **both)


def _crossed(
    pair: Samples,
    owner: NDArray[np.str_],
    folds: Folds,
    draws: NDArray[np.float32],
    model: str,
    seed: int,
    buffer_m: float,
) -> tuple[dict[tuple[Side, Side], NDArray[np.float64]], int]:
    """AUC in each draw of the model of each inventory on the samples of each; folds left out."""
    ranked, left_out = splits(pair, folds, buffer_m)
    usable = [fold for fold in ranked if all(_classes(pair, owner, fold.train))]
    scored = [_classes(pair, owner, fold.test) for fold in usable]
    if not scored or not all(map(any, zip(*scored, strict=True))):
        raise SamplingError(
            "all landslides of one of the inventories lie in one district, so that nothing is left "
            "to learn from when it is held out; compare them on more ground"
        )
    found = {}
    for of in SIDES:
        learned = [Split(fold.train[owner[fold.train] == of], fold.test) for fold in usable]
        scores = list(each(partial(_unseen, pair, model, seed), learned))
        for on in SIDES:
            mine = [owner[fold.test] == on for fold in usable]
            tests = [Split(f.train, f.test[own]) for f, own in zip(usable, mine, strict=True)]
            kept = [score[own] for score, own in zip(scores, mine, strict=True)]
            found[of, on] = mean_auc(pair.y, tests, kept, draws)
    return found, left_out + len(ranked) - len(usable)


def _classes(pair: Samples, owner: NDArray[np.str_], rows: NDArray[np.int64]) -> list[bool]:
    """Whether each inventory has both failed and unfailed samples among some of them."""
    return [len(np.unique(pair.y[rows[owner[rows] == side]])) > 1 for side in SIDES]


def _unseen(pair: Samples, model: str, seed: int, fold: Split) -> NDArray[np.float32]:
    """Scores of a fold's tests by a model of what is fitted on."""
    return fit_model(model, taken(pair, fold.train), seed).predict(pair.x[fold.test])
