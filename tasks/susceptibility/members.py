"""The spread of any model: how far copies of it differ that each missed a part of the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility.folds import Folds, splits, taken
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.predict import Predictor, SpreadPredictor
from tasks.susceptibility.sampling import Samples


@dataclass(frozen=True)
class Members:
    """A model fitted to all samples, and others fitted without one fold each."""

    whole: Predictor
    others: tuple[Predictor, ...]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.floating]:
        """Susceptibility by the whole model, (n,)."""
        return self.whole.predict(x)

    def predict_with_spread(
        self, x: NDArray[np.float32]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Susceptibility, and the standard deviation of the other models, each (n,)."""
        return self.predict(x), np.std([other.predict(x) for other in self.others], axis=0)


def with_spread(
    model: Predictor, name: str, samples: Samples, folds: Folds, seed: int
) -> SpreadPredictor:
    """A model that can say its spread: itself if it has members, else with those of the folds.

    Args:
        model: fitted to all samples.
        name: what it is called among the learners.
        samples: what it was fitted to.
        folds: what each copy misses; the first partition counts.
        seed: that of the model.
    """
    if isinstance(model, SpreadPredictor):
        return model
    usable, _ = splits(samples, folds._replace(of=folds.of[:1]))
    return Members(
        model, tuple(fit_model(name, taken(samples, fold.train), seed) for fold in usable)
    )
