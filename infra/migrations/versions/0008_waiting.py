"""Waiting: events of which too little was seen clear, what is waited for, and until when."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).with_suffix(".sql")
BEFORE = (
    "change IN ('registered', 'updated', 'responding', 'published', 'failed', 'closed', 'held', "
    "'released', 'cancelled', 'merged', 'pinned')"
)
CHANGES = BEFORE.replace("'responding', ", "'responding', 'waiting', ")


def upgrade() -> None:
    """Apply."""
    _allow(CHANGES)
    _create_imagery_wait()
    # What was there before anybody listened is no news.
    op.execute(
        "INSERT INTO scarp.announcement (subject) "
        "SELECT 'inventory ' || id || ' draft' FROM scarp.inventory WHERE status = 'draft'"
    )
    op.get_bind().exec_driver_sql(SQL.read_text(), execution_options={"no_parameters": True})


def downgrade() -> None:
    """Undo; nothing is waited for any more, and that it was goes from the histories."""
    op.execute("DROP VIEW scarp.v_waiting")
    op.drop_table("imagery_wait", schema="scarp")
    op.execute("DELETE FROM scarp.announcement WHERE subject LIKE 'inventory % draft'")
    op.execute("DELETE FROM scarp.event_history WHERE change = 'waiting'")
    _allow(BEFORE)


def _allow(changes: str) -> None:
    name = op.f("event_history_change_check")
    op.drop_constraint(name, "event_history", schema="scarp")
    op.create_check_constraint(name, "event_history", changes, schema="scarp")


def _create_imagery_wait() -> None:
    op.create_table(
        "imagery_wait",
        sa.Column("event_id", sa.Text, nullable=False, comment="Id of the event."),
        _time("since", "When a look first saw too little."),
        _time("looked_at", "When imagery was last looked for."),
        _time(
            "next_look_at",
            "When it will be looked for again; NULL once the wait is over.",
            known=False,
        ),
        _time("deadline", "Until when clear imagery is waited for."),
        _share("seen_share", "Share of the area seen clear, 0-1."),
        _share("wanted_share", "Share at which the wait ends, 0-1."),
        sa.Column(
            "reason", sa.Text, nullable=False, comment="What the last look saw, in a sentence."
        ),
        sa.Column(
            "scenes",
            postgresql.JSONB,
            nullable=False,
            comment="Scenes it looked at, the latest first: list of {scene_id, acquired_at, "
            "clear_share, used, reason}.",
        ),
        _time("ended_at", "When the wait was over; NULL while it lasts.", known=False),
        sa.Column(
            "outcome",
            sa.Text,
            comment="seen: enough is; deadline: it passed before; NULL while it lasts.",
        ),
        sa.PrimaryKeyConstraint("event_id", name="imagery_wait_pkey"),
        sa.ForeignKeyConstraint(["event_id"], ["scarp.event.id"], "imagery_wait_event_id_fkey"),
        sa.CheckConstraint("outcome IN ('seen', 'deadline')", "imagery_wait_outcome_check"),
        *(
            sa.CheckConstraint(f"{name} >= 0 AND {name} <= 1", f"imagery_wait_{name}_check")
            for name in ("seen_share", "wanted_share")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", "imagery_wait_ended_at_check"),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (next_look_at IS NOT NULL)", "imagery_wait_next_look_at_check"
        ),
        schema="scarp",
        comment="Events of which too little was seen clear: what is waited for, and until when.",
    )


def _time(name: str, comment: str, *, known: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not known, comment=comment)


def _share(name: str, comment: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False, comment=comment)
