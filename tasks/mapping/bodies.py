"""Connected bodies of pixels: how far they reach, and what they hold.

A scene comes in bands of rows, and one band is all that is held of it. What outlives a band is
small: what each piece of a body holds, which pieces face each other across a seam, and the corners
of the outlines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely import Polygon, STRtree

from tasks.mapping.outlines import Integers, find_corners, outlines
from tasks.publish.products import SCORE_NODATA

Bools = NDArray[np.bool_]
Place = tuple[slice, slice]

# How what the pieces of a body hold adds up.
_TOGETHER = {
    "pixels": "sum",
    "level_sum": "sum",
    "level_max": "max",
    "touches_scene_edge": "max",
    "touches_cloud_edge": "max",
}


@dataclass(frozen=True)
class ScoreWindow:
    """A rectangle of a score raster that begins at `row` and `column`; arrays (rows, columns).

    `levels` are the stored scores (uint8), `positive` the pixels that reach the threshold,
    `by_scene_edge` and `by_cloud` the pixels one of whose 4 neighbours lies outside the scene, or
    is hidden by cloud or shadow (bool).
    """

    row: int
    column: int
    levels: NDArray[np.uint8]
    positive: Bools
    by_scene_edge: Bools
    by_cloud: Bools


def connected_bodies(bands: Iterable[ScoreWindow]) -> pd.DataFrame:
    """Outline every 4-connected body of positive pixels, whatever bands the scene comes in.

    Args:
        bands: windows of the scene's full width, from the top down, without gap or overlap.

    Returns:
        One row a body, in the raster order of their first pixels: the columns of `tally`, and
        `outline` as `outlines` makes it.
    """
    tallies, corners, seams = [], [], []
    pieces, row, above = 0, 0, np.zeros(0, np.int32)
    for band in bands:
        labels, count = ndimage.label(band.positive)
        tallies.append(tally(band, labels, count))
        labels[labels > 0] += pieces
        above = above if row else np.zeros_like(labels[0])
        corners.append(find_corners(np.vstack([above, labels]), row))
        facing = (above > 0) & (labels[0] > 0)
        seams.append(np.stack([above[facing], labels[0][facing]]) - 1)
        pieces, row, above = pieces + count, row + len(labels), labels[-1]
    corners.append(find_corners(np.stack([above, np.zeros_like(above)]), row))
    body = _joined(np.hstack(seams), pieces)
    bodies = pd.concat(tallies, ignore_index=True).groupby(body).agg(_TOGETHER)
    bodies["outline"] = outlines(corners, body)
    return bodies


def fill_holes(
    bodies: pd.DataFrame, smaller_than_px: float, read: Callable[[Place], ScoreWindow]
) -> pd.DataFrame:
    """Fill small holes, and make the bodies inside them part of the body around.

    A hole is kept where something unknown lies in the rectangle around it.

    Args:
        bodies: as `connected_bodies` gives them.
        smaller_than_px: holes of so many pixels and more are kept.
        read: gives the pixels of some rows and columns.

    Returns:
        The bodies that are left; those that took others in hold and touch what these did. Pixels of
        the holes themselves are not counted.
    """
    rings, owner = shapely.get_rings(bodies["outline"].to_numpy(), return_index=True)
    solids = shapely.polygons(rings)
    fill = (np.diff(owner, prepend=-1) == 0) & (shapely.area(solids) < smaller_than_px)
    fill[fill] = [_is_known(read, hole) for hole in solids[fill]]
    filled = shapely.polygons(rings[~fill], indices=owner[~fill])
    small_first = np.flatnonzero(fill)[np.argsort(shapely.area(solids[fill]), kind="stable")]
    hole, island = STRtree(filled).query(solids[small_first], predicate="contains")
    host = np.arange(len(bodies))
    host[island] = owner[small_first[hole]]
    united = bodies.groupby(host).agg(_TOGETHER)
    united["outline"] = filled[united.index]
    return united.reset_index(drop=True)


def _is_known(read: Callable[[Place], ScoreWindow], hole: Polygon) -> bool:
    west, north, east, south = map(int, hole.bounds)
    return bool((read((slice(north, south), slice(west, east))).levels != SCORE_NODATA).all())


def tally(window: ScoreWindow, labels: Integers, count: int) -> pd.DataFrame:
    """Count what the bodies labelled 1 to `count` on the window's grid hold and touch.

    Returns:
        One row a body: pixels, level_sum, level_max, touches_scene_edge, touches_cloud_edge.
    """
    inside = labels > 0
    body, levels = labels[inside] - 1, window.levels[inside]
    highest = np.zeros(count, np.uint8)
    np.maximum.at(highest, body, levels)
    return pd.DataFrame(
        {
            "pixels": np.bincount(body, minlength=count),
            "level_sum": np.bincount(body, levels, minlength=count),
            "level_max": highest,
            "touches_scene_edge": _touched(labels, window.by_scene_edge, count),
            "touches_cloud_edge": _touched(labels, window.by_cloud, count),
        }
    )


def _touched(labels: Integers, near: Bools, count: int) -> Bools:
    touched = np.zeros(count + 1, bool)
    touched[labels[near]] = True
    return touched[1:]


def _joined(seams: Integers, pieces: int) -> Integers:
    """The body each piece belongs to, numbered in the order of their first pieces."""
    facing = coo_array((np.ones(seams.shape[1], bool), tuple(seams)), shape=(pieces, pieces))
    _, component = connected_components(facing, directed=False)
    return np.asarray(pd.factorize(component)[0])
