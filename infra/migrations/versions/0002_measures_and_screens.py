"""Measures along the slope, bodies that were split, and what screens set aside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).parent
VIEWS = (
    "screened",
    "runs",
    "susceptibility",
    "observed_area",
    "landslides",
    "landslides_all",
    "inventories",
    "events",
)
CHECKS = {
    "length_axis": "length_axis IN ('downslope', 'longest')",
    "slope_min_deg": "slope_min_deg >= 0 AND slope_min_deg <= 90",
    "slope_max_deg": "slope_max_deg >= 0 AND slope_max_deg <= 90",
    "slope_std_deg": "slope_std_deg >= 0 AND slope_std_deg < 'Infinity'",
    "aspect_concentration": "aspect_concentration >= 0 AND aspect_concentration <= 1",
    "relief_share": "relief_share >= 0 AND relief_share <= 1",
    "score_max": "score_max >= 0 AND score_max <= 1",
    "screened": "(screened_by IS NULL) = (screen_reason IS NULL)",
}
# Column of `landslide` or `inventory`: what it says from now on, and what it said before.
WORDS = {
    "landslide.length_m": (
        "Horizontal extent along length_axis, m.",
        "Long side of the smallest enclosing rectangle, m.",
    ),
    "landslide.width_m": (
        "Horizontal extent across length_axis, m.",
        "Short side of the smallest enclosing rectangle, m.",
    ),
    "landslide.amalgamated": (
        "Part of a connected body that was split.",
        "Probably several landslides in one outline.",
    ),
    "inventory.landslide_count": (
        "Number of landslides, without those screened; 0 is valid.",
        "Number of landslides; 0 is valid.",
    ),
}


def upgrade() -> None:
    """Apply."""
    for column in _columns():
        op.add_column("landslide", column, schema="scarp")
    op.alter_column("landslide", "length_axis", server_default=None, schema="scarp")
    for name, check in CHECKS.items():
        op.create_check_constraint(
            op.f(f"landslide_{name}_check"), "landslide", check, schema="scarp"
        )
    op.add_column(
        "inventory",
        sa.Column(
            "screens",
            postgresql.JSONB(),
            nullable=False,
            server_default="[]",
            comment="What was screened: list of {screen, asked, set_aside, not_run}.",
        ),
        schema="scarp",
    )
    _say(0)
    _run("0002_measures.sql")


def downgrade() -> None:
    """Undo; what a screen set aside goes, since without the column it would be a landslide."""
    for view in VIEWS:
        op.execute(f"DROP VIEW scarp.v_{view}")
    op.execute("ALTER TABLE scarp.landslide DISABLE TRIGGER guard_landslides_removed")
    op.execute("DELETE FROM scarp.landslide WHERE screened_by IS NOT NULL")
    op.execute("ALTER TABLE scarp.landslide ENABLE TRIGGER guard_landslides_removed")
    op.drop_column("inventory", "screens", schema="scarp")
    for column in _columns():
        op.drop_column("landslide", column.name, schema="scarp")
    _say(1)
    _run("0001_views.sql")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column(
            "length_axis",
            sa.Text(),
            # Lengths stored before were all of this kind.
            server_default="longest",
            comment="downslope (along aspect_deg), or longest: long side of the smallest "
            "rectangle.",
        ),
        sa.Column("slope_min_deg", sa.Double(), comment="Gentlest slope in degrees."),
        sa.Column("slope_max_deg", sa.Double(), comment="Steepest slope in degrees."),
        sa.Column("slope_std_deg", sa.Double(), comment="Standard deviation of slope in degrees."),
        sa.Column(
            "aspect_concentration",
            sa.Double(),
            comment="Mean resultant length of aspect: 1 faces one way, 0 every way.",
        ),
        sa.Column(
            "relief_share",
            sa.Double(),
            comment="Share of the outline whose elevation is known, 0-1; NULL without a DEM.",
        ),
        sa.Column(
            "score_max",
            sa.Double(),
            comment="Highest score of the network inside the outline, 0-1.",
        ),
        sa.Column(
            "body",
            sa.Integer(),
            comment="Connected body of pixels it belongs to, shared where one was split; "
            "the union of its landslides is the body.",
        ),
        sa.Column(
            "screened_by", sa.Text(), comment="Screen that set it aside; NULL where none did."
        ),
        sa.Column("screen_reason", sa.Text(), comment="Why that screen set it aside."),
    ]


def _say(which: int) -> None:
    for column, words in WORDS.items():
        op.execute(f"COMMENT ON COLUMN scarp.{column} IS '{words[which]}'")


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(
        (SQL / script).read_text(), execution_options={"no_parameters": True}
    )
