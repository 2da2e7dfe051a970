"""Several models as one, each with the weight it earned on ground it had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from tasks.errors import SamplingError
from tasks.susceptibility.folds import district_folds, splits, taken
from tasks.susceptibility.model import Learner, Model
from tasks.susceptibility.sampling import Samples

INNER_FOLDS = 5


@dataclass(frozen=True)
class Ensemble:
    """Fitted members by name, and their weights, which are not negative and sum to 1."""

    members: Mapping[str, Model]
    weights: NDArray[np.float64]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weighted mean of the members' susceptibility, (n,)."""
        return self.predict_with_spread(x)[0]

    def predict_with_spread(
        self, x: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The mean, and the members' weighted standard deviation about it, each (n,)."""
        each = np.array([member.predict(x) for member in self.members.values()])
        mean = self.weights @ each
        spread = np.sqrt(self.weights @ (each - mean) ** 2)
        return mean.astype(np.float32), spread.astype(np.float32)

    def explain(self) -> dict[str, Any]:
        """The weight of each member."""
        return {"weights": dict(zip(self.members, self.weights.tolist(), strict=True))}


def stack(samples: Samples, seed: int, learners: Mapping[str, Learner]) -> Ensemble:
    """Fit members, and weigh them by how well they predict districts held out of the samples.

    The weights minimise the squared error of the held-out mean (super learner, van der Laan et al.
    2007, with non-negative least squares). The districts lie inside `samples`, so whoever holds
    samples out leaks nothing.

    Args:
        samples: cells of both classes.
        seed: of the districts and the members.
        learners: what fits each member, by name.
    """
    members = {name: learn(samples, seed) for name, learn in learners.items()}
    try:
        usable, _ = splits(samples, district_folds(samples, INNER_FOLDS, 1, seed))
    except SamplingError:
        return Ensemble(members, np.full(len(members), 1 / len(members)))

    def unseen(learn: Learner) -> NDArray[np.float32]:
        fitted = [learn(taken(samples, fold.train), seed) for fold in usable]
        scores = [model.predict(samples.x[f.test]) for model, f in zip(fitted, usable, strict=True)]
        return np.concatenate(scores)

    held_out = np.column_stack([unseen(learn) for learn in learners.values()])
    truth = np.concatenate([samples.y[fold.test] for fold in usable])
    weights, _ = nnls(held_out.astype(np.float64), truth.astype(np.float64))
    return Ensemble(members, weights / weights.sum())
