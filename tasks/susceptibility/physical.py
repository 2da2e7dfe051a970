"""Landslides expected of a shaking, from the mechanics of a slope or from past earthquakes.

Pure functions on arrays that broadcast together; angles are in degrees, accelerations in g, and
what is unknown (NaN) in any input is NaN in the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

WATER_KN_M3 = 9.81
LARGEST_PGV_CM_S = 211.0
LARGEST_CTI = 19.0
LEAST_SLOPE_DEG = 2.0
# The coefficient fitted to unconsolidated sediment makes it the strongest rock of all; the USGS
# computes with that of mixed sedimentary rock instead.
_UNCONSOLIDATED, _MIXED_SEDIMENT = -3.21, -1.36


class ExpectedLandslides(NamedTuple):
    """A probability of landslides, and the share of the ground they cover, both 0 to 1."""

    probability: Floats
    coverage: Floats


def factor_of_safety(
    slope_deg: ArrayLike,
    cohesion_kpa: ArrayLike,
    friction_deg: ArrayLike,
    unit_weight_kn_m3: ArrayLike = 15.7,
    thickness_m: ArrayLike = 2.4,
    saturation: ArrayLike = 0.0,
) -> Floats:
    """Resisting over driving stress of an infinite slope (Jibson et al. 2000, eq. 2).

    FS = c / (γ t sin α) + tan φ / tan α - m γw tan φ / (γ tan α)

    Args:
        slope_deg: α, 0 to 90.
        cohesion_kpa: effective cohesion c.
        friction_deg: effective friction angle φ.
        unit_weight_kn_m3: γ of the material.
        thickness_m: t of the failing slab, normal to the slope.
        saturation: m, the share of the slab below the water table, 0 to 1.

    The defaults are those of Jibson et al. (2000, Engineering Geology 58, 271-289).

    Returns:
        Below 1 where the slope fails without shaking, infinite on level ground.
    """
    sine = np.sin(np.radians(np.asarray(slope_deg, np.float64)))
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.asarray(
            _yield_ratio(
                slope_deg, cohesion_kpa, friction_deg, unit_weight_kn_m3, thickness_m, saturation
            )
            / sine
        )
    return 1 + excess


def critical_acceleration_g(
    slope_deg: ArrayLike,
    cohesion_kpa: ArrayLike,
    friction_deg: ArrayLike,
    unit_weight_kn_m3: ArrayLike = 15.7,
    thickness_m: ArrayLike = 2.4,
    saturation: ArrayLike = 0.0,
) -> Floats:
    """Acceleration that starts a slope moving, (FS - 1) sin α in g (Jibson et al. 2000, eq. 1).

    Args: as for `factor_of_safety`.

    Returns:
        In g; 0 where the slope is unstable without shaking.
    """
    ratio = _yield_ratio(
        slope_deg, cohesion_kpa, friction_deg, unit_weight_kn_m3, thickness_m, saturation
    )
    return np.asarray(np.maximum(ratio, 0.0))


def _yield_ratio(
    slope_deg: ArrayLike,
    cohesion_kpa: ArrayLike,
    friction_deg: ArrayLike,
    unit_weight_kn_m3: ArrayLike,
    thickness_m: ArrayLike,
    saturation: ArrayLike,
) -> Floats:
    """(FS - 1) sin α with the sine multiplied out, so that it is finite on level ground."""
    slope = np.radians(np.asarray(slope_deg, np.float64))
    weight = np.asarray(unit_weight_kn_m3, np.float64)
    buoyancy = 1 - np.asarray(saturation, np.float64) * WATER_KN_M3 / weight
    friction = np.tan(np.radians(np.asarray(friction_deg, np.float64)))
    held = np.asarray(cohesion_kpa, np.float64) / (weight * np.asarray(thickness_m, np.float64))
    return np.asarray(held + buoyancy * friction * np.cos(slope) - np.sin(slope))


def newmark_displacement_cm(
    critical_acceleration_g: ArrayLike,
    peak_acceleration_g: ArrayLike,
    magnitude: float | None = None,
) -> Floats:
    """How far a block slides while the ground shakes (Jibson 2007, Eng. Geology 91, 209-218).

    With r = ac / PGA, the critical over the peak acceleration,

        log D = 0.215 + log[(1 - r)^2.341 r^-1.438]                      (eq. 6, σ = 0.510)
        log D = -2.710 + log[(1 - r)^2.335 r^-1.478] + 0.424 M           (eq. 7, σ = 0.454)

    Args:
        critical_acceleration_g: acceleration that starts the block, in g.
        peak_acceleration_g: peak ground acceleration, in g.
        magnitude: moment magnitude, for equation 7; None for equation 6.

    Returns:
        Median displacement in cm: 0 where the shaking stays at or below the critical acceleration,
        infinite where that is 0 and the ground shakes.
    """
    critical = np.asarray(critical_acceleration_g, np.float64)
    peak = np.asarray(peak_acceleration_g, np.float64)
    known = 0 * critical + 0 * peak
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(peak > critical, critical / peak, 1.0)
        if magnitude is None:
            moved = 10**0.215 * (1 - ratio) ** 2.341 * ratio**-1.438
        else:
            moved = 10 ** (0.424 * magnitude - 2.710) * (1 - ratio) ** 2.335 * ratio**-1.478
    return np.asarray(moved + known)


def newmark_probability(displacement_cm: ArrayLike) -> Floats:
    """Share of slopes that slid at a Newmark displacement (Jibson et al. 2000, eq. 5).

    P = 0.335 [1 - exp(-0.048 D^1.565)], fitted to the Northridge earthquake of 1994; never above
    0.335.
    """
    displacement = np.asarray(displacement_cm, np.float64)
    return np.asarray(0.335 * -np.expm1(-0.048 * displacement**1.565))


def nowicki_jessee(
    pgv_cm_s: ArrayLike,
    slope_deg: ArrayLike,
    lithology: ArrayLike,
    cti: ArrayLike,
    landcover: ArrayLike,
) -> ExpectedLandslides:
    """Landslides expected of a shaking by the global model that the USGS runs.

    Nowicki Jessee et al. (2018, JGR Earth Surface 123, 1835-1859):

        X = -6.30 + 1.65 ln PGV + 0.06 S + L + 0.03 CTI + C + 0.01 S ln PGV
        P = 1 / (1 + exp(-X)),   coverage = exp(-7.592 + 5.237 P - 3.042 P² + 4.035 P³)

    with what the USGS product adds: PGV is clipped at 211 cm/s, CTI at 0 and 19, unconsolidated
    sediment (L = -3.22) counts as mixed sedimentary rock (-1.36), and no landslides are expected
    on slopes of 2° or less.

    Args:
        pgv_cm_s: peak ground velocity.
        slope_deg: S, the slope.
        lithology: L, the coefficient of the rock class.
        cti: compound topographic index.
        landcover: C, the coefficient of the land-cover class.

    Returns:
        Probability of landslides, and the share of the ground they cover, at most 0.2562.
    """
    slope, rock = np.asarray(slope_deg, np.float64), np.asarray(lithology, np.float64)
    with np.errstate(divide="ignore"):
        log_pgv = np.log(np.clip(np.asarray(pgv_cm_s, np.float64), 0, LARGEST_PGV_CM_S))
    rock = np.where(rock <= _UNCONSOLIDATED, _MIXED_SEDIMENT, rock)
    cover = np.asarray(landcover, np.float64)
    wetness = np.clip(np.asarray(cti, np.float64), 0, LARGEST_CTI)
    still = np.asarray(0.06 * slope + rock + 0.03 * wetness + cover - 6.30)
    x = still + (1.65 + 0.01 * slope) * log_pgv
    probability = p = expit(x)
    coverage = np.exp(-7.592 + 5.237 * p - 3.042 * p**2 + 4.035 * p**3)
    level = (slope <= LEAST_SLOPE_DEG) & ~np.isnan(x)
    return ExpectedLandslides(np.where(level, 0.0, probability), np.where(level, 0.0, coverage))
