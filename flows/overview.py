"""Every event in a line: what happened, how far its response is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from uuid import UUID

import shapely
from cachetools import LRUCache
from sqlalchemy import Connection, Row, text

from tasks.inventory.seen import seen_share
from tasks.inventory.store import count_reviewed
from tasks.inventory.tables import EventState

_LINES = """
    SELECT event.event_id, event.kind, event.title, event.occurred_at, event.state,
        event.aoi_km2, md5(ST_AsBinary(event.aoi)) AS aoi_digest,
        ST_X(event.geom) AS longitude, ST_Y(event.geom) AS latitude,
        held_by IS NOT NULL AS being_responded_to, dead_at IS NOT NULL AS given_up, turn.failure,
        EXISTS (SELECT FROM scarp.response_request AS request
                WHERE request.event_id = event.event_id AND done_at IS NULL) AS asked_for,
        waiting.reason AS waits_for, waiting.next_look_at,
        newest.version, newest.status, newest.landslide_count, newest.area_m2,
        newest.inventory_id, auc_spatial,
        (SELECT max(review.id) FROM scarp.review
         WHERE review.inventory_id = newest.inventory_id) AS newest_review
    FROM scarp.v_events AS event
    LEFT JOIN scarp.response_turn AS turn USING (event_id)
    LEFT JOIN scarp.v_waiting AS waiting
        ON waiting.event_id = event.event_id AND waiting.outcome IS NULL
    LEFT JOIN LATERAL (
        SELECT * FROM scarp.v_inventories AS inventory
        WHERE inventory.event_id = event.event_id
        ORDER BY status = 'published' DESC, version DESC LIMIT 1
    ) AS newest ON true
    LEFT JOIN LATERAL (
        SELECT auc_spatial FROM scarp.v_susceptibility AS map
        WHERE map.event_id = event.event_id AND map.version = newest.version
            AND map.kind = 'fitted'
        ORDER BY map.created_at DESC LIMIT 1
    ) AS fitted ON true
    WHERE event.merged_into IS NULL
        AND (CAST(:event_id AS text) IS NULL OR event.event_id = :event_id)
    ORDER BY event.occurred_at DESC, event.event_id
"""
_GROUND = """
    SELECT ST_AsBinary(aoi), ST_AsBinary(observed.geom)
    FROM scarp.v_events AS event JOIN scarp.v_observed_area AS observed USING (event_id)
    WHERE event_id = :event_id AND inventory_id = :inventory_id
"""
# An inventory never changes, an area seldom, and a list asks for hundreds of them.
_shares: LRUCache[tuple[UUID, str], float] = LRUCache(maxsize=4096)
_standing: LRUCache[tuple[UUID, int], tuple[int, float]] = LRUCache(maxsize=4096)
_lock = Lock()
STEPS = ("registered", "responding", "mapped", "assessed")


@dataclass(frozen=True)
class EventLine:
    """One event as a list shows it.

    `version` to `seen_share`, the part of the area of interest that was seen clear, are of the
    published inventory, else of the newest, as reviewed; None where nothing was mapped yet, which
    is not "no landslide".
    """

    event_id: str
    kind: str
    title: str
    occurred_at: datetime
    state: EventState
    aoi_km2: float
    longitude: float
    latitude: float
    being_responded_to: bool
    given_up: bool
    failure: str | None
    asked_for: bool
    waits_for: str | None
    next_look_at: datetime | None
    version: int | None
    status: str | None
    landslide_count: int | None
    area_m2: float | None
    seen_share: float | None
    auc_spatial: float | None

    @property
    def steps_done(self) -> int:
        """How many of `STEPS` are behind it."""
        if self.auc_spatial is not None:
            return 4
        return 3 if self.version is not None else 2 if self.being_responded_to else 1

    @property
    def doing(self) -> str:
        """What is being done about it."""
        if self.state in ("held", "cancelled", "closed"):
            return self.state
        if self.being_responded_to or self.state == "responding":
            return "responding"
        if self.given_up:
            return "given_up"
        if self.waits_for:
            return "waiting"
        if self.asked_for:
            return "asked_for"
        return self.state


def list_lines(connection: Connection, event_id: str | None = None) -> list[EventLine]:
    """All events, the latest first, without those that were merged into another; or one."""
    rows = connection.execute(text(_LINES), {"event_id": event_id}).all()
    return [_read(connection, row) for row in rows]


def _read(connection: Connection, row: Row[Any]) -> EventLine:
    values: dict[str, Any] = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
    inventory_id, aoi_digest = values.pop("inventory_id"), values.pop("aoi_digest")
    if newest_review := values.pop("newest_review"):
        standing = standing_until(connection, inventory_id, newest_review)
        values["landslide_count"], values["area_m2"] = standing
    seen = inventory_id and _seen_share(connection, row.event_id, inventory_id, aoi_digest)
    return EventLine(**values, seen_share=seen)


def standing_until(
    connection: Connection, inventory_id: UUID, newest_review: int
) -> tuple[int, float]:
    """`count_reviewed`, which nothing but a review changes and takes most of a page's time."""
    key = (inventory_id, newest_review)
    with _lock:
        known: tuple[int, float] | None = _standing.get(key)
    if known is None:
        known = count_reviewed(connection, inventory_id)
        with _lock:
            _standing[key] = known
    return known


def _seen_share(
    connection: Connection, event_id: str, inventory_id: UUID, aoi_digest: str
) -> float:
    key = (inventory_id, aoi_digest)
    with _lock:
        known: float | None = _shares.get(key)
    if known is None:
        asked = {"event_id": event_id, "inventory_id": inventory_id}
        aoi, observed = connection.execute(text(_GROUND), asked).one()
        known = seen_share(shapely.from_wkb(bytes(aoi)), shapely.from_wkb(bytes(observed)))
        with _lock:
            _shares[key] = known
    return known
