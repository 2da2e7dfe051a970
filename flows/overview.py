"""Every event in a line: what happened, how far its response is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from tasks.inventory.tables import EventState

_LINES = """
    SELECT event.event_id, event.kind, event.title, event.occurred_at, event.state,
        event.aoi_km2, ST_X(event.geom) AS longitude, ST_Y(event.geom) AS latitude,
        held_by IS NOT NULL AS being_responded_to, dead_at IS NOT NULL AS given_up, turn.failure,
        EXISTS (SELECT FROM scarp.response_request AS request
                WHERE request.event_id = event.event_id AND done_at IS NULL) AS asked_for,
        waiting.reason AS waits_for, waiting.next_look_at,
        newest.version, newest.status, newest.landslide_count, newest.area_m2,
        newest.observed_km2, auc_spatial
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
        WHERE map.event_id = event.event_id AND map.kind = 'fitted'
        ORDER BY map.created_at DESC LIMIT 1
    ) AS fitted ON true
    WHERE event.merged_into IS NULL
        AND (CAST(:event_id AS text) IS NULL OR event.event_id = :event_id)
    ORDER BY event.occurred_at DESC, event.event_id
"""
STEPS = ("registered", "responding", "mapped", "assessed")


@dataclass(frozen=True)
class EventLine:
    """One event as a list shows it.

    `version` to `observed_km2` are of the published inventory, else of the newest; None where
    nothing was mapped yet, which is not "no landslide".
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
    observed_km2: float | None
    auc_spatial: float | None

    @property
    def seen_share(self) -> float | None:
        """Part of the area of interest that was seen clear, 0-1; None where nobody looked."""
        if self.observed_km2 is None:
            return None
        return min(1.0, self.observed_km2 / self.aoi_km2)

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
    rows = connection.execute(text(_LINES), {"event_id": event_id})
    return [_read(row) for row in rows]


def _read(row: Row[Any]) -> EventLine:
    values: dict[str, Any] = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
    return EventLine(**values)
