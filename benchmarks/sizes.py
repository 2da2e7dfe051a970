"""How well the sizes of Malamud et al. (2004) are recovered from samples of 10,000 landslides.

    python benchmarks/sizes.py [--draws 200] [--json]

No unbiased estimate scatters less than the Cramér-Rao bound, the inverse of the Fisher information
of the sample. Beside the scatter found stands that bound, and the share of samples in which an
estimate that reaches it lies within 5 %. Writes results/sizes.json.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import machine, write
from scipy import stats
from scipy.special import digamma, gamma, polygamma

from tasks.inventory.sizes import MALAMUD, fit_inverse_gamma

NAMES = ("rho", "a_m2", "s_m2")
TRUE = np.array([MALAMUD.rho, MALAMUD.a_m2, MALAMUD.s_m2])
SAMPLE = 10_000
NEAR = 0.05


def fisher_information() -> NDArray[np.float64]:
    """Information of one landslide on ρ, a and s, shape (3, 3).

    With y = a / (A - s), which follows a gamma distribution of shape ρ, the scores of
    Malamud et al. (2004, eq. 3) are ln y - ψ(ρ), (ρ - y) / a and (ρ + 1 - y) y / a.
    """
    rho, a, _ = TRUE

    def mean(power: int) -> float:
        return float(gamma(rho + power) / gamma(rho))

    def mean_log(power: int) -> float:
        return mean(power) * float(digamma(rho + power))

    rho_s = (rho + 1) * mean_log(1) - mean_log(2) - mean_log(0) * ((rho + 1) * mean(1) - mean(2))
    a_s = (rho * (rho + 1) * mean(1) - (2 * rho + 1) * mean(2) + mean(3)) / a
    s_s = ((rho + 1) ** 2 * mean(2) - 2 * (rho + 1) * mean(3) + mean(4)) / a
    scaled = [[float(polygamma(1, rho)) * a, -1, rho_s], [-1, rho / a, a_s], [rho_s, a_s, s_s]]
    return np.array(scaled) / a


def fits(draws: int) -> NDArray[np.float64]:
    """Fitted ρ, a and s of so many random samples, shape (draws, 3)."""
    found = []
    for seed in range(draws):
        areas = stats.invgamma.rvs(
            MALAMUD.rho, loc=MALAMUD.s_m2, scale=MALAMUD.a_m2, size=SAMPLE, random_state=seed
        )
        fitted = fit_inverse_gamma(areas).distribution
        found.append((fitted.rho, fitted.a_m2, fitted.s_m2))
    return np.array(found)


def main() -> None:
    """Draw, fit, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print the record and nothing else")
    asked = parser.parse_args()
    record: dict[str, Any] = {"machine": machine(), "sample": SAMPLE, "draws": asked.draws}
    errors = fits(asked.draws) / TRUE - 1
    bound = np.sqrt(np.diag(np.linalg.inv(fisher_information())) / SAMPLE) / np.abs(TRUE)
    for place, name in enumerate(NAMES):
        record[name] = {
            "mean_error_percent": round(100 * float(errors[:, place].mean()), 2),
            "scatter_percent": round(100 * float(errors[:, place].std(ddof=1)), 2),
            "least_scatter_percent": round(100 * float(bound[place]), 2),
            "within_5_percent": round(float((np.abs(errors[:, place]) <= NEAR).mean()), 3),
            "within_5_percent_at_best": round(
                float(2 * stats.norm.cdf(NEAR / bound[place]) - 1), 3
            ),
        }
    record["all_within_5_percent"] = round(float((np.abs(errors) <= NEAR).all(axis=1).mean()), 3)
    path = write("sizes", record)
    shown = json.dumps(record, indent=2)
    print(shown if asked.json else f"{shown}\n{path}")


if __name__ == "__main__":
    main()
