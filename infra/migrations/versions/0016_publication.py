"""Publication: nobody publishes a draft that others change, or that holds not what it says."""

from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCRIPT = Path(__file__).with_suffix(".sql")


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(SCRIPT.read_text(), execution_options={"no_parameters": True})


def downgrade() -> None:
    """Undo."""
    for function in ("draft_held", "guard_publication"):
        op.execute(f"DROP FUNCTION scarp.{function} CASCADE")
