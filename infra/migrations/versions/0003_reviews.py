"""Reviews beside what was stored, which stays untouched."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).parent
REBUILT = ("screened", "landslides", "landslides_all")
OTHERS = ("runs", "susceptibility", "observed_area", "inventories", "events")
KINDS = "kind IN ('landslide', 'scar', 'deposit')"


def upgrade() -> None:
    """Apply."""
    for view in REBUILT:
        op.execute(f"DROP VIEW scarp.v_{view}")
    # Two coordinates that the outline gives anyway cost a tenth of every bulk load.
    op.drop_column("landslide", "centroid", schema="scarp")
    _create_review()
    _create_review_outcome()
    _run("0003_reviews.sql")


def downgrade() -> None:
    """Undo; outlines that reviewers drew and what they said go."""
    _run("0003_undo.sql")
    op.add_column(
        "landslide",
        sa.Column(
            "centroid",
            Geometry("POINT", srid=4326, spatial_index=False),
            sa.Computed("ST_Centroid(geom)", persisted=True),
            comment="Centroid of the outline, EPSG:4326.",
        ),
        schema="scarp",
    )
    for view in OTHERS:
        op.execute(f"DROP VIEW scarp.v_{view}")
    _run("0001_views.sql")
    _run("0002_measures.sql")


def _create_review() -> None:
    op.create_table(
        "review",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of reviews.",
        ),
        sa.Column("inventory_id", sa.Uuid(), nullable=False, comment="Inventory it belongs to."),
        sa.Column("action", sa.Text(), nullable=False, comment="What the reviewer did."),
        sa.Column(
            "numbers",
            sa.ARRAY(sa.Integer()),
            nullable=False,
            comment="Landslides it changed or is about, new ones last.",
        ),
        sa.Column("reviewer", sa.Text(), nullable=False, comment="Who did it."),
        sa.Column(
            "comment", sa.Text(), nullable=False, comment="What the reviewer said; may be empty."
        ),
        sa.Column("undoes", sa.BigInteger(), comment="The review that it undid."),
        sa.Column(
            "reviewed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was done.",
        ),
        sa.CheckConstraint(
            "action IN ('confirm', 'reject', 'edit', 'add', 'split', 'merge', 'comment', 'undo')",
            name=op.f("review_action_check"),
        ),
        sa.CheckConstraint("btrim(reviewer) <> ''", name=op.f("review_reviewer_check")),
        sa.CheckConstraint(
            "(action = 'undo') = (undoes IS NOT NULL)", name=op.f("review_undoes_check")
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"],
            ["scarp.inventory.id"],
            name=op.f("review_inventory_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["undoes"], ["scarp.review.id"], name=op.f("review_undoes_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("review_pkey")),
        sa.UniqueConstraint("undoes", name=op.f("review_undoes_key")),
        schema="scarp",
        comment="Every review of an inventory's landslides; nothing is overwritten here.",
    )
    op.create_index("review_inventory_id_idx", "review", ["inventory_id"], schema="scarp")


def _create_review_outcome() -> None:
    op.create_table(
        "review_outcome",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identity."
        ),
        sa.Column("review_id", sa.BigInteger(), nullable=False, comment="Its review."),
        sa.Column("inventory_id", sa.Uuid(), nullable=False, comment="Inventory it belongs to."),
        sa.Column("number", sa.Integer(), nullable=False, comment="The landslide, by number."),
        sa.Column(
            "state",
            sa.Text(),
            comment="confirmed, rejected, edited (drawn) or replaced; NULL is as it was stored.",
        ),
        sa.Column(
            "made_from",
            sa.ARRAY(sa.Integer()),
            nullable=False,
            comment="Landslides it was drawn from.",
        ),
        sa.Column(
            "current", sa.Boolean(), nullable=False, comment="Newest outcome for its landslide."
        ),
        sa.Column(
            "given_by",
            sa.BigInteger(),
            comment="Review that gave this outcome first, which an undo brings back; NULL as "
            "stored.",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            comment="landslide (whole), scar (source) or deposit; NULL if not drawn.",
        ),
        sa.Column(
            "geom",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            comment="Outline a reviewer drew, EPSG:4326.",
        ),
        sa.Column("area_m2", sa.Double(), comment="Geodesic area in m²."),
        sa.Column("perimeter_m", sa.Double(), comment="Geodesic perimeter in m."),
        sa.Column("length_m", sa.Double(), comment="Horizontal extent along length_axis, m."),
        sa.Column("width_m", sa.Double(), comment="Horizontal extent across length_axis, m."),
        sa.Column(
            "length_axis", sa.Text(), comment="longest: long side of the smallest rectangle."
        ),
        sa.Column("volume_m3", sa.Double(), comment="Volume estimated from the area, m³."),
        sa.Column("volume_relation", sa.Text(), comment="Relation that estimated it."),
        sa.Column("scene_id", sa.Text(), comment="Scene it was seen in."),
        sa.Column("acquired_at", sa.DateTime(timezone=True), comment="When that scene was taken."),
        sa.CheckConstraint(
            "state IN ('confirmed', 'rejected', 'edited', 'replaced')",
            name=op.f("review_outcome_state_check"),
        ),
        sa.CheckConstraint(KINDS, name=op.f("review_outcome_kind_check")),
        sa.CheckConstraint(
            "length_axis IN ('downslope', 'longest')",
            name=op.f("review_outcome_length_axis_check"),
        ),
        sa.CheckConstraint("ST_IsValid(geom)", name=op.f("review_outcome_geom_valid_check")),
        sa.CheckConstraint(
            "(geom IS NULL) = (area_m2 IS NULL)", name=op.f("review_outcome_drawn_check")
        ),
        sa.CheckConstraint(
            "geom IS NULL OR state IS NOT NULL", name=op.f("review_outcome_drawn_state_check")
        ),
        sa.CheckConstraint(
            "area_m2 > 0 AND area_m2 < 'Infinity'", name=op.f("review_outcome_area_m2_check")
        ),
        sa.ForeignKeyConstraint(
            ["review_id"],
            ["scarp.review.id"],
            name=op.f("review_outcome_review_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["given_by"],
            ["scarp.review.id"],
            name=op.f("review_outcome_given_by_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"],
            ["scarp.inventory.id"],
            name=op.f("review_outcome_inventory_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("review_outcome_pkey")),
        sa.UniqueConstraint(
            "review_id", "number", name=op.f("review_outcome_review_id_number_key")
        ),
        sa.UniqueConstraint(
            "inventory_id",
            "number",
            "review_id",
            name=op.f("review_outcome_inventory_id_number_review_id_key"),
        ),
        schema="scarp",
        comment="What became of each landslide by each review.",
    )
    op.create_index(
        "review_outcome_current_idx",
        "review_outcome",
        ["inventory_id", "number"],
        unique=True,
        schema="scarp",
        postgresql_where=sa.text("current"),
    )
    op.create_index(
        "review_outcome_geom_idx",
        "review_outcome",
        ["geom"],
        schema="scarp",
        postgresql_using="gist",
        postgresql_where=sa.text("current AND geom IS NOT NULL"),
    )


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(
        (SQL / script).read_text(), execution_options={"no_parameters": True}
    )
