"""What is kept of a study: every number a report, an analyst or another run may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

import numpy as np

from tasks.susceptibility.before import Comparison
from tasks.susceptibility.collinearity import collinearity
from tasks.susceptibility.curves import rate_curve
from tasks.susceptibility.dependence import partial_dependence
from tasks.susceptibility.predict import applicability_path, classes_path, uncertainty_path
from tasks.susceptibility.sampling import Samples
from tasks.susceptibility.schemes import Scheme
from tasks.susceptibility.stack import FactorStack
from tasks.susceptibility.store import Susceptibility
from tasks.susceptibility.study import Mapped, Study, study_doubts
from tasks.susceptibility.validation import Score
from tasks.types import Doubt

MODEL_WORDS = {
    "rf": "random forest of 50 trees to depth 50",
    "logistic": "logistic regression",
    "hgb": "gradient boosted trees",
    "svm": "support vector machine",
    "mlp": "small neural network",
    "cnn": "convolutional network on terrain patches",
    "woe": "weight of evidence",
    "fr": "frequency ratio",
    "physical": "infinite slope mechanics",
    "ensemble": "stacked ensemble",
}


def record_study(
    study: Study,
    stack: FactorStack,
    mapped: Mapped,
    scheme: Scheme,
    seed: int,
    *,
    event_id: str,
    inventory_id: UUID | None,
    run_id: UUID,
    digest: str,
    settings: Mapping[str, Any],
    compared: tuple[Comparison, ...] = (),
    learned_from: tuple[str, ...] = (),
    doubts: tuple[Doubt, ...] = (),
) -> Susceptibility:
    """Everything about a study and its map, as the store keeps it.

    Args:
        study: what was learned.
        stack: the factors that were mapped.
        mapped: the map.
        scheme: how samples were drawn.
        seed: of all that is random.
        event_id: the event mapped.
        inventory_id: the inventory learned from; None if it was other events'.
        run_id: the run.
        digest: of everything the map was made from.
        settings: what was asked for.
        compared: earlier maps, scored on these samples.
        learned_from: the other events, if any.
        doubts: more than the study gives.
    """
    path, share = mapped.summary.path, mapped.summary.applicable_share
    samples, validation = study.samples, study.validation
    return Susceptibility(
        event_id=event_id,
        inventory_id=inventory_id,
        run_id=run_id,
        digest=digest,
        path=path,
        classes_path=classes_path(path),
        uncertainty_path=uncertainty_path(path),
        applicability_path=applicability_path(path),
        applicable_share=share,
        factors=stack.names,
        factor_table=tuple(asdict(factor) for factor in stack.factors),
        absent_factors=stack.absent,
        sampling={
            "scheme": asdict(scheme),
            "presences": int(samples.y.sum()),
            "absences": int((~samples.y).sum()),
            "landslides": samples.landslides,
            "seed": seed,
            "folds": validation.spatial.folds,
        },
        model=f"{MODEL_WORDS[study.name]} ({study.name})",
        auc_spatial=validation.spatial.auc,
        auc_random=validation.random.auc,
        roc={
            "spatial": validation.spatial.roc.tolist(),
            "random": validation.random.roc.tolist(),
        },
        importance=validation.importance,
        metrics=_metrics(study, mapped, seed),
        classes=mapped.classes,
        compared=tuple(asdict(one) for one in compared),
        kind="carried" if learned_from else "fitted",
        learned_from=learned_from,
        settings=settings,
        doubts=(*study_doubts(stack, study, scheme, share), *doubts),
    )


def _metrics(study: Study, mapped: Mapped, seed: int) -> dict[str, Any]:
    spatial = study.validation.spatial
    dependence = partial_dependence(study.model, study.samples, seed)
    return {
        "gap": study.validation.gap,
        "spatial": _score(spatial),
        "random": _score(study.validation.random),
        "success_rate": mapped.success_rate.tolist(),
        "prediction_rate": rate_curve(spatial.roc, mapped.failed_share).tolist(),
        "failed_share": mapped.failed_share,
        "partial_dependence": {
            name: {
                "values": curve.values.tolist(),
                "susceptibility": curve.susceptibility.tolist(),
            }
            for name, curve in dependence.items()
        },
        "applicability": {
            "threshold": study.applicability.threshold,
            "mean_distance": study.applicability.mean_distance,
            "weights": study.applicability.weights,
        },
        "collinearity": _collinearity(study.samples),
        "learned": study.model.explain(),
    }


def _collinearity(samples: Samples) -> dict[str, Any]:
    """How much the factors say the same on the samples; one that is constant there says nothing."""
    telling = np.ptp(samples.own, axis=0) > 0
    names = [name for name, tells in zip(samples.names, telling, strict=True) if tells]
    return collinearity(samples.own[:, telling], names, samples.categorical).as_json()


def _score(score: Score) -> dict[str, Any]:
    """A score as JSON holds it; its ROC and AUC have columns of their own."""
    values = {one.name: getattr(score, one.name) for one in fields(score)}
    del values["roc"], values["auc"]
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }
