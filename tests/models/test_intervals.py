import math

import numpy as np
import pytest

from models.intervals import bootstrap
from models.metrics import Confusion, macro

DICE = np.random.default_rng(0)
TILES = [Confusion(*map(int, DICE.integers(1, 50, 4))) for _ in range(40)]
AUCS = [float(value) for value in DICE.random(40)]
ALONE = [str(number) for number in range(40)]


def test_intervals_hold_the_score_and_repeat_by_seed():
    found = bootstrap(TILES, AUCS, ALONE)
    assert found == bootstrap(TILES, AUCS, ALONE)
    mean, pooled = macro(TILES, AUCS), sum(TILES, Confusion(0, 0, 0, 0))
    for name in ("precision", "recall", "f1", "iou"):
        assert found["macro"][name][0] < getattr(mean, name) < found["macro"][name][1]
        assert found["micro"][name][0] < getattr(pooled, name) < found["micro"][name][1]
    assert found["pr_auc"][0] < mean.pr_auc < found["pr_auc"][1]


def test_the_width_is_that_of_the_normal_law():
    found = bootstrap(TILES, AUCS, ALONE, resamples=4000)
    low, high = found["pr_auc"]
    assert high - low == pytest.approx(2 * 1.96 * np.std(AUCS) / 40**0.5, rel=0.08)


def test_tiles_of_one_group_are_drawn_together():
    twins = [tile for tile in TILES for _ in range(4)]
    groups = [name for name in ALONE for _ in range(4)]
    together = bootstrap(twins, [v for v in AUCS for _ in range(4)], groups)["macro"]["f1"]
    alone = bootstrap(TILES, AUCS, ALONE)["macro"]["f1"]
    apart = bootstrap(twins, [v for v in AUCS for _ in range(4)], list(map(str, range(160))))
    assert together == pytest.approx(alone)
    assert np.ptp(apart["macro"]["f1"]) < 0.7 * np.ptp(together)


def test_empty_truth_counts_in_the_pool_alone():
    tiles = [*TILES[:5], Confusion(0, 500, 0, 500)]
    found = bootstrap(tiles, [*AUCS[:5], math.nan], list(map(str, range(6))))
    assert found["macro"] != found["micro"]
    assert found["macro"]["f1"][0] >= min(tile.f1 for tile in tiles[:5])
    assert found["micro"]["precision"][0] < 0.2


def test_one_group_has_no_interval():
    assert bootstrap(TILES[:3], AUCS[:3], ["a"] * 3)["macro"]["f1"] is None
    only_empty = bootstrap([Confusion(0, 1, 0, 1)] * 3, [math.nan] * 3, ["a", "b", "c"])
    assert only_empty["macro"]["f1"] is None and only_empty["micro"]["f1"] == (0, 0)
