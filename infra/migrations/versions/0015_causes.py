"""Causes: the kind of error that a run or a response failed with, to count failures by."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CAUSE = "The kind of error it failed with, such as NoImageryError."


def upgrade() -> None:
    """Apply; of what failed before the kind is not known."""
    op.add_column("run", sa.Column("cause", sa.Text, comment=CAUSE), schema="scarp")
    op.add_column(
        "response_turn",
        sa.Column("cause", sa.Text, nullable=False, server_default="", comment=CAUSE),
        schema="scarp",
    )
    # What was given up before anybody listened is no news.
    op.execute(
        "INSERT INTO scarp.announcement (subject) "
        "SELECT 'dead ' || event_id || ' ' || extract(epoch FROM dead_at) "
        "FROM scarp.response_turn WHERE dead_at IS NOT NULL "
        "UNION ALL SELECT 'wait ' || event_id || ' ' || extract(epoch FROM since) "
        "|| CASE outcome WHEN 'deadline' THEN ' over' ELSE '' END "
        "FROM scarp.imagery_wait WHERE outcome IS NULL OR outcome = 'deadline'"
    )


def downgrade() -> None:
    """Undo; the kinds are lost, the sentences stay."""
    op.execute("DELETE FROM scarp.announcement WHERE subject ~ '^(dead|wait) '")
    for table in ("response_turn", "run"):
        op.drop_column(table, "cause", schema="scarp")
