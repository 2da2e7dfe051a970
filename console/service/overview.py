"""Where the published landslides lie, kept in memory: what tiles of low zooms are counted from.

Counting tens of thousands of rows for every tile takes PostgreSQL seconds; counting as many numbers
takes a millisecond. A million landslides are 24 MB. An inventory is read again when it is published
or reviewed, so the counts are never older than the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
from asyncpg import Connection
from morecantile import Tile
from numpy.typing import NDArray

CELLS_ACROSS = 64

_STATE = """
SELECT inventory_id, coalesce(max(review_id), 0) AS reviewed
FROM scarp.v_inventories LEFT JOIN scarp.v_reviews USING (inventory_id)
WHERE status = 'published' GROUP BY inventory_id
"""
_POINTS = """
SELECT place, longitude, latitude, area_m2
FROM scarp.v_landslides
JOIN unnest($1::uuid[]) WITH ORDINALITY AS wanted (inventory_id, place) USING (inventory_id)
"""
# A million landslides take some seconds, once.
_PATIENCE = "SET LOCAL statement_timeout = '10min'"

# PostgreSQL's binary COPY: each row says how many fields it has, each field how many bytes.
_FIELDS = {"place": ">i8", "longitude": ">f8", "latitude": ">f8", "area_m2": ">f8"}
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(
            (f"{name}{part}", kind)
            for name, field in _FIELDS.items()
            for part, kind in (("_bytes", ">i4"), ("", field))
        ),
    ]
)
_HEADER_BYTES, _TRAILER_BYTES = 19, 2


@dataclass(frozen=True)
class Points:
    """Landslides of one inventory: fractions of the Web Mercator world from its north-west, m²."""

    reviewed: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area_m2: NDArray[np.float64]
    box: tuple[float, float, float, float]

    def touches(self, west: float, north: float, side: float) -> bool:
        """Whether any may lie in a square of the world."""
        left, right, top, bottom = self.box
        return left < west + side and right >= west and top < north + side and bottom >= north


class Overview:
    """The published inventories as points, brought up to date whenever it is asked."""

    def __init__(self) -> None:
        self._points: dict[UUID, Points] = {}
        self._changing = asyncio.Lock()

    async def refresh(self, connection: Connection[Any]) -> None:
        """Read what was published or reviewed since, forget what was superseded."""
        state = {row["inventory_id"]: row["reviewed"] for row in await connection.fetch(_STATE)}
        if state == {key: points.reviewed for key, points in self._points.items()}:
            return
        async with self._changing:
            for key in self._points.keys() - state.keys():
                del self._points[key]
            held = {key: points.reviewed for key, points in self._points.items()}
            changed = [key for key, reviewed in state.items() if held.get(key) != reviewed]
            for key, rows in zip(changed, await _read(connection, changed), strict=True):
                self._points[key] = _points(rows, state[key])

    def cells(self, tile: Tile) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """What `count_in_cells` says of everything published."""
        return count_in_cells(self._points.values(), tile)


def count_in_cells(
    inventories: Iterable[Points], tile: Tile
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Number and area of the landslides in each cell of a tile that has any.

    Returns:
        Place of each cell in the tile row by row from the north-west, shape (n,); landslides
        in it; their area in m².
    """
    places, areas = [], []
    side = 0.5**tile.z
    for points in inventories:
        if not points.touches(tile.x * side, tile.y * side, side):
            continue
        x = np.floor((points.x * 2**tile.z - tile.x) * CELLS_ACROSS).astype(np.int64)
        y = np.floor((points.y * 2**tile.z - tile.y) * CELLS_ACROSS).astype(np.int64)
        inside = (x >= 0) & (x < CELLS_ACROSS) & (y >= 0) & (y < CELLS_ACROSS)
        places.append(y[inside] * CELLS_ACROSS + x[inside])
        areas.append(points.area_m2[inside])
    place = np.concatenate([np.empty(0, np.int64), *places])
    counts = np.bincount(place, minlength=CELLS_ACROSS**2)
    sums = np.bincount(place, np.concatenate([np.empty(0), *areas]), CELLS_ACROSS**2)
    held = np.flatnonzero(counts)
    return held.astype(np.int64), counts[held].astype(np.int64), np.asarray(sums[held])


def points_at(
    longitude: NDArray[np.float64],
    latitude: NDArray[np.float64],
    area_m2: NDArray[np.float64],
    reviewed: int,
) -> Points:
    """Landslides of one inventory by the degrees and m² of each."""
    x = (longitude + 180) / 360
    y = (1 - np.arcsinh(np.tan(np.radians(latitude))) / np.pi) / 2
    box = (x.min(), x.max(), y.min(), y.max()) if len(x) else (2.0, -2.0, 2.0, -2.0)
    return Points(reviewed, x, y, area_m2, box)


async def _read(connection: Connection[Any], inventories: list[UUID]) -> list[NDArray[np.void]]:
    """The landslides of each inventory, as PostgreSQL copies them."""
    if not inventories:
        return []
    copied = BytesIO()
    async with connection.transaction():
        await connection.execute(_PATIENCE)
        await connection.copy_from_query(_POINTS, inventories, output=copied, format="binary")
    rows = np.frombuffer(copied.getvalue()[_HEADER_BYTES:-_TRAILER_BYTES], _ROW)
    place = rows["place"].astype(np.int64)
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(2, len(inventories) + 1))
    return np.split(rows[order], ends)


def _points(rows: NDArray[np.void], reviewed: int) -> Points:
    longitude, latitude = rows["longitude"].astype(np.float64), rows["latitude"].astype(np.float64)
    return points_at(longitude, latitude, rows["area_m2"].astype(np.float64), reviewed)
