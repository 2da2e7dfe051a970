"""The report's figures: PNGs with colours that everyone can tell apart.

Matplotlib's object interface is used throughout, so that threads share no state.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path as Outline
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from shapely.geometry import GeometryCollection, MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import RasterError
from tasks.inventory.seen import unseen_of
from tasks.inventory.sizes import Sizes
from tasks.mapping.metric import metric_crs
from tasks.publish.products import written_aside
from tasks.susceptibility.classes import BOUNDS_TAG
from tasks.types import Interval

DPI = 150
GAMMA = 0.7
CREDIT_LETTERS = 150
MAP_PX = 1400
INK, QUIET, GRID = "#1f2933", "#52606d", "#d9dee3"
BLUE, ORANGE, YELLOW = "#0072b2", "#d55e00", "#ffe14d"
# Okabe & Ito's colours, told apart by every eye; what stayed is quiet.
CHANGE_COLOURS = {
    "unchanged": "#c3cad1",
    "grown": "#e69f00",
    "shrunk": "#56b4e9",
    "split": "#009e73",
    "merged": "#cc79a7",
    "regrouped": "#f0e442",
    "appeared": "#d55e00",
    "vanished": "#0072b2",
}
CLASS_NAMES = ("very low", "low", "moderate", "high", "very high")
CLASS_SHADES = LinearSegmentedColormap.from_list(
    "susceptibility", ("#fff7d6", "#fec44f", "#ec7014", "#a63603", "#4d1a00")
)
_NODATA_COLOUR = "#eceff1"
_SEEN_COLOUR = "#b8c4ce"
OVERVIEW_INCHES = 2.4
RIM = 0.01
LABEL_STYLE: Any = {"color": INK, "fontsize": 9}

Extent = tuple[float, float, float, float]


def map_figure(
    path: Path,
    image: Path,
    landslides: gpd.GeoDataFrame,
    aoi: MultiPolygon,
    observed: MultiPolygon,
    credit: str = "",
) -> Path:
    """Draw the landslides over the image they were mapped from.

    Args:
        path: PNG to make or replace.
        image: mosaic with bands red, green, blue first, or one score band; projected.
        landslides: polygons in EPSG:4326, any number.
        aoi: area of interest in EPSG:4326.
        observed: the part of it that was seen; the rest is hatched.
        credit: a line under the map.

    Returns:
        `path`.

    Raises:
        RasterError: `image` cannot be read.
        StorageError: `path` cannot be written.
    """
    pixels, crs, extent = _backdrop(image)
    figure, axes = _map_page(extent, crs)
    shown = pixels if pixels.ndim == 3 else np.ma.masked_invalid(pixels)
    axes.imshow(shown, extent=extent, cmap="Greys_r", interpolation="nearest")
    _hatch(axes, aoi, observed, crs)
    _outline(axes, aoi, crs, "white", 2.4)
    _outline(axes, aoi, crs, INK, 1.0)
    _landslides(axes, landslides, crs, YELLOW, INK)
    keys = [
        Patch(facecolor=QUIET, edgecolor=YELLOW, linewidth=1.6, label="landslide"),
        Patch(facecolor="none", edgecolor=INK, label="area of interest"),
    ]
    _furnish(figure, axes, extent, crs, keys, aoi, observed, credit)
    return save_figure(figure, path)


def susceptibility_figure(
    path: Path,
    classes: Path,
    landslides: gpd.GeoDataFrame,
    aoi: MultiPolygon,
    observed: MultiPolygon,
    credit: str = "",
    applicability: Path | None = None,
) -> Path:
    """Draw the susceptibility classes with the landslides they were learned from.

    Args:
        path: PNG to make or replace.
        classes: the class raster, uint8 from 1, 0 = nodata; projected.
        landslides: polygons in EPSG:4326.
        aoi: area of interest in EPSG:4326.
        observed: the part of it that was seen; the rest is hatched.
        credit: a line under the map.
        applicability: raster whose second band is 0 where the map does not apply; that is dotted.

    Returns:
        `path`.

    Raises:
        RasterError: `classes` cannot be read.
        StorageError: `path` cannot be written.
    """
    with _opened(classes) as source:
        levels = source.read(1, out_shape=_thumbnail(source), resampling=Resampling.mode)
        crs, extent = CRS.from_user_input(source.crs), _extent(source)
        count = len(json.loads(source.tags()[BOUNDS_TAG]))
    figure, axes = _map_page(extent, crs)
    shades = [str(to_hex(shade)) for shade in CLASS_SHADES(np.linspace(0, 1, count))]
    colours = ListedColormap([_NODATA_COLOUR, *shades])
    norm = BoundaryNorm(np.arange(-0.5, count + 1), colours.N)
    axes.imshow(levels, extent=extent, cmap=colours, norm=norm, interpolation="nearest")
    strange = applicability is not None and _dot(axes, applicability, extent)
    _hatch(axes, aoi, observed, crs)
    _landslides(axes, landslides, crs, BLUE, "white")
    _outline(axes, aoi, crs, INK, 1.0)
    named = list(zip(shades, class_names(count), strict=True))[::-1]
    keys = [Patch(facecolor=colour, edgecolor=GRID, label=name) for colour, name in named]
    # Of a map carried over none are known, which is not that there are none.
    if len(landslides):
        keys.append(Patch(facecolor="none", edgecolor=BLUE, label="landslide"))
    keys.append(Patch(facecolor=_NODATA_COLOUR, edgecolor=GRID, label="no terrain data"))
    if strange:
        keys.append(
            Patch(
                facecolor="white", edgecolor=QUIET, hatch="....", label="unlike the training ground"
            )
        )
    _furnish(figure, axes, extent, crs, keys, aoi, observed, credit)
    return save_figure(figure, path)


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


def change_figure(
    path: Path,
    change: Path,
    changed: MultiPolygon,
    looked: MultiPolygon,
    aoi: MultiPolygon,
    credit: str = "",
) -> Path:
    """Draw how unlikely the change of radar backscatter is on ground that did not change.

    Args:
        path: PNG to make or replace.
        change: raster whose last band is -log10 of that probability, NaN where radar saw nothing.
        changed: what counts as changed, EPSG:4326.
        looked: what radar saw, EPSG:4326; the rest of the area is hatched.
        aoi: area of interest in EPSG:4326.
        credit: a line under the map.

    Returns:
        `path`.

    Raises:
        RasterError: `change` cannot be read.
        StorageError: `path` cannot be written.
    """
    with _opened(change) as source:
        shape_px = _thumbnail(source)
        levels = source.read(source.count, out_shape=shape_px, resampling=Resampling.average)
        crs, extent = CRS.from_user_input(source.crs), _extent(source)
    figure, axes = _map_page(extent, crs)
    shown = np.ma.masked_invalid(levels)
    axes.imshow(shown, extent=extent, cmap="Purples", vmin=0, vmax=6, interpolation="nearest")
    _hatch(axes, aoi, looked, crs)
    _outline(axes, aoi, crs, INK, 1.0)
    if not changed.is_empty:
        _outline(axes, changed, crs, ORANGE, 1.2)
    keys = [
        Patch(facecolor="none", edgecolor=ORANGE, label="changed: evidence, not landslides"),
        Patch(facecolor="none", edgecolor=INK, label="area of interest"),
    ]
    _furnish(figure, axes, extent, crs, keys, aoi, looked, credit)
    return save_figure(figure, path)


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


def match_figure(
    path: Path,
    first: gpd.GeoDataFrame,
    second: gpd.GeoDataFrame,
    ground: BaseGeometry,
    names: tuple[str, str],
) -> Path:
    """Draw where two inventories agree and where one alone has a landslide.

    Args:
        path: PNG to make or replace.
        first: polygons in EPSG:4326.
        second: polygons in EPSG:4326.
        ground: what both looked at, EPSG:4326; nothing outside it is drawn.
        names: what to call the two.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    crs = CRS.from_user_input(metric_crs(gpd.GeoSeries([ground], crs="EPSG:4326")))
    inside = _projected(ground, crs)
    one, other = (frame.geometry.to_crs(crs).union_all() & inside for frame in (first, second))
    left, bottom, right, top = inside.bounds
    extent = (left, right, bottom, top)
    figure, axes = _map_page(extent, crs)
    axes.add_artist(_patch(inside, facecolor="white", edgecolor=QUIET, linewidth=0.8))
    keys = []
    for area, colour, label in (
        (one & other, INK, "in both"),
        (one - other, ORANGE, f"{names[0]} alone"),
        (other - one, BLUE, f"{names[1]} alone"),
    ):
        if not area.is_empty:
            axes.add_artist(_patch(area, facecolor=colour, edgecolor=colour, linewidth=0.3))
        keys.append(Patch(facecolor=colour, label=label))
    _furnish(figure, axes, extent, crs, keys, ground, ground, "")
    return save_figure(figure, path)


