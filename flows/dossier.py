"""Everything the store knows of one event, registered or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from tasks.errors import EventError
from tasks.events.decisions import list_decisions
from tasks.events.latency import Milestones, milestones
from tasks.events.registry import find_registered
from tasks.events.reports import Decision
from tasks.events.shakemaps import known_shakemaps
from tasks.events.states import Change, history
from tasks.imagery.waits import Wait, find_wait
from tasks.inventory.store import list_inventories
from tasks.types import AreaOfInterest, Event


@dataclass(frozen=True)
class OfferedShakeMap:
    """A version of an event's ShakeMap, in a line."""

    identity: str
    version: str
    use: str
    problem: str


@dataclass(frozen=True)
class Dossier:
    """An event, its life, and what was decided; `event` is None if it was only ever ignored."""

    event: Event | None
    aoi: AreaOfInterest | None
    inventories: Mapping[int, str]
    state: str | None = None
    priority: float | None = None
    priority_how: str | None = None
    merged_into: str | None = None
    history: list[Change] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    shakemaps: list[OfferedShakeMap] = field(default_factory=list)
    wait: Wait | None = None
    milestones: Milestones | None = None


def read_dossier(connection: Connection, event_id: str) -> Dossier:
    """Read what is known of an event by its id or an alternate one.

    Raises:
        EventError: it is not registered, and nothing was ever decided about it.
    """
    try:
        known = find_registered(connection, event_id)
    except EventError:
        decided = [] if "\0" in event_id else list_decisions(connection, (event_id,))
        if not decided:
            raise
        return Dossier(None, None, {}, decisions=decided)
    name = known.event.id
    inventories = {one.version: one.status for one in list_inventories(connection, name)}
    shakemaps = [
        OfferedShakeMap(
            one.version.identity,
            one.version.version,
            ", ".join(
                word
                for word, told in (
                    ("in use", one.in_use),
                    ("pinned", one.pinned),
                    ("withdrawn", one.version.withdrawn),
                )
                if told
            ),
            one.problem,
        )
        for one in known_shakemaps(connection, name)
    ]
    return Dossier(
        known.event,
        known.aoi,
        inventories,
        known.state,
        known.priority,
        known.priority_how,
        known.merged_into,
        history(connection, name),
        list_decisions(connection, (name, *known.event.alternate_ids)),
        shakemaps,
        find_wait(connection, name),
        milestones(connection, name)[0],
    )
