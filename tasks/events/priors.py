"""Prior maps in the store: what models expected of an event before any image was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from tasks.events.impact import Impact
from tasks.events.tables import prior_map


@dataclass(frozen=True)
class PriorMap:
    """One stored expectation; `path` is None where the model makes no map."""

    id: UUID
    event_id: str
    model: str
    source_version: str
    digest: str
    path: Path | None
    expected_km2: float
    largest: float | None
    parameters: dict[str, Any]
    created_at: datetime


def store_prior(
    connection: Connection, event_id: str, source_version: str, digest: str, impact: Impact
) -> PriorMap:
    """Store what a model expected; the same digest again changes nothing.

    Args:
        connection: in a transaction that the caller commits.
        event_id: the event.
        source_version: identity of the ShakeMap, or version of the description, it rests on.
        digest: SHA-256 of everything it was made from.
        impact: what was expected; its map, if it has one, is written.
    """
    connection.execute(
        insert(prior_map)
        .values(
            id=uuid4(),
            event_id=event_id,
            model=impact.model,
            source_version=source_version,
            digest=digest,
            path=str(impact.path) if impact.path else None,
            expected_km2=impact.expected_km2,
            probability_max=impact.largest,
            parameters=impact.parameters | {"how": impact.how},
        )
        .on_conflict_do_nothing(index_elements=["digest"])
    )
    (stored,) = _find(connection, prior_map.c.digest == digest)
    return stored


def find_priors(connection: Connection, event_id: str) -> list[PriorMap]:
    """Everything expected of an event, the latest first."""
    return _find(connection, prior_map.c.event_id == event_id)


def find_prior(connection: Connection, digest: str) -> PriorMap | None:
    """What was made from these very inputs, if it is stored."""
    found = _find(connection, prior_map.c.digest == digest)
    return found[0] if found else None


def _find(connection: Connection, which: Any) -> list[PriorMap]:
    rows = connection.execute(
        select(prior_map).where(which).order_by(prior_map.c.created_at.desc(), prior_map.c.id)
    )
    return [
        PriorMap(
            id=row.id,
            event_id=row.event_id,
            model=row.model,
            source_version=row.source_version,
            digest=row.digest,
            path=Path(row.path) if row.path else None,
            expected_km2=row.expected_km2,
            largest=row.probability_max,
            parameters=row.parameters,
            created_at=row.created_at.astimezone(UTC),
        )
        for row in rows
    ]
