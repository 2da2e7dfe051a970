"""Troubles that are news: told once to whoever looks after the responses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from tasks.events.turns import CANCELLED

_GIVEN_UP = """
    WITH new AS (
        INSERT INTO scarp.announcement (subject)
        SELECT 'dead ' || event_id || ' ' || extract(epoch FROM dead_at)
        FROM scarp.response_turn WHERE dead_at IS NOT NULL AND cause <> :cancelled
        ON CONFLICT DO NOTHING RETURNING split_part(subject, ' ', 2) AS event_id
    )
    SELECT event_id, failure, cause, failures FROM new JOIN scarp.response_turn USING (event_id)
    ORDER BY dead_at
"""
_WAITS = """
    WITH new AS (
        INSERT INTO scarp.announcement (subject)
        SELECT 'wait ' || event_id || ' ' || extract(epoch FROM since)
            || CASE outcome WHEN 'deadline' THEN ' over' ELSE '' END
        FROM scarp.imagery_wait WHERE outcome IS NULL OR outcome = 'deadline'
        ON CONFLICT DO NOTHING RETURNING split_part(subject, ' ', 2) AS event_id
    )
    SELECT event_id, reason, deadline, outcome IS NOT NULL AS over
    FROM new JOIN scarp.imagery_wait USING (event_id) ORDER BY since
"""


@dataclass(frozen=True)
class GivenUp:
    """A response that was given up: why, with which kind of error, after how many failures."""

    event_id: str
    why: str
    cause: str
    failures: int


@dataclass(frozen=True)
class Waiting:
    """An event that waits for clear imagery until `deadline` (UTC), or did so until it passed."""

    event_id: str
    reason: str
    deadline: datetime
    over: bool


def new_dead_letters(connection: Connection) -> list[GivenUp]:
    """Responses given up since this was last asked and committed; not those people cancelled."""
    rows = connection.execute(text(_GIVEN_UP), {"cancelled": CANCELLED})
    return [GivenUp(*row) for row in rows]


def new_waits(connection: Connection) -> list[Waiting]:
    """Waits for imagery that began, or whose deadline passed, since this was last asked."""
    rows = connection.execute(text(_WAITS))
    return [Waiting(row[0], row[1], row[2].astimezone(UTC), row[3]) for row in rows]
