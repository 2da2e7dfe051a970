"""Change evidence: what radar saw change while clouds hid the ground."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).with_suffix(".sql")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "change_evidence",
        sa.Column("id", sa.Uuid, nullable=False, comment="Identity of the evidence."),
        _text("event_id", "Id of the event."),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="Run that made it."),
        _text("digest", "SHA-256 of what it was made from."),
        _text("method", "How the change was found."),
        _number("threshold", "-log10 probability from which it counts."),
        sa.Column(
            "comparisons",
            postgresql.JSONB,
            nullable=False,
            comment="Passes compared: list of {orbit, polarisations, before, after}, days.",
        ),
        _text("path", "COG of the log-ratios in dB and the change."),
        _ground("looked", "Ground radar saw.", nullable=False),
        _ground("geom", "Ground that changed; NULL where none did.", nullable=True),
        _number("looked_km2", "Geodesic area radar saw in km²."),
        _number("changed_km2", "Geodesic area that changed in km²."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When it was stored.",
        ),
        sa.PrimaryKeyConstraint("id", name="change_evidence_pkey"),
        sa.ForeignKeyConstraint(["event_id"], ["scarp.event.id"], "change_evidence_event_id_fkey"),
        sa.ForeignKeyConstraint(["run_id"], ["scarp.run.id"], "change_evidence_run_id_fkey"),
        sa.UniqueConstraint("event_id", "digest", name="change_evidence_digest_key"),
        *(
            sa.CheckConstraint(
                f"{name} >= 0 AND {name} < 'Infinity'", f"change_evidence_{name}_check"
            )
            for name in ("looked_km2", "changed_km2")
        ),
        *(
            sa.CheckConstraint(f"ST_IsValid({name})", f"change_evidence_{name}_valid_check")
            for name in ("looked", "geom")
        ),
        schema="scarp",
        comment="Change of radar backscatter across an event: evidence, never part of an "
        "inventory.",
    )
    op.create_index(
        "change_evidence_geom_idx",
        "change_evidence",
        ["geom"],
        schema="scarp",
        postgresql_using="gist",
    )
    op.get_bind().exec_driver_sql(SQL.read_text(), execution_options={"no_parameters": True})


def downgrade() -> None:
    """Undo; the rasters stay on disk."""
    op.execute("DROP VIEW scarp.v_change_evidence")
    op.drop_table("change_evidence", schema="scarp")


def _text(name: str, comment: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, comment=comment)


def _number(name: str, comment: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False, comment=comment)


def _ground(name: str, comment: str, *, nullable: bool) -> sa.Column[object]:
    kind = Geometry("MULTIPOLYGON", srid=4326, spatial_index=False)
    return sa.Column(name, kind, nullable=nullable, comment=comment)
