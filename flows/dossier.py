"""Everything the store knows of one event, registered or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC

from sqlalchemy import Connection, select

from tasks.errors import EventError
from tasks.events.decisions import list_decisions
from tasks.events.latency import Milestones, milestones
from tasks.events.registry import find_registered
from tasks.events.reports import Decision
from tasks.events.shakemaps import known_shakemaps
from tasks.events.states import Change, history
from tasks.imagery.waits import Wait, find_wait
from tasks.inventory.store import list_inventories
from tasks.inventory.tables import inventory
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
    """An event, its life, and what was decided; `event` is None if it was only ever ignored.

    `history` tells of every inventory version that was published, too.
    """

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
        _life(connection, name),
        list_decisions(connection, (name, *known.event.alternate_ids)),
        shakemaps,
        find_wait(connection, name),
        milestones(connection, name)[0],
    )


def _life(connection: Connection, event_id: str) -> list[Change]:
    """Every change of an event and every version published, the first one first."""
    changes = history(connection, event_id)
    published = connection.execute(
        select(inventory.c.version, inventory.c.method, inventory.c.published_at).where(
            inventory.c.event_id == event_id, inventory.c.published_at.is_not(None)
        )
    )
    versions = []
    for version, method, at in published:
        states = [one.state for one in changes if one.changed_at <= at] or ["registered"]
        reason = f"inventory version {version}, {method.partition('@')[0]}"
        versions.append(Change("published", states[-1], reason, at.astimezone(UTC)))
    return sorted([*changes, *versions], key=lambda one: one.changed_at)
