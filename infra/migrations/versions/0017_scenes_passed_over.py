"""Scenes passed over: a share of 0 that nobody measured is no share."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE = "Part of the AOI it shows clear, 0-1."
NOW = "Part of the AOI it shows clear, 0-1; NULL where nobody looked at its pixels."


def upgrade() -> None:
    """Apply."""
    _alter(nullable=True, comment=NOW, was=BEFORE)


def downgrade() -> None:
    """Undo."""
    op.execute("UPDATE scarp.run_scene SET clear_fraction = 0 WHERE clear_fraction IS NULL")
    _alter(nullable=False, comment=BEFORE, was=NOW)


def _alter(nullable: bool, comment: str, was: str) -> None:
    op.alter_column(
        "run_scene",
        "clear_fraction",
        schema="scarp",
        existing_type=sa.Double(),
        existing_nullable=not nullable,
        nullable=nullable,
        existing_comment=was,
        comment=comment,
    )
