"""Imagery ordered, so that nothing is paid for twice."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATES = (
    "state IN ('planned', 'queued', 'running', 'success', 'partial', 'failed', 'cancelled', "
    "'refused')"
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "imagery_order",
        sa.Column(
            "key",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of items, bundle, tools and area; the order's name at the provider.",
        ),
        sa.Column("provider", sa.Text(), nullable=False, comment="Who is paid: planet."),
        sa.Column("item_ids", sa.ARRAY(sa.Text()), nullable=False, comment="Items ordered."),
        sa.Column(
            "bundle",
            sa.Text(),
            nullable=False,
            comment="The provider's name of what is delivered.",
        ),
        sa.Column(
            "tools",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What the provider does to it, clipping aside.",
        ),
        sa.Column(
            "geom",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            nullable=False,
            comment="Ground paid for, EPSG:4326.",
        ),
        sa.Column(
            "area_km2",
            sa.Double(),
            nullable=False,
            comment="Geodesic area of that ground in km².",
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default="planned",
            nullable=False,
            comment="planned until the provider took it; then as the provider says, or refused.",
        ),
        sa.Column(
            "order_id",
            sa.Text(),
            nullable=True,
            comment="The provider's id of the order; NULL while planned.",
        ),
        sa.Column(
            "message",
            sa.Text(),
            nullable=True,
            comment="What the provider said of its outcome.",
        ),
        sa.Column(
            "files",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="Files delivered: list of {name, size, sha256}.",
        ),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was planned; the month it counts for.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When its state last changed.",
        ),
        sa.CheckConstraint(
            "area_km2 >= 0 AND area_km2 < 'Infinity'",
            name=op.f("imagery_order_area_km2_check"),
        ),
        sa.CheckConstraint("cardinality(item_ids) > 0", name=op.f("imagery_order_item_ids_check")),
        sa.CheckConstraint(
            "order_id IS NOT NULL OR state IN ('planned', 'refused')",
            name=op.f("imagery_order_order_id_check"),
        ),
        sa.CheckConstraint(STATES, name=op.f("imagery_order_state_check")),
        sa.CheckConstraint("ST_IsValid(geom)", name=op.f("imagery_order_geom_valid_check")),
        sa.PrimaryKeyConstraint("key", name=op.f("imagery_order_pkey")),
        schema="scarp",
        comment="Imagery ordered: nothing of it is ordered or paid for twice.",
    )
    op.create_index(
        "imagery_order_geom_idx", "imagery_order", ["geom"], schema="scarp", postgresql_using="gist"
    )
    op.create_index(
        "imagery_order_requested_at_idx", "imagery_order", ["requested_at"], schema="scarp"
    )


def downgrade() -> None:
    """Undo; what was ordered is forgotten here, and not at the provider's."""
    op.drop_table("imagery_order", schema="scarp")
