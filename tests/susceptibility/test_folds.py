from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import SamplingError
from tasks.susceptibility.folds import (
    block_folds,
    district_folds,
    group_folds,
    random_folds,
    splits,
    taken,
    units,
)

SCHEMES = {
    "districts": lambda samples: district_folds(samples, 5, 2, seed=0),
    "blocks": lambda samples: block_folds(samples, 500, 5, 2, seed=0),
    "random": lambda samples: random_folds(samples, 5, 2, seed=0),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_two_folds_share_a_landslide(samples, scheme):
    folds = SCHEMES[scheme](samples)
    assert folds.of.shape == (2, len(samples.y))
    for partition in folds.of:
        assert set(partition) == set(range(5))
        for landslide in np.unique(samples.landslide[samples.y]):
            assert len(set(partition[samples.landslide == landslide])) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_seeds_draw_equal_folds_and_repeats_differ(samples, scheme):
    once, again = SCHEMES[scheme](samples), SCHEMES[scheme](samples)
    np.testing.assert_array_equal(once.of, again.of)
    assert (once.of[0] != once.of[1]).any()


def test_districts_are_compact_and_random_folds_are_not(samples):
    def spread(folds):
        return np.mean([samples.easting[folds.of[0] == fold].std() for fold in range(5)])

    assert spread(SCHEMES["districts"](samples)) < 0.7 * spread(SCHEMES["random"](samples))


@pytest.mark.parametrize("drawn", ["points", "samples"])
def test_each_point_is_nearest_to_the_middle_of_its_district(drawn, request):
    """A landslide stands at its centre, with the weight of its cells."""
    drawn = request.getfixturevalue(drawn)
    unit = units(drawn)
    where = unit.centre[unit.of]
    for folds in district_folds(drawn, 5, 3).of:
        middles = np.array([where[folds == fold].mean(axis=0) for fold in range(5)])
        nearest = np.linalg.norm(where[:, None] - middles[None], axis=-1).argmin(axis=1)
        np.testing.assert_array_equal(nearest, folds)


def test_a_block_is_held_out_whole(points):
    folds = block_folds(points, 1000, 5, 1, seed=3).of[0]
    where = np.column_stack([points.easting, points.northing]) / 1000
    # of points a tenth of a block apart few may fall either side of a border
    near = np.linalg.norm(where[:, None] - where[None], axis=-1) < 0.1
    same = (folds[:, None] == folds[None])[near]
    assert same.mean() > 0.8


def test_the_grid_of_blocks_begins_elsewhere_in_each_partition(points):
    block = np.floor(points.easting / 1000) + 10 * np.floor(points.northing / 1000)
    for folds in block_folds(points, 1000, 5, 2).of:
        assert any(len(set(folds[block == number])) > 1 for number in block)


def test_events_are_left_out_one_at_a_time(points):
    event = np.arange(len(points.y)) % 3 * 7
    folds = group_folds(event)
    usable, left_out = splits(points, folds)
    assert (len(usable), left_out) == (3, 0)
    for fold in usable:
        assert len(set(event[fold.test])) == 1
        assert set(event[fold.test]).isdisjoint(event[fold.train])
    with pytest.raises(SamplingError, match="one group"):
        group_folds(np.zeros(10, int))


def test_what_is_fitted_on_keeps_a_distance_from_what_is_held_out(points):
    folds = district_folds(points, 5, 1)
    for near, far in zip(splits(points, folds)[0], splits(points, folds, 400)[0], strict=True):
        where = np.column_stack([points.easting, points.northing])
        gap = np.linalg.norm(where[far.train][:, None] - where[far.test][None], axis=-1)
        assert gap.min() >= 400
        assert 0 < len(far.train) < len(near.train)
        np.testing.assert_array_equal(far.test, near.test)


def test_a_fold_that_lacks_a_class_is_left_out_and_counted(points):
    west = points.easting < np.quantile(points.easting, 0.5)
    lonely = taken(points, np.flatnonzero(points.y <= west))
    usable, left_out = splits(lonely, district_folds(lonely, 5, 3))
    assert left_out > 0 and len(usable) + left_out == 15
    assert all(0 < lonely.y[fold.test].sum() < len(fold.test) for fold in usable)


def test_landslides_all_in_one_fold_cannot_be_held_out(points):
    east = points.easting > np.quantile(points.easting, 0.97)
    apart = taken(points, np.flatnonzero(points.y == east))
    moved = replace(apart, easting=np.where(apart.y, apart.easting + 1e6, apart.easting))
    with pytest.raises(SamplingError, match="lie in one fold"):
        splits(moved, district_folds(moved, 2, 1))


def test_fewer_places_than_districts_are_refused(points):
    nowhere = np.zeros(len(points.y))
    one_place = replace(points, easting=nowhere, northing=nowhere)
    with pytest.raises(SamplingError, match="1 different places, too few for 5 districts"):
        district_folds(one_place, 5, 1)
    with pytest.raises(SamplingError, match="1 blocks of 100 m, too few for 5 folds"):
        block_folds(one_place, 100, 5, 1)


def test_fewer_samples_of_either_class_than_folds_are_refused(points):
    eight = taken(points, np.r_[np.flatnonzero(points.y)[:4], np.flatnonzero(~points.y)[:4]])
    with pytest.raises(SamplingError, match="4 failed and 4 unfailed samples are too few for 5"):
        block_folds(eight, 100, 5, 1)


def test_a_landslide_of_many_cells_is_one_unit(samples):
    unit = units(samples)
    assert unit.failed.sum() == samples.landslides
    assert unit.cells.sum() == len(samples.y)
    assert (unit.cells[~unit.failed] == 1).all()
