import numpy as np
import pytest

from tasks.errors import EventError
from tasks.events.thresholds import CAINE_1980, GUZZETTI_2008, Threshold, compare

ONE_MM_AN_HOUR = Threshold("own", 1.0, 0.0, 1, 100)


def series(*mm):
    return np.array(mm, np.float32).reshape(-1, 1)


def test_the_thresholds_are_those_of_the_papers():
    """I(D) = 14.82 D^-0.39 and 2.20 D^-0.44 mm/h; the amounts are I times D."""
    assert CAINE_1980.amount_mm(1) == pytest.approx(14.82)
    assert CAINE_1980.amount_mm(24) == pytest.approx(24 * 14.82 * 24**-0.39)
    assert CAINE_1980.amount_mm(24) == pytest.approx(102.98, abs=0.01)
    assert GUZZETTI_2008.amount_mm(24) == pytest.approx(13.04, abs=0.01)


@pytest.mark.parametrize(("a", "b"), [(0, -0.4), (10, 0.1), (10, -1), (float("nan"), -0.4)])
def test_what_is_no_threshold_is_refused(a, b):
    with pytest.raises(EventError, match="give a above 0"):
        Threshold("own", a, b, 1, 100)


def test_rain_on_the_threshold_has_ratio_one_whatever_its_duration():
    for hours in (1, 5, 48):
        mm = CAINE_1980.amount_mm(hours) / hours
        found = compare(series(*[mm] * hours), 1, CAINE_1980)
        assert found.ratio[-1, 0] == pytest.approx(1, abs=1e-6)
        assert found.steps[-1, 0] == hours


def test_the_shortest_burst_counts_as_much_as_the_longest_rain():
    """20 mm in one hour of a dry day is over I(1), though the day as a whole stays far below."""
    mm = np.zeros(24)
    mm[7] = 20
    found = compare(series(*mm), 1, CAINE_1980)
    assert found.ratio[7, 0] == pytest.approx(20 / 14.82)
    assert (found.steps[7, 0], found.amount_mm[7, 0]) == (1, 20)
    assert 20 / CAINE_1980.amount_mm(24) < 0.2


def test_every_duration_is_the_same_as_adding_up_by_hand():
    rng = np.random.default_rng(7)
    mm = rng.gamma(0.3, 4, (30, 5)).astype(np.float32)
    found = compare(mm, 0.5, CAINE_1980)
    for end in range(1, 31):
        expected = max(
            mm[start:end].sum(axis=0, dtype=float)[2] / CAINE_1980.amount_mm((end - start) / 2)
            for start in range(end)
        )
        assert found.ratio[end - 1, 2] == pytest.approx(expected, rel=1e-5)


def test_durations_the_relation_was_not_drawn_from_are_not_asked():
    assert compare(series(999), 0.1, CAINE_1980).ratio[0, 0] == 0
    assert compare(series(9_999), 600, CAINE_1980).ratio[0, 0] == 0
    assert compare(series(999, 999), 0.1, CAINE_1980).steps[1, 0] == 2


def test_missing_rain_makes_a_sum_a_lower_bound_and_is_never_taken_for_none():
    found = compare(series(1, np.nan, 1, 3), 1, ONE_MM_AN_HOUR)
    assert found.missing[:, 0].tolist() == [False, True, True, True]
    assert found.ratio[3, 0] == 3  # certain, whatever fell in the second hour
    assert found.ratio[1, 0] == pytest.approx(0.5)  # at least that
    assert compare(series(np.nan), 1, ONE_MM_AN_HOUR).ratio[0, 0] == 0
