"""Amalgamated bodies taken apart: neighbouring landslides that one connected body outlines.

Landslides that run into each other are outlined as one, and one too large landslide distorts sizes,
and volumes even more (Marc & Hovius 2015). A body is flooded from the middles of its lobes
(marker-controlled watershed on the distance to its edge), and lobes that no waist parts are joined
again. A DEM sharpens both: a ridge is an edge, and what flows from one lobe into another is one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet
from shapely import Polygon
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from tasks.mapping.bodies import Bools, Place, ScoreWindow, tally
from tasks.mapping.outlines import Integers, Outlines
from tasks.susceptibility.dem import open_dem

LARGEST_WINDOW_PX = 1 << 22
LEAST_CELLS = 2
# Flow that meets a border at less than 45 degrees from its normal crosses it.
_CROSSES = np.sqrt(0.5)


@dataclass(frozen=True)
class Elevation:
    """A DEM on a score's grid: `read` gives metres (NaN unknown), `cell_m` is its own grain."""

    read: Callable[[Place], NDArray[np.floating]]
    cell_m: float


@dataclass(frozen=True)
class Splitting:
    """When a body is several landslides.

    `waist`: two lobes are two where the narrowest place between them is narrower than this share of
    the narrower lobe's width. `smallest_part_m2`: no part is smaller, on the grid. `ridge_deg`:
    with a DEM, ground is a ridge where it falls away by this much on the average.
    """

    waist: float = 0.5
    smallest_part_m2: float = 300.0
    ridge_deg: float = 10.0


def open_elevation(stack: ExitStack, dem: Path, score: DatasetReader) -> Elevation:
    """Open a DEM in any CRS on the grid of a score, for as long as `stack` is open.

    Raises:
        RasterError: as `tasks.susceptibility.dem.open_dem`.
    """
    west, south, east, north = transform_bounds(score.crs, "EPSG:4326", *score.bounds)
    middle = shapely.Point((west + east) / 2, (south + north) / 2)
    opened = stack.enter_context(open_dem(dem, middle))
    grid = GeoBox(score.shape, score.transform, score.crs.to_wkt())
    return Elevation(lambda place: opened.read(grid[place]), opened.cell_m)


def split_bodies(
    bodies: pd.DataFrame,
    read: Callable[[Place], ScoreWindow],
    splitting: Splitting,
    pixel_m: float,
    elevation: Elevation | None = None,
) -> pd.DataFrame:
    """Split the bodies that are several landslides, each in a window of its own.

    Args:
        bodies: as `connected_bodies` gives them, with any columns besides. Those whose window holds
            more than `LARGEST_WINDOW_PX` pixels are left whole.
        read: gives the pixels of some rows and columns.
        splitting: when a body is several landslides.
        pixel_m: ground size of a pixel in metres.
        elevation: guides the splitting of bodies that its cells can show.

    Returns:
        One row a part, with the body's other columns; where a body is not split it is its only
        part. The outlines of a body's parts share every vertex and their union is the body's.
    """
    smallest_px = splitting.smallest_part_m2 / pixel_m**2
    outlines = bodies["outline"].to_numpy()
    bounds = shapely.bounds(outlines)
    fits = (bounds[:, 2:] - bounds[:, :2]).prod(axis=1) <= LARGEST_WINDOW_PX
    split, parts = [], []
    for index in np.flatnonzero(fits & (shapely.area(outlines) >= 2 * smallest_px)):
        west, north, east, south = map(int, bounds[index])
        place = slice(north, south), slice(west, east)
        mask = _rasterised(outlines[index], place)
        guide = _guide(mask, place, elevation, splitting, pixel_m) if elevation else None
        lobes = split_mask(mask, splitting.waist, smallest_px, guide)
        if lobes.max() > 1:
            split.append(index)
            parts.append(_parts(bodies.iloc[[index]], read(place), lobes))
    return pd.concat([bodies.drop(bodies.index[split]), *parts], ignore_index=True)


def _guide(
    mask: Bools, place: Place, elevation: Elevation, splitting: Splitting, pixel_m: float
) -> Guide | None:
    # A DEM of 28.5 m split slides of Kaghan worse than their shapes alone did, until it was asked
    # only about those as wide as this.
    if half_width(mask) * pixel_m < LEAST_CELLS * elevation.cell_m:
        return None
    return read_ground(mask, elevation.read(place), pixel_m, splitting.ridge_deg)


