"""Vector tiles of one version of an inventory, as the maps of the console draw it.

From zoom `OUTLINES_FROM` on they hold outlines, the largest first. Below, where most could not be
seen, they hold squares with the number of landslides in them and their area, so that none is
missing from a map for being small. What was made is remembered until somebody reviews the version.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Path, Response
from morecantile import Tile
from sqlalchemy import text

from console.service.collections import OUTLINES_AT_MOST, OUTLINES_FROM, SQUARE, TILE_UNITS
from console.service.overview import Points, count_in_cells, points_at
from console.service.products import EventId, Number
from console.web.access import Viewer
from flows.world import open_world
from tasks.errors import InventoryError

router = APIRouter()
DEEPEST = 22
REMEMBERED = 2000
INVENTORIES = 8

_STATE = """
    SELECT inventory.id, coalesce(max(review.id), 0)
    FROM scarp.inventory LEFT JOIN scarp.review ON review.inventory_id = inventory.id
    WHERE event_id = :event_id AND version = :version GROUP BY inventory.id
"""
_OUTLINES = f"""
    WITH ground AS (SELECT ST_TileEnvelope(:z, :x, :y) AS tile)
    SELECT ST_AsMVT(outlines, 'default', {TILE_UNITS}, 'outline') FROM (
        SELECT number, round(confidence::numeric, 2)::float8 AS confidence,
            area_m2::int AS area_m2, review_state,
            ST_AsMVTGeom(ST_Transform(geom, 3857), tile, {TILE_UNITS}, 16) AS outline
        FROM ground, scarp.v_landslides_all
        WHERE inventory_id = :inventory_id AND stands AND geom && ST_Transform(tile, 4326)
        ORDER BY area_m2 DESC LIMIT :most
    ) AS outlines
"""
_POINTS = """
    SELECT longitude, latitude, area_m2 FROM scarp.v_landslides_all
    WHERE inventory_id = :inventory_id AND stands
"""
_SQUARES = f"""
    SELECT ST_AsMVT(squares, 'default', {TILE_UNITS}, 'square') FROM (
        SELECT landslides, round(area_m2)::bigint AS area_m2, {SQUARE} AS square
        FROM unnest(CAST(:places AS bigint[]), CAST(:landslides AS bigint[]),
            CAST(:areas AS float8[])) AS held (place, landslides, area_m2)
    ) AS squares
"""


@router.get("/events/{event_id}/versions/{version}/tiles/{z}/{x}/{y}")
def tile(
    event_id: EventId,
    version: Number,
    z: Annotated[int, Path(ge=0, le=DEEPEST)],
    x: Annotated[int, Path(ge=0, lt=2**DEEPEST)],
    y: Annotated[int, Path(ge=0, lt=2**DEEPEST)],
    _: Viewer,
) -> Response:
    """A vector tile of the layer `default`; empty where no landslide stands."""
    if max(x, y) >= 2**z:
        raise InventoryError(f"there is no tile {z}/{x}/{y}")
    with open_world().engine.connect() as connection:
        asked = {"event_id": event_id, "version": version}
        found = connection.execute(text(_STATE), asked).one_or_none()
    if found is None:
        raise InventoryError(f"event {event_id} has no version {version}")
    made = _tile(*found, z, x, y)
    # Reviews show at once: a browser asks each time, and is told that it has the tile already.
    headers = {"Cache-Control": "no-cache"}
    return Response(made, media_type="application/vnd.mapbox-vector-tile", headers=headers)


@lru_cache(maxsize=REMEMBERED)
def _tile(inventory_id: UUID, newest_review: int, z: int, x: int, y: int) -> bytes:
    """The tile as it is up to a review."""
    query = _OUTLINES
    asked: dict[str, Any] = {"inventory_id": inventory_id, "z": z, "x": x, "y": y}
    asked["most"] = OUTLINES_AT_MOST
    if z < OUTLINES_FROM:
        places, counts, areas = count_in_cells(
            [_points(inventory_id, newest_review)], Tile(x, y, z)
        )
        query = _SQUARES
        asked = {
            "places": places.tolist(),
            "landslides": counts.tolist(),
            "areas": areas.tolist(),
        }
    with open_world().engine.connect() as connection:
        return bytes(connection.scalar(text(query), asked))


@lru_cache(maxsize=INVENTORIES)
def _points(inventory_id: UUID, newest_review: int) -> Points:
    with open_world().engine.connect() as connection:
        rows = connection.execute(text(_POINTS), {"inventory_id": inventory_id}).all()
    longitude, latitude, area_m2 = np.asarray(rows, np.float64).reshape(-1, 3).T
    return points_at(longitude, latitude, area_m2, newest_review)
