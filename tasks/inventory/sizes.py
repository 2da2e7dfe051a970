"""How landslide areas are distributed, and what that says about the landslides nobody mapped.

Areas are in m² everywhere; the literature gives them in km².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammainc, gammaln

from tasks.errors import SamplingError
from tasks.types import Interval

LEAST_COUNT = 50
LEAST_TAIL = 50
CUTOFFS_TRIED = 200
Z95 = 1.96
# Above, a parameter is not known within a factor of ten.
WIDEST_LOG_ERROR = np.log(10)

Areas = NDArray[np.float64]


@dataclass(frozen=True)
class InverseGamma:
    """Three-parameter inverse-gamma density of landslide area (Malamud et al. 2004, eq. 3).

    p(A) = [a / (A - s)]^(ρ+1) exp[-a / (A - s)] / (a Γ(ρ)), with a and s in m².
    """

    rho: float
    a_m2: float
    s_m2: float

    @property
    def rollover_m2(self) -> float:
        """The most frequent area, where the density turns over: a / (ρ + 1) + s."""
        return self.a_m2 / (self.rho + 1) + self.s_m2

    def density(self, areas_m2: Areas) -> Areas:
        """Probability density in 1/m², shape (n,); 0 at and below s."""
        density: Areas = np.exp(self.log_density(areas_m2))
        return density

    def log_density(self, areas_m2: Areas) -> Areas:
        """Natural logarithm of the density, shape (n,); -inf at and below s."""
        scaled = self.a_m2 / np.where(areas_m2 > self.s_m2, areas_m2 - self.s_m2, np.nan)
        logs = (self.rho + 1) * np.log(scaled) - scaled - np.log(self.a_m2) - gammaln(self.rho)
        known: Areas = np.nan_to_num(logs, nan=-np.inf, neginf=-np.inf)
        return known

    def exceedance(self, area_m2: float) -> float:
        """Share of landslides that are larger than an area."""
        if area_m2 <= self.s_m2:
            return 1.0
        return float(gammainc(self.rho, self.a_m2 / (area_m2 - self.s_m2)))


MALAMUD = InverseGamma(rho=1.40, a_m2=1280.0, s_m2=-132.0)


@dataclass(frozen=True)
class InverseGammaFit:
    """An inverse gamma fitted to areas above `minimum_m2`, with 95 % intervals."""

    distribution: InverseGamma
    rho: Interval
    a_m2: Interval
    s_m2: Interval
    minimum_m2: float
    count: int


@dataclass(frozen=True)
class PowerLawTail:
    """The areas from `cutoff_m2` on, where p(A) ~ A^-exponent (Clauset et al. 2009)."""

    exponent: Interval
    cutoff_m2: float
    count: int
    distance: float


@dataclass(frozen=True)
class Magnitude:
    """Size of a landslide event: mL = log10 of the number of landslides (Malamud et al. 2004).

    `counted` is of those mapped. `inferred` is of all there must have been, from the number larger
    than `reference_m2`, if their areas follow the distribution that Malamud et al. found for three
    complete inventories; `completeness` is the share of those that are mapped (above 1: the
    inventory has more small ones than that distribution).
    """

    counted: float
    inferred: Interval
    reference_m2: float
    completeness: Interval


@dataclass(frozen=True)
class Sizes:
    """What the areas of an inventory say; what they do not is None, and `notes` has the reason."""

    distribution: InverseGammaFit | None
    tail: PowerLawTail | None
    magnitude: Magnitude | None
    notes: tuple[str, ...]


def describe_sizes(areas_m2: Areas, minimum_m2: float = 0.0) -> Sizes:
    """Fit all there is to fit to landslide areas.

    Args:
        areas_m2: landslide areas, shape (n,), above 0; may be empty.
        minimum_m2: smallest area that was mapped.
    """
    distribution, tail, notes = None, None, []
    try:
        distribution = fit_inverse_gamma(areas_m2, minimum_m2)
    except SamplingError as error:
        notes.append(str(error))
    try:
        tail = fit_power_law(areas_m2[areas_m2 >= minimum_m2])
    except SamplingError as error:
        notes.append(str(error))
    return Sizes(distribution, tail, magnitude(areas_m2, tail) if tail else None, tuple(notes))


def fit_inverse_gamma(areas_m2: Areas, minimum_m2: float = 0.0) -> InverseGammaFit:
    """Fit the inverse gamma of Malamud et al. (2004) by maximum likelihood.

    The likelihood is that of an area given that it is above `minimum_m2`, so landslides too small
    to be mapped do not bend the fit. Intervals come from the curvature of the likelihood.

    Args:
        areas_m2: landslide areas, shape (n,); those not above `minimum_m2` are left out.
        minimum_m2: smallest area that was mapped.

    Raises:
        SamplingError: fewer than `LEAST_COUNT` areas, or areas that no such distribution fits.
    """
    areas = areas_m2[areas_m2 > minimum_m2]
    if len(areas) < LEAST_COUNT:
        raise SamplingError(
            f"{len(areas)} landslides above {minimum_m2:g} m² are too few to fit a distribution of "
            f"sizes; {LEAST_COUNT} are needed"
        )
    smallest, middle = float(areas.min()), float(np.median(areas))

    def parameters(logs: Areas) -> InverseGamma:
        rho, a, below = np.exp(logs) * [1.0, middle, middle]
        return InverseGamma(float(rho), float(a), float(smallest - below))

    def loss(logs: Areas) -> float:
        tried = parameters(logs)
        seen = tried.exceedance(minimum_m2)
        if seen <= 0:
            return np.inf
        return float(np.log(seen) - tried.log_density(areas).mean())

    found = minimize(loss, [0.3, 0.5, -1.0], method="Nelder-Mead", options=_PRECISE)
    variances = np.diag(np.linalg.pinv(_curvature(loss, found.x))) / len(areas)
    errors = Z95 * np.sqrt(np.maximum(variances, 0))
    if not found.success or (variances <= 0).any() or (errors > WIDEST_LOG_ERROR).any():
        raise SamplingError(
            f"{len(areas)} landslides above {minimum_m2:g} m² do not show where their sizes turn "
            "over: no inverse gamma distribution can be told from them"
        )
    best = parameters(found.x)
    ends = [parameters(found.x + sign * errors) for sign in (-1, 1)]
    return InverseGammaFit(
        best,
        Interval(best.rho, ends[0].rho, ends[1].rho),
        Interval(best.a_m2, ends[0].a_m2, ends[1].a_m2),
        Interval(best.s_m2, ends[1].s_m2, ends[0].s_m2),
        minimum_m2,
        len(areas),
    )


def fit_power_law(areas_m2: Areas) -> PowerLawTail:
    """Fit a power law to the largest areas by maximum likelihood (Clauset et al. 2009, eq. 3.1).

    The cutoff is the area from which the fitted law is nearest to the areas, by the largest
    distance between their distribution functions (eq. 3.9); it leaves at least `LEAST_TAIL` areas.

    Args:
        areas_m2: landslide areas, shape (n,), above 0.

    Raises:
        SamplingError: fewer than `LEAST_COUNT` areas.
    """
    if len(areas_m2) < LEAST_COUNT:
        raise SamplingError(
            f"{len(areas_m2)} landslides are too few to fit a power law; {LEAST_COUNT} are needed"
        )
    areas = np.sort(areas_m2)
    last = len(areas) - LEAST_TAIL
    starts = np.unique(np.linspace(0, last, CUTOFFS_TRIED).astype(int))
    return min((_tail(areas[start:]) for start in starts), key=lambda tail: tail.distance)


def magnitude(areas_m2: Areas, tail: PowerLawTail) -> Magnitude:
    """The event's landslide magnitude, counted and inferred from the tail of the sizes.

    N = n(A >= reference) / P(A >= reference), P after Malamud et al. (2004, sect. 5); the interval
    is that of a Poisson count.
    """
    share = MALAMUD.exceedance(tail.cutoff_m2)
    error = Z95 / np.sqrt(tail.count)
    number = tail.count / share
    numbers = number * np.array([1.0, 1 - error, 1 + error])
    logs = np.log10(np.maximum(numbers, 1.0))
    complete = len(areas_m2) / numbers
    return Magnitude(
        counted=float(np.log10(len(areas_m2))),
        inferred=Interval(*map(float, logs)),
        reference_m2=tail.cutoff_m2,
        completeness=Interval(float(complete[0]), float(complete[2]), float(complete[1])),
    )


_STEP = 1e-3
_PRECISE = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 5000, "maxfev": 5000}


def _curvature(loss: Callable[[Areas], float], at: Areas) -> Areas:
    """Second derivatives of a function of three numbers by central differences, shape (3, 3)."""
    moves = _STEP * np.eye(len(at))
    return np.array(
        [
            [
                sum(
                    one * other * loss(at + one * moves[row] + other * moves[column])
                    for one in (1, -1)
                    for other in (1, -1)
                )
                / (4 * _STEP**2)
                for column in range(len(at))
            ]
            for row in range(len(at))
        ]
    )


def _tail(areas: Areas) -> PowerLawTail:
    """The power law of sorted areas from the first on."""
    count, logs = len(areas), np.log(areas / areas[0])
    exponent = 1 + count / max(float(logs.sum()), 1e-12)
    above = np.exp(-(exponent - 1) * logs)
    steps = np.arange(count) / count
    distance = float(np.abs(1 - above - steps).max())
    error = Z95 * (exponent - 1) / np.sqrt(count)
    interval = Interval(exponent, float(exponent - error), float(exponent + error))
    return PowerLawTail(interval, float(areas[0]), count, distance)
