"""The store's tables, as the migrations build them in the schema `scarp`.

The comments are those an analyst reads in the database, and in `docs/database.md`.
"""

from typing import Any, Literal, get_args

from geoalchemy2 import Geometry
from sqlalchemy import (
    ARRAY,
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
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tasks.types import EventKind, InventoryStatus, Outcome

EventState = Literal["registered", "responding", "published", "closed", "held", "cancelled"]
EventChange = Literal[
    "registered",
    "updated",
    "responding",
    "waiting",
    "published",
    "failed",
    "closed",
    "held",
    "released",
    "cancelled",
    "merged",
    "pinned",
]
LandslideKind = Literal["landslide", "scar", "deposit"]
ReviewState = Literal["unreviewed", "confirmed", "rejected", "edited"]
ReviewAction = Literal["confirm", "reject", "edit", "add", "split", "merge", "comment", "undo"]
ReviewOutcome = Literal["confirmed", "rejected", "edited", "replaced"]
LengthAxis = Literal["downslope", "longest"]

metadata = MetaData(
    schema="scarp",
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)


def one_of(column: str, choices: Any) -> CheckConstraint:
    """The column holds a member of a closed set, or NULL where it may."""
    listed = ", ".join(f"'{choice}'" for choice in get_args(choices))
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def between(column: str, low: float, high: float | None = None) -> CheckConstraint:
    """The column lies in [low, high] or is NULL; NaN, which sorts above all, is refused."""
    top = "'Infinity'" if high is None else str(high)
    comparison = "<" if high is None else "<="
    return CheckConstraint(f"{column} >= {low} AND {column} {comparison} {top}", name=column)


def valid(column: str) -> CheckConstraint:
    return CheckConstraint(f"ST_IsValid({column})", name=f"{column}_valid")


def geometry(kind: str) -> Geometry:
    return Geometry(kind, srid=4326, spatial_index=False)


def gist(table: str, column: str) -> Index:
    return Index(f"{table}_{column}_idx", column, postgresql_using="gist")


def now(name: str, comment: str) -> Column[Any]:
    return Column(
        name, DateTime(timezone=True), nullable=False, server_default=func.now(), comment=comment
    )


def event_id(**options: Any) -> Column[Any]:
    reference = ForeignKey("scarp.event.id")
    return Column(
        "event_id", Text, reference, nullable=False, comment="Id of the event.", **options
    )


def _inventory_id() -> Column[Any]:
    return Column(
        "inventory_id",
        ForeignKey("scarp.inventory.id", ondelete="CASCADE"),
        nullable=False,
        comment="Inventory it belongs to.",
    )


def _review_id() -> ForeignKey:
    return ForeignKey("scarp.review.id", ondelete="CASCADE")


event = Table(
    "event",
    metadata,
    Column("id", Text, primary_key=True, comment="ComCat or GDACS id, or the operator's slug."),
    Column("kind", Text, nullable=False, comment="earthquake or rainfall."),
    Column("title", Text, nullable=False, comment="What people call the event."),
    Column("occurred_at", DateTime(timezone=True), nullable=False, comment="Origin time, UTC."),
    Column(
        "point",
        geometry("POINT"),
        nullable=False,
        comment="Epicentre, or centre of the rain, EPSG:4326.",
    ),
    Column("magnitude", Double, comment="Magnitude of an earthquake."),
    Column("magnitude_type", Text, comment="Scale of the magnitude, such as mww."),
    Column("depth_km", Double, comment="Depth of the hypocentre in km; negative above sea level."),
    Column("rainfall_mm", Double, comment="Rain that fell, in mm; NULL is unknown, not 0."),
    Column("duration_h", Double, comment="Hours in which it fell."),
    Column("source", Text, nullable=False, comment="Who described the event."),
    Column("source_version", Text, nullable=False, comment="Version of that description."),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="registered",
        comment="registered, responding, published or closed; held or cancelled.",
    ),
    now("registered_at", "When Scarp first heard of the event."),
    now("updated_at", "When Scarp last changed the event."),
    Column(
        "reported_at",
        DateTime(timezone=True),
        comment="When the source sent the description; NULL if an operator gave it.",
    ),
    Column(
        "forced",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="An operator registered it: the rules do not take it back.",
    ),
    Column("priority", Double, comment="Larger is more urgent; NULL if not estimated."),
    Column("priority_how", Text, comment="What the priority was estimated from."),
    Column(
        "merged_into",
        ForeignKey("scarp.event.id"),
        comment="The event it turned out to be; NULL unless it was merged.",
    ),
    CheckConstraint("id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'", name="id"),
    one_of("kind", EventKind),
    one_of("state", EventState),
    between("magnitude", -2, 11),
    between("depth_km", -20, 1000),
    between("rainfall_mm", 0),
    between("duration_h", 0),
    between("priority", 0),
    CheckConstraint("(priority IS NULL) = (priority_how IS NULL)", name="priority_how"),
    CheckConstraint("merged_into IS NULL OR state = 'cancelled'", name="merged_into"),
    gist("event", "point"),
    comment="Earthquakes and rainfall events, as last described.",
)

