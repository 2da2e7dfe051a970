"""An evaluation for people: example tiles, curves, and the table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from models.samples import RGB, Sample, some_of
from tasks.publish.charts import BLUE, INK, LABEL_STYLE, ORANGE, QUIET, calm, save_figure

_HIT, _FALSE, _MISSED = BLUE, ORANGE, "#cc79a7"
_STRIPES = 40
# A side of a tile drawn: a panel is not wider, and a large tile would take gigabytes.
_DRAWN_PX = 500
_NAMES = ("precision", "recall", "f1", "iou")
_HEADS = ("precision", "recall", "F1", "IoU")


@dataclass(frozen=True)
class Example:
    """A tile to show: what it stands for, the tile, its score and its F1."""

    rank: str
    sample: Sample
    score: NDArray[np.float32]
    f1: float


def examples_figure(path: Path, examples: Sequence[Example], threshold: float) -> Path:
    """Draw tiles in rows: the image, the truth, the score, and where the map is right and wrong.

    Raises:
        StorageError: `path` cannot be written.
    """
    figure = Figure(figsize=(9, 2.5 * len(examples) + 0.4), layout="constrained", facecolor="white")
    rows = figure.subplots(len(examples), 4, squeeze=False)
    for axes, example in zip(rows, examples, strict=True):
        _draw_example(axes, example, threshold)
    legend = [
        Patch(color=_HIT, label="found"),
        Patch(color=_FALSE, label="mapped, but none"),
        Patch(color=_MISSED, label="missed"),
    ]
    if not all(example.sample.valid.all() for example in examples):
        legend.append(Patch(facecolor="white", edgecolor=QUIET, hatch="////", label="not observed"))
    figure.legend(handles=legend, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return save_figure(figure, path)


def curves_figure(
    path: Path, curve: tuple[NDArray[Any], NDArray[Any]], summary: Mapping[str, Any]
) -> Path:
    """Draw the pooled precision-recall curve and the reliability of scores.

    Raises:
        StorageError: `path` cannot be written.
    """
    figure = Figure(figsize=(7, 3.4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    recall, precision = curve
    area = summary["pr_auc_micro"]
    label = None if area is None else f"pooled, area {area:.2f}"
    left.step(recall, precision, color=BLUE, linewidth=2, where="pre", label=label)
    if summary["micro"]["precision"] is not None and summary["micro"]["recall"] is not None:
        place = [summary["micro"]["recall"]], [summary["micro"]["precision"]]
        left.plot(*place, "o", color=ORANGE, label=f"threshold {summary['threshold']:g}")
    left.set_xlabel("recall", **LABEL_STYLE)
    left.set_ylabel("precision", **LABEL_STYLE)
    bins = [row for row in summary["calibration"]["bins"] if row["pixels"]]
    right.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    ece = summary["calibration"]["ece"]
    right.plot(
        [row["mean_score"] for row in bins],
        [row["observed"] for row in bins],
        "o-", color=BLUE, label=None if ece is None else f"calibration error {ece:.3f}",
    )  # fmt: skip
    right.set_xlabel("score", **LABEL_STYLE)
    right.set_ylabel("share that is landslide", **LABEL_STYLE)
    for axes in (left, right):
        calm(axes)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", fontsize=7, frameon=False)
    return save_figure(figure, path)


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The scores as a page of Markdown tables."""
    drawn = summary["intervals"]
    lines = [
        f"# {summary['weights']} on {summary['data']}",
        "",
        f"{summary['n_tiles']} tiles, {summary['n_excluded']} of them without a landslide in the "
        f"truth and left out of the image-wise means; threshold {summary['threshold']:g}; "
        f"intervals hold {100 * drawn['level']:.0f} % of {drawn['resamples']} bootstraps over "
        f"{summary['n_groups']} groups of tiles.",
        "",
        "| landslide class | " + " | ".join(_HEADS) + " |",
        "|---|---|---|---|---|",
    ]
    for title, kind in (("mean over tiles", "macro"), ("pooled pixels", "micro")):
        cells = [_cell(summary[kind][n], summary["intervals"][kind][n]) for n in _NAMES]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    objects, area = summary["objects"], summary["area"]
    rows = {
        "PR-AUC, mean over tiles": _cell(summary["pr_auc"], summary["intervals"]["pr_auc"]),
        "PR-AUC, pooled": _cell(summary["pr_auc_micro"]),
        "mIoU, pooled": _cell(summary["miou"]),
        "overall accuracy, pooled": _cell(summary["oa"]),
        **{
            f"pixel size{source and ' of '}{source}, guessed": f"{size:g} m"
            for source, size in summary["guessed_gsd_m"].items()
        },
        **{
            f"boundary F1 within {n.replace('px', ' px')}": _cell(v)
            for n, v in summary["boundary_f1"].items()
        },
        "expected calibration error": _cell(summary["calibration"]["ece"]),
        "area bias": "–" if area["bias"] is None else f"{area['bias']:+.1%}",
        **({"tiles nobody saw, left out": some_of(summary["unseen"])} if summary["unseen"] else {}),
    }
    lines += ["", "| measure | |", "|---|---|", *(f"| {n} | {v} |" for n, v in rows.items())]
    lines += ["", "| landslides | precision | recall | F1 |", "|---|---|---|---|"]
    for rule, values in objects.items():
        if isinstance(values, dict):
            cells = [_cell(values[name]) for name in _NAMES[:3]]
            lines.append(f"| {rule.replace('_', ' ≥ ')} | " + " | ".join(cells) + " |")
    unit = "m²" if objects["unit"] == "m2" else "px"
    names = [name for name in objects["by_size"][0] if name.startswith("recall_")]
    heads = [name.removeprefix("recall_").replace("_", " ≥ ") for name in names]
    lines += ["", f"| size ({unit}) | true | " + " | ".join(f"recall, {h}" for h in heads) + " |"]
    lines.append("|---|---|" + "---|" * len(names))
    for row in objects["by_size"]:
        end = "" if row["to"] is None else f"{row['to']:,.0f}"
        cells = [str(row["true"]), *(_cell(row[name]) for name in names)]
        lines.append(f"| {row['from']:,.0f}–{end} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def _draw_example(axes: NDArray[Any], example: Example, threshold: float) -> None:
    whole = example.sample
    thin = (slice(None, None, -(-max(whole.mask.shape) // _DRAWN_PX)),) * 2
    sample = replace(
        whole, image=whole.image[:, *thin], mask=whole.mask[thin], valid=whole.valid[thin]
    )
    score = example.score[thin]
    truth, mapped = sample.mask & sample.valid, (score >= threshold) & sample.valid
    picture, seen = _picture(sample), sample.valid
    _show(axes[0], picture, seen, f"{example.rank}, F1 {example.f1:.2f}")
    _show(axes[1], _painted(picture, {_HIT: truth}), seen, "truth")
    _show(axes[2], np.repeat(score[..., None].astype(float), 3, axis=2), seen, "score")
    parts = {_HIT: truth & mapped, _FALSE: mapped & ~truth, _MISSED: truth & ~mapped}
    _show(axes[3], _painted(picture, parts), seen, Path(sample.name).name[-40:])


def _show(axes: Axes, picture: NDArray[np.float64], seen: NDArray[np.bool_], title: str) -> None:
    """Draw pixels (h, w, 3) of 0 to 1, hatched where nobody looked: 0 is no score there."""
    rows, columns = np.indices(seen.shape)
    stripe = max(2, max(seen.shape) // _STRIPES)
    hatch = np.where((rows + columns) // stripe % 2, 1.0, 0.75)
    axes.imshow(np.where(seen[..., None], picture, hatch[..., None]), interpolation="nearest")
    axes.set_title(title, fontsize=8, color=INK, parse_math=False)
    axes.set_axis_off()


def _picture(sample: Sample) -> NDArray[np.float64]:
    """Red, green and blue, or the first band as grey, stretched from 2 to 98 %."""
    names = RGB if set(RGB) <= set(sample.bands) else (sample.bands[0],) * 3
    layers = sample.pick(names, "the figure").astype(np.float64)
    known = layers[:, sample.valid]
    low, high = np.percentile(known, [2, 98], axis=1)
    span = np.where(high > low, high - low, 1)
    layers = (layers - low[:, None, None]) / span[:, None, None]
    return np.asarray(layers.clip(0, 1).transpose(1, 2, 0))


def _painted(
    picture: NDArray[np.float64], parts: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.float64]:
    painted: NDArray[np.float64] = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    for colour, where in parts.items():
        painted[where] = 0.35 * painted[where] + 0.65 * np.array(to_rgb(colour))
    return painted
