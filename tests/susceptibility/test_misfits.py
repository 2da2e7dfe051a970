from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu
from shapely.geometry import box

from tasks.mapping.relief import relief
from tasks.susceptibility.degrade import Degradation, degrade
from tasks.susceptibility.misfits import GROUND, LEAST, adjusted, contrasts, ground_of, misfits


def squares(*boxes: tuple[float, float, float, float]) -> gpd.GeoSeries:
    return gpd.GeoSeries([box(*sides) for sides in boxes], crs=4326)


def test_an_outline_is_wrong_if_less_than_a_third_or_so_of_it_is_in_the_other_inventory():
    judged = squares((0, 0, 1, 1), (2, 0, 3, 1), (4, 0, 5, 1), (6, 0, 7, 1))
    # the first two overlap each other's half; what is there twice counts once
    others = squares(
        (0, 0, 0.2, 1), (0, 0, 0.2, 1), (2, 0, 2.2, 1), (2.1, 0, 2.31, 1), (4, 0, 5, 1)
    )
    np.testing.assert_array_equal(misfits(judged, others), [True, False, False, True])


def test_nothing_is_found_where_the_other_inventory_is_empty():
    assert misfits(squares((0, 0, 1, 1)), squares()).all()
    assert len(misfits(squares(), squares((0, 0, 1, 1)))) == 0


def test_the_ground_of_an_outline_is_what_its_relief_is_measured_on(kaghan, ground):
    some = kaghan.landslides.iloc[:40]
    means, measured = ground_of(some.geometry, ground), relief(some.geometry, kaghan.dem)
    inside = some.within(kaghan.aoi)
    pairs = {"slope": "slope_mean_deg", "elevation": "elevation_mean_m"}
    for factor, column in pairs.items():
        np.testing.assert_allclose(means[factor][inside], measured[column][inside], rtol=1e-3)
    assert tuple(means) == GROUND


def test_outlines_off_the_terrain_have_no_ground(kaghan, ground):
    assert ground_of(squares((0, 0, 1e-3, 1e-3)), ground).isna().all(axis=None)


def test_invented_outlines_are_found_out_and_lie_lower(kaghan, ground):
    worse = degrade(kaghan.landslides, kaghan.aoi, ground, Degradation(channel_share=0), seed=1)
    wrong = misfits(worse.geometry, kaghan.landslides.geometry)
    np.testing.assert_array_equal(wrong, worse["origin"] == "false")
    told = {
        one.factor: one for one in contrasts("commission", ground_of(worse.geometry, ground), wrong)
    }
    assert told["slope"].lower > 0.95
    assert told["slope"].median < 20 < told["slope"].median_other
    assert told["slope"].p < 1e-9


def test_the_statistic_is_mann_and_whitneys_with_p_adjusted_for_the_number_of_tests():
    random = np.random.default_rng(0)
    wrong = np.arange(60) < 20
    table = pd.DataFrame(
        {"slope": random.normal(size=60) - wrong, "relief": random.normal(size=60)}
    )
    alone = contrasts("omission", table, wrong)
    slope, relief_ = adjusted(alone)
    u, p = mannwhitneyu(table["slope"][wrong], table["slope"][~wrong])
    assert slope.lower == pytest.approx(1 - u / 800)
    assert p < slope.p == pytest.approx(min(2 * p, relief_.p))
    assert (slope.kind, slope.errors, slope.others) == ("omission", 20, 40)
    told = adjusted([*alone, *contrasts("commission", table.iloc[::-1], wrong)])
    assert min(one.p for one in told) == pytest.approx(min(min(one.p for one in alone) * 4, 1)), (
        "both kinds stand in one table: four tests"
    )
    assert adjusted([]) == ()


def test_too_few_errors_are_not_tested_and_unknown_ground_does_not_count():
    wrong = np.arange(30) < LEAST
    table = pd.DataFrame({"slope": np.arange(30.0), "relief": np.where(wrong, np.nan, 1.0)})
    assert [one.factor for one in contrasts("commission", table, wrong)] == ["slope"]
    assert contrasts("commission", table, np.arange(30) < LEAST - 1) == ()
