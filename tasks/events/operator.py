"""What an operator does to an event by hand: hold, release, cancel, choose its ShakeMap."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from tasks.errors import EventError
from tasks.events.decisions import list_decisions, request_response
from tasks.events.ground import find_ground
from tasks.events.registry import (
    RegisteredEvent,
    find_registered,
    lock_known,
    record_change,
    register,
)
from tasks.events.rules import Limits
from tasks.events.shakemaps import (
    choose_shakemap,
    known_shakemaps,
    mark_in_use,
    pin_shakemap,
    unpin_shakemap,
)
from tasks.events.states import move

NEWEST = "newest"


def release(connection: Connection, event_id: str, reason: str, now: datetime) -> RegisteredEvent:
    """Let work on a held or cancelled event go on, and ask for the response it has missed.

    Raises:
        EventError: there is no such event, or it is neither held nor cancelled.
    """
    known = move(connection, event_id, "released", reason)
    mine = known.event
    made = [
        one
        for one in list_decisions(connection, (mine.id, *mine.alternate_ids))
        if one.decision in ("registered", "updated", "held")
    ]
    if made and made[-1].respond_at is None:
        version = made[-1].source_version
        request_response(
            connection, mine.id, version, f"released: {reason}", known.priority, now, now
        )
    return known


def choose(
    connection: Connection, event_id: str, identity: str, reason: str, limits: Limits
) -> RegisteredEvent:
    """Pin a version of an event's ShakeMap, and draw the area of interest from it.

    A version whose grid was not fetched is fetched, and the area drawn, at the next look.

    Args:
        connection: in a transaction that the caller commits.
        event_id: a registered event.
        identity: `source:code:updateTime`, or `newest` to go on with whatever is newest.
        reason: why, for the history.
        limits: see `find_ground`.

    Raises:
        EventError: there is no such event, or it has no such ShakeMap.
    """
    known = find_registered(connection, event_id)
    known = lock_known(connection, (known.event.id,)) or known
    name = known.event.id
    if identity == NEWEST:
        unpin_shakemap(connection, name)
    else:
        pin_shakemap(connection, name, identity)
    shakemaps = known_shakemaps(connection, name)
    chosen = choose_shakemap(shakemaps, [])
    record_change(connection, name, "pinned", f"ShakeMap {identity}: {reason}")
    left = chosen is None and any(one.in_use for one in shakemaps)
    if known.aoi.how == "given" or not (chosen or left):
        return known
    ground = find_ground(known.event, None, chosen, limits)
    fetched = chosen is not None and chosen.path is not None
    if ground.aoi is None or (fetched and ground.shaking is None):
        raise EventError(f"ShakeMap {identity} cannot be used: {ground.problem or ground.remark}")
    if ground.shaking is not None or left:
        register(
            connection,
            known.event,
            ground.aoi,
            reason=f"drawn from the ShakeMap that was chosen: {identity}"
            if chosen
            else "no ShakeMap stands that it could be drawn from",
            reported_at=known.reported_at,
        )
        mark_in_use(connection, name, chosen.version.identity if chosen else None)
    return find_registered(connection, name)
