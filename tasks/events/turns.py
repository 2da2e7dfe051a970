"""Whose turn it is: one response of an event at a time, the most urgent event first.

Requests wait in `scarp.response_request`; whoever is free to respond takes the turn of the most
urgent event that nobody responds to, and holds it until the response is done or has failed. A newer
request of the event waits meanwhile. What fails is tried again, later each time; after `TRIES`, or
`PATIENT_TRIES` of what passes by itself, it is a dead letter, which a newer request or a person
brings back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from tasks.errors import EventError
from tasks.events.decisions import answer_requests, last_request
from tasks.events.tables import response_request, response_turn

TRIES = 3
FIRST_WAIT = timedelta(seconds=30)
# What passes by itself, such as a network that is down, is given most of a day.
PATIENT_TRIES = 24
LONGEST_WAIT = timedelta(hours=1)
CANCELLED = "cancelled"

_DUE = """
    SELECT newest.event_id, newest.id AS upto, newest.priority, newest.reason,
        coalesce(newest.id > turn.upto, true) AS news,
        NOT EXISTS (SELECT FROM scarp.response_request AS done
                    WHERE done.event_id = newest.event_id AND done.done_at IS NOT NULL) AS first
    FROM (
        SELECT DISTINCT ON (request.event_id) request.*
        FROM scarp.response_request AS request
        JOIN scarp.event ON event.id = request.event_id
        WHERE request.done_at IS NULL AND event.state NOT IN ('held', 'cancelled', 'closed')
        ORDER BY request.event_id, request.id DESC
    ) AS newest
    LEFT JOIN scarp.response_turn AS turn ON turn.event_id = newest.event_id
    WHERE newest.not_before <= :now AND turn.held_by IS NULL
        AND (turn.event_id IS NULL OR newest.id > turn.upto
             OR (turn.dead_at IS NULL AND coalesce(turn.retry_at <= :now, true)))
    ORDER BY newest.priority DESC NULLS LAST, newest.not_before, newest.event_id
"""


@dataclass(frozen=True)
class Turn:
    """A response that is being made, waits for another try, or is dead."""

    event_id: str
    held_by: str | None
    upto: int
    attempts: int
    failures: int
    failure: str
    retry_at: datetime | None
    dead_at: datetime | None


@dataclass(frozen=True)
class Due:
    """An event whose response may begin; `first` if nobody has responded to it before."""

    event_id: str
    upto: int
    priority: float | None
    reason: str
    first: bool


def due(connection: Connection, now: datetime) -> list[Due]:
    """Events whose response may begin now, the most urgent first."""
    rows = connection.execute(text(_DUE), {"now": now})
    return [Due(row.event_id, row.upto, row.priority, row.reason, row.first) for row in rows]


def take_turn(connection: Connection, by: str, now: datetime) -> Turn | None:
    """Take the turn of the most urgent event, or take up one's own again; None if none is due.

    Args:
        connection: in a transaction that the caller commits; others wait for it.
        by: who responds, by a name that a second attempt has again: a flow run's id.
        now: UTC.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('scarp turns'))"))
    own = connection.execute(select(response_turn).where(response_turn.c.held_by == by)).first()
    if own is not None:
        event_id, upto, news = own.event_id, own.upto, False
    else:
        row = connection.execute(text(f"{_DUE} LIMIT 1"), {"now": now}).first()
        if row is None:
            return None
        event_id, upto, news = row.event_id, row.upto, row.news
    fresh = "0" if news else "response_turn.{}"
    taken = text(
        "INSERT INTO scarp.response_turn (event_id, held_by, upto, attempts) "
        "VALUES (:event_id, :by, :upto, 1) ON CONFLICT (event_id) DO UPDATE SET "
        "held_by = :by, upto = :upto, retry_at = NULL, dead_at = NULL, held_since = now(), "
        f"attempts = {fresh.format('attempts')} + 1, failures = {fresh.format('failures')}"
    )
    connection.execute(taken, {"event_id": event_id, "by": by, "upto": upto})
    return find_turn(connection, event_id)


def end_turn(connection: Connection, turn: Turn) -> None:
    """The response is done: what was asked for until it began is answered."""
    answer_requests(connection, turn.event_id, turn.upto)
    connection.execute(delete(response_turn).where(_held(turn)))


def fail_turn(
    connection: Connection,
    turn: Turn,
    why: str,
    now: datetime,
    *,
    give_up: bool = False,
    passes: bool = False,
    cause: str = "",
) -> None:
    """The response failed: it is tried again after a wait, or is a dead letter.

    Args:
        connection: in a transaction.
        turn: as it was taken; nothing happens if somebody else has it by now.
        why: a sentence.
        now: UTC.
        give_up: another try would fail the same way.
        passes: nothing is wrong with the event, and it will pass by itself.
        cause: the kind of error, such as NoImageryError; `CANCELLED` if people gave it up.
    """
    dead = give_up or turn.attempts >= (PATIENT_TRIES if passes else TRIES)
    wait = min(FIRST_WAIT * 2 ** min(turn.attempts - 1, 10), LONGEST_WAIT)
    values = {
        "held_by": None,
        "announced_at": None,
        "failure": why,
        "cause": cause,
        "failures": turn.failures + 1,
        "dead_at": now if dead else None,
        "retry_at": None if dead else now + wait,
    }
    connection.execute(update(response_turn).where(_held(turn)).values(values))


