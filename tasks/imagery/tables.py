"""The tables of imagery ordered, of imagery waited for, and of what radar saw meanwhile."""

from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from tasks.inventory.tables import between, event_id, geometry, gist, metadata, now, one_of, valid

OrderState = Literal[
    "planned", "queued", "running", "success", "partial", "failed", "cancelled", "refused"
]
WaitOutcome = Literal["seen", "deadline"]


def _time(name: str, comment: str, *, known: bool = True) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=not known, comment=comment)


imagery_order = Table(
    "imagery_order",
    metadata,
    Column(
        "key",
        Text,
        primary_key=True,
        comment="SHA-256 of items, bundle, tools and area; the order's name at the provider.",
    ),
    Column("provider", Text, nullable=False, comment="Who is paid: planet."),
    Column("item_ids", ARRAY(Text), nullable=False, comment="Items ordered."),
    Column("bundle", Text, nullable=False, comment="The provider's name of what is delivered."),
    Column("tools", JSONB, nullable=False, comment="What the provider does to it, clipping aside."),
    Column("geom", geometry("MULTIPOLYGON"), nullable=False, comment="Ground paid for, EPSG:4326."),
    Column("area_km2", Double, nullable=False, comment="Geodesic area of that ground in km²."),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="planned",
        comment="planned until the provider took it; then as the provider says, or refused.",
    ),
    Column("order_id", Text, comment="The provider's id of the order; NULL while planned."),
    Column("message", Text, comment="What the provider said of its outcome."),
    Column(
        "files",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="Files delivered: list of {name, size, sha256}.",
    ),
    now("requested_at", "When it was planned; the month it counts for."),
    Column(
        "updated_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="When its state last changed.",
    ),
    one_of("state", OrderState),
    between("area_km2", 0),
    valid("geom"),
    CheckConstraint("cardinality(item_ids) > 0", name="item_ids"),
    CheckConstraint("order_id IS NOT NULL OR state IN ('planned', 'refused')", name="order_id"),
    gist("imagery_order", "geom"),
    Index("imagery_order_requested_at_idx", "requested_at"),
    comment="Imagery ordered: nothing of it is ordered or paid for twice.",
)

imagery_wait = Table(
    "imagery_wait",
    metadata,
    event_id(primary_key=True),
    _time("since", "When a look first saw too little."),
    _time("looked_at", "When imagery was last looked for."),
    _time(
        "next_look_at", "When it will be looked for again; NULL once the wait is over.", known=False
    ),
    _time("deadline", "Until when clear imagery is waited for."),
    Column("seen_share", Double, nullable=False, comment="Share of the area seen clear, 0-1."),
    Column("wanted_share", Double, nullable=False, comment="Share at which the wait ends, 0-1."),
    Column("reason", Text, nullable=False, comment="What the last look saw, in a sentence."),
    Column(
        "scenes",
        JSONB,
        nullable=False,
        comment="Scenes it looked at, the latest first: list of {scene_id, acquired_at, "
        "clear_share, used, reason}.",
    ),
    _time("ended_at", "When the wait was over; NULL while it lasts.", known=False),
    Column(
        "outcome", Text, comment="seen: enough is; deadline: it passed before; NULL while it lasts."
    ),
    one_of("outcome", WaitOutcome),
    between("seen_share", 0, 1),
    between("wanted_share", 0, 1),
    CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended_at"),
    CheckConstraint("(ended_at IS NULL) = (next_look_at IS NOT NULL)", name="next_look_at"),
    comment="Events of which too little was seen clear: what is waited for, and until when.",
)

change_evidence = Table(
    "change_evidence",
    metadata,
    Column("id", Uuid, primary_key=True, comment="Identity of the evidence."),
    event_id(),
    Column("run_id", ForeignKey("scarp.run.id"), nullable=False, comment="Run that made it."),
    Column("digest", Text, nullable=False, comment="SHA-256 of what it was made from."),
    Column("method", Text, nullable=False, comment="How the change was found."),
    Column("threshold", Double, nullable=False, comment="-log10 probability from which it counts."),
    Column(
        "comparisons",
        JSONB,
        nullable=False,
        comment="Passes compared: list of {orbit, polarisations, before, after}, days.",
    ),
    Column("path", Text, nullable=False, comment="COG of the log-ratios in dB and the change."),
    Column("looked", geometry("MULTIPOLYGON"), nullable=False, comment="Ground radar saw."),
    Column("geom", geometry("MULTIPOLYGON"), comment="Ground that changed; NULL where none did."),
    Column("looked_km2", Double, nullable=False, comment="Geodesic area radar saw in km²."),
    Column("changed_km2", Double, nullable=False, comment="Geodesic area that changed in km²."),
    now("created_at", "When it was stored."),
    UniqueConstraint("event_id", "digest", name="change_evidence_digest_key"),
    between("looked_km2", 0),
    between("changed_km2", 0),
    valid("looked"),
    valid("geom"),
    gist("change_evidence", "geom"),
    comment="Change of radar backscatter across an event: evidence, never part of an inventory.",
)
