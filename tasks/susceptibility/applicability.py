"""Where a model may be used: ground like that it was trained on (Meyer & Pebesma 2021).

Meyer & Pebesma (2021), "Predicting into unknown space? Estimating the area of applicability of
spatial prediction models", Methods in Ecology and Evolution 12, 1620-1633.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from tasks.susceptibility.nearest import Nearest
from tasks.susceptibility.sampling import Samples

MOST_PAIRED = 5_000  # the mean distance of so many is that of all to the third digit


@dataclass(frozen=True)
class Applicability:
    """How unlike its training samples a cell may be.

    `offset` and `scale` bring each column of `_columns` to units of its importance; `mean_distance`
    is that between training samples; `threshold` the largest dissimilarity at which the model
    applies, in units of it. `weights` are the factors' importances that were used.
    """

    names: tuple[str, ...]
    classes: Mapping[str, NDArray[np.float32]]
    weights: dict[str, float]
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    nearest: Nearest
    mean_distance: float
    threshold: float

    def dissimilarity(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Dissimilarity index of cells: distance to the nearest training sample (eq. 4).

        Args:
            x: factors of n cells, (n, factors), without NaN.

        Returns:
            The index, (n,), in mean distances between training samples; 0 is a training sample.
        """
        columns = (_columns(x, self.names, self.classes) - self.offset) * self.scale
        return (self.nearest.distance(columns) / self.mean_distance).astype(np.float32)

    def applies(
        self, x: NDArray[np.float32], dissimilarity: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Whether the model may be used on cells, (n,): they are like the training samples.

        Of a class that no sample has, the importance of its factor says nothing: such ground is
        outside, however like it is in all else.

        Args:
            x: factors of n cells, (n, factors), without NaN.
            dissimilarity: their index, (n,).
        """
        inside = dissimilarity <= self.threshold
        for column, name in enumerate(self.names):
            if name in self.classes:
                inside &= np.isin(x[:, column], self.classes[name])
        return inside


def fit_applicability(
    samples: Samples, importance: Mapping[str, float], folds: NDArray[np.int64]
) -> Applicability:
    """Learn where a model trained on samples applies.

    Factors are standardised and weighted by importance (eq. 1-2), a class by its indicators; what
    is not important does not make ground strange. A factor that no model is worse without weighs
    nothing, unless that goes for all, which then weigh the same. The threshold is the largest index
    of the training samples, outliers above the upper quartile and one and a half interquartile
    ranges removed, each measured to the samples of other folds (section 2.3).

    Args:
        samples: what the model was trained on.
        importance: of each factor, in any unit; negative counts as 0.
        folds: fold of each sample in the cross-validation the model was scored by, (n,).
    """
    weights = {name: max(0.0, importance.get(name, 0.0)) for name in samples.names}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1.0)
    classes = {
        name: np.unique(samples.own[:, column])
        for column, name in enumerate(samples.names)
        if name in samples.categorical
    }
    columns = _columns(samples.own, samples.names, classes)
    offset, deviation = columns.mean(axis=0), columns.std(axis=0)
    each = np.concatenate(
        [np.repeat(weights[name], len(classes.get(name, "-"))) for name in samples.names]
    )
    scale = np.divide(each, deviation, out=np.zeros_like(each), where=deviation > 0)
    placed = (columns - offset) * scale
    sparse = np.random.default_rng(0).permutation(len(placed))[:MOST_PAIRED]
    # Samples all alike lie no distance apart, and what is unlike them is then infinitely so
    mean_distance = max(float(pdist(placed[sparse]).mean()), np.finfo(float).tiny)
    own = _to_other_folds(placed, folds) / mean_distance
    return Applicability(
        samples.names,
        classes,
        weights,
        offset,
        scale,
        Nearest.of(placed),
        mean_distance,
        upper_whisker(own),
    )


def upper_whisker(values: NDArray[np.float64]) -> float:
    """The largest value not above the upper quartile plus 1.5 interquartile ranges."""
    lower, upper = np.percentile(values, [25, 75])
    return float(values[values <= upper + 1.5 * (upper - lower)].max())


def _to_other_folds(placed: NDArray[np.float64], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each sample to the nearest of another fold."""
    nearest = np.empty(len(placed))
    for fold in np.unique(folds):
        inside = folds == fold
        nearest[inside] = Nearest.of(placed[~inside]).distance(placed[inside])
    return nearest


def _columns(
    x: NDArray[np.float32], names: tuple[str, ...], classes: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Amounts as they are and classes as indicators, (n, columns)."""
    parts = [
        x[:, column, None] == classes[name] if name in classes else x[:, column, None]
        for column, name in enumerate(names)
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)
