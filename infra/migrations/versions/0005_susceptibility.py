"""Susceptibility: every metric, the classes, where a map applies, and maps carried over."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).parent
CHECKS = {
    "kind": "kind IN ('fitted', 'carried')",
    "applicable_share": "applicable_share >= 0 AND applicable_share <= 1",
    "inventory_id": "(kind = 'fitted') = (inventory_id IS NOT NULL)",
}


def upgrade() -> None:
    """Apply; maps stored before keep what they have and say nothing of the rest."""
    for column in _columns():
        op.add_column("susceptibility", column, schema="scarp")
    op.alter_column(
        "susceptibility",
        "inventory_id",
        nullable=True,
        comment="Inventory it was fitted to; NULL if it was carried over from other events.",
        schema="scarp",
    )
    for name, check in CHECKS.items():
        op.create_check_constraint(
            op.f(f"susceptibility_{name}_check"), "susceptibility", check, schema="scarp"
        )
    _run("0005_susceptibility.sql")


def downgrade() -> None:
    """Undo; maps carried over from other events go, since each then needs an inventory."""
    op.execute("DROP VIEW scarp.v_susceptibility")
    op.execute("DELETE FROM scarp.susceptibility WHERE kind = 'carried'")
    op.drop_constraint(op.f("susceptibility_inventory_id_check"), "susceptibility", schema="scarp")
    for column in _columns():
        op.drop_column("susceptibility", column.name, schema="scarp")
    op.alter_column(
        "susceptibility",
        "inventory_id",
        nullable=False,
        comment="Inventory it was fitted to.",
        schema="scarp",
    )
    _run("0005_undo.sql")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column(
            "kind",
            sa.Text(),
            server_default="fitted",
            nullable=False,
            comment="fitted to the event's own landslides, or carried over from other events.",
        ),
        sa.Column(
            "learned_from",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Events a carried map was learned from.",
        ),
        sa.Column(
            "settings",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="What was asked for, from which it can be made again; empty if not recorded.",
        ),
        sa.Column(
            "metrics",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="Folds, precision and recall, Brier score, calibration, success and "
            "prediction rates, partial dependence, collinearity.",
        ),
        sa.Column(
            "classes",
            postgresql.JSONB(),
            server_default="[]",
            nullable=False,
            comment="Each class: bounds, area, share of area and of landslides, density.",
        ),
        sa.Column(
            "factor_table",
            postgresql.JSONB(),
            server_default="[]",
            nullable=False,
            comment="Each factor: kind, unit, source, names of its classes.",
        ),
        sa.Column(
            "absent_factors",
            sa.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Factors that were not given, or that were given and could not be used.",
        ),
        sa.Column(
            "compared",
            postgresql.JSONB(),
            server_default="[]",
            nullable=False,
            comment="Maps made before this inventory, scored against it: list of "
            "{what, digest, auc, cells}.",
        ),
        sa.Column(
            "classes_path",
            sa.Text(),
            comment="Raster of the classes, 1 least; NULL if not recorded.",
        ),
        sa.Column(
            "uncertainty_path",
            sa.Text(),
            comment="Raster of the spread of the model's members, 0-1.",
        ),
        sa.Column(
            "applicability_path",
            sa.Text(),
            comment="Raster of the dissimilarity index; its second band is 1 where the map "
            "applies.",
        ),
        sa.Column(
            "applicable_share",
            sa.Double(),
            comment="Share of the mapped ground inside the area of applicability, 0-1.",
        ),
    ]


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(
        (SQL / script).read_text(), execution_options={"no_parameters": True}
    )
