"""Figures about a susceptibility model: how far it can be believed, and what it made of factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tasks.publish.charts import (
    BLUE,
    INK,
    LABEL_STYLE,
    ORANGE,
    QUIET,
    calm,
    chart,
    save_figure,
)
from tasks.types import Interval

MOST_DEPENDENCES = 9
STRONG = 0.5
_COLUMNS = 3


def roc_figure(
    path: Path,
    roc_spatial: ArrayLike,
    roc_random: ArrayLike,
    auc_spatial: Interval,
    auc_random: Interval,
) -> Path:
    """Draw both ROC curves with their AUC; points are (n, 2) of false and true positive rate.

    Raises:
        StorageError: `path` cannot be written.
    """
    figure, axes = chart(5.2, 4.8)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":", label="chance, 0.50")
    for points, auc, name, colour, dashes in (
        (roc_random, auc_random, "random folds", ORANGE, "--"),
        (roc_spatial, auc_spatial, "spatial folds", BLUE, "-"),
    ):
        label = f"{name}, AUC {auc.value:.2f} ({auc.low:.2f}–{auc.high:.2f})"
        x, y = np.asarray(points, dtype=float).T
        axes.plot(x, y, color=colour, linewidth=2, linestyle=dashes, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.set_xlabel("false positive rate (unfailed cells above the cut)", **LABEL_STYLE)
    axes.set_ylabel("true positive rate (failed cells above the cut)", **LABEL_STYLE)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower right", fontsize=8, frameon=False)
    return save_figure(figure, path)


def importance_figure(path: Path, importance: Mapping[str, Interval]) -> Path:
    """Draw how much spatial AUC is lost when a factor is shuffled, most important on top.

    Raises:
        StorageError: `path` cannot be written.
    """
    ranked = sorted(importance.items(), key=lambda item: item[1].value)
    names = [name.replace("_", " ") for name, _ in ranked]
    losses = np.array([(loss.low, loss.value, loss.high) for _, loss in ranked])
    figure, axes = chart(5.2, 0.9 + 0.3 * len(ranked))
    axes.barh(names, losses[:, 1], color=BLUE, height=0.6)
    axes.hlines(names, losses[:, 0], losses[:, 2], color=INK, linewidth=1.2)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("AUC lost when the factor is shuffled (lines: 95 % interval)", **LABEL_STYLE)
    return save_figure(figure, path)


def skill_figure(path: Path, metrics: Mapping[str, Any]) -> Path:
    """Draw precision and recall, calibration, and the success and prediction rates side by side.

    Args:
        path: PNG to make or replace.
        metrics: as `tasks.susceptibility.recording` keeps them.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    figure = Figure(figsize=(9.6, 3.4), layout="constrained", facecolor="white")
    precision, calibration, rates = figure.subplots(1, 3)
    _draw_precision(precision, metrics["spatial"])
    _draw_calibration(calibration, metrics["spatial"])
    _draw_rates(rates, metrics)
    for axes in (precision, calibration, rates):
        calm(axes)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        axes.legend(loc="best", fontsize=7, frameon=False)
    return save_figure(figure, path)


def _draw_precision(axes: Axes, score: Mapping[str, Any]) -> None:
    recall, precision = np.asarray(score["precision_recall"], dtype=float).T
    share = float(precision[-1])
    axes.axhline(share, color=QUIET, linewidth=0.8, linestyle=":", label=f"chance, {share:.2f}")
    label = f"spatial folds, mean {score['average_precision']:.2f}"
    axes.plot(recall, precision, color=BLUE, linewidth=2, label=label)
    axes.set_xlabel("recall", **LABEL_STYLE)
    axes.set_ylabel("precision", **LABEL_STYLE)