def give_up(connection: Connection, event_id: str, why: str, now: datetime) -> bool:
    """Make a response that waits a dead letter, for people want it; False if none waits."""
    newest = last_request(connection, event_id)
    waits = select(response_request.c.id).where(
        response_request.c.id == newest, response_request.c.done_at.is_(None)
    )
    if connection.scalar(waits) is None:
        return False
    values = {
        "upto": newest,
        "failure": why,
        "cause": CANCELLED,
        "dead_at": now,
        "retry_at": None,
    }
    connection.execute(
        insert(response_turn)
        .values(event_id=event_id, **values)
        .on_conflict_do_update(
            index_elements=["event_id"], set_=values, where=response_turn.c.held_by.is_(None)
        )
    )
    return True


def forget(connection: Connection, event_id: str) -> None:
    """A response was made by hand: what waited for another try, or was given up, is no more."""
    mine = (response_turn.c.event_id == event_id) & response_turn.c.held_by.is_(None)
    connection.execute(delete(response_turn).where(mine))


def held_turns(connection: Connection) -> list[Turn]:
    """Responses that are being made, or were when their maker was lost."""
    return _turns(connection, response_turn.c.held_by.is_not(None))


def runs_of_turns(connection: Connection) -> set[UUID]:
    """Open runs of responses that are being made, or that people cancelled: the relay ends them."""
    asked = text(
        "SELECT run.id FROM scarp.run JOIN scarp.response_turn AS turn USING (event_id) "
        "WHERE run.outcome IS NULL AND (turn.held_by IS NOT NULL OR turn.cause = :cancelled)"
    )
    return set(connection.scalars(asked, {"cancelled": CANCELLED}))


def dead_letters(connection: Connection) -> list[Turn]:
    """Responses that were given up and that nothing newer has replaced."""
    return _turns(connection, response_turn.c.dead_at.is_not(None))


def list_turns(connection: Connection) -> list[Turn]:
    """Every response that is being made, waits for another try or was given up."""
    begun = response_turn.c.held_by.is_not(None) | (response_turn.c.attempts > 0)
    return _turns(connection, begun | response_turn.c.dead_at.is_not(None))


def find_turn(connection: Connection, event_id: str) -> Turn | None:
    """The response of an event that is being made, waits or is dead."""
    found = _turns(connection, response_turn.c.event_id == event_id)
    return found[0] if found else None


def replay(connection: Connection, event_id: str) -> None:
    """Let a dead letter be tried again, from the beginning.

    Raises:
        EventError: the event has none.
    """
    mine = (response_turn.c.event_id == event_id) & response_turn.c.dead_at.is_not(None)
    if not connection.execute(delete(response_turn).where(mine)).rowcount:
        raise EventError(
            f"event {event_id} has no dead letter; `scarp runs dead` lists those there are"
        )


def announce(connection: Connection, now: datetime, again: timedelta) -> list[Due]:
    """What is due and nobody was told of; told again after a while if nobody took it up.

    What waits for an event that nobody wants a response to any more is forgotten.
    """
    unwanted = text(
        "DELETE FROM scarp.response_turn AS turn USING scarp.event WHERE event.id = turn.event_id "
        "AND event.state IN ('cancelled', 'closed') AND turn.held_by IS NULL AND dead_at IS NULL"
    )
    connection.execute(unwanted)
    asked = text(
        f"SELECT due.* FROM ({_DUE}) AS due "
        "LEFT JOIN scarp.response_turn AS turn ON turn.event_id = due.event_id "
        "WHERE turn.announced IS DISTINCT FROM due.upto "
        "OR coalesce(turn.announced_at <= :long_ago, true)"
    )
    rows = connection.execute(asked, {"now": now, "long_ago": now - again}).all()
    new = [_due(row) for row in rows]
    for one in new:
        mark = text(
            "INSERT INTO scarp.response_turn (event_id, announced_at, announced) "
            "VALUES (:event_id, :now, :upto) ON CONFLICT (event_id) "
            "DO UPDATE SET announced_at = :now, announced = :upto"
        )
        connection.execute(mark, {"event_id": one.event_id, "now": now, "upto": one.upto})
    return new


def _held(turn: Turn) -> Any:
    return (response_turn.c.event_id == turn.event_id) & (response_turn.c.held_by == turn.held_by)


def _turns(connection: Connection, which: Any) -> list[Turn]:
    asked = select(response_turn).where(which).order_by(response_turn.c.event_id)
    return [_turn(row) for row in connection.execute(asked)]


def _due(row: Row[Any]) -> Due:
    return Due(row.event_id, row.upto, row.priority, row.reason, row.first)


def _turn(row: Row[Any]) -> Turn:
    return Turn(
        event_id=row.event_id,
        held_by=row.held_by,
        upto=row.upto,
        attempts=row.attempts,
        failures=row.failures,
        failure=row.failure,
        retry_at=row.retry_at and row.retry_at.astimezone(UTC),
        dead_at=row.dead_at and row.dead_at.astimezone(UTC),
    )