event_history = Table(
    "event_history",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of changes."),
    event_id(),
    Column("change", Text, nullable=False, comment="What was done to the event."),
    Column("reason", Text, nullable=False, server_default="", comment="Why it was done."),
    Column("state", Text, nullable=False, comment="State of the event after the change."),
    Column("record", JSONB, nullable=False, comment="The event as it stood after the change."),
    Column("aoi_how", Text, nullable=False, comment="How its area of interest was made."),
    Column(
        "aoi",
        geometry("MULTIPOLYGON"),
        nullable=False,
        comment="Its area of interest after the change, EPSG:4326.",
    ),
    now("changed_at", "When the change was made."),
    one_of("change", EventChange),
    one_of("state", EventState),
    Index("event_history_event_id_idx", "event_id"),
    comment="Every change of every event; nothing is overwritten here.",
)

aoi = Table(
    "aoi",
    metadata,
    event_id(primary_key=True),
    Column("how", Text, nullable=False, comment="given, or the relation that drew it."),
    Column("geom", geometry("MULTIPOLYGON"), nullable=False, comment="Where to look, EPSG:4326."),
    Column("area_km2", Double, nullable=False, comment="Geodesic area in km²."),
    valid("geom"),
    between("area_km2", 0),
    gist("aoi", "geom"),
    comment="Area of interest of each event.",
)

scene = Table(
    "scene",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Surrogate key."),
    Column("scene_id", Text, nullable=False, comment="The scene's id, as products name it."),
    Column("provider", Text, nullable=False, comment="Who serves the scene."),
    Column("collection", Text, nullable=False, comment="Collection it belongs to."),
    Column("item_id", Text, nullable=False, comment="Its id in that collection."),
    Column("acquired_at", DateTime(timezone=True), comment="When it was taken; NULL if unknown."),
    Column("gsd_m", Double, nullable=False, comment="Ground sampling distance in m."),
    Column("bands", ARRAY(Text), nullable=False, comment="Common names of its bands."),
    Column("crs", Text, nullable=False, comment="Coordinate reference system of its rasters."),
    Column("footprint", geometry("MULTIPOLYGON"), comment="Ground it covers, EPSG:4326."),
    Column("cloud_cover", Double, comment="Cloud cover the provider states, in %."),
    Column("hrefs", JSONB, nullable=False, comment="Where each band was read from."),
    Column("checksum", Text, nullable=False, comment="Checksum of its files; empty if unknown."),
    Column("licence", Text, nullable=False, comment="Licence of the scene."),
    UniqueConstraint("scene_id", "provider", "checksum"),
    between("gsd_m", 0),
    between("cloud_cover", 0, 100),
    gist("scene", "footprint"),
    comment="Acquisitions that runs have looked at.",
)

