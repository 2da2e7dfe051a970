"""How an operator wants an event responded to: kept with it, as the flow's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from tasks.events.tables import response_options


def keep_options(connection: Connection, event_id: str, options: Mapping[str, Any]) -> None:
    """Keep the parameters of an event's response; they take the place of those before."""
    values = {"options": dict(options), "updated_at": func.now()}
    connection.execute(
        insert(response_options)
        .values(event_id=event_id, **values)
        .on_conflict_do_update(index_elements=["event_id"], set_=values)
    )


def kept_options(connection: Connection, event_id: str) -> dict[str, Any] | None:
    """What was kept for an event, if anything was."""
    mine = select(response_options.c.options).where(response_options.c.event_id == event_id)
    kept: dict[str, Any] | None = connection.scalar(mine)
    return kept
