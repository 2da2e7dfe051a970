"""The life of an event: registered, responding, published, closed; held or cancelled on the way."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from sqlalchemy import Connection, Engine, select, text, update

from tasks import signs
from tasks.errors import EventError
from tasks.events.registry import RegisteredEvent, find_registered, lock_known, record_change
from tasks.inventory import tables
from tasks.inventory.tables import EventChange, EventState
from tasks.signs import nobody_signs

Move = Literal[
    "responding", "waiting", "published", "failed", "closed", "held", "released", "cancelled"
]

# From which states a change may come. A response that was killed is begun again.
_MAY_COME_FROM: dict[Move, tuple[EventState, ...]] = {
    "responding": ("registered", "responding", "published", "closed"),
    "waiting": ("responding",),
    "published": ("responding",),
    "failed": ("responding",),
    "closed": ("registered", "published"),
    "held": ("registered", "responding", "published", "closed"),
    "released": ("held", "cancelled"),
    "cancelled": ("registered", "responding", "published", "closed", "held"),
}
_LEADS_TO: dict[Move, EventState] = {
    "responding": "responding",
    "published": "published",
    "closed": "closed",
    "held": "held",
    "cancelled": "cancelled",
}
_NOBODYS_TURN = """
    SELECT event.id FROM scarp.event
    LEFT JOIN scarp.response_turn AS turn ON turn.event_id = event.id
    WHERE event.state = 'responding' AND turn.held_by IS NULL
"""
WITHOUT_A_WORD = "the response ended without a word, as when its process is killed; respond again"


@dataclass(frozen=True)
class Change:
    """One row of an event's history."""

    change: EventChange
    state: EventState
    reason: str
    changed_at: datetime


def move(connection: Connection, event_id: str, change: Move, reason: str) -> RegisteredEvent:
    """Bring an event into another state and write it into the history.

    Being in that state already changes nothing. An event whose response failed or waits for
    imagery, or that is released, stands where its inventories put it: published if one is, else
    registered.

    Returns:
        The event after the change.

    Raises:
        EventError: there is no such event, or the change cannot be made from the state it is in.
    """
    known = _locked(connection, event_id)
    settled: EventState = "registered" if known.published_version is None else "published"
    target = _LEADS_TO.get(change, settled)
    if known.state == target and change != "released":
        return known
    if known.merged_into:
        raise EventError(
            f"event {known.event.id} was merged into {known.merged_into}; name that one"
        )
    if known.state not in _MAY_COME_FROM[change]:
        allowed = " or ".join(_MAY_COME_FROM[change])
        raise EventError(
            f"event {known.event.id} is {known.state}; only one that is {allowed} can be {change}"
        )
    return _change(connection, known, change, target, reason)


def settle(connection: Connection, event_id: str, change: Move, reason: str) -> None:
    """End a response: as `move`, unless the event was held or cancelled meanwhile, which stays.

    One that was released since, or taken for killed, is published all the same.
    """
    if _locked(connection, event_id).state == "responding":
        move(connection, event_id, change, reason)
    elif change == "published":
        settle_published(connection, event_id, reason)


def settle_published(
    connection: Connection, event_id: str, reason: str = "without a response"
) -> None:
    """Let a registered event be published, now that an inventory of it is.

    What is held, cancelled or closed stays so.
    """
    known = _locked(connection, event_id)
    if known.state == "registered" and known.published_version is not None:
        _change(connection, known, "published", "published", reason)


def sign_of_life(engine: Engine, event_id: str) -> AbstractContextManager[None]:
    """Let others see that somebody responds to an event, until the block or this process ends."""
    return signs.sign_of_life(engine, _sign(event_id), partial(_take_up, event_id=event_id))


def settle_left(connection: Connection) -> list[str]:
    """End the responses whose process was killed and whose turn nobody holds; returns the events.

    Args:
        connection: in a transaction that the caller commits.
    """
    responding = connection.scalars(text(_NOBODYS_TURN)).all()
    left = [name for name in responding if nobody_signs(connection, _sign(name))]
    for event_id in left:
        settle(connection, event_id, "failed", WITHOUT_A_WORD)
    return left


def require_open(known: RegisteredEvent) -> None:
    """Refuse to work on an event that nobody wants a response to.

    Raises:
        EventError: it is held or cancelled; the sentence says how to go on.
    """
    name = known.event.id
    if known.merged_into:
        raise EventError(f"event {name} was merged into {known.merged_into}; respond to that one")
    if known.state in ("held", "cancelled"):
        raise EventError(
            f"event {name} is {known.state}; `scarp events release {name}` lets work on it go on"
        )


def history(connection: Connection, event_id: str) -> list[Change]:
    """Every change of an event, the first one first."""
    rows = connection.execute(
        select(
            tables.event_history.c.change,
            tables.event_history.c.state,
            tables.event_history.c.reason,
            tables.event_history.c.changed_at,
        )
        .where(tables.event_history.c.event_id == event_id)
        .order_by(tables.event_history.c.id)
    )
    return [
        Change(change, state, reason, changed_at.astimezone(UTC))
        for change, state, reason, changed_at in rows
    ]


def _sign(event_id: str) -> str:
    return f"scarp response to {event_id}"


def _take_up(connection: Connection, event_id: str) -> None:
    """Take back that a response was killed, of one that lives."""
    _locked(connection, event_id)
    if history(connection, event_id)[-1].reason == WITHOUT_A_WORD:
        move(connection, event_id, "responding", "the response goes on")


def _change(
    connection: Connection, known: RegisteredEvent, change: Move, state: EventState, reason: str
) -> RegisteredEvent:
    mine = tables.event.c.id == known.event.id
    connection.execute(update(tables.event).where(mine).values(state=state))
    record_change(connection, known.event.id, change, reason)
    return find_registered(connection, known.event.id)


def _locked(connection: Connection, event_id: str) -> RegisteredEvent:
    known = find_registered(connection, event_id)
    # Of a merged event the own id leads elsewhere: it stays as it is, and needs no lock.
    if known.merged_into:
        return known
    return lock_known(connection, (known.event.id,)) or known
