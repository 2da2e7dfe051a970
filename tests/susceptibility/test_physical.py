import numpy as np
import pytest

from tasks.susceptibility.physical import (
    critical_acceleration_g,
    factor_of_safety,
    newmark_displacement_cm,
    newmark_probability,
    nowicki_jessee,
)


@pytest.mark.parametrize(("magnitude", "expected"), [(None, 0.877344), (6.5, 0.613786)])
def test_displacements_are_those_of_jibson_2007(magnitude, expected):
    assert newmark_displacement_cm(1, 2, magnitude) == pytest.approx(expected, abs=5e-7)


def test_nothing_moves_at_or_below_the_critical_acceleration():
    moved = newmark_displacement_cm([0.2, 0.2, 0.2, 0, 0], [0.1, 0.2, 0, 0.3, 0], 6.5)
    assert moved.tolist() == [0, 0, 0, np.inf, 0]


def test_unknown_shaking_or_strength_gives_unknown_displacement():
    assert np.isnan(newmark_displacement_cm([np.nan, 0.1], [0.2, np.nan])).all()
    assert np.isnan(newmark_probability(np.nan))


def test_displacement_grows_with_shaking_and_magnitude():
    shaking = np.linspace(0.11, 1.5, 50)
    assert (np.diff(newmark_displacement_cm(0.1, shaking, 6)) > 0).all()
    assert (
        newmark_displacement_cm(0.1, shaking, 7) > newmark_displacement_cm(0.1, shaking, 6)
    ).all()


def test_a_dry_slope_without_cohesion_stands_up_to_its_friction_angle():
    assert factor_of_safety([20, 30, 40], 0, 30) == pytest.approx(
        np.tan(np.radians(30)) / np.tan(np.radians([20, 30, 40]))
    )
    assert critical_acceleration_g(40, 0, 30) == 0
    assert critical_acceleration_g(30, 0, 30) == pytest.approx(0, abs=1e-12)


def test_critical_acceleration_is_the_excess_of_safety_times_the_sine():
    slope = np.array([5.0, 20, 35])
    strength = (12.0, 33.0, 18.0, 2.4, 0.4)
    excess = factor_of_safety(slope, *strength) - 1
    assert critical_acceleration_g(slope, *strength) == pytest.approx(
        excess * np.sin(np.radians(slope))
    )


def test_level_ground_has_a_critical_acceleration_and_no_end_of_safety():
    assert factor_of_safety(0, 10, 30) == np.inf
    assert critical_acceleration_g(0, 10, 30) == pytest.approx(
        10 / (15.7 * 2.4) + np.tan(np.radians(30))
    )


def test_water_weakens_a_slope():
    dry, wet = (critical_acceleration_g(25, 10, 35, saturation=m) for m in (0, 1))
    assert dry - wet == pytest.approx(9.81 / 15.7 * np.tan(np.radians(35)) * np.cos(np.radians(25)))


def test_the_share_of_slopes_that_slide_ends_at_a_third():
    share = newmark_probability([0, 2, 10, np.inf])
    assert share[0] == 0
    assert share[1] == pytest.approx(0.335 * (1 - np.exp(-0.048 * 2**1.565)))
    assert share[3] == 0.335


def test_nowicki_jessee_follows_its_equations():
    probability, coverage = nowicki_jessee(40, 25, -0.78, 5, 1.13)
    x = -6.30 + 1.65 * np.log(40) + 0.06 * 25 - 0.78 + 0.03 * 5 + 1.13 + 0.01 * np.log(40) * 25
    p = 1 / (1 + np.exp(-x))
    assert probability == pytest.approx(p)
    assert coverage == pytest.approx(np.exp(-7.592 + 5.237 * p - 3.042 * p**2 + 4.035 * p**3))


def test_nowicki_jessee_clips_what_it_was_not_fitted_to():
    assert nowicki_jessee(500, 25, 0, 40, 0) == nowicki_jessee(211, 25, 0, 19, 0)
    assert nowicki_jessee(50, 25, -3.22, 5, 0) == nowicki_jessee(50, 25, -1.36, 5, 0)
    assert nowicki_jessee(50, 2, 0, 5, 0).coverage == 0
    assert nowicki_jessee(0, 25, 0, 5, 0).probability == 0
    assert nowicki_jessee(1e9, 89, 9, 19, 9).coverage < 0.2562


def test_nowicki_jessee_knows_nothing_where_a_layer_is_unknown():
    fields = np.array([50, 25, 0, 5, 0.0])
    for missing in range(5):
        given = np.where(np.arange(5) == missing, np.nan, fields)
        assert np.isnan(nowicki_jessee(*given)).all()
    assert np.isnan(nowicki_jessee(50, 1, 0, np.nan, 0).coverage)
