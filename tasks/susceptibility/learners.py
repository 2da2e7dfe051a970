"""Every way to learn susceptibility from samples, behind one call.

`fit_model(name, samples, seed)` gives a `Model`, which predicts 0-1 for rows of factors and says
what it learned. All that is fitted (scalers, encoders, bins, weights) is fitted to those samples
alone, so whoever holds samples out leaks nothing.
"""

from __future__ import annotations

from tasks.susceptibility.classical import frequency_ratio, weight_of_evidence
from tasks.susceptibility.classifiers import (
    boosted_trees,
    logistic,
    perceptron,
    random_forest,
    support_vectors,
)
from tasks.susceptibility.ensemble import Ensemble, stack
from tasks.susceptibility.mechanics import mechanics
from tasks.susceptibility.model import Learner, Model
from tasks.susceptibility.names import check_model
from tasks.susceptibility.patches import patch_network
from tasks.susceptibility.sampling import Samples

MEMBERS: dict[str, Learner] = {
    "rf": random_forest,
    "logistic": logistic,
    "hgb": boosted_trees,
}


def ensemble(samples: Samples, seed: int) -> Ensemble:
    """`MEMBERS` stacked."""
    return stack(samples, seed, MEMBERS)


LEARNERS: dict[str, Learner] = {
    **MEMBERS,
    "svm": support_vectors,
    "mlp": perceptron,
    "cnn": patch_network,
    "woe": weight_of_evidence,
    "fr": frequency_ratio,
    "physical": mechanics,
    "ensemble": ensemble,
}


def fit_model(name: str, samples: Samples, seed: int = 0) -> Model:
    """Fit a model by its name.

    Args:
        name: a key of `LEARNERS`.
        samples: cells of both classes.
        seed: equal seeds fit equal models.

    Raises:
        AssessmentError: there is no such model.
    """
    return find_learner(name)(samples, seed)


def cells_around(name: str) -> int:
    """How far around a cell a model looks, in cells: what `draw_samples` calls its halo."""
    if name != "cnn":
        return 0
    from models.patchnet import HALO  # imports torch, which no other model needs

    return HALO


def find_learner(name: str) -> Learner:
    """What fits a model of that name.

    Raises:
        AssessmentError: there is no such model.
    """
    check_model(name)
    return LEARNERS[name]
