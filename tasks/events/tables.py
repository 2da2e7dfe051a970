"""The tables of what sources said, what was decided about it, and what is still to be done."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tasks.events.reports import Outcome
from tasks.inventory.tables import between, event_id, metadata, now, one_of


def _count(name: str, kind: type[Integer], comment: str) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default="0", comment=comment)


event_alias = Table(
    "event_alias",
    metadata,
    Column("id", Text, primary_key=True, comment="An id some source knows an event by."),
    event_id(),
    Column("position", Integer, nullable=False, comment="Order in which the event's came; own 0."),
    Index("event_alias_event_id_idx", "event_id"),
    comment="Every id an event is known by, its own among them; one id is of one event only.",
)

shakemap = Table(
    "shakemap",
    metadata,
    Column("identity", Text, primary_key=True, comment="source:code:updateTime, in ms."),
    event_id(),
    Column("source", Text, nullable=False, comment="Contributor, such as us, nc or atlas."),
    Column("code", Text, nullable=False, comment="The contributor's id of the event."),
    Column("updated_at", DateTime(timezone=True), nullable=False, comment="When it was sent, UTC."),
    Column("version", Text, nullable=False, comment="Label it was published with; says no order."),
    Column("url", Text, nullable=False, comment="Where its grid lies; empty if it offers none."),
    Column("path", Text, comment="The grid as fetched; NULL if it was not."),
    Column("sha256", Text, comment="SHA-256 of the grid as fetched."),
    Column("withdrawn", Boolean, nullable=False, comment="The contributor took it back."),
    Column("pinned", Boolean, nullable=False, comment="An operator chose it against newer ones."),
    Column("in_use", Boolean, nullable=False, comment="The area of interest was drawn from it."),
    Column("problem", Text, nullable=False, comment="Why it could not be used; empty if it could."),
    now("seen_at", "When Scarp first saw it."),
    CheckConstraint("(path IS NULL) = (sha256 IS NULL)", name="path"),
    *(
        Index(f"shakemap_one_{chosen}_idx", "event_id", unique=True, postgresql_where=text(chosen))
        for chosen in ("pinned", "in_use")
    ),
    Index("shakemap_event_id_idx", "event_id"),
    comment="Every version of every ShakeMap that a feed offered for an event.",
)

decision = Table(
    "decision",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order made."),
    Column("event_id", Text, nullable=False, comment="The event, or the source's id of one."),
    Column("source", Text, nullable=False, comment="usgs, gdacs or rain."),
    Column("source_version", Text, nullable=False, comment="What the source said, by its version."),
    Column("decision", Text, nullable=False, comment="What was done about it."),
    Column("reason", Text, nullable=False, comment="Why, in a sentence."),
    Column("rules_digest", Text, nullable=False, comment="SHA-256 of the rules that decided."),
    Column(
        "shakemap", Text, nullable=False, comment="ShakeMap the area was drawn from; empty if none."
    ),
    Column("priority", Double, comment="Larger is more urgent; NULL if not estimated."),
    Column("reported_at", DateTime(timezone=True), comment="When the source said it."),
    Column(
        "decided_at", DateTime(timezone=True), nullable=False, comment="The watcher's clock, UTC."
    ),
    now("stored_at", "When it was stored."),
    UniqueConstraint(
        "event_id",
        "source",
        "source_version",
        "rules_digest",
        "decision",
        "shakemap",
        name="decision_once_key",
    ),
    one_of("decision", Outcome),
    CheckConstraint("btrim(reason) <> ''", name="reason"),
    comment="What was decided about everything a feed said, and why; nothing is overwritten here.",
)

response_request = Table(
    "response_request",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order asked."),
    event_id(),
    Column("source_version", Text, nullable=False, comment="What made it necessary."),
    Column("reason", Text, nullable=False, comment="Why, in a sentence."),
    Column("priority", Double, comment="Larger is more urgent; NULL if not estimated."),
    Column(
        "not_before",
        DateTime(timezone=True),
        nullable=False,
        comment="Fresh events change fast: not to be started earlier.",
    ),
    Column(
        "requested_at", DateTime(timezone=True), nullable=False, comment="The watcher's clock, UTC."
    ),
    Column("done_at", DateTime(timezone=True), comment="When it was answered; NULL if it waits."),
    UniqueConstraint("event_id", "source_version"),
    Index("response_request_waiting_idx", "not_before", postgresql_where=text("done_at IS NULL")),
    comment="Responses asked for: one for each version of what a source said.",
)

watch_state = Table(
    "watch_state",
    metadata,
    Column("url", Text, primary_key=True, comment="The feed, or one event's page of it."),
    Column("source", Text, nullable=False, comment="usgs, gdacs or rain."),
    Column(
        "event_id",
        ForeignKey("scarp.event.id"),
        comment="The event whose page it is, looked at again by schedule; NULL for a feed.",
    ),
    Column("etag", Text, nullable=False, comment="The server's tag of what was read."),
    Column("last_modified", Text, nullable=False, comment="Its Last-Modified header."),
    Column("looked_at", DateTime(timezone=True), comment="The watcher's clock at the last look."),
    Column("feed_time", DateTime(timezone=True), comment="When the feed says it was made."),
    Column("memory", JSONB, nullable=False, comment="What a watcher keeps besides."),
    Column("rules_digest", Text, nullable=False, comment="SHA-256 of the rules last applied."),
    Index("watch_state_event_id_idx", "event_id"),
    comment="How far each feed has been read.",
)

prior_map = Table(
    "prior_map",
    metadata,
    Column("id", Uuid, primary_key=True, comment="Identity of the map."),
    event_id(),
    Column("model", Text, nullable=False, comment="The model, such as nowicki-jessee-2018."),
    Column("source_version", Text, nullable=False, comment="ShakeMap or description used."),
    Column("digest", Text, nullable=False, comment="SHA-256 of what it was made from."),
    Column("path", Text, comment="The raster, 0-1, nodata where unknown; NULL if none is made."),
    Column(
        "expected_km2", Double, nullable=False, comment="Aggregate hazard: area expected to slide."
    ),
    Column("probability_max", Double, comment="Largest probability on the map, 0-1."),
    Column("parameters", JSONB, nullable=False, comment="Inputs, their checksums, parameters."),
    now("created_at", "When it was stored."),
    UniqueConstraint("digest"),
    between("expected_km2", 0),
    between("probability_max", 0, 1),
    Index("prior_map_event_id_idx", "event_id"),
    comment="What models expected of an event before any image was taken.",
)

response_turn = Table(
    "response_turn",
    metadata,
    event_id(primary_key=True),
    Column("held_by", Text, comment="Flow run that responds now; NULL if none does."),
    now("held_since", "When it began."),
    _count("upto", BigInteger, "Newest request when it began."),
    _count("attempts", Integer, "How often it was begun."),
    _count("failures", Integer, "How often it ended with a failure."),
    Column(
        "failure",
        Text,
        nullable=False,
        server_default="",
        comment="Why it failed last, in a sentence.",
    ),
    Column(
        "cause",
        Text,
        nullable=False,
        server_default="",
        comment="The kind of error it failed with, such as NoImageryError.",
    ),
    Column("retry_at", DateTime(timezone=True), comment="Not to be tried again before."),
    Column("dead_at", DateTime(timezone=True), comment="When it was given up; NULL if not."),
    Column("announced_at", DateTime(timezone=True), comment="When programs were told it is due."),
    _count("announced", BigInteger, "Newest request they were told of."),
    CheckConstraint("held_by IS NULL OR (dead_at IS NULL AND retry_at IS NULL)", name="held"),
    comment="Responses that are being made, wait for another try, or were given up.",
)

response_options = Table(
    "response_options",
    metadata,
    event_id(primary_key=True),
    Column("options", JSONB, nullable=False, comment="Parameters of the response, as given."),
    now("updated_at", "When they were given."),
    comment="How an operator wants an event responded to; the last one asked.",
)

announcement = Table(
    "announcement",
    metadata,
    Column("subject", Text, primary_key=True, comment="inventory or susceptibility, and its id."),
    now("announced_at", "When programs were told."),
    comment="Products that programs which wait for them have been told of.",
)
