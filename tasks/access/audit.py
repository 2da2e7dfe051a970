"""What people changed through the console: written down before it is done, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, insert, select, update

from tasks.access.tables import Outcome, audit
from tasks.access.tokens import Holder

SHOWN = 200


@dataclass(frozen=True)
class Act:
    """One change that was asked for."""

    at: datetime
    who: str
    role: str
    address: str
    action: str
    subject: str
    detail: str
    outcome: Outcome
    reason: str


@contextmanager
def written_down(
    engine: Engine, by: Holder, address: str, action: str, subject: str, detail: str = ""
) -> Iterator[None]:
    """Write down a change before it is made, and afterwards whether it was.

    What raises in the block is written down as refused, with the reason, and raised on.
    """
    values = {
        "who": by.name,
        "role": by.role,
        "address": address,
        "action": action,
        "subject": subject,
        "detail": detail,
        "outcome": "begun",
    }
    with engine.begin() as connection:
        row = connection.execute(insert(audit).values(values).returning(audit.c.id)).scalar_one()
    mine = update(audit).where(audit.c.id == row)
    try:
        yield
    except BaseException as error:
        with engine.begin() as connection:
            why = str(error) or type(error).__name__
            connection.execute(mine.values(outcome="refused", reason=why))
        raise
    with engine.begin() as connection:
        connection.execute(mine.values(outcome="done"))


def list_acts(engine: Engine, subject: str | None = None) -> list[Act]:
    """The last changes that were asked for, the latest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(SHOWN)
    if subject:
        query = query.where(audit.c.subject == subject)
    with engine.connect() as connection:
        return [
            Act(
                row.at.astimezone(UTC),
                row.who,
                row.role,
                row.address,
                row.action,
                row.subject,
                row.detail,
                row.outcome,
                row.reason,
            )
            for row in connection.execute(query)
        ]
