"""How a training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tasks.publish.charts import BLUE, LABEL_STYLE, ORANGE, calm, save_figure


def learning_figure(path: Path, history: Sequence[Mapping[str, float]]) -> Path:
    """Draw loss and learning rate, and the score on validation if there is one.

    Args:
        path: PNG to make or replace.
        history: one record an epoch, as `models.training` keeps them.

    Raises:
        StorageError: `path` cannot be written.
    """
    measures = [name for name in ("loss", "score", "rate") if name in history[0]]
    titles = {"loss": "loss", "score": "F1 on validation, pooled", "rate": "learning rate"}
    width = 3.2 * len(measures)
    figure = Figure(figsize=(width, 2.8), layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(panels, measures, strict=True):
        colour = ORANGE if name == "score" else BLUE
        axes.plot(epochs, [row[name] for row in history], ".-", color=colour, markersize=3)
        axes.set_xlabel("epoch", **LABEL_STYLE)
        axes.set_title(titles[name], fontsize=9)
        calm(axes)
    return save_figure(figure, path)
