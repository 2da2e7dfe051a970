"""The page a map is drawn on: its ground, what was not seen of it, scale, north, credit."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import RasterError
from tasks.inventory.seen import unseen_of
from tasks.publish.charts import GRID, INK, QUIET

GAMMA = 0.7
CREDIT_LETTERS = 150
MAP_PX = 1400
NODATA_COLOUR = "#eceff1"
SEEN_COLOUR = "#b8c4ce"
OVERVIEW_INCHES = 2.4
RIM = 0.01

Extent = tuple[float, float, float, float]


def opened(path: Path) -> DatasetReader:
    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise RasterError(f"{path} cannot be drawn, it is missing or damaged: {error}") from error


def backdrop(image: Path) -> tuple[NDArray[np.float64], CRS, Extent]:
    """RGBA (rows, cols, 4) in 0-1 stretched between percentiles, or one band with NaN."""
    with opened(image) as source:
        rows, cols = thumbnail(source)
        bands = [1, 2, 3] if source.count >= 3 else [1]
        shape = (len(bands), rows, cols)
        pixels = source.read(bands, out_shape=shape, masked=True, resampling=Resampling.average)
        crs, extent = CRS.from_user_input(source.crs), extent_of(source)
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


def thumbnail(source: DatasetReader) -> tuple[int, int]:
    factor = max(1.0, max(source.height, source.width) / MAP_PX)
    return max(1, round(source.height / factor)), max(1, round(source.width / factor))


def extent_of(source: DatasetReader) -> Extent:
    bounds = source.bounds
    return bounds.left, bounds.right, bounds.bottom, bounds.top


def map_page(extent: Extent, crs: CRS) -> tuple[Figure, Axes]:
    left, right, bottom, top = extent
    aspect = float(np.clip((top - bottom) / (right - left), 0.4, 1.6))
    figure = Figure(figsize=(8, 7.6 * aspect + 0.8), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_facecolor(NODATA_COLOUR)
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


def hatch(axes: Axes, aoi: MultiPolygon, observed: MultiPolygon, crs: CRS) -> None:
    unseen = unseen_of(aoi, observed)
    if not unseen.is_empty:
        # The rim shows a pixel that is too small for a line of the hatch to cross it.
        style: Any = {"facecolor": "#ffffffb0", "edgecolor": QUIET, "hatch": "////"}
        axes.add_artist(patch(projected(unseen, crs), linewidth=0.6, **style))


def outline(axes: Axes, area: BaseGeometry, crs: CRS, colour: str, width: float) -> None:
    edge = patch(projected(area, crs), facecolor="none", edgecolor=colour, linewidth=width)
    axes.add_artist(edge)


def projected(geometry: BaseGeometry, crs: CRS) -> BaseGeometry:
    return gpd.GeoSeries([geometry], crs="EPSG:4326").to_crs(crs).iloc[0]


def patch(geometry: BaseGeometry, **style: object) -> PathPatch:
    polygons = [
        part for part in getattr(geometry, "geoms", [geometry]) if isinstance(part, Polygon)
    ]
    rings = [ring for part in polygons for ring in (part.exterior, *part.interiors)]
    outlines = [Outline(np.asarray(ring.coords)[:, :2], closed=True) for ring in rings]
    return PathPatch(Outline.make_compound_path(*outlines), **style)


def furnish(
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
    axes.set_title("▲ N", loc="left", fontsize=9, fontweight="bold", color=INK)
    _scale_bar(axes, extent)
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
        patch(projected(aoi, crs), facecolor=SEEN_COLOUR, edgecolor=INK, linewidth=0.8)
    )
    hatch(beside, aoi, observed, crs)
    beside.add_artist(
        Rectangle(
            (left, bottom), right - left, top - bottom, facecolor="none", edgecolor=INK, linewidth=2
        )
    )
    west, south, east, north = projected(aoi, crs).union(box(left, bottom, right, top)).bounds
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
    """Draw a length on the ground above the map, where it hides nothing of it."""
    left, right, *_ = extent
    length = round_length((right - left) / 4)
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    start, across = right - length, axes.get_xaxis_transform()
    axes.plot(
        (start, right), (1.012, 1.012), transform=across, clip_on=False, color=INK,
        linewidth=3, solid_capstyle="butt",
    )  # fmt: skip
    axes.annotate(
        label, (start, 1.012), xycoords=across, xytext=(-4, 0), textcoords="offset points",
        ha="right", va="center", fontsize=8, annotation_clip=False,
    )  # fmt: skip


def round_length(about_m: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above `about_m`."""
    power = 10.0 ** math.floor(math.log10(about_m))
    return max(step * power for step in (1, 2, 5) if step * power <= about_m)


def _drawable(text: str) -> str:
    """The text in lines as wide as the map if the font has all its letters, else where to look."""
    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    missing = any(font.get_char_index(ord(letter)) == 0 for letter in text if letter != "\n")
    return "credits: see report.html" if missing else textwrap.fill(text, CREDIT_LETTERS)
