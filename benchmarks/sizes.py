"""How well the sizes of Malamud et al. (2004) are recovered from samples of 10,000 landslides.

    python benchmarks/sizes.py [--draws 100] [--json]

No unbiased estimate scatters less than the Cramér-Rao bound, the inverse of the Fisher information
of the sample. Beside the scatter found stands that bound, and the share of samples in which an
estimate that reaches it lies within 5 %. Writes results/sizes.json; 100 draws take a minute.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import machine, write
from scipy import stats
from scipy.special import digamma

from tasks.inventory.sizes import MALAMUD, fit_inverse_gamma

NAMES = ("rho", "a_m2", "s_m2")
TRUE = np.array([MALAMUD.rho, MALAMUD.a_m2, MALAMUD.s_m2])
SAMPLE = 10_000
NEAR = 0.05
QUANTILES = 1_000_000


def fisher_information() -> NDArray[np.float64]:
    """Information of one landslide on ρ, a and s, shape (3, 3), given that it has an area.

    With y = a / (A - s), which follows a gamma distribution of shape ρ, the scores of
    Malamud et al. (2004, eq. 3) are ln y - ψ(ρ), (ρ - y) / a and (ρ + 1 - y) y / a. As s is below
    0, a few landslides of that distribution have no area, and no inventory holds them.
    """
    rho, a, s = TRUE
    shape = stats.gamma(rho)
    y = shape.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES * shape.cdf(-a / s))
    scores = np.array([np.log(y) - digamma(rho), (rho - y) / a, (rho + 1 - y) * y / a])
    return np.cov(scores, bias=True)


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
    parser.add_argument("--draws", type=int, default=100)
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
