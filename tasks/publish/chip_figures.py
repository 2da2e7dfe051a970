"""Where the chips of a dataset lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from tasks.publish.charts import BLUE, INK, ORANGE, QUIET, calm, save_figure

_COLOURS = {"train": QUIET, "validation": ORANGE, "test": BLUE}


@dataclass(frozen=True)
class Place:
    """A chip on its scene: west, south, east, north in the scene's CRS."""

    scene: str
    split: str
    landslides: bool
    bounds: tuple[float, float, float, float]


def chips_figure(path: Path, places: Sequence[Place]) -> Path:
    """Draw the chips of every scene by split, those without landslides empty.

    Raises:
        StorageError: `path` cannot be written.
    """
    scenes = list(dict.fromkeys(place.scene for place in places))
    figure = Figure(figsize=(4 * len(scenes), 4.2), layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(scenes), squeeze=False)[0]
    for axes, scene in zip(panels, scenes, strict=True):
        for place in (place for place in places if place.scene == scene):
            west, south, east, north = place.bounds
            colour = _COLOURS[place.split]
            axes.add_patch(
                Rectangle(
                    (west, south), east - west, north - south, edgecolor=colour, linewidth=0.6,
                    facecolor=colour if place.landslides else "none", alpha=0.8,
                )
            )  # fmt: skip
        axes.autoscale_view()
        axes.set_aspect("equal")
        axes.ticklabel_format(style="plain", useOffset=False)
        axes.set_title(scene, fontsize=9, color=INK, parse_math=False)
        calm(axes)
    legend = [Patch(color=colour, label=name) for name, colour in _COLOURS.items()]
    figure.legend(handles=legend, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return save_figure(figure, path)
