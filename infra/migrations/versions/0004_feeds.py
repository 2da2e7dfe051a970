"""Feeds: what sources said, what was decided about it, and events that change state."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).parent
TABLES = (
    "prior_map",
    "watch_state",
    "response_request",
    "decision",
    "shakemap",
    "event_alias",
)
STATES = "state IN ('registered', 'responding', 'published', 'closed', 'held', 'cancelled')"
CHANGES = (
    "change IN ('registered', 'updated', 'responding', 'published', 'failed', 'closed', 'held', "
    "'released', 'cancelled', 'merged', 'pinned')"
)


def upgrade() -> None:
    """Apply."""
    _create_tables()
    _widen_event()
    _widen_history()
    _run("0004_feeds.sql")
    op.drop_column("event", "alternate_ids", schema="scarp")


def downgrade() -> None:
    """Undo; what feeds said and what was decided goes, and states fall back to the three of old."""
    op.add_column(
        "event",
        sa.Column("alternate_ids", sa.ARRAY(sa.Text()), comment="Other ids of the same event."),
        schema="scarp",
    )
    _run("0004_undo.sql")
    op.alter_column("event", "alternate_ids", nullable=False, schema="scarp")
    for name in ("reported_at", "forced", "priority", "priority_how", "merged_into"):
        op.drop_column("event", name, schema="scarp")
    for name in ("reason", "state"):
        op.drop_column("event_history", name, schema="scarp")
    for table in TABLES:
        op.drop_table(table, schema="scarp")


def _widen_event() -> None:
    op.add_column(
        "event",
        sa.Column(
            "reported_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the source sent the description; NULL if an operator gave it.",
        ),
        schema="scarp",
    )
    op.add_column(
        "event",
        sa.Column(
            "forced",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="An operator registered it: the rules do not take it back.",
        ),
        schema="scarp",
    )
    op.add_column(
        "event",
        sa.Column(
            "priority",
            sa.Double(),
            nullable=True,
            comment="Larger is more urgent; NULL if not estimated.",
        ),
        schema="scarp",
    )
    op.add_column(
        "event",
        sa.Column(
            "priority_how",
            sa.Text(),
            nullable=True,
            comment="What the priority was estimated from.",
        ),
        schema="scarp",
    )
    op.add_column(
        "event",
        sa.Column(
            "merged_into",
            sa.Text(),
            nullable=True,
            comment="The event it turned out to be; NULL unless it was merged.",
        ),
        schema="scarp",
    )
    op.create_foreign_key(
        op.f("event_merged_into_fkey"),
        "event",
        "event",
        ["merged_into"],
        ["id"],
        source_schema="scarp",
        referent_schema="scarp",
    )
    op.drop_constraint(op.f("event_state_check"), "event", schema="scarp")
    op.alter_column(
        "event",
        "state",
        server_default="registered",
        comment="registered, responding, published or closed; held or cancelled.",
        schema="scarp",
    )
    op.execute(
        "UPDATE scarp.event SET state = CASE WHEN EXISTS (SELECT FROM scarp.inventory "
        "WHERE event_id = event.id AND status = 'published') THEN 'published' "
        "ELSE 'registered' END WHERE state = 'active'"
    )
    checks = {
        "state": STATES,
        "priority": "priority >= 0 AND priority < 'Infinity'",
        "priority_how": "(priority IS NULL) = (priority_how IS NULL)",
        "merged_into": "merged_into IS NULL OR state = 'cancelled'",
    }
    for name, check in checks.items():
        op.create_check_constraint(op.f(f"event_{name}_check"), "event", check, schema="scarp")


def _widen_history() -> None:
    op.add_column(
        "event_history",
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="Why it was done."
        ),
        schema="scarp",
    )
    op.add_column(
        "event_history",
        sa.Column(
            "state", sa.Text(), nullable=True, comment="State of the event after the change."
        ),
        schema="scarp",
    )
    op.drop_constraint(op.f("event_history_change_check"), "event_history", schema="scarp")
    op.execute(
        "UPDATE scarp.event_history SET state = CASE WHEN change IN ('held', 'cancelled') "
        "THEN change ELSE 'registered' END"
    )
    op.alter_column("event_history", "state", nullable=False, schema="scarp")
    for name, check in {"change": CHANGES, "state": STATES}.items():
        op.create_check_constraint(
            op.f(f"event_history_{name}_check"), "event_history", check, schema="scarp"
        )


def _run(script: str) -> None:
    op.get_bind().exec_driver_sql(
        (SQL / script).read_text(), execution_options={"no_parameters": True}
    )


def _create_tables() -> None:
    op.create_table(
        "decision",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Order made."
        ),
        sa.Column(
            "event_id", sa.Text(), nullable=False, comment="The event, or the source's id of one."
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="usgs, gdacs or rain."),
        sa.Column(
            "source_version",
            sa.Text(),
            nullable=False,
            comment="What the source said, by its version.",
        ),
        sa.Column("decision", sa.Text(), nullable=False, comment="What was done about it."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, in a sentence."),
        sa.Column(
            "rules_digest", sa.Text(), nullable=False, comment="SHA-256 of the rules that decided."
        ),
        sa.Column(
            "shakemap",
            sa.Text(),
            nullable=False,
            comment="ShakeMap the area was drawn from; empty if none.",
        ),
        sa.Column(
            "priority",
            sa.Double(),
            nullable=True,
            comment="Larger is more urgent; NULL if not estimated.",
        ),
        sa.Column(
            "reported_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the source said it.",
        ),
        sa.Column(
            "decided_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="The watcher's clock, UTC.",
        ),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was stored.",
        ),
        sa.CheckConstraint("btrim(reason) <> ''", name=op.f("decision_reason_check")),
        sa.CheckConstraint(
            "decision IN ('registered', 'updated', 'unchanged', 'ignored', 'held', 'cancelled')",
            name=op.f("decision_decision_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("decision_pkey")),
        sa.UniqueConstraint(
            "event_id",
            "source",
            "source_version",
            "rules_digest",
            "decision",
            "shakemap",
            name="decision_once_key",
        ),
        schema="scarp",
        comment="What was decided about everything a feed said, and why; nothing is overwritten "
        "here.",
    )
    op.create_table(
        "event_alias",
        sa.Column("id", sa.Text(), nullable=False, comment="An id some source knows an event by."),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column(
            "position",
            sa.Integer(),
            nullable=False,
            comment="Order in which the event's came; own 0.",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("event_alias_event_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("event_alias_pkey")),
        schema="scarp",
        comment="Every id an event is known by, its own among them; one id is of one event only.",
    )
    op.create_index(
        "event_alias_event_id_idx", "event_alias", ["event_id"], unique=False, schema="scarp"
    )
    op.create_table(
        "prior_map",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Identity of the map."),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column(
            "model", sa.Text(), nullable=False, comment="The model, such as nowicki-jessee-2018."
        ),
        sa.Column(
            "source_version", sa.Text(), nullable=False, comment="ShakeMap or description used."
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of what it was made from."),
        sa.Column(
            "path",
            sa.Text(),
            nullable=True,
            comment="The raster, 0-1, nodata where unknown; NULL if none is made.",
        ),
        sa.Column(
            "expected_km2",
            sa.Double(),
            nullable=False,
            comment="Aggregate hazard: area expected to slide.",
        ),
        sa.Column(
            "probability_max",
            sa.Double(),
            nullable=True,
            comment="Largest probability on the map, 0-1.",
        ),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Inputs, their checksums, parameters.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was stored.",
        ),
        sa.CheckConstraint(
            "expected_km2 >= 0 AND expected_km2 < 'Infinity'",
            name=op.f("prior_map_expected_km2_check"),
        ),
        sa.CheckConstraint(
            "probability_max >= 0 AND probability_max <= 1",
            name=op.f("prior_map_probability_max_check"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("prior_map_event_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("prior_map_pkey")),
        sa.UniqueConstraint("digest", name=op.f("prior_map_digest_key")),
        schema="scarp",
        comment="What models expected of an event before any image was taken.",
    )
    op.create_index(
        "prior_map_event_id_idx", "prior_map", ["event_id"], unique=False, schema="scarp"
    )
    op.create_table(
        "response_request",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Order asked."
        ),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column("source_version", sa.Text(), nullable=False, comment="What made it necessary."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, in a sentence."),
        sa.Column(
            "priority",
            sa.Double(),
            nullable=True,
            comment="Larger is more urgent; NULL if not estimated.",
        ),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Fresh events change fast: not to be started earlier.",
        ),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="The watcher's clock, UTC.",
        ),
        sa.Column(
            "done_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was answered; NULL if it waits.",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("response_request_event_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("response_request_pkey")),
        sa.UniqueConstraint(
            "event_id", "source_version", name=op.f("response_request_event_id_source_version_key")
        ),
        schema="scarp",
        comment="Responses asked for: one for each version of what a source said.",
    )
    op.create_index(
        "response_request_waiting_idx",
        "response_request",
        ["not_before"],
        unique=False,
        schema="scarp",
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "shakemap",
        sa.Column("identity", sa.Text(), nullable=False, comment="source:code:updateTime, in ms."),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column(
            "source", sa.Text(), nullable=False, comment="Contributor, such as us, nc or atlas."
        ),
        sa.Column("code", sa.Text(), nullable=False, comment="The contributor's id of the event."),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was sent, UTC.",
        ),
        sa.Column(
            "version",
            sa.Text(),
            nullable=False,
            comment="Label it was published with; says no order.",
        ),
        sa.Column(
            "url",
            sa.Text(),
            nullable=False,
            comment="Where its grid lies; empty if it offers none.",
        ),
        sa.Column(
            "path", sa.Text(), nullable=True, comment="The grid as fetched; NULL if it was not."
        ),
        sa.Column("sha256", sa.Text(), nullable=True, comment="SHA-256 of the grid as fetched."),
        sa.Column(
            "withdrawn", sa.Boolean(), nullable=False, comment="The contributor took it back."
        ),
        sa.Column(
            "pinned",
            sa.Boolean(),
            nullable=False,
            comment="An operator chose it against newer ones.",
        ),
        sa.Column(
            "in_use",
            sa.Boolean(),
            nullable=False,
            comment="The area of interest was drawn from it.",
        ),
        sa.Column(
            "problem",
            sa.Text(),
            nullable=False,
            comment="Why it could not be used; empty if it could.",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When Scarp first saw it.",
        ),
        sa.CheckConstraint("(path IS NULL) = (sha256 IS NULL)", name=op.f("shakemap_path_check")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("shakemap_event_id_fkey")
        ),
        sa.PrimaryKeyConstraint("identity", name=op.f("shakemap_pkey")),
        schema="scarp",
        comment="Every version of every ShakeMap that a feed offered for an event.",
    )
    op.create_index("shakemap_event_id_idx", "shakemap", ["event_id"], unique=False, schema="scarp")
    op.create_index(
        "shakemap_one_in_use_idx",
        "shakemap",
        ["event_id"],
        unique=True,
        schema="scarp",
        postgresql_where=sa.text("in_use"),
    )
    op.create_index(
        "shakemap_one_pinned_idx",
        "shakemap",
        ["event_id"],
        unique=True,
        schema="scarp",
        postgresql_where=sa.text("pinned"),
    )
    op.create_table(
        "watch_state",
        sa.Column("url", sa.Text(), nullable=False, comment="The feed, or one event's page of it."),
        sa.Column("source", sa.Text(), nullable=False, comment="usgs, gdacs or rain."),
        sa.Column(
            "event_id",
            sa.Text(),
            nullable=True,
            comment="The event whose page it is, looked at again by schedule; NULL for a feed.",
        ),
        sa.Column("etag", sa.Text(), nullable=False, comment="The server's tag of what was read."),
        sa.Column("last_modified", sa.Text(), nullable=False, comment="Its Last-Modified header."),
        sa.Column(
            "looked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="The watcher's clock at the last look.",
        ),
        sa.Column(
            "feed_time",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the feed says it was made.",
        ),
        sa.Column(
            "memory",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What a watcher keeps besides.",
        ),
        sa.Column(
            "rules_digest", sa.Text(), nullable=False, comment="SHA-256 of the rules last applied."
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("watch_state_event_id_fkey")
        ),
        sa.PrimaryKeyConstraint("url", name=op.f("watch_state_pkey")),
        schema="scarp",
        comment="How far each feed has been read.",
    )
    op.create_index(
        "watch_state_event_id_idx", "watch_state", ["event_id"], unique=False, schema="scarp"
    )
