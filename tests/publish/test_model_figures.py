from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.publish.charts import BLUE, ORANGE
from tasks.publish.model_figures import (
    before_after_figure,
    correlation_figure,
    dependence_figure,
    importance_figure,
    roc_figure,
    skill_figure,
)
from tasks.types import Interval
from tests.publish.colours import share_of

CURVE = [[0.0, 0.0], [0.3, 0.8], [1.0, 1.0]]
METRICS = {
    "spatial": {
        "precision_recall": [[0.0, 1.0], [0.5, 0.8], [1.0, 0.5]],
        "calibration": [[0.1, 0.2, 50], [0.6, 0.5, 50], [0.9, 0.95, 50]],
        "average_precision": 0.77,
        "brier": 0.2,
    },
    "success_rate": [[0.0, 0.0], [0.1, 0.9], [1.0, 1.0]],
    "prediction_rate": CURVE,
}


def test_skill_shows_what_was_fitted_and_what_was_held_out(tmp_path):
    both = skill_figure(tmp_path / "both.png", METRICS)
    assert share_of(BLUE, both) > 0.003
    held_out = skill_figure(tmp_path / "held.png", METRICS | {"success_rate": [[0.0, 0.0]]})
    assert share_of(ORANGE, both) > 3 * share_of(ORANGE, held_out)


def test_dependence_draws_amounts_as_curves_and_classes_as_bars(tmp_path):
    curves = {
        "slope": {"values": [0, 20, 40], "susceptibility": [0.1, 0.4, 0.6]},
        "rock": {"values": [1, 2], "susceptibility": [0.5, 0.6]},
    }
    factors = [
        {"name": "slope", "kind": "continuous", "unit": "degrees", "classes": None},
        {"name": "rock", "kind": "categorical", "unit": "", "classes": {"1": "shale"}},
    ]
    both = dependence_figure(tmp_path / "both.png", curves, factors, ["rock", "slope"])
    line = dependence_figure(tmp_path / "line.png", curves, factors, ["slope"])
    assert share_of(BLUE, both) > 5 * share_of(BLUE, line) > 0


@pytest.mark.parametrize("maps", [1, 4])
def test_before_and_after_stand_in_one_figure(tmp_path, maps):
    auc = {"low": 0.6, "value": 0.7, "high": 0.8}
    scores = [*[(f"prior {i}", auc) for i in range(maps)], ("this map", auc)]
    path = before_after_figure(tmp_path / "before.png", scores)
    assert share_of(ORANGE, path) > 0.5 * maps * share_of(BLUE, path) > 0


def test_factors_that_say_the_same_stand_out(tmp_path):
    def drawn(value: float) -> float:
        record = {"names": ["slope", "relief"], "association": [[1, value], [value, 1]]}
        image = imread(correlation_figure(tmp_path / f"{value}.png", record))
        return float(np.ptp(image[..., :3], axis=2).mean())

    assert drawn(0.9) > 1.3 * drawn(0.0)


def test_both_roc_curves_are_drawn(tmp_path):
    auc = Interval(0.71, 0.6, 0.8)
    path = roc_figure(tmp_path / "roc.png", CURVE, np.square(CURVE), auc, auc)
    assert share_of(BLUE, path) > 0.001
    assert share_of(ORANGE, path) > 0.0005


def test_importance_takes_losses_of_either_sign(tmp_path):
    losses = {"flow_accumulation": Interval(-0.01, -0.03, 0.0), "slope": Interval(0.1, 0.05, 0.2)}
    assert share_of(BLUE, importance_figure(tmp_path / "importance.png", losses)) > 0.02
