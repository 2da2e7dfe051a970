"""Distributions recovered from samples drawn from them."""

import numpy as np
import pytest
from scipy import stats

from tasks.errors import SamplingError
from tasks.inventory.sizes import (
    MALAMUD,
    describe_sizes,
    fit_inverse_gamma,
    fit_power_law,
    magnitude,
)

TRUE = (MALAMUD.rho, MALAMUD.a_m2, MALAMUD.s_m2)


def drawn(seed, count=10_000):
    """Areas of Malamud et al. 2004; s lies below 0, so a few in ten thousand have none."""
    return stats.invgamma.rvs(1.40, loc=-132, scale=1280, size=count, random_state=seed)


def test_the_density_is_that_of_scipy():
    areas = np.geomspace(1, 1e6, 50)
    expected = stats.invgamma.pdf(areas, 1.40, loc=-132, scale=1280)
    np.testing.assert_allclose(MALAMUD.density(areas), expected, rtol=1e-12)
    assert MALAMUD.exceedance(5000) == pytest.approx(
        stats.invgamma.sf(5000, 1.40, loc=-132, scale=1280)
    )
    assert MALAMUD.density(np.array([-200.0]))[0] == 0


def test_the_most_frequent_area_is_where_the_density_is_highest():
    areas = np.linspace(100, 1000, 9001)
    assert MALAMUD.rollover_m2 == pytest.approx(areas[MALAMUD.density(areas).argmax()], abs=0.2)


def test_malamuds_parameters_are_recovered_from_ten_thousand_areas():
    evenly = stats.invgamma.ppf((np.arange(10_000) + 0.5) / 10_000, 1.40, loc=-132, scale=1280)
    fitted = fit_inverse_gamma(evenly)
    found = (fitted.rho.value, fitted.a_m2.value, fitted.s_m2.value)
    assert found == pytest.approx(TRUE, rel=0.01)


def test_random_samples_recover_them_on_average_and_their_intervals_hold_them():
    fits = [fit_inverse_gamma(drawn(seed)) for seed in range(20)]
    intervals = np.array(
        [[(one.value, one.low, one.high) for one in (fit.rho, fit.a_m2, fit.s_m2)] for fit in fits]
    )
    assert intervals[..., 0].mean(axis=0) == pytest.approx(TRUE, rel=0.05)
    held = (intervals[..., 1] <= TRUE) & (intervals[..., 2] >= TRUE)
    assert (held.mean(axis=0) >= 0.8).all()


def test_landslides_too_small_to_be_mapped_do_not_bend_the_fit():
    areas = np.concatenate([drawn(seed) for seed in range(4)])
    cut = fit_inverse_gamma(areas[areas > 300], minimum_m2=300)
    assert cut.rho.value == pytest.approx(1.40, rel=0.05)
    assert cut.distribution.rollover_m2 == pytest.approx(MALAMUD.rollover_m2, rel=0.1)
    assert fit_inverse_gamma(areas[areas > 300]).rho.value < 1.2


def test_a_power_law_is_found_with_its_exponent_and_its_cutoff():
    small = stats.uniform.rvs(loc=1, scale=999, size=3000, random_state=1)
    large = stats.pareto.rvs(1.4, scale=1000, size=5000, random_state=2)
    tail = fit_power_law(np.concatenate([small, large]))
    assert tail.exponent.low < 2.4 < tail.exponent.high
    assert tail.exponent.value == pytest.approx(2.4, abs=0.1)
    assert 900 < tail.cutoff_m2 < 1500


def test_the_tail_tells_how_many_landslides_there_were():
    whole = drawn(3, 20_000)
    mapped = whole[whole > 2000]
    told = magnitude(mapped, fit_power_law(mapped))
    assert told.counted == np.log10(len(mapped))
    assert told.inferred.low <= np.log10(20_000) <= told.inferred.high
    assert told.completeness.value == pytest.approx(len(mapped) / 20_000, rel=0.1)


def test_a_few_landslides_are_too_few_and_it_is_said():
    told = describe_sizes(drawn(0, 20))
    assert (told.distribution, told.tail, told.magnitude) == (None, None, None)
    assert "20 landslides above 0 m² are too few" in told.notes[0]


def test_no_landslide_is_no_error():
    assert describe_sizes(np.array([])).notes


def test_areas_that_do_not_turn_over_are_not_fitted():
    areas = stats.pareto.rvs(1.4, scale=1000, size=2000, random_state=0)
    with pytest.raises(SamplingError, match="do not show where their sizes turn over"):
        fit_inverse_gamma(areas, minimum_m2=1000)
