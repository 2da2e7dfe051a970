"""Weight of evidence and frequency ratio: what each class of each factor says, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tasks.susceptibility.sampling import Samples

CLASSES = 10


@dataclass(frozen=True)
class FactorClasses:
    """The classes of one factor.

    Amounts are cut at `edges`, ascending, each of which belongs to the class above; classes are
    `levels`, ascending. One of the two is empty.
    """

    name: str
    edges: NDArray[np.float32]
    levels: NDArray[np.float32]

    @classmethod
    def of(cls, name: str, values: NDArray[np.float32], *, categorical: bool) -> Self:
        """The levels that occur, or at most `CLASSES` classes of about as many samples each."""
        nothing = np.empty(0, np.float32)
        if categorical:
            return cls(name, nothing, np.unique(values))
        cuts = np.quantile(values, np.linspace(0, 1, CLASSES + 1)[1:-1])
        return cls(name, np.unique(cuts.astype(np.float32)), nothing)

    @property
    def count(self) -> int:
        """How many classes there are, and after them one for levels never seen."""
        return len(self.levels) + 1 if len(self.levels) else len(self.edges) + 2

    def number(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each value, from 0; the last for a level never seen."""
        if not len(self.levels):
            return np.searchsorted(self.edges, values, side="right")
        place = np.searchsorted(self.levels, values).clip(max=len(self.levels) - 1)
        return np.where(self.levels[place] == values, place, len(self.levels))

    def labels(self) -> list[str]:
        """The classes in words, but for the last."""
        if len(self.levels):
            return [f"{level:g}" for level in self.levels]
        ends = [f"{edge:.4g}" for edge in self.edges]
        return [f"{low} to {high}" for low, high in zip(["", *ends], [*ends, ""], strict=True)]


@dataclass(frozen=True)
class ClassWeights:
    """A model that reads a weight for the class of each factor.

    `weights` holds one array a factor, (classes,), neutral for a level never seen. Susceptibility
    is expit(`prior` + their sum) where `additive`, else their mean.
    """

    factors: tuple[FactorClasses, ...]
    weights: tuple[NDArray[np.float64], ...]
    additive: bool
    prior: float

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Susceptibility 0-1, (n,), of rows of factors, (n, factors)."""
        total = np.zeros(len(x))
        for column, factor, weight in zip(x.T, self.factors, self.weights, strict=True):
            total += weight[factor.number(column)]
        p = expit(self.prior + total) if self.additive else total / len(self.factors)
        return p.astype(np.float32)

    def explain(self) -> dict[str, Any]:
        """The weight of every class of every factor."""
        return {
            "weights": {
                factor.name: dict(zip(factor.labels(), weight[:-1].tolist(), strict=True))
                for factor, weight in zip(self.factors, self.weights, strict=True)
            }
        }


def weight_of_evidence(samples: Samples, seed: int) -> ClassWeights:
    """Weights of evidence (Bonham-Carter et al. 1989): log-odds as if factors were independent.

    W = ln[P(class | landslide) / P(class | none)], and logit P = logit prior + Σ W. Half a sample
    is added to each class, so that one without landslides has a weight. Amounts are cut into
    `CLASSES` classes; the prior is the landslides' share of the samples. `seed` is not needed.
    """
    factors = _factor_classes(samples)
    weights = []
    for column, factor in zip(samples.x.T, factors, strict=True):
        failed, unfailed = _counts(column, samples.y, factor)
        share = (failed + 0.5) / (failed + 0.5).sum()
        weight = np.log(share / ((unfailed + 0.5) / (unfailed + 0.5).sum()))
        weights.append(np.append(weight, 0.0))
    return ClassWeights(factors, tuple(weights), True, float(logit(samples.y.mean())))


def frequency_ratio(samples: Samples, seed: int) -> ClassWeights:
    """Frequency ratio (Lee & Talib 2005): a class's share of landslides over its share of ground.

    A class's ratio times the landslides' share of the samples is the share of its samples that
    failed. Susceptibility is the mean of these over the factors, which ranks as the usual sum of
    ratios does and lies in 0-1. `seed` is not needed.
    """
    factors = _factor_classes(samples)
    prior = samples.y.mean()
    weights = []
    for column, factor in zip(samples.x.T, factors, strict=True):
        failed, unfailed = _counts(column, samples.y, factor)
        samples_in = failed + unfailed
        share = np.divide(failed, samples_in, out=np.full(len(failed), prior), where=samples_in > 0)
        weights.append(np.append(share, prior))
    return ClassWeights(factors, tuple(weights), False, 0.0)


def _factor_classes(samples: Samples) -> tuple[FactorClasses, ...]:
    return tuple(
        FactorClasses.of(name, column, categorical=name in samples.categorical)
        for name, column in zip(samples.names, samples.x.T, strict=True)
    )


def _counts(
    column: NDArray[np.float32], y: NDArray[np.bool_], factor: FactorClasses
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Failed and unfailed samples in each class that was seen."""
    number, classes = factor.number(column), factor.count - 1
    failed = np.bincount(number[y], minlength=classes).astype(np.float64)
    return failed, np.bincount(number[~y], minlength=classes).astype(np.float64)
