"""Slope mechanics as a susceptibility model: nothing is fitted, so nothing can be overfitted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import AssessmentError
from tasks.susceptibility import physical
from tasks.susceptibility.sampling import Samples

# Shallow soils of natural slopes; SINMAP's manual (Pack et al. 1998) has ranges like these.
FRICTION_DEG = tuple(np.linspace(20, 45, 9))
COHESION_KPA = tuple(np.linspace(1, 15, 8))
TRANSMISSIVITY_OVER_RECHARGE_M = 2000.0
SLOPE, WETNESS, PGA = "slope", "wetness", "pga"


@dataclass(frozen=True)
class Mechanics:
    """Infinite slopes over a range of strengths; see `mechanics`. Columns are those of `x`."""

    slope: int
    wetness: int | None
    pga: int | None

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Share of the strengths at which the slope fails, 0-1, (n,); x is (n, factors)."""
        slope = x[:, self.slope].astype(np.float64)
        saturation = self._saturation(x, slope)
        total = np.zeros(len(x))
        for friction, cohesion in product(FRICTION_DEG, COHESION_KPA):
            if self.pga is None:
                safety = physical.factor_of_safety(slope, cohesion, friction, saturation=saturation)
                total += safety < 1
            else:
                held = physical.critical_acceleration_g(
                    slope, cohesion, friction, saturation=saturation
                )
                moved = physical.newmark_displacement_cm(held, x[:, self.pga])
                total += physical.newmark_probability(moved)
        return (total / (len(FRICTION_DEG) * len(COHESION_KPA))).astype(np.float32)

    def explain(self) -> dict[str, Any]:
        """The strengths that are assumed."""
        return {
            "friction_deg": [FRICTION_DEG[0], FRICTION_DEG[-1]],
            "cohesion_kpa": [COHESION_KPA[0], COHESION_KPA[-1]],
            "shaken": self.pga is not None,
        }

    def _saturation(
        self, x: NDArray[np.float32], slope: NDArray[np.float64]
    ) -> NDArray[np.float64] | float:
        if self.wetness is None:
            return 0.0
        # wetness is ln(a / tan β), and soil fills up in proportion to a / sin β
        per_sine = np.exp(x[:, self.wetness].astype(np.float64)) / np.cos(np.radians(slope))
        return np.asarray(np.minimum(per_sine / TRANSMISSIVITY_OVER_RECHARGE_M, 1.0))


def mechanics(samples: Samples, seed: int) -> Mechanics:
    """An infinite slope of uncertain strength, shaken where the samples have `pga` (in g).

    Susceptibility is the mean over `FRICTION_DEG` x `COHESION_KPA` of whether the factor of safety
    is below 1 or, with `pga`, of the Newmark probability (Jibson et al. 2000). The soil is wet in
    proportion to the area that drains through it (Montgomery & Dietrich 1994, eq. 8) where the
    samples have `wetness`. Nothing is learned from the samples, and `seed` is not needed.

    Raises:
        AssessmentError: the samples have no `slope` (in degrees).
    """
    if SLOPE not in samples.names:
        raise AssessmentError(
            f"the physical model needs a factor {SLOPE!r} in degrees; there are "
            f"{', '.join(samples.names)}"
        )
    columns = {name: column for column, name in enumerate(samples.names)}
    return Mechanics(columns[SLOPE], columns.get(WETNESS), columns.get(PGA))
