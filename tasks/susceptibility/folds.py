"""Which samples are held out together: districts, blocks, events, or any at random.

A landslide is never divided between folds, whatever the scheme: its cells are one unit, and each
unfailed cell is a unit of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tasks.errors import SamplingError
from tasks.susceptibility.sampling import ABSENCE, Samples

# Of the headline: so many folds, dealt anew so many times.
FOLDS, REPEATS = 5, 3


class Folds(NamedTuple):
    """Fold of each sample in each partition, (repeats, n) from 0, and what they are in words."""

    of: NDArray[np.int64]
    said: str


class Split(NamedTuple):
    """Rows of the samples to fit on and to score on, each int64."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


class Units(NamedTuple):
    """What stays together.

    `of` is the unit of each sample, (n,). `centre` is each unit's mean easting and northing in m,
    (units, 2); `cells` how many samples it has and `failed` whether it is a landslide, (units,).
    """

    of: NDArray[np.int64]
    centre: NDArray[np.float64]
    cells: NDArray[np.int64]
    failed: NDArray[np.bool_]


def units(samples: Samples) -> Units:
    """Landslides and unfailed cells, each with its centre."""
    alone = samples.landslide == ABSENCE
    number = np.where(alone, np.cumsum(alone) + samples.landslide.max(), samples.landslide)
    of = np.unique(number, return_inverse=True)[1]
    cells = np.bincount(of)
    where = (samples.easting, samples.northing)
    centre = np.column_stack([np.bincount(of, axis) / cells for axis in where])
    failed = np.zeros(len(cells), dtype=bool)
    failed[of] = samples.y
    return Units(of, centre, cells, failed)


def district_folds(samples: Samples, folds: int, repeats: int, seed: int = 0) -> Folds:
    """Districts by k-means of the coordinates (Brenning 2012, IGARSS, 5372-5375).

    A landslide of many cells stands at its centre with the weight of its cells; where each is one
    point, the districts are those of sperrorest's `partition_kmeans` and mlr3's `spcv_coords`.

    Args:
        samples: cells of both classes.
        folds: districts in a partition.
        repeats: partitions, each begun from other random centres.
        seed: equal seeds draw equal districts.

    Raises:
        SamplingError: the samples lie in fewer places than folds.
    """
    unit = units(samples)
    places = len(np.unique(unit.centre, axis=0))
    if places < folds:
        raise SamplingError(
            f"the samples lie in {places} different places, too few for {folds} districts; "
            "enlarge the area of interest or ask for fewer folds"
        )
    # A second that whoever only reads what an operator chose should not wait for.
    from sklearn.cluster import KMeans

    drawn = np.empty((repeats, len(samples.y)), dtype=np.int64)
    for repeat in range(repeats):
        # one start, from random samples, so that repeated partitions differ
        districts = KMeans(folds, init="random", n_init=1, random_state=seed + repeat)
        drawn[repeat] = districts.fit(unit.centre, sample_weight=unit.cells).labels_[unit.of]
    return Folds(drawn, f"{folds} districts by k-means, {repeats} times")


def block_folds(samples: Samples, block_m: float, folds: int, repeats: int, seed: int = 0) -> Folds:
    """Square blocks dealt to folds so that each has about its share of both classes.

    Args:
        samples: cells of both classes.
        block_m: side of a block in metres; a landslide belongs to the block of its centre.
        folds: folds in a partition.
        repeats: partitions, each of a grid that begins elsewhere and is dealt anew.
        seed: equal seeds deal equal blocks.

    Raises:
        SamplingError: the samples lie in fewer blocks than folds, or no class has as many samples.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow, as above

    unit, random = units(samples), np.random.default_rng(seed)
    failed = int(samples.y.sum())
    if max(failed, len(samples.y) - failed) < folds:
        raise SamplingError(
            f"{failed} failed and {len(samples.y) - failed} unfailed samples are too few for "
            f"{folds} folds; add some, or ask for fewer folds"
        )
    drawn = np.empty((repeats, len(samples.y)), dtype=np.int64)
    for repeat in range(repeats):
        corners = np.floor(unit.centre / block_m + random.random(2)).astype(np.int64)
        block = np.unique(corners, axis=0, return_inverse=True)[1].ravel()[unit.of]
        blocks = int(block.max()) + 1
        if blocks < folds:
            raise SamplingError(
                f"the samples lie in {blocks} blocks of {block_m:g} m, too few for {folds} folds; "
                "take smaller blocks"
            )
        deal = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for fold, (_, test) in enumerate(deal.split(samples.x, samples.y, block)):
            drawn[repeat, test] = fold
    return Folds(drawn, f"blocks of {block_m:g} m dealt to {folds} folds, {repeats} times")


def group_folds(groups: NDArray[np.int64]) -> Folds:
    """Leave one event, basin or slope unit out: a fold for each distinct number in `groups`, (n,).

    Raises:
        SamplingError: there is one group only.
    """
    names, fold = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise SamplingError("all samples are of one group, so that none can be left out")
    return Folds(fold.reshape(1, -1), f"each of {len(names)} groups in turn")


def random_folds(samples: Samples, folds: int, repeats: int, seed: int = 0) -> Folds:
    """Landslides and unfailed cells dealt at random, each class evenly."""
    unit, random = units(samples), np.random.default_rng(seed)
    fold = np.empty((repeats, len(unit.failed)), dtype=np.int64)
    for repeat in range(repeats):
        for of_class in (unit.failed, ~unit.failed):
            fold[repeat, of_class] = random.permutation(np.arange(of_class.sum()) % folds)
    return Folds(fold[:, unit.of], f"{folds} folds at random, {repeats} times")


def splits(samples: Samples, folds: Folds, buffer_m: float = 0.0) -> tuple[list[Split], int]:
    """Every fold as rows to fit on and rows to score on.

    Args:
        samples: cells of both classes.
        folds: what is held out in turn.
        buffer_m: samples nearer than this to a held-out one are fitted on by none.

    Returns:
        The folds that can be fitted and ranked, and how many cannot, for want of one class among
        what is fitted or among what is scored.

    Raises:
        SamplingError: no fold can be.
    """
    usable, left_out = [], 0
    for partition in folds.of:
        for fold in range(int(partition.max()) + 1):
            test = np.flatnonzero(partition == fold)
            train = _away_from(test, np.flatnonzero(partition != fold), samples, buffer_m)
            if _has_both(samples.y[train]) and _has_both(samples.y[test]):
                usable.append(Split(train, test))
            else:
                left_out += 1
    if not usable:
        raise SamplingError(
            "all landslides, or all unfailed ground, lie in one fold, so that nothing is left to "
            "learn from when it is held out; enlarge the area of interest"
        )
    return usable, left_out


def taken(samples: Samples, rows: NDArray[np.int64]) -> Samples:
    """Some of the samples, in the order of `rows`."""
    per_sample = ("x", "y", "easting", "northing", "landslide")
    return replace(samples, **{name: getattr(samples, name)[rows] for name in per_sample})


def _away_from(
    test: NDArray[np.int64], train: NDArray[np.int64], samples: Samples, buffer_m: float
) -> NDArray[np.int64]:
    if not buffer_m or not len(test) or not len(train):
        return train
    where = np.column_stack([samples.easting, samples.northing])
    nearest, _ = KDTree(where[test]).query(where[train], distance_upper_bound=buffer_m)
    # none within reach is told as infinitely far
    return np.asarray(train[np.isinf(nearest)])


def _has_both(y: NDArray[np.bool_]) -> bool:
    return bool(0 < y.sum() < len(y))