run = Table(
    "run",
    metadata,
    Column("id", Uuid, primary_key=True, comment="Every product names the run it came from."),
    event_id(),
    Column("flow", Text, nullable=False, comment="Flow or command that ran."),
    Column("flow_run_id", Text, comment="The run's id in Prefect, if it has one."),
    Column("digest", Text, nullable=False, comment="SHA-256 over inputs, parameters and weights."),
    Column("inputs", JSONB, nullable=False, comment="Each input and its checksum."),
    Column("parameters", JSONB, nullable=False, comment="Parameters of the run."),
    Column("weights_digest", Text, nullable=False, comment="SHA-256 of the weights; may be empty."),
    Column("code_commit", Text, nullable=False, comment="Commit or version of the code."),
    now("started_at", "When it began."),
    Column("ended_at", DateTime(timezone=True), comment="When it ended; NULL while it runs."),
    Column(
        "outcome", Text, comment="succeeded, succeeded_empty, failed or cancelled; NULL if open."
    ),
    Column("error", Text, comment="Why it failed or was cancelled."),
    Column("cause", Text, comment="The kind of error it failed with, such as NoImageryError."),
    one_of("outcome", Outcome),
    CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ended"),
    CheckConstraint("outcome <> 'failed' OR error IS NOT NULL", name="reason"),
    CheckConstraint("ended_at >= started_at", name="order"),
    Index("run_event_id_idx", "event_id"),
    comment="What was run, from which inputs, with which parameters, code and weights.",
)

run_scene = Table(
    "run_scene",
    metadata,
    Column("run_id", ForeignKey("scarp.run.id"), primary_key=True, comment="The run."),
    Column("scene_key", ForeignKey("scarp.scene.id"), primary_key=True, comment="The scene."),
    Column("used", Boolean, nullable=False, comment="Whether the run used it."),
    Column(
        "clear_fraction",
        Double,
        comment="Part of the AOI it shows clear, 0-1; NULL where nobody looked at its pixels.",
    ),
    Column("reason", Text, nullable=False, comment="Why it was used or refused."),
    between("clear_fraction", 0, 1),
    Index("run_scene_scene_key_idx", "scene_key"),
    comment="Scenes a run judged, used and refused.",
)

inventory = Table(
    "inventory",
    metadata,
    Column("id", Uuid, primary_key=True, comment="Identity of the inventory."),
    event_id(),
    Column("version", Integer, nullable=False, comment="1, 2, 3 ... within the event."),
    Column("run_id", ForeignKey("scarp.run.id"), nullable=False, comment="Run that made it."),
    Column("digest", Text, nullable=False, comment="SHA-256 of what it was made from."),
    Column("method", Text, nullable=False, comment="ldm-net@sha256..., imported or manual."),
    Column("threshold", Double, comment="Score from which ground counts as landslide, 0-1."),
    Column(
        "minimum_mapping_unit_m2", Double, nullable=False, comment="Smallest landslide kept, m²."
    ),
    Column(
        "status",
        Text,
        nullable=False,
        server_default="draft",
        comment="draft, published or superseded; immutable once published.",
    ),
    Column(
        "observed",
        geometry("MULTIPOLYGON"),
        nullable=False,
        comment="Ground seen clear, EPSG:4326; outside it nothing is known.",
    ),
    Column(
        "observed_km2",
        Double,
        nullable=False,
        comment="Geodesic area of the ground seen clear, km².",
    ),
    Column("scene_ids", ARRAY(Text), nullable=False, comment="Scenes it was mapped from."),
    Column(
        "landslide_count",
        Integer,
        nullable=False,
        comment="Number of landslides, without those screened; 0 is valid.",
    ),
    Column("area_m2", Double, nullable=False, comment="Sum of the landslides' areas in m²."),
    Column(
        "screens",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="What was screened: list of {screen, asked, set_aside, not_run}.",
    ),
    Column("doubts", JSONB, nullable=False, comment="Reservations: list of {code, text}."),
    Column("licence", Text, nullable=False, comment="Licence of the inventory; may be empty."),
    Column("attribution", Text, nullable=False, comment="Whom to credit; may be empty."),
    now("created_at", "When it was stored."),
    Column("published_at", DateTime(timezone=True), comment="When it was published."),
    Column("superseded_at", DateTime(timezone=True), comment="When a newer one replaced it."),
    UniqueConstraint("event_id", "version"),
    UniqueConstraint("event_id", "digest"),
    one_of("status", InventoryStatus),
    valid("observed"),
    CheckConstraint("version > 0", name="version"),
    CheckConstraint("landslide_count >= 0", name="landslide_count"),
    between("threshold", 0, 1),
    between("minimum_mapping_unit_m2", 0),
    between("observed_km2", 0),
    between("area_m2", 0),
    CheckConstraint("(status = 'draft') = (published_at IS NULL)", name="published_at"),
    CheckConstraint("(status = 'superseded') = (superseded_at IS NOT NULL)", name="superseded_at"),
    Index(
        "inventory_one_published_idx",
        "event_id",
        unique=True,
        postgresql_where=text("status = 'published'"),
    ),
    Index("inventory_run_id_idx", "run_id"),
    gist("inventory", "observed"),
    comment="Versions of each event's landslide inventory.",
)

