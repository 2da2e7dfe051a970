"""What every figure shares: colours every eye tells apart, quiet axes, PNGs whole or not at all.

Matplotlib's object interface is used throughout, so that threads share no state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.publish.products import written_aside

DPI = 150
INK, QUIET, GRID = "#1f2933", "#52606d", "#d9dee3"
BLUE, ORANGE, YELLOW = "#0072b2", "#d55e00", "#ffe14d"
LABEL_STYLE: Any = {"color": INK, "fontsize": 9}


def chart(width: float, height: float) -> tuple[Figure, Axes]:
    """A page of that many inches with one empty plot."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    calm(axes)
    return figure, axes


def calm(axes: Axes) -> None:
    """Quieten a plot: a light grid, no box, small grey numbers."""
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=QUIET)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(QUIET)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG, whole or not at all.

    Raises:
        StorageError: `path` cannot be written.
    """
    with written_aside(path) as aside:
        # without the metadata the same picture is the same bytes under every version
        figure.savefig(aside, dpi=DPI, metadata={"Software": None})
    return path