def _rasterised(outline: Polygon, place: Place) -> Bools:
    rows, columns = place
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    corner = Affine.translation(columns.start, rows.start)
    return np.asarray(rasterio.features.rasterize([outline], shape, transform=corner) > 0)


def _parts(body: pd.DataFrame, window: ScoreWindow, lobes: Integers) -> pd.DataFrame:
    """One row a lobe, from the one row of their body."""
    count = lobes.max()
    parts = body.iloc[np.zeros(count, int)].reset_index(drop=True)
    held = tally(window, np.where(window.positive, lobes, 0), count)
    parts[held.columns] = held
    corner = (window.column, window.row)
    parts["outline"] = shapely.transform(_outlines(lobes), lambda xy: xy + corner)
    return parts


@dataclass(frozen=True)
class Guide:
    """What the ground says about a body, on its window's grid.

    `ridge` (rows, columns) are pixels on a ridge, `uphill` (2, rows, columns) is the gradient along
    rows and columns.
    """

    ridge: Bools
    uphill: NDArray[np.floating]


def split_mask(
    mask: Bools, waist: float, smallest_px: float, guide: Guide | None = None
) -> Integers:
    """Tell apart the lobes of one body.

    Args:
        mask: pixels of the body, shape (rows, columns).
        waist: lobes are two where the way between them narrows below this share of the narrower.
        smallest_px: smaller lobes join the neighbour to which the way is widest.
        guide: ridges hold lobes apart as the body's edge does; lobes join where flow crosses their
            border.

    Returns:
        1 to the number of lobes inside the body, 0 outside; each lobe is 4-connected.
    """
    inside = mask & ~guide.ridge if guide and (mask & ~guide.ridge).any() else mask
    width = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    middles, _ = ndimage.label(local_maxima(np.pad(width, 1))[1:-1, 1:-1], np.ones((3, 3)))
    lobes = watershed(-width, middles, mask=mask)
    if lobes.max() == 1:
        return np.asarray(lobes)
    borders = _borders(lobes, width, guide)
    groups = DisjointSet(range(lobes.max() + 1))
    _join_wide(groups, borders, ndimage.maximum(width, lobes, list(groups)), waist)
    if guide:
        _join_along_flow(groups, borders)
    _join_small(groups, borders, np.bincount(lobes.ravel()), smallest_px)
    group = np.array([groups[lobe] for lobe in groups])
    number = np.searchsorted(np.unique(group), group)
    return np.asarray(number[lobes])


def half_width(mask: Bools) -> int:
    """Pixels from the middle of a body, where it is widest, to its edge."""
    return int(ndimage.distance_transform_edt(np.pad(mask, 1)).max())


def read_ground(
    mask: Bools, elevation: NDArray[np.floating], pixel_m: float, ridge_deg: float
) -> Guide | None:
    """Read ridges and slopes around a body.

    A ridge stands out above the mean of the square around it (topographic position, Weiss 2001);
    one with straight flanks stands out by half of what they fall from it to the square's side.

    Args:
        mask: pixels of the body, shape (rows, columns).
        elevation: in metres, same shape, NaN where it is not known.
        pixel_m: ground size of a pixel in metres.
        ridge_deg: a ridge's flanks fall by at least this on the average.

    Returns:
        None where some elevation is not known, or the body is a single row or column.
    """
    if np.isnan(elevation).any() or 1 in elevation.shape:
        return None
    reach = half_width(mask)
    # Odd reflection goes on with the slope beyond the window, where an even one would turn it back.
    around = np.pad(elevation, reach, mode="reflect", reflect_type="odd")
    mean = ndimage.uniform_filter(around, 2 * reach + 1)[reach:-reach, reach:-reach]
    prominence = np.tan(np.radians(ridge_deg)) * reach * pixel_m / 2
    return Guide(elevation - mean > prominence, np.stack(np.gradient(elevation, pixel_m)))


@dataclass(frozen=True)
class _Borders:
    """Pairs of lobes that touch; arrays (n,), and (n, 2) along rows and columns.

    `width` is the widest way between the two (distance to the edge), `normal` points from `one` to
    `other`, as long as their border, and `uphill` is the gradient summed along it.
    """

    one: Integers
    other: Integers
    width: NDArray[np.floating]
    normal: NDArray[np.floating]
    uphill: NDArray[np.floating]


