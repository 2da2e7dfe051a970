"""Waiting for clear imagery of an event: since when, until when, and what was seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from tasks.imagery.tables import WaitOutcome, imagery_wait
from tasks.types import SceneJudgement

KEPT_SCENES = 50


@dataclass(frozen=True)
class Terms:
    """How long clear imagery of an event is waited for.

    Attributes:
        wanted_share: share of the area, 0-1; once so much was seen clear, nothing is waited for.
        deadline: UTC; from then on, what was seen must do.
        every: time from one look to the next.
    """

    wanted_share: float
    deadline: datetime
    every: timedelta

    def ask_for_more(self, seen_share: float, now: datetime) -> bool:
        """Whether it is worth waiting, with so much of the area seen clear (0-1)."""
        return seen_share < self.wanted_share and now < self.deadline

    def next_look(self, now: datetime) -> datetime:
        """When to look again; the last look is at the deadline."""
        return min(now + self.every, self.deadline)


@dataclass(frozen=True)
class LookedAt:
    """A scene as the last look judged it, and why it was used or not.

    `clear_share` is that of the area it shows clear, None where nobody looked at its pixels.
    """

    scene_id: str
    acquired_at: str | None
    clear_share: float | None
    used: bool
    reason: str


@dataclass(frozen=True)
class Wait:
    """What an event waits for, or waited for; times are UTC, shares 0-1 of the area."""

    event_id: str
    since: datetime
    looked_at: datetime
    next_look_at: datetime | None
    deadline: datetime
    seen_share: float
    wanted_share: float
    reason: str
    scenes: tuple[LookedAt, ...]
    ended_at: datetime | None = None
    outcome: WaitOutcome | None = None

    @property
    def lasts(self) -> bool:
        """Whether it still waits."""
        return self.ended_at is None


def keep_waiting(
    connection: Connection,
    event_id: str,
    terms: Terms,
    seen_share: float,
    reason: str,
    judgements: Sequence[SceneJudgement],
    now: datetime,
) -> Wait:
    """Write down that a look saw too little; a wait that was over begins anew.

    Args:
        connection: in a transaction.
        event_id: a registered event.
        terms: how long it is waited.
        seen_share: share of the area seen clear so far, 0-1.
        reason: what the look saw, in a sentence.
        judgements: what it looked at; the latest 50 scenes are kept.
        now: UTC.
    """
    before = find_wait(connection, event_id)
    wait = Wait(
        event_id,
        before.since if before and before.lasts else now,
        now,
        terms.next_look(now),
        terms.deadline,
        min(seen_share, 1.0),
        terms.wanted_share,
        reason,
        _looked_at(judgements),
    )
    values: Mapping[str, Any] = asdict(wait)
    connection.execute(
        insert(imagery_wait)
        .values(values)
        .on_conflict_do_update(index_elements=["event_id"], set_=values)
    )
    return wait


def end_wait(
    connection: Connection,
    event_id: str,
    outcome: WaitOutcome,
    seen_share: float,
    reason: str,
    now: datetime,
) -> None:
    """End an event's wait, if it has one that lasts; the arguments are those of `keep_waiting`."""
    connection.execute(
        update(imagery_wait)
        .where(imagery_wait.c.event_id == event_id, imagery_wait.c.ended_at.is_(None))
        .values(
            outcome=outcome,
            ended_at=now,
            looked_at=now,
            next_look_at=None,
            seen_share=min(seen_share, 1.0),
            reason=reason,
        )
    )


def find_wait(connection: Connection, event_id: str) -> Wait | None:
    """What an event waits for, or last waited for; None if it never did."""
    mine = select(imagery_wait).where(imagery_wait.c.event_id == event_id)
    row = connection.execute(mine).one_or_none()
    return _wait(row) if row else None


def lasting_waits(connection: Connection) -> dict[str, str]:
    """The events that wait, each with what its last look saw."""
    lasting = select(imagery_wait.c.event_id, imagery_wait.c.reason).where(
        imagery_wait.c.ended_at.is_(None)
    )
    return {row.event_id: row.reason for row in connection.execute(lasting)}


def _looked_at(judgements: Sequence[SceneJudgement]) -> tuple[LookedAt, ...]:
    dated = [(one.scene.acquired_at, one) for one in judgements if one.scene.acquired_at]
    undated = [one for one in judgements if one.scene.acquired_at is None]
    latest = [one for _, one in sorted(dated, key=lambda pair: pair[0], reverse=True)]
    return tuple(
        LookedAt(
            one.scene.id,
            one.scene.acquired_at.isoformat() if one.scene.acquired_at else None,
            None if one.clear_fraction is None else round(one.clear_fraction, 4),
            one.used,
            one.reason,
        )
        for one in [*undated, *latest][:KEPT_SCENES]
    )


def _wait(row: Row[Any]) -> Wait:
    found: dict[str, Any] = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
    return Wait(**found | {"scenes": tuple(LookedAt(**scene) for scene in row.scenes)})
