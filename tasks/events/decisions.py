"""What was decided and what it asks for: kept once for each version of what a source said."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from tasks.events.reports import Decision
from tasks.events.tables import decision, response_request
from tasks.inventory import tables


@dataclass(frozen=True)
class ResponseRequest:
    """A response that waits, or was answered at `done_at`."""

    event_id: str
    source_version: str
    reason: str
    priority: float | None
    not_before: datetime
    done_at: datetime | None


def store_decision(
    connection: Connection,
    made: Decision,
    rules_digest: str,
    shakemap: str = "",
    reported_at: datetime | None = None,
) -> bool:
    """Keep a decision; False if the same rules have decided the same of this version before."""
    values = {
        "event_id": made.event_id,
        "source": made.source,
        "source_version": made.source_version,
        "decision": made.decision,
        "reason": made.reason,
        "rules_digest": rules_digest,
        "shakemap": shakemap,
        "priority": made.priority,
        "reported_at": reported_at,
        "decided_at": made.decided_at,
    }
    stored = connection.execute(
        insert(decision).values(values).on_conflict_do_nothing().returning(decision.c.id)
    )
    return stored.first() is not None


def decided_versions(
    connection: Connection, ids: Collection[str], rules_digest: str | None = None
) -> set[str]:
    """Every version about which something was decided, of an event known by these ids.

    Args:
        connection: to the store.
        ids: every id of the event.
        rules_digest: count only what these rules decided; None counts all.
    """
    asked = select(decision.c.source_version).where(decision.c.event_id.in_(set(ids)))
    if rules_digest is not None:
        asked = asked.where(decision.c.rules_digest == rules_digest)
    return set(connection.scalars(asked))


def decided_by(
    connection: Connection, names: Collection[str], rules_digest: str
) -> set[tuple[str, str]]:
    """What the same rules have decided about: pairs of the event's id and the version."""
    rows = connection.execute(
        select(decision.c.event_id, decision.c.source_version).where(
            decision.c.event_id.in_(set(names)), decision.c.rules_digest == rules_digest
        )
    )
    return {(row.event_id, row.source_version) for row in rows}


def list_decisions(connection: Connection, ids: Collection[str]) -> list[Decision]:
    """Every decision about an event known by these ids, the first one first."""
    rows = connection.execute(
        select(decision, response_request.c.not_before)
        .outerjoin(
            response_request,
            (response_request.c.event_id == decision.c.event_id)
            & (response_request.c.source_version == decision.c.source_version),
        )
        .where(decision.c.event_id.in_(set(ids)))
        .order_by(decision.c.id)
    )
    return [
        Decision(
            event_id=row.event_id,
            source=row.source,
            source_version=row.source_version,
            decision=row.decision,
            reason=row.reason,
            decided_at=row.decided_at.astimezone(UTC),
            priority=row.priority,
            respond_at=row.not_before and row.not_before.astimezone(UTC),
        )
        for row in rows
    ]


def request_response(
    connection: Connection,
    event_id: str,
    source_version: str,
    reason: str,
    priority: float | None,
    not_before: datetime,
    now: datetime,
) -> None:
    """Ask for a response to one version of an event; asked again, the same request is reopened."""
    values = {
        "reason": reason,
        "priority": priority,
        "not_before": not_before,
        "requested_at": now,
    }
    connection.execute(
        insert(response_request)
        .values(event_id=event_id, source_version=source_version, **values)
        .on_conflict_do_update(
            index_elements=["event_id", "source_version"], set_=values | {"done_at": None}
        )
    )


def last_request(connection: Connection, event_id: str) -> int:
    """The number of the newest request of an event; 0 if there is none."""
    mine = response_request.c.event_id == event_id
    return connection.scalar(select(func.max(response_request.c.id)).where(mine)) or 0


def is_asked_for(connection: Connection, event_id: str) -> bool:
    """Whether a response to an event waits to be made."""
    mine = (response_request.c.event_id == event_id) & response_request.c.done_at.is_(None)
    return connection.execute(select(response_request.c.id).where(mine)).first() is not None


def answer_requests(connection: Connection, event_id: str, last: int) -> None:
    """Close every request up to the one that was the newest when the response began."""
    connection.execute(
        update(response_request)
        .where(
            response_request.c.event_id == event_id,
            response_request.c.done_at.is_(None),
            response_request.c.id <= last,
        )
        .values(done_at=func.now())
    )


def waiting_requests(connection: Connection) -> list[ResponseRequest]:
    """What is to be responded to: the newest request of each open event, most urgent first."""
    newest = (
        select(func.max(response_request.c.id))
        .where(response_request.c.done_at.is_(None))
        .group_by(response_request.c.event_id)
    )
    waiting = (
        select(response_request)
        .join(tables.event, tables.event.c.id == response_request.c.event_id)
        .where(
            response_request.c.id.in_(newest),
            tables.event.c.state.not_in(("held", "cancelled", "closed")),
        )
        .order_by(
            response_request.c.priority.desc().nulls_last(),
            response_request.c.not_before,
            response_request.c.event_id,
        )
    )
    return [_request(row) for row in connection.execute(waiting)]


def _request(row: Row[Any]) -> ResponseRequest:
    return ResponseRequest(
        event_id=row.event_id,
        source_version=row.source_version,
        reason=row.reason,
        priority=row.priority,
        not_before=row.not_before.astimezone(UTC),
        done_at=row.done_at and row.done_at.astimezone(UTC),
    )
