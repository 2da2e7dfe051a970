"""Distance of every cell of a grid to the nearest of any number of lines, points or areas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

_SIDE = 32
_AREA = 2


@dataclass(frozen=True)
class Features:
    """Lines, points and areas in the metric CRS of the grids they are measured on."""

    geometries: gpd.GeoSeries

    @cached_property
    def segments(self) -> NDArray[np.float64]:
        """Ends (x0, y0, x1, y1) of every straight piece, a point's two ends the same, (n, 4)."""
        parts = shapely.get_parts(self.geometries.to_numpy())
        areal = shapely.get_dimensions(parts) == _AREA
        lines = shapely.get_parts(shapely.boundary(parts[areal]))
        ends = [_pieces(lines), _pieces(parts[~areal])]
        return np.concatenate(ends)

    @cached_property
    def tree(self) -> Any:
        """The segments, in their order, as an STRtree."""
        return shapely.STRtree(shapely.linestrings(self.segments.reshape(-1, 2, 2)))

    def distance(self, grid: GeoBox) -> NDArray[np.float32]:
        """Distance in m of cell centres to the nearest feature, 0 inside areas, (rows, cols).

        Exact: for each square of 32 x 32 cells, every segment that can be the nearest of one of
        them is measured against all.
        """
        rows, cols = grid.shape
        cell = abs(grid.transform.a)
        down, across = -(-rows // _SIDE), -(-cols // _SIDE)
        middle = (np.indices((down, across)).reshape(2, -1) + 0.5) * _SIDE
        x, y = grid.transform @ (middle[1], middle[0])
        points = shapely.points(x, y)
        _, near = self.tree.query_nearest(points, return_distance=True, all_matches=False)
        within = near + _SIDE * cell * np.sqrt(2)
        block, segment = self.tree.query(points, predicate="dwithin", distance=within)
        order = np.argsort(block, kind="stable")
        starts = np.searchsorted(block[order], np.arange(down * across + 1))
        distance = np.empty((rows, cols), np.float32)
        west, north = grid.transform.c, grid.transform.f
        _nearest(distance, cell, west, north, self.segments[segment[order]], starts, across)
        distance[self._inside(grid)] = 0
        return distance

    def _inside(self, grid: GeoBox) -> NDArray[np.bool_]:
        near = self.geometries.cx[
            slice(*grid.boundingbox.bbox[::2]), slice(*grid.boundingbox.bbox[1::2])
        ]
        areas = near[shapely.get_dimensions(near.to_numpy()) == _AREA]
        if areas.empty:
            return np.zeros(grid.shape, dtype=bool)
        burnt: NDArray[np.uint8] = rasterize(
            areas, grid.shape, transform=grid.transform, dtype="uint8"
        )
        return burnt > 0


def _pieces(lines: NDArray[np.object_]) -> NDArray[np.float64]:
    corners, owner = shapely.get_coordinates(lines, return_index=True)
    same = owner[1:] == owner[:-1]
    pieces = np.hstack([corners[:-1], corners[1:]])[same]
    alone = corners[np.isin(owner, np.flatnonzero(shapely.get_dimensions(lines) == 0))]
    return np.concatenate([pieces, np.hstack([alone, alone])])


@njit(nogil=True, cache=True, error_model="numpy")
def _nearest(
    distance: NDArray[np.float32],
    cell: float,
    west: float,
    north: float,
    segments: NDArray[np.float64],
    starts: NDArray[np.int64],
    across: int,
) -> None:
    """Fill `distance`; block b of 32 x 32 cells is near segments[starts[b]:starts[b + 1]]."""
    rows, cols = distance.shape
    for r in range(rows):
        for c in range(cols):
            x, y = west + (c + 0.5) * cell, north - (r + 0.5) * cell
            block = r // 32 * across + c // 32
            least = np.inf
            for number in range(starts[block], starts[block + 1]):
                x0, y0 = segments[number, 0], segments[number, 1]
                dx, dy = segments[number, 2] - x0, segments[number, 3] - y0
                length2 = dx * dx + dy * dy
                along = 0.0
                if length2 > 0:
                    along = min(1.0, max(0.0, ((x - x0) * dx + (y - y0) * dy) / length2))
                away = (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2
                least = min(least, away)
            distance[r, c] = np.sqrt(least)