def difference_figure(path: Path, changes: gpd.GeoDataFrame, ground: MultiPolygon) -> Path:
    """Draw what became of landslides from one version to another.

    Args:
        path: PNG to make or replace.
        changes: as `tasks.inventory.compare.difference` gives them; the legend counts landslides.
        ground: what both versions observed, EPSG:4326.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    crs = CRS.from_user_input(metric_crs(gpd.GeoSeries([ground], crs="EPSG:4326")))
    inside = _projected(ground, crs)
    left, bottom, right, top = inside.bounds
    extent = (left, right, bottom, top)
    figure, axes = _map_page(extent, crs)
    axes.add_artist(_patch(inside, facecolor="white", edgecolor=QUIET, linewidth=0.8))
    keys = []
    for change, colour in CHANGE_COLOURS.items():
        found = changes[changes["change"] == change]
        if len(found):
            area = found.geometry.to_crs(crs).union_all()
            axes.add_artist(_patch(area, facecolor=colour, edgecolor=INK, linewidth=0.3))
            before, after = (int(found[side].map(len).sum()) for side in ("before", "after"))
            label = f"{change} ({before} → {after})"
            keys.append(Patch(facecolor=colour, edgecolor=INK, label=label))
    _furnish(figure, axes, extent, crs, keys, ground, ground, "")
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


def _opened(path: Path) -> DatasetReader:
    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise RasterError(f"{path} cannot be drawn, it is missing or damaged: {error}") from error


def _backdrop(image: Path) -> tuple[NDArray[np.float64], CRS, Extent]:
    """RGBA (rows, cols, 4) in 0-1 stretched between percentiles, or one band with NaN."""
    with _opened(image) as source:
        rows, cols = _thumbnail(source)
        bands = [1, 2, 3] if source.count >= 3 else [1]
        shape = (len(bands), rows, cols)
        pixels = source.read(bands, out_shape=shape, masked=True, resampling=Resampling.average)
        crs, extent = CRS.from_user_input(source.crs), _extent(source)
    values = pixels.astype(np.float64).filled(np.nan)
    if len(bands) == 1:
        return values[0], crs, extent
    seen = np.isfinite(values).all(axis=0)
    stretched = np.zeros((rows, cols, 4))
    for band, layer in enumerate(values):
        if seen.any():
            low, high = np.percentile(layer[seen], [1, 99])
            stretched[..., band] = np.nan_to_num((layer - low) / max(high - low, 1e-9))
    stretched[..., 3] = seen
    # eyes, unlike sensors, want the dark half of the range spread out
    return stretched.clip(0, 1) ** GAMMA, crs, extent


def _thumbnail(source: DatasetReader) -> tuple[int, int]:
    factor = max(1.0, max(source.height, source.width) / MAP_PX)
    return max(1, round(source.height / factor)), max(1, round(source.width / factor))


def _extent(source: DatasetReader) -> Extent:
    bounds = source.bounds
    return bounds.left, bounds.right, bounds.bottom, bounds.top


def _map_page(extent: Extent, crs: CRS) -> tuple[Figure, Axes]:
    left, right, bottom, top = extent
    aspect = float(np.clip((top - bottom) / (right - left), 0.4, 1.6))
    figure = Figure(figsize=(8, 7.6 * aspect + 0.8), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_facecolor(_NODATA_COLOUR)
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.tick_params(labelsize=7, colors=QUIET, length=3)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    _degrees(axes, extent, crs)
    return figure, axes


def _degrees(axes: Axes, extent: Extent, crs: CRS) -> None:
    """Label three places along each side with their longitude or latitude."""
    left, right, bottom, top = extent
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    x, y = (np.linspace(low, high, 7)[1::2] for low, high in ((left, right), (bottom, top)))
    longitude, _ = to_degrees.transform(x, np.full(3, bottom))
    _, latitude = to_degrees.transform(np.full(3, left), y)
    axes.set_xticks(x, [f"{abs(v):.3f}° {'E' if v >= 0 else 'W'}" for v in longitude])
    axes.set_yticks(y, [f"{abs(v):.3f}° {'N' if v >= 0 else 'S'}" for v in latitude])
    axes.tick_params(axis="y", labelrotation=90)


def _hatch(axes: Axes, aoi: MultiPolygon, observed: MultiPolygon, crs: CRS) -> None:
    unseen = unseen_of(aoi, observed)
    if not unseen.is_empty:
        # The rim shows a pixel that is too small for a line of the hatch to cross it.
        style: Any = {"facecolor": "#ffffffb0", "edgecolor": QUIET, "hatch": "////"}
        axes.add_artist(_patch(_projected(unseen, crs), linewidth=0.6, **style))


def _landslides(
    axes: Axes, landslides: gpd.GeoDataFrame, crs: CRS, colour: str, casing: str
) -> None:
    """Outline landslides in one colour cased in another, so that they show on any ground."""
    if not len(landslides):
        return
    width = 1.1 if len(landslides) < 500 else 0.5
    outlines = GeometryCollection(list(landslides.geometry.to_crs(crs).explode()))
    axes.add_artist(_patch(outlines, facecolor="none", edgecolor=casing, linewidth=2.2 * width))
    axes.add_artist(_patch(outlines, facecolor="none", edgecolor=colour, linewidth=width))


def _dot(axes: Axes, applicability: Path, extent: Extent) -> bool:
    """Dot ground outside the area of applicability; says whether there is any."""
    with _opened(applicability) as source:
        inside = source.read(2, out_shape=_thumbnail(source), resampling=Resampling.nearest)
    outside = np.flipud(inside == 0)
    if not outside.any() or min(outside.shape) < 2:
        return False
    left, right, bottom, top = extent
    rows, cols = outside.shape
    half_x, half_y = (right - left) / cols / 2, (top - bottom) / rows / 2
    x = np.linspace(left + half_x, right - half_x, cols)
    y = np.linspace(bottom + half_y, top - half_y, rows)
    axes.contourf(x, y, outside * 1.0, levels=[0.5, 1.5], colors="none", hatches=["...."])
    return True


def class_names(count: int) -> tuple[str, ...]:
    """What so many classes are called, the least susceptible first."""
    if count == len(CLASS_NAMES):
        return CLASS_NAMES
    ends = {1: "1, least susceptible", count: f"{count}, most susceptible"}
    return tuple(ends.get(number, str(number)) for number in range(1, count + 1))


def _outline(axes: Axes, area: BaseGeometry, crs: CRS, colour: str, width: float) -> None:
    edge = _patch(_projected(area, crs), facecolor="none", edgecolor=colour, linewidth=width)
    axes.add_artist(edge)


def _projected(geometry: BaseGeometry, crs: CRS) -> BaseGeometry:
    return gpd.GeoSeries([geometry], crs="EPSG:4326").to_crs(crs).iloc[0]


def _patch(geometry: BaseGeometry, **style: object) -> PathPatch:
    polygons = [
        part for part in getattr(geometry, "geoms", [geometry]) if isinstance(part, Polygon)
    ]
    rings = [ring for part in polygons for ring in (part.exterior, *part.interiors)]
    outlines = [Outline(np.asarray(ring.coords)[:, :2], closed=True) for ring in rings]
    return PathPatch(Outline.make_compound_path(*outlines), **style)


def _furnish(
    figure: Figure,
    axes: Axes,
    extent: Extent,
    crs: CRS,
    keys: list[Patch],
    aoi: BaseGeometry,
    observed: BaseGeometry,
    credit: str,
) -> None:
    """Add legend, scale bar, north arrow, credit, and what of the area lies beyond the map."""
    if _hides(aoi, observed, extent, crs):
        _overview(figure, axes, extent, crs, aoi, observed)
    if not unseen_of(aoi, observed).is_empty:
        keys.append(Patch(facecolor="white", edgecolor=QUIET, hatch="////", label="not observed"))
    figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    _scale_bar(axes, extent)
    axes.text(
        0.03,
        0.965,
        "▲\nN",
        transform=axes.transAxes,
        ha="center",
        va="top",
        fontsize=10,
        fontweight="bold",
        linespacing=0.9,
        color=INK,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0},
    )
    axes.set_xlabel(_drawable(credit), fontsize=7, color=QUIET, loc="left")


def _hides(aoi: BaseGeometry, observed: BaseGeometry, extent: Extent, crs: CRS) -> bool:
    """Whether a map ends before unseen ground does, or before more of the area than a rim."""
    left, right, bottom, top = extent
    # Straight sides of the map bend in degrees.
    sides = box(left, bottom, right, top).segmentize(max(right - left, top - bottom) / 100)
    shown = gpd.GeoSeries([sides], crs=crs).to_crs("EPSG:4326").iloc[0]
    beyond = unseen_of(aoi, shown)
    return not unseen_of(beyond, observed).is_empty or beyond.area > RIM * aoi.area


def _overview(
    figure: Figure,
    axes: Axes,
    extent: Extent,
    crs: CRS,
    aoi: BaseGeometry,
    observed: BaseGeometry,
) -> None:
    """Draw the whole area beside the map: unseen ground shows there too, and where the map lies."""
    width = figure.get_figwidth()
    figure.set_figwidth(width + OVERVIEW_INCHES)
    places = figure.add_gridspec(1, 2, width_ratios=(width, OVERVIEW_INCHES))
    axes.set_subplotspec(places[0])
    beside = figure.add_subplot(places[1])
    left, right, bottom, top = extent
    beside.add_artist(
        _patch(_projected(aoi, crs), facecolor=_SEEN_COLOUR, edgecolor=INK, linewidth=0.8)
    )
    _hatch(beside, aoi, observed, crs)
    beside.add_artist(
        Rectangle(
            (left, bottom), right - left, top - bottom, facecolor="none", edgecolor=INK, linewidth=2
        )
    )
    west, south, east, north = _projected(aoi, crs).union(box(left, bottom, right, top)).bounds
    margin = 0.03 * max(east - west, north - south)
    beside.set(
        xlim=(west - margin, east + margin),
        ylim=(south - margin, north + margin),
        aspect="equal",
        anchor="N",
        xticks=[],
        yticks=[],
    )
    for spine in beside.spines.values():
        spine.set_visible(False)
    beside.set_title("whole area of interest", fontsize=8, color=INK)
    beside.set_xlabel("thick frame: this map", fontsize=7, color=QUIET)


def _scale_bar(axes: Axes, extent: Extent) -> None:
    left, right, bottom, top = extent
    length = round_length((right - left) / 4)
    x, y, height = (
        left + (right - left) * 0.04,
        bottom + (top - bottom) * 0.04,
        (top - bottom) / 120,
    )
    pad = (right - left) * 0.015
    plate = Rectangle(
        (x - pad, y - pad), length + 2 * pad, height * 5 + 2 * pad, facecolor="white", alpha=0.85
    )
    axes.add_artist(plate)
    axes.add_artist(Rectangle((x, y), length, height, facecolor=INK))
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text(x + length / 2, y + 1.8 * height, label, ha="center", va="bottom", fontsize=8)


def round_length(about_m: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above `about_m`."""
    power = 10.0 ** math.floor(math.log10(about_m))
    return max(step * power for step in (1, 2, 5) if step * power <= about_m)


def _drawable(text: str) -> str:
    """The text in lines as wide as the map if the font has all its letters, else where to look."""
    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    missing = any(font.get_char_index(ord(letter)) == 0 for letter in text if letter != "\n")
    return "credits: see report.html" if missing else textwrap.fill(text, CREDIT_LETTERS)


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
