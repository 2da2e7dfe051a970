from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import SamplingError
from tasks.susceptibility.folds import taken
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.low_ground import keep_low, low_ground_doubt, pooled
from tasks.susceptibility.sampling import ABSENCE, Samples, draw_samples
from tasks.susceptibility.schemes import SCHEMES
from tasks.susceptibility.study import sample

HUANG = SCHEMES["huang2024"]


@pytest.fixture(scope="module")
def pool(kaghan):
    return draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, pooled(HUANG))


def test_absences_come_from_ground_a_first_model_finds_safe(pool):
    kept = keep_low(pool, 1.0, seed=0)
    first = np.flatnonzero(pool.y)
    first = np.append(first, np.flatnonzero(~pool.y)[: len(first)])
    model = fit_model("rf", taken(pool, first))
    plain, safe = (model.predict(drawn.x[~drawn.y]) for drawn in (pool, kept))
    assert safe.max() < np.median(plain[plain > safe.max()]) and safe.mean() < plain.mean() / 2
    assert (~kept.y).sum() == kept.y.sum() <= pool.y.sum()


def test_landslides_on_the_safest_ground_are_left_out_and_absences_are_of_the_two_lowest_classes():
    """Of ten kinds of ground the first five are safe; what comes late trains no first model."""
    slid = np.repeat(np.arange(10), [1, 0, 0, 0, 0, 5, 10, 15, 20, 25])
    first, late = np.resize([0, 0, 0, 0, 0, *range(1, 10)], len(slid)), np.resize([9, 2], 600)
    x = np.concatenate([slid, first, late]).astype(np.float32)[:, None]
    y, nowhere = np.arange(len(x)) < len(slid), np.zeros(len(x))
    landslide = np.where(y, np.arange(len(x)), ABSENCE)
    kept = keep_low(Samples(("kind",), x, y, nowhere, nowhere, landslide), 1.0, seed=0)
    assert (kept.y.sum(), kept.x[kept.y].min(), kept.x[~kept.y].max()) == (len(slid) - 1, 5, 5)


def test_a_named_scheme_chooses_and_says_that_its_aucs_flatter(kaghan):
    drawn = sample(kaghan.landslides, kaghan.aoi, kaghan.stack, HUANG, 0)
    owner = drawn.landslide[drawn.y]
    assert len(np.unique(owner)) == len(owner)
    (doubt,) = low_ground_doubt(HUANG)
    assert doubt.code == "samples-chosen-by-model" and "huang2024" in doubt.text
    assert low_ground_doubt(SCHEMES["scarp"]) == []


def test_a_pool_without_safe_ground_is_refused(pool):
    steep = taken(pool, np.append(np.flatnonzero(pool.y), np.flatnonzero(~pool.y)[:5]))
    with pytest.raises(SamplingError, match="take another sampling scheme"):
        keep_low(replace(steep, x=steep.x[::-1].copy()), 1.0, seed=0)