landslide = Table(
    "landslide",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Identity."),
    _inventory_id(),
    Column("number", Integer, nullable=False, comment="1, 2, 3 ... within the inventory."),
    Column("kind", Text, nullable=False, comment="landslide (whole), scar (source) or deposit."),
    Column("geom", geometry("MULTIPOLYGON"), nullable=False, comment="Outline, EPSG:4326."),
    Column("area_m2", Double, nullable=False, comment="Geodesic area in m²."),
    Column("perimeter_m", Double, nullable=False, comment="Geodesic perimeter in m."),
    Column("length_m", Double, comment="Horizontal extent along length_axis, m."),
    Column("width_m", Double, comment="Horizontal extent across length_axis, m."),
    Column(
        "length_axis",
        Text,
        comment="downslope (along aspect_deg), or longest: long side of the smallest rectangle.",
    ),
    Column("elevation_min_m", Double, comment="Lowest elevation in m."),
    Column("elevation_mean_m", Double, comment="Mean elevation in m."),
    Column("elevation_max_m", Double, comment="Highest elevation in m."),
    Column("drop_m", Double, comment="Highest minus lowest elevation, m."),
    Column("slope_mean_deg", Double, comment="Mean slope in degrees."),
    Column("slope_min_deg", Double, comment="Gentlest slope in degrees."),
    Column("slope_max_deg", Double, comment="Steepest slope in degrees."),
    Column("slope_std_deg", Double, comment="Standard deviation of slope in degrees."),
    Column("aspect_deg", Double, comment="Mean downslope direction, degrees from north."),
    Column(
        "aspect_concentration",
        Double,
        comment="Mean resultant length of aspect: 1 faces one way, 0 every way.",
    ),
    Column("h_over_l", Double, comment="Drop over length."),
    Column(
        "relief_share",
        Double,
        comment="Share of the outline whose elevation is known, 0-1; NULL without a DEM.",
    ),
    Column("score_mean", Double, comment="Mean score of the network inside the outline, 0-1."),
    Column("score_max", Double, comment="Highest score of the network inside the outline, 0-1."),
    Column("confidence", Double, comment="Confidence in the detection, 0-1."),
    Column("scene_id", Text, comment="Scene it was seen in."),
    Column("acquired_at", DateTime(timezone=True), comment="When that scene was taken."),
    Column("volume_m3", Double, comment="Volume estimated from the area, m³."),
    Column("volume_relation", Text, comment="Relation that estimated it."),
    Column("touches_scene_edge", Boolean, comment="Cut by the edge of what a scene covers."),
    Column("touches_cloud_edge", Boolean, comment="Cut by cloud or shadow."),
    Column("amalgamated", Boolean, comment="Part of a connected body that was split."),
    Column(
        "body",
        Integer,
        comment="Connected body of pixels it belongs to, shared where one was split; the union of "
        "its landslides is the body.",
    ),
    Column("screened_by", Text, comment="Screen that set it aside; NULL where none did."),
    Column("screen_reason", Text, comment="Why that screen set it aside."),
    Column(
        "review_state",
        Text,
        nullable=False,
        server_default="unreviewed",
        comment="unreviewed, confirmed, rejected or edited.",
    ),
    Column("reviewed_by", Text, comment="Who reviewed it."),
    Column("reviewed_at", DateTime(timezone=True), comment="When it was reviewed."),
    UniqueConstraint("inventory_id", "number"),
    one_of("kind", LandslideKind),
    one_of("review_state", ReviewState),
    one_of("length_axis", LengthAxis),
    valid("geom"),
    CheckConstraint("area_m2 > 0 AND area_m2 < 'Infinity'", name="area_m2"),
    *(between(name, 0) for name in ("perimeter_m", "length_m", "width_m", "drop_m", "h_over_l")),
    between("volume_m3", 0),
    *(between(f"slope_{of}_deg", 0, 90) for of in ("mean", "min", "max")),
    between("slope_std_deg", 0),
    between("aspect_concentration", 0, 1),
    between("relief_share", 0, 1),
    between("aspect_deg", 0, 360),
    between("score_mean", 0, 1),
    between("score_max", 0, 1),
    between("confidence", 0, 1),
    CheckConstraint("elevation_min_m <= elevation_max_m", name="elevation"),
    CheckConstraint("(review_state = 'unreviewed') = (reviewed_at IS NULL)", name="reviewed_at"),
    CheckConstraint("(screened_by IS NULL) = (screen_reason IS NULL)", name="screened"),
    gist("landslide", "geom"),
    comment="Landslides of every inventory version.",
)