def _borders(lobes: Integers, width: NDArray[np.floating], guide: Guide | None) -> _Borders:
    uphill = guide.uphill if guide else np.zeros((2, *lobes.shape))
    steps = []
    for axis in (0, 1):
        a, b = _neighbours(lobes, axis)
        meet = (a != b) & (a > 0) & (b > 0)
        normal = np.zeros((meet.sum(), 2))
        normal[:, axis] = np.sign(b - a)[meet]
        steps.append(
            (
                np.minimum(a, b)[meet],
                np.maximum(a, b)[meet],
                np.minimum(*_neighbours(width, axis))[meet],
                normal,
                _neighbours(uphill, axis + 1)[0][:, meet].T,
            )
        )
    one, other, way, normal, slope = (np.concatenate(both) for both in zip(*steps, strict=True))
    pairs, pair = np.unique(np.stack([one, other]), axis=1, return_inverse=True)
    widest = np.zeros(pairs.shape[1])
    np.maximum.at(widest, pair, way)
    summed = np.zeros((2, pairs.shape[1], 2))
    np.add.at(summed[0], pair, normal)
    np.add.at(summed[1], pair, slope)
    return _Borders(pairs[0], pairs[1], widest, summed[0], summed[1])


def _neighbours(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    ahead = np.moveaxis(values, axis, 0)
    return np.moveaxis(ahead[:-1], 0, axis), np.moveaxis(ahead[1:], 0, axis)


def _join_wide(
    groups: DisjointSet, borders: _Borders, middles: NDArray[np.floating], waist: float
) -> None:
    """Join lobes from the widest way down, unless it is a waist of the narrower of the two."""
    middle = list(middles)
    for i in np.argsort(-borders.width, kind="stable"):
        one, other = groups[borders.one[i]], groups[borders.other[i]]
        if borders.width[i] >= waist * min(middle[one], middle[other]):
            groups.merge(one, other)
            middle[groups[one]] = max(middle[one], middle[other])


def _join_along_flow(groups: DisjointSet, borders: _Borders) -> None:
    """Join groups whose common border the steepest slope crosses."""
    one, other = (np.array([groups[i] for i in side]) for side in (borders.one, borders.other))
    pairs, pair = np.unique(np.sort([one, other], axis=0), axis=1, return_inverse=True)
    normal, uphill = np.zeros((2, pairs.shape[1], 2))
    np.add.at(normal, pair, np.sign(other - one)[:, None] * borders.normal)
    np.add.at(uphill, pair, borders.uphill)
    across = np.abs((normal * uphill).sum(axis=1))
    crossed = across > _CROSSES * np.hypot(*normal.T) * np.hypot(*uphill.T)
    for a, b in pairs[:, crossed].T:
        groups.merge(a, b)


def _join_small(
    groups: DisjointSet, borders: _Borders, pixels: Integers, smallest_px: float
) -> None:
    """Join every group that is too small, smallest first, where the way out is widest."""
    size = {groups[lobe]: 0 for lobe in groups if lobe}
    for lobe, count in enumerate(pixels[1:], start=1):
        size[groups[lobe]] += count
    widest_first = np.argsort(-borders.width, kind="stable")
    ways = [(borders.one[i], borders.other[i]) for i in widest_first]
    while len(size) > 1 and min(size.values()) < smallest_px:
        small = min(size, key=size.__getitem__)
        ends = ((groups[a], groups[b]) for a, b in ways)
        one, other = next(pair for pair in ends if small in pair and pair[0] != pair[1])
        both = size.pop(one) + size.pop(other)
        groups.merge(one, other)
        size[groups[one]] = both


def _outlines(lobes: Integers) -> Outlines:
    """Outlines of lobes 1 to n in pixel corners; neighbours share every vertex of their border."""
    traced = rasterio.features.shapes(lobes.astype(np.int32), mask=lobes > 0, connectivity=4)
    by_lobe = {int(lobe): shapely.geometry.shape(outline) for outline, lobe in traced}
    outlines = [by_lobe[lobe] for lobe in range(1, len(by_lobe) + 1)]
    return np.asarray(shapely.coverage_clean(outlines, snapping_distance=0))
