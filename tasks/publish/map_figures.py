"""The maps of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch
from pyproj import CRS
from rasterio.enums import Resampling
from shapely.geometry import GeometryCollection, MultiPolygon
from shapely.geometry.base import BaseGeometry

from tasks.mapping.metric import metric_crs
from tasks.publish.charts import BLUE, GRID, INK, ORANGE, QUIET, YELLOW, save_figure
from tasks.publish.class_legend import class_colours, class_names
from tasks.publish.map_pages import (
    NODATA_COLOUR,
    Extent,
    backdrop,
    extent_of,
    furnish,
    hatch,
    map_page,
    opened,
    outline,
    patch,
    projected,
    thumbnail,
)
from tasks.susceptibility.classes import BOUNDS_TAG

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
    pixels, crs, extent = backdrop(image)
    figure, axes = map_page(extent, crs)
    shown = pixels if pixels.ndim == 3 else np.ma.masked_invalid(pixels)
    axes.imshow(shown, extent=extent, cmap="Greys_r", interpolation="nearest")
    hatch(axes, aoi, observed, crs)
    outline(axes, aoi, crs, "white", 2.4)
    outline(axes, aoi, crs, INK, 1.0)
    _landslides(axes, landslides, crs, YELLOW, INK)
    keys = [
        Patch(facecolor=QUIET, edgecolor=YELLOW, linewidth=1.6, label="landslide"),
        Patch(facecolor="none", edgecolor=INK, label="area of interest"),
    ]
    furnish(figure, axes, extent, crs, keys, aoi, observed, credit)
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
    with opened(classes) as source:
        levels = source.read(1, out_shape=thumbnail(source), resampling=Resampling.mode)
        crs, extent = CRS.from_user_input(source.crs), extent_of(source)
        count = len(json.loads(source.tags()[BOUNDS_TAG]))
    figure, axes = map_page(extent, crs)
    shades = class_colours(count)
    colours = ListedColormap([NODATA_COLOUR, *shades])
    norm = BoundaryNorm(np.arange(-0.5, count + 1), colours.N)
    axes.imshow(levels, extent=extent, cmap=colours, norm=norm, interpolation="nearest")
    strange = applicability is not None and _dot(axes, applicability, extent)
    hatch(axes, aoi, observed, crs)
    _landslides(axes, landslides, crs, BLUE, "white")
    outline(axes, aoi, crs, INK, 1.0)
    named = list(zip(shades, class_names(count), strict=True))[::-1]
    keys = [Patch(facecolor=colour, edgecolor=GRID, label=name) for colour, name in named]
    # Of a map carried over none are known, which is not that there are none.
    if len(landslides):
        keys.append(Patch(facecolor="none", edgecolor=BLUE, label="landslide"))
    keys.append(Patch(facecolor=NODATA_COLOUR, edgecolor=GRID, label="no terrain data"))
    if strange:
        keys.append(
            Patch(
                facecolor="white", edgecolor=QUIET, hatch="....", label="unlike the training ground"
            )
        )
    furnish(figure, axes, extent, crs, keys, aoi, observed, credit)
    return save_figure(figure, path)


def change_figure(
    path: Path,
    change: Path,
    changed: MultiPolygon,
    looked: MultiPolygon,
    aoi: MultiPolygon,
) -> Path:
    """Draw how unlikely the change of radar backscatter is on ground that did not change.

    Args:
        path: PNG to make or replace.
        change: raster whose last band is -log10 of that probability, NaN where radar saw nothing.
        changed: what counts as changed, EPSG:4326.
        looked: what radar saw, EPSG:4326; the rest of the area is hatched.
        aoi: area of interest in EPSG:4326.

    Returns:
        `path`.

    Raises:
        RasterError: `change` cannot be read.
        StorageError: `path` cannot be written.
    """
    with opened(change) as source:
        shape_px = thumbnail(source)
        levels = source.read(source.count, out_shape=shape_px, resampling=Resampling.average)
        crs, extent = CRS.from_user_input(source.crs), extent_of(source)
    figure, axes = map_page(extent, crs)
    shown = np.ma.masked_invalid(levels)
    axes.imshow(shown, extent=extent, cmap="Purples", vmin=0, vmax=6, interpolation="nearest")
    hatch(axes, aoi, looked, crs)
    outline(axes, aoi, crs, INK, 1.0)
    if not changed.is_empty:
        outline(axes, changed, crs, ORANGE, 1.2)
    keys = [
        Patch(facecolor="none", edgecolor=ORANGE, label="changed: evidence, not landslides"),
        Patch(facecolor="none", edgecolor=INK, label="area of interest"),
    ]
    furnish(figure, axes, extent, crs, keys, aoi, looked, "")
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
    inside = projected(ground, crs)
    one, other = (frame.geometry.to_crs(crs).union_all() & inside for frame in (first, second))
    left, bottom, right, top = inside.bounds
    extent = (left, right, bottom, top)
    figure, axes = map_page(extent, crs)
    axes.add_artist(patch(inside, facecolor="white", edgecolor=QUIET, linewidth=0.8))
    keys = []
    for area, colour, label in (
        (one & other, INK, "in both"),
        (one - other, ORANGE, f"{names[0]} alone"),
        (other - one, BLUE, f"{names[1]} alone"),
    ):
        if not area.is_empty:
            axes.add_artist(patch(area, facecolor=colour, edgecolor=colour, linewidth=0.3))
        keys.append(Patch(facecolor=colour, label=label))
    furnish(figure, axes, extent, crs, keys, ground, ground, "")
    return save_figure(figure, path)


def difference_figure(
    path: Path, changes: gpd.GeoDataFrame, left_out: gpd.GeoDataFrame, ground: MultiPolygon
) -> Path:
    """Draw what became of landslides from one version to another.

    Args:
        path: PNG to make or replace.
        changes: as `tasks.inventory.compare.difference` gives them; the legend counts landslides.
        left_out: the landslides that are not comparable, as it gives them.
        ground: what both versions observed, EPSG:4326.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    crs = CRS.from_user_input(metric_crs(gpd.GeoSeries([ground], crs="EPSG:4326")))
    inside = projected(ground, crs)
    left, bottom, right, top = inside.bounds
    extent = (left, right, bottom, top)
    figure, axes = map_page(extent, crs)
    axes.add_artist(patch(inside, facecolor="white", edgecolor=QUIET, linewidth=0.8))
    keys = []
    if len(left_out):
        area = left_out.geometry.to_crs(crs).union_all()
        unknown: dict[str, Any] = {
            "facecolor": "white",
            "edgecolor": QUIET,
            "hatch": "//////",
            "linewidth": 0.5,
        }
        axes.add_artist(patch(area, **unknown))
        before, after = (int((left_out["side"] == side).sum()) for side in ("before", "after"))
        label = f"not comparable ({before} → {after})"
        keys.append(Patch(**unknown, label=label))
    for change, colour in CHANGE_COLOURS.items():
        found = changes[changes["change"] == change]
        if len(found):
            area = found.geometry.to_crs(crs).union_all()
            axes.add_artist(patch(area, facecolor=colour, edgecolor=INK, linewidth=0.3))
            before, after = (int(found[side].map(len).sum()) for side in ("before", "after"))
            label = f"{change} ({before} → {after})"
            keys.append(Patch(facecolor=colour, edgecolor=INK, label=label))
    furnish(figure, axes, extent, crs, keys, ground, ground, "")
    return save_figure(figure, path)


def _landslides(
    axes: Axes, landslides: gpd.GeoDataFrame, crs: CRS, colour: str, casing: str
) -> None:
    """Outline landslides in one colour cased in another, so that they show on any ground."""
    if not len(landslides):
        return
    width = 1.1 if len(landslides) < 500 else 0.5
    outlines = GeometryCollection(list(landslides.geometry.to_crs(crs).explode()))
    axes.add_artist(patch(outlines, facecolor="none", edgecolor=casing, linewidth=2.2 * width))
    axes.add_artist(patch(outlines, facecolor="none", edgecolor=colour, linewidth=width))


def _dot(axes: Axes, applicability: Path, extent: Extent) -> bool:
    """Dot ground outside the area of applicability; says whether there is any."""
    with opened(applicability) as source:
        inside = source.read(2, out_shape=thumbnail(source), resampling=Resampling.nearest)
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
