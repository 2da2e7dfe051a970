"""One figure of two inventories: what they say of susceptibility, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from rasterio.enums import Resampling

from tasks.publish.charts import BLUE, DPI, GRID, INK, ORANGE, QUIET
from tasks.publish.map_pages import MAP_PX
from tasks.publish.products import written_aside
from tasks.susceptibility.compare import SIDES, CrossAuc, Side

UNITS = {
    "slope": "slope (°)",
    "relief": "relief (m)",
    "channel_distance": "way to channel (m)",
    "elevation": "elevation (m)",
}
ALONE: dict[Side, str] = {"manual": ORANGE, "automatic": BLUE}


def comparison_figure(
    path: Path,
    difference: Path,
    aucs: CrossAuc,
    outlines: Mapping[Side, gpd.GeoSeries],
    wrong: Mapping[Side, NDArray[np.bool_]],
    ground: Mapping[Side, pd.DataFrame],
) -> Path:
    """Draw the map of differences, the AUCs, and the ground of the errors.

    Args:
        path: PNG to make or replace.
        difference: raster of the automatic inventory's susceptibility less the manual one's.
        aucs: of both inventories' models.
        outlines: of both inventories, EPSG:4326.
        wrong: which of them the other inventory has not.
        ground: mean factors under each outline.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    figure = Figure(figsize=(12, 6.4), layout="constrained", facecolor="white")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.15))[0]
    _draw_map(left, difference, outlines, wrong)
    (top,), (bottom,) = right.subfigures(2, 1, squeeze=False)
    _draw_aucs(top.subplots(), aucs)
    _draw_ground(bottom, wrong, ground)
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=DPI, metadata={"Software": None})
    return path


def _draw_map(
    page: SubFigure,
    difference: Path,
    outlines: Mapping[Side, gpd.GeoSeries],
    wrong: Mapping[Side, NDArray[np.bool_]],
) -> None:
    axes = page.subplots()
    with rasterio.open(difference) as source:
        shrink = max(1.0, max(source.shape) / MAP_PX)
        shape = tuple(max(1, round(side / shrink)) for side in source.shape)
        more = source.read(1, out_shape=shape, masked=True, resampling=Resampling.average)
        bounds, crs = source.bounds, source.crs
    extent = (bounds.left / 1e3, bounds.right / 1e3, bounds.bottom / 1e3, bounds.top / 1e3)
    shown = axes.imshow(more, extent=extent, cmap="PRGn", vmin=-1, vmax=1, interpolation="nearest")
    for side in SIDES:
        alone = outlines[side][wrong[side]].to_crs(crs)
        if len(alone):
            alone.scale(1e-3, 1e-3, origin=(0, 0)).boundary.plot(
                ax=axes, color=ALONE[side], linewidth=0.8
            )
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    _plain(axes, "easting (km)", "northing (km)")
    bar = page.colorbar(shown, ax=axes, shrink=0.7, location="bottom", ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("susceptibility: automatic less manual", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=QUIET)
    keys = [
        Patch(facecolor="none", edgecolor=ALONE["automatic"], label="automatic alone (commission)"),
        Patch(facecolor="none", edgecolor=ALONE["manual"], label="manual alone (omission)"),
    ]
    page.legend(handles=keys, loc="outside upper center", ncols=2, fontsize=8, frameon=False)


def _draw_aucs(axes: Axes, aucs: CrossAuc) -> None:
    rows = [
        (f"{of} → {on}, spatial", aucs.spatial[of][on], INK) for of in SIDES for on in SIDES
    ] + [(f"{of} → {of}, random", aucs.random[of], QUIET) for of in SIDES]
    for place, (_, auc, colour) in enumerate(rows):
        axes.plot([auc.low, auc.high], [place, place], color=colour, linewidth=3)
        axes.plot(auc.value, place, "o", color=colour, markersize=6)
        axes.annotate(
            f"{auc.value:.3f}",
            (auc.value, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color=INK,
        )
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    _plain(axes, "AUC, learned from → scored on (lines: 95 % interval; dotted: chance)", "")


def _draw_ground(
    page: SubFigure,
    wrong: Mapping[Side, NDArray[np.bool_]],
    ground: Mapping[Side, pd.DataFrame],
) -> None:
    factors = list(ground["manual"].columns)
    axes = np.atleast_1d(page.subplots(1, len(factors)))
    groups: Sequence[tuple[str, str, pd.DataFrame]] = (
        ("both", INK, ground["automatic"][~wrong["automatic"]]),
        ("commission", ALONE["automatic"], ground["automatic"][wrong["automatic"]]),
        ("omission", ALONE["manual"], ground["manual"][wrong["manual"]]),
    )
    for factor, pane in zip(factors, axes, strict=True):
        for place, (_, colour, table) in enumerate(groups):
            known = table[factor].dropna()
            if len(known):
                line = {"color": colour}
                pane.boxplot(
                    [known],
                    positions=[place],
                    widths=0.6,
                    whis=(5, 95),
                    showfliers=False,
                    boxprops=line,
                    whiskerprops=line,
                    capprops=line,
                    medianprops={"color": colour, "linewidth": 2},
                )
        pane.set_xticks(range(len(groups)), [name for name, _, _ in groups], rotation=60)
        pane.set_xlim(-0.6, len(groups) - 0.4)
        _plain(pane, "", "")
        pane.set_title(UNITS.get(factor, factor), fontsize=8, color=INK)
    page.suptitle("mean under each outline (boxes: quartiles, whiskers: 5–95 %)", fontsize=8)


def _plain(axes: Axes, across: str, up: str) -> None:
    axes.tick_params(labelsize=7, colors=QUIET)
    axes.set_xlabel(across, fontsize=8, color=INK)
    axes.set_ylabel(up, fontsize=8, color=INK)
    for spine in axes.spines.values():
        spine.set_color(GRID)
