"""How long it took from an event to what people wait for, and what failed on the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

_MILESTONES = """
    SELECT event.id, event.occurred_at, event.registered_at,
        (SELECT min(changed_at) FROM scarp.event_history
         WHERE event_id = event.id AND change = 'responding') AS began_at,
        (SELECT min(acquired_at) FROM scarp.inventory
         JOIN scarp.run_scene USING (run_id) JOIN scarp.scene ON scene.id = scene_key
         WHERE event_id = event.id AND used AND acquired_at >= occurred_at) AS image_at,
        (SELECT min(created_at) FROM scarp.inventory
         WHERE event_id = event.id AND method NOT IN ('imported', 'manual')) AS inventory_at,
        (SELECT min(created_at) FROM scarp.susceptibility
         WHERE event_id = event.id AND kind = 'fitted') AS map_at
    FROM scarp.event
    WHERE CAST(:event_id AS text) IS NULL OR event.id = :event_id
    ORDER BY event.occurred_at, event.id
"""
_QUEUE = """
    SELECT count(*) AS waiting, min(not_before) AS oldest
    FROM (
        SELECT request.event_id, min(request.not_before) AS not_before
        FROM scarp.response_request AS request
        JOIN scarp.event ON event.id = request.event_id
        LEFT JOIN scarp.response_turn AS turn ON turn.event_id = request.event_id
        WHERE request.done_at IS NULL AND request.not_before <= :now
            AND event.state NOT IN ('held', 'cancelled', 'closed')
            AND turn.held_by IS NULL AND (turn.dead_at IS NULL OR request.id > turn.upto)
        GROUP BY request.event_id
    ) AS waits
"""
_FAILURES = """
    SELECT flow, coalesce(cause, 'unknown') AS cause, count(*) AS times
    FROM scarp.run WHERE outcome = 'failed' GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Milestones:
    """When each thing first was so, UTC; None if it is not yet.

    Attributes:
        event_id: the event.
        occurred: its origin time.
        registered: when Scarp first heard of it.
        response: when a response first began.
        first_image: when the first image after the event was acquired that an inventory used.
        inventory: when the first inventory mapped from images was stored.
        map: when the first susceptibility map fitted to one was.
    """

    event_id: str
    occurred: datetime
    registered: datetime
    response: datetime | None
    first_image: datetime | None
    inventory: datetime | None
    map: datetime | None

    def after(self, start: datetime) -> dict[str, timedelta]:
        """How long after `start` each milestone was reached that has been, in their order."""
        reached = {
            "registered": self.registered,
            "response": self.response,
            "first_image": self.first_image,
            "inventory": self.inventory,
            "map": self.map,
        }
        return {name: moment - start for name, moment in reached.items() if moment}


@dataclass(frozen=True)
class Queue:
    """Events whose response is due and nobody makes, and for how long the oldest has been."""

    waiting: int
    age: timedelta


@dataclass(frozen=True)
class Failures:
    """How many runs of a flow failed with a kind of error."""

    flow: str
    cause: str
    times: int


def milestones(connection: Connection, event_id: str | None = None) -> list[Milestones]:
    """What was reached when, of one event or of all, the oldest first."""
    rows = connection.execute(text(_MILESTONES), {"event_id": event_id})
    return [
        Milestones(row[0], *(moment and moment.astimezone(UTC) for moment in row[1:]))
        for row in rows
    ]


def queue(connection: Connection, now: datetime) -> Queue:
    """What waits for somebody to respond; given up responses and held events do not."""
    row = connection.execute(text(_QUEUE), {"now": now}).one()
    return Queue(row.waiting, now - row.oldest if row.oldest else timedelta())


def failures(connection: Connection) -> list[Failures]:
    """Failed runs by flow and cause."""
    return [Failures(*row) for row in connection.execute(text(_FAILURES))]
