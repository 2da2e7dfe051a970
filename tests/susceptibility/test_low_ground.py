from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import SamplingError
from tasks.susceptibility.folds import taken
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.low_ground import keep_low, low_ground_doubt, pooled
from tasks.susceptibility.sampling import draw_samples
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
