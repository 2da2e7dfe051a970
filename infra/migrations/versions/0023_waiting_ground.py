"""Waiting: QGIS opens no layer of geometry whose type a view does not say."""

from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).with_name("0008_waiting.sql")


def upgrade() -> None:
    """Apply."""
    _create(SQL.read_text().replace("END AS geom", "END::geometry(MultiPolygon, 4326) AS geom"))


def downgrade() -> None:
    """Undo."""
    _create(SQL.read_text())


def _create(statements: str) -> None:
    op.execute("DROP VIEW scarp.v_waiting")
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
