"""Turns: whose response is being made, what waits for another try, and what has been announced."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    _create_response_turn()
    op.create_table(
        "response_options",
        _event_id(),
        sa.Column(
            "options",
            postgresql.JSONB,
            nullable=False,
            comment="Parameters of the response, as given.",
        ),
        _now("updated_at", "When they were given."),
        sa.PrimaryKeyConstraint("event_id", name="response_options_pkey"),
        sa.ForeignKeyConstraint(["event_id"], ["scarp.event.id"], "response_options_event_id_fkey"),
        schema="scarp",
        comment="How an operator wants an event responded to; the last one asked.",
    )
    op.create_table(
        "announcement",
        sa.Column("subject", sa.Text, comment="inventory or susceptibility, and its id."),
        _now("announced_at", "When programs were told."),
        sa.PrimaryKeyConstraint("subject", name="announcement_pkey"),
        schema="scarp",
        comment="Products that programs which wait for them have been told of.",
    )
    # What was there before anybody listened is no news.
    op.execute(
        "INSERT INTO scarp.announcement (subject) "
        "SELECT 'inventory ' || id FROM scarp.inventory WHERE status <> 'draft' "
        "UNION ALL SELECT 'susceptibility ' || id FROM scarp.susceptibility"
    )


def downgrade() -> None:
    """Undo; what was begun under a server is begun anew, and options given with events go."""
    for table in ("announcement", "response_options", "response_turn"):
        op.drop_table(table, schema="scarp")


def _create_response_turn() -> None:
    op.create_table(
        "response_turn",
        _event_id(),
        sa.Column("held_by", sa.Text, comment="Flow run that responds now; NULL if none does."),
        _now("held_since", "When it began."),
        _count("upto", sa.BigInteger, "Newest request when it began."),
        _count("attempts", sa.Integer, "How often it was begun."),
        _count("failures", sa.Integer, "How often it ended with a failure."),
        sa.Column(
            "failure",
            sa.Text,
            nullable=False,
            server_default="",
            comment="Why it failed last, in a sentence.",
        ),
        sa.Column("retry_at", sa.DateTime(timezone=True), comment="Not to be tried again before."),
        sa.Column(
            "dead_at", sa.DateTime(timezone=True), comment="When it was given up; NULL if not."
        ),
        sa.Column(
            "announced_at", sa.DateTime(timezone=True), comment="When programs were told it is due."
        ),
        _count("announced", sa.BigInteger, "Newest request they were told of."),
        sa.PrimaryKeyConstraint("event_id", name="response_turn_pkey"),
        sa.ForeignKeyConstraint(["event_id"], ["scarp.event.id"], "response_turn_event_id_fkey"),
        sa.CheckConstraint(
            "held_by IS NULL OR (dead_at IS NULL AND retry_at IS NULL)",
            name="response_turn_held_check",
        ),
        schema="scarp",
        comment="Responses that are being made, wait for another try, or were given up.",
    )


def _event_id() -> sa.Column[str]:
    return sa.Column("event_id", sa.Text, nullable=False, comment="Id of the event.")


def _now(name: str, comment: str) -> sa.Column[datetime]:
    kind = sa.DateTime(timezone=True)
    return sa.Column(name, kind, nullable=False, server_default=sa.func.now(), comment=comment)


def _count(name: str, kind: type[sa.Integer], comment: str) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default="0", comment=comment)
