"""How large the landslides of an inventory are, drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from tasks.inventory.sizes import Sizes
from tasks.publish.charts import BLUE, INK, LABEL_STYLE, ORANGE, QUIET, chart, save_figure


def size_figure(
    path: Path, areas_m2: ArrayLike, minimum_m2: float = 0.0, sizes: Sizes | None = None
) -> Path:
    """Draw the frequency density of landslide area on log axes (Malamud et al. 2004).

    Args:
        path: PNG to make or replace.
        areas_m2: area of each landslide in m², at least one.
        minimum_m2: the inventory's minimum mapping unit, marked if above 0.
        sizes: the distributions fitted to the areas, drawn as far as there are any.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    areas = np.asarray(areas_m2, dtype=float)
    centre, density, count = frequency_density(areas)
    figure, axes = chart(5.2, 3.9)
    axes.set(xscale="log", yscale="log")
    axes.errorbar(
        centre,
        density,
        yerr=density * np.minimum(1 / np.sqrt(count), 0.99),
        fmt="o",
        color=BLUE,
        ecolor=QUIET,
        markersize=5,
        label=f"{len(areas):,} landslides (lines: ±√n)",
    )
    axes.set_ylim(density.min() / 3, density.max() * 4)
    if minimum_m2 > 0:
        label = f"minimum mapping unit, {minimum_m2:,.0f} m²"
        axes.axvline(minimum_m2, color=ORANGE, linestyle="--", linewidth=1.2, label=label)
    if sizes:
        _draw_fits(axes, areas, sizes)
    axes.set_xlabel("landslide area (m²)", **LABEL_STYLE)
    axes.set_ylabel("landslides per m² of size (1/m²)", **LABEL_STYLE)
    axes.legend(loc="best", fontsize=8, frameon=False)
    return save_figure(figure, path)


def _draw_fits(axes: Axes, areas: NDArray[np.float64], sizes: Sizes) -> None:
    """The fitted densities, each times the number of landslides it was fitted to."""
    grid = np.geomspace(areas.min(), areas.max(), 200)
    if fitted := sizes.distribution:
        best = fitted.distribution
        scale = fitted.count / best.exceedance(fitted.minimum_m2)
        label = f"inverse gamma, ρ = {best.rho:.2f}, most frequent {best.rollover_m2:,.0f} m²"
        axes.plot(grid, scale * best.density(grid), color=INK, linewidth=1.4, label=label)
    if tail := sizes.tail:
        exponent, large = tail.exponent.value, grid[grid >= tail.cutoff_m2]
        law = tail.count * (exponent - 1) / tail.cutoff_m2 * (large / tail.cutoff_m2) ** -exponent
        label = f"power law above {tail.cutoff_m2:,.0f} m², exponent −{exponent:.2f}"
        axes.plot(large, law, color=ORANGE, linewidth=1.8, linestyle="-.", label=label)


def frequency_density(
    areas_m2: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Landslides per m² of area in bins of equal width in log area (Malamud et al. 2004, eq. 1).

    Returns:
        Geometric centre of each bin that holds a landslide (m²), density (1/m²), and count.
    """
    low, high = areas_m2.min(), max(areas_m2.max(), areas_m2.min() * 1.01)
    bins = max(1, min(20, round(math.sqrt(len(areas_m2)) * 1.5)))
    edges = np.geomspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high
    count, _ = np.histogram(areas_m2, edges)
    held = count > 0
    centre, density = np.sqrt(edges[1:] * edges[:-1]), count / np.diff(edges)
    return centre[held], density[held], count[held]