review = Table(
    "review",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of reviews."),
    _inventory_id(),
    Column("action", Text, nullable=False, comment="What the reviewer did."),
    Column(
        "numbers",
        ARRAY(Integer),
        nullable=False,
        comment="Landslides it changed or is about, new ones last.",
    ),
    Column("reviewer", Text, nullable=False, comment="Who did it."),
    Column("comment", Text, nullable=False, comment="What the reviewer said; may be empty."),
    Column("undoes", _review_id(), comment="The review that it undid."),
    now("reviewed_at", "When it was done."),
    UniqueConstraint("undoes"),
    one_of("action", ReviewAction),
    CheckConstraint("btrim(reviewer) <> ''", name="reviewer"),
    CheckConstraint("(action = 'undo') = (undoes IS NOT NULL)", name="undoes"),
    Index("review_inventory_id_idx", "inventory_id"),
    comment="Every review of an inventory's landslides; nothing is overwritten here.",
)

review_outcome = Table(
    "review_outcome",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Identity."),
    Column("review_id", _review_id(), nullable=False, comment="Its review."),
    _inventory_id(),
    Column("number", Integer, nullable=False, comment="The landslide, by number."),
    Column(
        "state",
        Text,
        comment="confirmed, rejected, edited (drawn) or replaced; NULL is as it was stored.",
    ),
    Column("made_from", ARRAY(Integer), nullable=False, comment="Landslides it was drawn from."),
    Column("current", Boolean, nullable=False, comment="Newest outcome for its landslide."),
    Column(
        "given_by",
        _review_id(),
        comment="Review that gave this outcome first, which an undo brings back; NULL as stored.",
    ),
    Column("kind", Text, comment="landslide (whole), scar (source) or deposit; NULL if not drawn."),
    Column("geom", geometry("MULTIPOLYGON"), comment="Outline a reviewer drew, EPSG:4326."),
    Column("area_m2", Double, comment="Geodesic area in m²."),
    Column("perimeter_m", Double, comment="Geodesic perimeter in m."),
    Column("length_m", Double, comment="Horizontal extent along length_axis, m."),
    Column("width_m", Double, comment="Horizontal extent across length_axis, m."),
    Column("length_axis", Text, comment="longest: long side of the smallest rectangle."),
    Column("volume_m3", Double, comment="Volume estimated from the area, m³."),
    Column("volume_relation", Text, comment="Relation that estimated it."),
    Column("scene_id", Text, comment="Scene it was seen in."),
    Column("acquired_at", DateTime(timezone=True), comment="When that scene was taken."),
    UniqueConstraint("review_id", "number"),
    UniqueConstraint("inventory_id", "number", "review_id"),
    one_of("state", ReviewOutcome),
    one_of("kind", LandslideKind),
    one_of("length_axis", LengthAxis),
    valid("geom"),
    CheckConstraint("(geom IS NULL) = (area_m2 IS NULL)", name="drawn"),
    CheckConstraint("geom IS NULL OR state IS NOT NULL", name="drawn_state"),
    CheckConstraint("area_m2 > 0 AND area_m2 < 'Infinity'", name="area_m2"),
    Index(
        "review_outcome_current_idx",
        "inventory_id",
        "number",
        unique=True,
        postgresql_where=text("current"),
    ),
    Index(
        "review_outcome_geom_idx",
        "geom",
        postgresql_using="gist",
        postgresql_where=text("current AND geom IS NOT NULL"),
    ),
    comment="What became of each landslide by each review.",
)
