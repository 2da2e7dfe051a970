"""The figures of docs/susceptibility.md, drawn from benchmarks/results/susceptibility.json.

python benchmarks/susceptibility_figures.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from record import RESULTS

IMAGES = Path(__file__).parents[1] / "docs" / "images"
INK, QUIET, GRID = "#1f2933", "#52606d", "#d9dee3"
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#7a5195",
    "#8d6e4b",
    "#9a9a2e",
)
FALSE_SHARE = 0.15
KINDS = {"districts": "#0072b2", "blocks": "#009e73", "random": "#d55e00"}
WHAT = {"districts": "spatial districts", "blocks": "spatial blocks", "random": "random folds"}


def draw(record: dict[str, Any]) -> None:
    """Draw all of them."""
    models = dict(
        sorted(record["models"].items(), key=lambda one: -one[1]["districts"]["auc"]["value"])
    )
    _save(_roc(models), "susceptibility_roc.png")
    _save(_gap(models), "susceptibility_gap.png")
    _save(_degraded(record["degraded"]), "susceptibility_degraded.png")


def _roc(models: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = _plain(figure.subplots())
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    for place, (name, model) in enumerate(models.items()):
        false, true = np.array(model["roc"]).T
        auc = model["districts"]["auc"]["value"]
        own = {"ensemble": (INK, 2.4)}.get(name, (COLOURS[place % len(COLOURS)], 1.2))
        axes.plot(false, true, color=own[0], linewidth=own[1], label=f"{name}, {auc:.3f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.set_xlabel("false positive rate", fontsize=9, color=INK)
    axes.set_ylabel("true positive rate", fontsize=9, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="lower right", title="model, AUC in districts")
    return figure


def _gap(models: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.5, 0.8 + 0.42 * len(models)), layout="constrained")
    axes = _plain(figure.subplots())
    for place, model in enumerate(models.values()):
        ends = [model[kind]["auc"]["value"] for kind in KINDS]
        axes.plot([min(ends), max(ends)], [place, place], color=GRID, linewidth=5, zorder=0)
        for shift, (kind, colour) in zip((-0.16, 0, 0.16), KINDS.items(), strict=True):
            auc = model[kind]["auc"]
            label = WHAT[kind] if place == 0 else None
            axes.plot([auc["low"], auc["high"]], [place + shift] * 2, color=colour, linewidth=1.6)
            axes.plot(auc["value"], place + shift, "o", color=colour, markersize=5, label=label)
    axes.set_yticks(range(len(models)), list(models))
    axes.invert_yaxis()
    axes.set_xlabel("AUC (lines: 95 % interval over landslides)", fontsize=9, color=INK)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def _degraded(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    curve = sorted(
        (r for r in rows if r["name"] == "all of it" and not r["screened_deg"] and not r["seed"]),
        key=lambda row: row["how"]["false_share"],
    )
    shares = [100 * row["how"]["false_share"] for row in curve]
    for key, what, colour in (
        ("change_spatial", "own samples, districts", "#0072b2"),
        ("change_random", "own samples, random folds", "#d55e00"),
        ("change_on_manual", "manual samples, districts", INK),
    ):
        _band(_plain(left), shares, [row["auc"][key] for row in curve], what, colour)
    left.axhspan(-13, -7, color=GRID, zorder=0)
    left.annotate("the paper's 7–13 %", (shares[0], -12.6), fontsize=8, color=QUIET)
    left.axhline(0, color=QUIET, linewidth=0.8)
    left.set_xlabel("false outlines for each 100 landslides", fontsize=9, color=INK)
    left.set_ylabel("change of AUC (%)", fontsize=9, color=INK)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    _bars(_plain(right), rows)
    return figure


def _band(
    axes: Axes, shares: list[float], changes: list[dict[str, float]], what: str, colour: str
) -> None:
    low, value, high = (
        [100 * change[end] for change in changes] for end in ("low", "value", "high")
    )
    axes.fill_between(shares, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(shares, value, "o-", color=colour, markersize=4, label=what)


def _bars(axes: Axes, rows: list[dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["name"] != "all of it" or row["how"]["false_share"] == FALSE_SHARE:
            screened = f", slope screen {row['screened_deg']:g}°" if row["screened_deg"] else ""
            groups.setdefault(row["name"] + screened, []).append(row["auc"])
    for key, shift, colour in (
        ("change_spatial", -0.18, "#0072b2"),
        ("change_on_manual", 0.18, INK),
    ):
        means = [100 * np.mean([auc[key]["value"] for auc in group]) for group in groups.values()]
        axes.barh(np.arange(len(groups)) + shift, means, height=0.34, color=colour)
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=QUIET, linewidth=0.8)
    axes.set_xlabel("change of AUC (%) with 15 false for each 100", fontsize=9, color=INK)


def _plain(axes: Axes) -> Axes:
    axes.tick_params(labelsize=8, colors=QUIET)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    return axes


def _save(figure: Figure, name: str) -> None:
    figure.savefig(IMAGES / name, dpi=130, metadata={"Software": None})
    print("drawn:", IMAGES / name)


if __name__ == "__main__":
    draw(json.loads((RESULTS / "susceptibility.json").read_text(encoding="utf-8")))
