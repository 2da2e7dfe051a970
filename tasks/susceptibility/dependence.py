"""What a fitted model makes of each factor, all others as they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility.model import Model
from tasks.susceptibility.sampling import Samples

STEPS = 25
MOST_SAMPLES = 500


@dataclass(frozen=True)
class Dependence:
    """Values of a factor, ascending, and the mean susceptibility if all ground had each, (k,)."""

    values: NDArray[np.float32]
    susceptibility: NDArray[np.float64]


def partial_dependence(model: Model, samples: Samples, seed: int = 0) -> dict[str, Dependence]:
    """Partial dependence of susceptibility on each factor (Friedman 2001, eq. 51).

    Args:
        model: fitted on factors in the order of `samples.names`.
        samples: the ground to average over, at random thinned to `MOST_SAMPLES`.
        seed: of the thinning.

    Returns:
        A curve for each factor: at every class, or at most `STEPS` quantiles of an amount.
    """
    random = np.random.default_rng(seed)
    ground = samples.x[random.permutation(len(samples.x))[:MOST_SAMPLES]]
    curves = {}
    for column, name in enumerate(samples.names):
        values = _steps(samples.own[:, column], categorical=name in samples.categorical)
        asked = np.repeat(ground[None], len(values), axis=0)
        asked[:, :, column] = values.reshape(-1, *(1 for _ in ground[:, column].shape))
        predicted = model.predict(asked.reshape(-1, *ground.shape[1:]))
        curves[name] = Dependence(values, predicted.reshape(len(values), -1).mean(axis=1))
    return curves


def _steps(column: NDArray[np.float32], *, categorical: bool) -> NDArray[np.float32]:
    if categorical:
        return np.unique(column)
    # the extremes stand for few samples, and curves run wild there
    return np.unique(np.quantile(column, np.linspace(0.02, 0.98, STEPS)).astype(np.float32))
