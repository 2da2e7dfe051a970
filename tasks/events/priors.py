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
class Expectation:
    """What was expected of an event.

    Attributes:
        impact: what was expected; its map, if it has one, is written.
        source_version: identity of the ShakeMap, or version of the description, it rests on.
        digest: SHA-256 of everything it was made from.
    """

    impact: Impact
    source_version: str
    digest: str


@dataclass(frozen=True)
class PriorMap(Expectation):
    """An expectation as it is stored."""

    id: UUID
    event_id: str
    created_at: datetime


def store_prior(connection: Connection, event_id: str, expected: Expectation) -> PriorMap:
    """Store what a model expected of a registered event; the same again changes nothing.

    Args:
        connection: in a transaction that the caller commits.
        event_id: the event.
        expected: what to store.
    """
    impact = expected.impact
    connection.execute(
        insert(prior_map)
        .values(
            id=uuid4(),
            event_id=event_id,
            model=impact.model,
            source_version=expected.source_version,
            digest=expected.digest,
            path=str(impact.path) if impact.path else None,
            expected_km2=impact.expected_km2,
            probability_max=impact.largest,
            parameters=impact.parameters | {"how": impact.how},
        )
        .on_conflict_do_nothing(index_elements=["digest"])
    )
    stored = find_prior(connection, expected.digest)
    assert stored is not None
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
            impact=Impact(
                row.model,
                row.expected_km2,
                row.parameters.pop("how"),
                row.probability_max,
                Path(row.path) if row.path else None,
                row.parameters,
            ),
            source_version=row.source_version,
            digest=row.digest,
            id=row.id,
            event_id=row.event_id,
            created_at=row.created_at.astimezone(UTC),
        )
        for row in rows
    ]