def _draw_calibration(axes: Axes, score: Mapping[str, Any]) -> None:
    mean, failed, _ = np.asarray(score["calibration"], dtype=float).T
    axes.plot(
        [0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":", label="as good as its word"
    )
    label = f"spatial folds, Brier {score['brier']:.2f}"
    axes.plot(mean, failed, color=BLUE, linewidth=2, marker="o", markersize=4, label=label)
    axes.set_xlabel("susceptibility predicted", **LABEL_STYLE)
    axes.set_ylabel("share of samples that failed", **LABEL_STYLE)


def _draw_rates(axes: Axes, metrics: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":", label="chance")
    for name, label, colour, dashes in (
        ("success_rate", "success (fitted to these)", ORANGE, "--"),
        ("prediction_rate", "prediction (held out)", BLUE, "-"),
    ):
        points = np.asarray(metrics[name], dtype=float)
        if len(points) > 1:
            axes.plot(*points.T, color=colour, linewidth=2, linestyle=dashes, label=label)
    axes.set_xlabel("share of the ground, most susceptible first", **LABEL_STYLE)
    axes.set_ylabel("share of failed ground in it", **LABEL_STYLE)


def dependence_figure(
    path: Path,
    dependence: Mapping[str, Mapping[str, Sequence[float]]],
    factors: Sequence[Mapping[str, Any]],
    order: Sequence[str],
) -> Path:
    """Draw what the model makes of its most important factors, all others as they come.

    Args:
        path: PNG to make or replace.
        dependence: `values` and mean `susceptibility` of each factor.
        factors: name, kind, unit and names of classes of each.
        order: names of factors, the most important first.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    shown = [name for name in order if name in dependence][:MOST_DEPENDENCES]
    about = {factor["name"]: factor for factor in factors}
    rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(9.6, 0.5 + 2.2 * rows), layout="constrained", facecolor="white")
    plots = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).ravel()
    highest = max(max(dependence[name]["susceptibility"]) for name in shown)
    for axes, name in zip(plots, shown, strict=False):
        _draw_dependence(axes, dependence[name], about[name])
        axes.set_ylim(0, highest * 1.08)
    for axes in plots[len(shown) :]:
        axes.set_axis_off()
    figure.supylabel("mean susceptibility", fontsize=9, color=INK)
    return save_figure(figure, path)


def _draw_dependence(
    axes: Axes, curve: Mapping[str, Sequence[float]], factor: Mapping[str, Any]
) -> None:
    calm(axes)
    axes.locator_params(axis="x", nbins=5)
    name, unit = factor["name"].replace("_", " "), factor["unit"]
    if factor["kind"] == "categorical":
        names = factor.get("classes") or {}
        labels = [str(names.get(f"{value:g}", f"{value:g}"))[:14] for value in curve["values"]]
        axes.bar(range(len(labels)), curve["susceptibility"], color=BLUE, width=0.7)
        axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=6)
        axes.grid(visible=False, axis="x")
    else:
        axes.plot(curve["values"], curve["susceptibility"], color=BLUE, linewidth=2)
    axes.set_xlabel(name if unit in ("", "1") else f"{name} ({unit})", **LABEL_STYLE)


def before_after_figure(path: Path, scores: Sequence[tuple[str, Mapping[str, float]]]) -> Path:
    """Draw the AUC of maps made before the inventory beside that of the map fitted to it.

    Args:
        path: PNG to make or replace.
        scores: what each map is, and its AUC with the ends of the interval; the fitted one last.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    names = [name for name, _ in scores]
    aucs = np.array([[auc["low"], auc["value"], auc["high"]] for _, auc in scores])
    figure, axes = chart(6.4, 0.9 + 0.36 * len(scores))
    colours = [*[ORANGE] * (len(scores) - 1), BLUE]
    axes.hlines(names, aucs[:, 0], aucs[:, 2], color=colours, linewidth=2)
    axes.scatter(aucs[:, 1], names, color=colours, s=36, zorder=3)
    axes.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set(xlim=(min(0.45, float(aucs.min()) - 0.02), 1), ylim=(-0.6, len(names) - 0.4))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("AUC on this inventory (lines: 95 % interval; dotted: chance)", **LABEL_STYLE)
    return save_figure(figure, path)


def correlation_figure(path: Path, collinearity: Mapping[str, Any]) -> Path:
    """Draw how much each pair of factors says the same.

    Args:
        path: PNG to make or replace.
        collinearity: `names` and `association`, (factors, factors) from -1 to 1.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    names = [name.replace("_", " ") for name in collinearity["names"]]
    values = np.asarray(collinearity["association"], dtype=float)
    size = 1.8 + 0.36 * len(names)
    figure, axes = chart(size + 0.8, size)
    drawn = axes.imshow(values, vmin=-1, vmax=1, cmap="PuOr_r")
    axes.grid(visible=False)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, col), value in np.ndenumerate(values):
        if row != col and abs(value) >= STRONG:
            shade = "white" if abs(value) > 0.75 else INK
            axes.text(col, row, f"{value:.1f}", ha="center", va="center", fontsize=6, color=shade)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7)
    bar.ax.tick_params(labelsize=7, colors=QUIET)
    return save_figure(figure, path)
