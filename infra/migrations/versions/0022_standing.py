"""Standing: the views count landslides as reviewers left them, and tell maps of drafts apart."""

from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HERE = Path(__file__).parent


def upgrade() -> None:
    """Apply."""
    _run("0022_standing.sql")


def downgrade() -> None:
    """Undo."""
    _run("0022_undo.sql")
    _run("0005_susceptibility.sql")
    op.execute(
        "COMMENT ON VIEW scarp.v_susceptibility IS 'Susceptibility maps and how well they predict.'"
    )


def _run(script: str) -> None:
    statements = (HERE / script).read_text()
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
