"""How much rain is enough to set off landslides: intensity-duration thresholds on series of rain.

Missing rain is never taken for none. A sum over steps of which some are missing is the least that
can have fallen, so an exceedance of it is certain; where nothing certain exceeds and something is
missing, it cannot be told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.errors import EventError

# Rain files hold 32-bit floats: what was meant to be on the threshold may lie 1e-7 below it.
ON_THE_THRESHOLD = 1 - 1e-6


@dataclass(frozen=True)
class Threshold:
    """I = a D^b: the least mean intensity in mm/h that sets off landslides after D hours of rain.

    Attributes:
        name: as a person writes it in the rules.
        a: intensity at one hour, mm/h.
        b: exponent, above -1 (more hours never need less rain) and not above 0.
        shortest_h: shortest duration the relation was drawn from, hours.
        longest_h: longest one, hours.
    """

    name: str
    a: float
    b: float
    shortest_h: float
    longest_h: float

    def __post_init__(self) -> None:
        """Refuse numbers that are no threshold.

        Raises:
            EventError: a, b or the durations are out of range.
        """
        if not (self.a > 0 and -1 < self.b <= 0 and 0 < self.shortest_h <= self.longest_h):
            raise EventError(
                f"rain threshold {self.name!r}: I = {self.a:g} D^{self.b:g} for "
                f"{self.shortest_h:g} to {self.longest_h:g} h is none; give a above 0, b above -1 "
                "and at most 0, and durations above 0"
            )

    def amount_mm(self, duration_h: float) -> float:
        """The least rain in mm that sets off landslides when it falls within some hours."""
        return float(self.a * duration_h ** (1 + self.b))


# Caine (1980), Geografiska Annaler 62A, 23-27: shallow slides and debris flows all over the world;
# durations as Guzzetti et al. (2008) list them.
CAINE_1980 = Threshold("caine1980", 14.82, -0.39, 0.167, 500)
# Guzzetti, Peruccacci, Rossi and Stark (2008), Landslides 5, 3-17: 2,626 events all over the world.
GUZZETTI_2008 = Threshold("guzzetti2008", 2.20, -0.44, 0.1, 1000)
THRESHOLDS = {threshold.name: threshold for threshold in (CAINE_1980, GUZZETTI_2008)}


@dataclass(frozen=True)
class Exceedance:
    """At each step, how the rain that ends there compares to a threshold; arrays of one shape.

    Attributes:
        ratio: most rain over threshold of all durations, 1 on it; float32, a lower bound where
            `missing`.
        steps: duration of that rain in steps, int32; 0 where nothing fell.
        amount_mm: the rain that fell in it, float32; a lower bound where `missing`.
        missing: whether any step up to here could not be told; bool.
    """

    ratio: NDArray[np.float32]
    steps: NDArray[np.int32]
    amount_mm: NDArray[np.float32]
    missing: NDArray[np.bool_]


def compare(rain_mm: NDArray[np.float32], step_h: float, threshold: Threshold) -> Exceedance:
    """Compare all the rain that ends at each step, over all durations, to a threshold.

    For every duration D of whole steps the threshold holds for, the mean intensity of the D hours
    up to the end of a step is divided by I(D); the greatest of these ratios is kept.

    Args:
        rain_mm: rain of each step in mm, shape (steps, ...), NaN where missing.
        step_h: length of a step in hours.
        threshold: what to compare to.

    Returns:
        Arrays of the shape of `rain_mm`. All ratios are 0 where a step is longer than the longest
        duration of the threshold.
    """
    unknown = np.isnan(rain_mm)
    fallen = np.cumsum(np.where(unknown, 0, rain_mm), axis=0, dtype=np.float64)
    ratio = np.zeros(rain_mm.shape, np.float32)
    steps = np.zeros(rain_mm.shape, np.int32)
    amount = np.zeros(rain_mm.shape, np.float32)
    for count in _durations(len(rain_mm), step_h, threshold):
        window = fallen[count - 1 :].copy()
        window[1:] -= fallen[:-count]
        over = (window / threshold.amount_mm(count * step_h)).astype(np.float32)
        higher = over > ratio[count - 1 :]
        ratio[count - 1 :][higher] = over[higher]
        steps[count - 1 :][higher] = count
        amount[count - 1 :][higher] = window[higher]
    return Exceedance(ratio, steps, amount, np.logical_or.accumulate(unknown, axis=0))


def _durations(steps: int, step_h: float, threshold: Threshold) -> range:
    """Numbers of steps that make a duration for which the threshold holds."""
    least = max(1, int(np.ceil(threshold.shortest_h / step_h - 1e-9)))
    most = int(np.floor(threshold.longest_h / step_h + 1e-9))
    return range(least, min(steps, most) + 1)
