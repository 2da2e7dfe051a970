"""The store: its tables, the guards of what is published, and the analysts' views."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SQL = Path(__file__).parent
VIEWS = (
    "runs",
    "susceptibility",
    "observed_area",
    "landslides",
    "landslides_all",
    "inventories",
    "events",
)
TABLES = (
    "susceptibility",
    "landslide",
    "inventory",
    "run_scene",
    "run",
    "scene",
    "aoi",
    "event_history",
    "event",
)
GUARDS = ("inventory", "landslides", "measures", "truncate")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "event",
        sa.Column(
            "id", sa.Text(), nullable=False, comment="ComCat or GDACS id, or the operator's slug."
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="earthquake or rainfall."),
        sa.Column("title", sa.Text(), nullable=False, comment="What people call the event."),
        sa.Column(
            "occurred_at", sa.DateTime(timezone=True), nullable=False, comment="Origin time, UTC."
        ),
        sa.Column(
            "point",
            Geometry("POINT", srid=4326, spatial_index=False),
            nullable=False,
            comment="Epicentre, or centre of the rain, EPSG:4326.",
        ),
        sa.Column("magnitude", sa.Double(), nullable=True, comment="Magnitude of an earthquake."),
        sa.Column(
            "magnitude_type",
            sa.Text(),
            nullable=True,
            comment="Scale of the magnitude, such as mww.",
        ),
        sa.Column(
            "depth_km",
            sa.Double(),
            nullable=True,
            comment="Depth of the hypocentre in km; negative above sea level.",
        ),
        sa.Column(
            "rainfall_mm",
            sa.Double(),
            nullable=True,
            comment="Rain that fell, in mm; NULL is unknown, not 0.",
        ),
        sa.Column("duration_h", sa.Double(), nullable=True, comment="Hours in which it fell."),
        sa.Column("source", sa.Text(), nullable=False, comment="Who described the event."),
        sa.Column(
            "source_version", sa.Text(), nullable=False, comment="Version of that description."
        ),
        sa.Column(
            "alternate_ids",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="Other ids of the same event.",
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default="active",
            nullable=False,
            comment="active, held or cancelled.",
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When Scarp first heard of the event.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When Scarp last changed the event.",
        ),
        sa.CheckConstraint(
            "duration_h >= 0 AND duration_h < 'Infinity'", name=op.f("event_duration_h_check")
        ),
        sa.CheckConstraint(
            "id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'", name=op.f("event_id_check")
        ),
        sa.CheckConstraint("kind IN ('earthquake', 'rainfall')", name=op.f("event_kind_check")),
        sa.CheckConstraint(
            "rainfall_mm >= 0 AND rainfall_mm < 'Infinity'", name=op.f("event_rainfall_mm_check")
        ),
        sa.CheckConstraint(
            "state IN ('active', 'held', 'cancelled')", name=op.f("event_state_check")
        ),
        sa.CheckConstraint(
            "depth_km >= -20 AND depth_km <= 1000", name=op.f("event_depth_km_check")
        ),
        sa.CheckConstraint(
            "magnitude >= -2 AND magnitude <= 11", name=op.f("event_magnitude_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("event_pkey")),
        schema="scarp",
        comment="Earthquakes and rainfall events, as last described.",
    )
    op.create_index(
        "event_point_idx", "event", ["point"], unique=False, schema="scarp", postgresql_using="gist"
    )
    op.create_table(
        "scene",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Surrogate key.",
        ),
        sa.Column(
            "scene_id", sa.Text(), nullable=False, comment="The scene's id, as products name it."
        ),
        sa.Column("provider", sa.Text(), nullable=False, comment="Who serves the scene."),
        sa.Column("collection", sa.Text(), nullable=False, comment="Collection it belongs to."),
        sa.Column("item_id", sa.Text(), nullable=False, comment="Its id in that collection."),
        sa.Column(
            "acquired_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was taken; NULL if unknown.",
        ),
        sa.Column("gsd_m", sa.Double(), nullable=False, comment="Ground sampling distance in m."),
        sa.Column(
            "bands", sa.ARRAY(sa.Text()), nullable=False, comment="Common names of its bands."
        ),
        sa.Column(
            "crs", sa.Text(), nullable=False, comment="Coordinate reference system of its rasters."
        ),
        sa.Column(
            "footprint",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            nullable=True,
            comment="Ground it covers, EPSG:4326.",
        ),
        sa.Column(
            "cloud_cover",
            sa.Double(),
            nullable=True,
            comment="Cloud cover the provider states, in %.",
        ),
        sa.Column(
            "hrefs",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Where each band was read from.",
        ),
        sa.Column(
            "checksum",
            sa.Text(),
            nullable=False,
            comment="Checksum of its files; empty if unknown.",
        ),
        sa.Column("licence", sa.Text(), nullable=False, comment="Licence of the scene."),
        sa.CheckConstraint("gsd_m >= 0 AND gsd_m < 'Infinity'", name=op.f("scene_gsd_m_check")),
        sa.CheckConstraint(
            "cloud_cover >= 0 AND cloud_cover <= 100", name=op.f("scene_cloud_cover_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("scene_pkey")),
        sa.UniqueConstraint(
            "scene_id", "provider", "checksum", name=op.f("scene_scene_id_provider_checksum_key")
        ),
        schema="scarp",
        comment="Acquisitions that runs have looked at.",
    )
    op.create_index(
        "scene_footprint_idx",
        "scene",
        ["footprint"],
        unique=False,
        schema="scarp",
        postgresql_using="gist",
    )
    op.create_table(
        "aoi",
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column("how", sa.Text(), nullable=False, comment="given, or the relation that drew it."),
        sa.Column(
            "geom",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            nullable=False,
            comment="Where to look, EPSG:4326.",
        ),
        sa.Column("area_km2", sa.Double(), nullable=False, comment="Geodesic area in km²."),
        sa.CheckConstraint(
            "area_km2 >= 0 AND area_km2 < 'Infinity'", name=op.f("aoi_area_km2_check")
        ),
        sa.CheckConstraint("ST_IsValid(geom)", name=op.f("aoi_geom_valid_check")),
        sa.ForeignKeyConstraint(["event_id"], ["scarp.event.id"], name=op.f("aoi_event_id_fkey")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("aoi_pkey")),
        schema="scarp",
        comment="Area of interest of each event.",
    )
    op.create_index(
        "aoi_geom_idx", "aoi", ["geom"], unique=False, schema="scarp", postgresql_using="gist"
    )
    op.create_table(
        "event_history",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of changes.",
        ),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column("change", sa.Text(), nullable=False, comment="What was done to the event."),
        sa.Column(
            "record",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The event as it stood after the change.",
        ),
        sa.Column(
            "aoi_how", sa.Text(), nullable=False, comment="How its area of interest was made."
        ),
        sa.Column(
            "aoi",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            nullable=False,
            comment="Its area of interest after the change, EPSG:4326.",
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the change was made.",
        ),
        sa.CheckConstraint(
            "change IN ('registered', 'updated', 'held', 'released', 'cancelled')",
            name=op.f("event_history_change_check"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("event_history_event_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("event_history_pkey")),
        schema="scarp",
        comment="Every change of every event; nothing is overwritten here.",
    )
    op.create_index(
        "event_history_event_id_idx", "event_history", ["event_id"], unique=False, schema="scarp"
    )
    op.create_table(
        "run",
        sa.Column(
            "id", sa.Uuid(), nullable=False, comment="Every product names the run it came from."
        ),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column("flow", sa.Text(), nullable=False, comment="Flow or command that ran."),
        sa.Column(
            "flow_run_id",
            sa.Text(),
            nullable=True,
            comment="The run's id in Prefect, if it has one.",
        ),
        sa.Column(
            "digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 over inputs, parameters and weights.",
        ),
        sa.Column(
            "inputs",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Each input and its checksum.",
        ),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Parameters of the run.",
        ),
        sa.Column(
            "weights_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the weights; may be empty.",
        ),
        sa.Column(
            "code_commit", sa.Text(), nullable=False, comment="Commit or version of the code."
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it began.",
        ),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it ended; NULL while it runs.",
        ),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="succeeded, succeeded_empty, failed or cancelled; NULL if open.",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="Why it failed or was cancelled."),
        sa.CheckConstraint(
            "outcome <> 'failed' OR error IS NOT NULL", name=op.f("run_reason_check")
        ),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'succeeded_empty', 'failed', 'cancelled')",
            name=op.f("run_outcome_check"),
        ),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name=op.f("run_ended_check")),
        sa.CheckConstraint("ended_at >= started_at", name=op.f("run_order_check")),
        sa.ForeignKeyConstraint(["event_id"], ["scarp.event.id"], name=op.f("run_event_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("run_pkey")),
        schema="scarp",
        comment="What was run, from which inputs, with which parameters, code and weights.",
    )
    op.create_index("run_event_id_idx", "run", ["event_id"], unique=False, schema="scarp")
    op.create_table(
        "inventory",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Identity of the inventory."),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column("version", sa.Integer(), nullable=False, comment="1, 2, 3 ... within the event."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Run that made it."),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of what it was made from."),
        sa.Column(
            "method", sa.Text(), nullable=False, comment="ldm-net@sha256..., imported or manual."
        ),
        sa.Column(
            "threshold",
            sa.Double(),
            nullable=True,
            comment="Score from which ground counts as landslide, 0-1.",
        ),
        sa.Column(
            "minimum_mapping_unit_m2",
            sa.Double(),
            nullable=False,
            comment="Smallest landslide kept, m².",
        ),
        sa.Column(
            "status",
            sa.Text(),
            server_default="draft",
            nullable=False,
            comment="draft, published or superseded; immutable once published.",
        ),
        sa.Column(
            "observed",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            nullable=False,
            comment="Ground seen clear, EPSG:4326; outside it nothing is known.",
        ),
        sa.Column(
            "observed_km2",
            sa.Double(),
            nullable=False,
            comment="Geodesic area of the ground seen clear, km².",
        ),
        sa.Column(
            "scene_ids", sa.ARRAY(sa.Text()), nullable=False, comment="Scenes it was mapped from."
        ),
        sa.Column(
            "landslide_count",
            sa.Integer(),
            nullable=False,
            comment="Number of landslides; 0 is valid.",
        ),
        sa.Column(
            "area_m2", sa.Double(), nullable=False, comment="Sum of the landslides' areas in m²."
        ),
        sa.Column(
            "doubts",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Reservations: list of {code, text}.",
        ),
        sa.Column(
            "licence", sa.Text(), nullable=False, comment="Licence of the inventory; may be empty."
        ),
        sa.Column(
            "attribution", sa.Text(), nullable=False, comment="Whom to credit; may be empty."
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was stored.",
        ),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was published.",
        ),
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a newer one replaced it.",
        ),
        sa.CheckConstraint(
            "(status = 'draft') = (published_at IS NULL)", name=op.f("inventory_published_at_check")
        ),
        sa.CheckConstraint(
            "(status = 'superseded') = (superseded_at IS NOT NULL)",
            name=op.f("inventory_superseded_at_check"),
        ),
        sa.CheckConstraint(
            "area_m2 >= 0 AND area_m2 < 'Infinity'", name=op.f("inventory_area_m2_check")
        ),
        sa.CheckConstraint(
            "minimum_mapping_unit_m2 >= 0 AND minimum_mapping_unit_m2 < 'Infinity'",
            name=op.f("inventory_minimum_mapping_unit_m2_check"),
        ),
        sa.CheckConstraint(
            "observed_km2 >= 0 AND observed_km2 < 'Infinity'",
            name=op.f("inventory_observed_km2_check"),
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'published', 'superseded')", name=op.f("inventory_status_check")
        ),
        sa.CheckConstraint("ST_IsValid(observed)", name=op.f("inventory_observed_valid_check")),
        sa.CheckConstraint("landslide_count >= 0", name=op.f("inventory_landslide_count_check")),
        sa.CheckConstraint(
            "threshold >= 0 AND threshold <= 1", name=op.f("inventory_threshold_check")
        ),
        sa.CheckConstraint("version > 0", name=op.f("inventory_version_check")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("inventory_event_id_fkey")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["scarp.run.id"], name=op.f("inventory_run_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("inventory_pkey")),
        sa.UniqueConstraint("event_id", "digest", name=op.f("inventory_event_id_digest_key")),
        sa.UniqueConstraint("event_id", "version", name=op.f("inventory_event_id_version_key")),
        schema="scarp",
        comment="Versions of each event's landslide inventory.",
    )
    op.create_index(
        "inventory_observed_idx",
        "inventory",
        ["observed"],
        unique=False,
        schema="scarp",
        postgresql_using="gist",
    )
    op.create_index(
        "inventory_one_published_idx",
        "inventory",
        ["event_id"],
        unique=True,
        schema="scarp",
        postgresql_where=sa.text("status = 'published'"),
    )
    op.create_index("inventory_run_id_idx", "inventory", ["run_id"], unique=False, schema="scarp")
    op.create_table(
        "run_scene",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("scene_key", sa.BigInteger(), nullable=False, comment="The scene."),
        sa.Column("used", sa.Boolean(), nullable=False, comment="Whether the run used it."),
        sa.Column(
            "clear_fraction",
            sa.Double(),
            nullable=False,
            comment="Part of the AOI it shows clear, 0-1.",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why it was used or refused."),
        sa.CheckConstraint(
            "clear_fraction >= 0 AND clear_fraction <= 1",
            name=op.f("run_scene_clear_fraction_check"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["scarp.run.id"], name=op.f("run_scene_run_id_fkey")),
        sa.ForeignKeyConstraint(
            ["scene_key"], ["scarp.scene.id"], name=op.f("run_scene_scene_key_fkey")
        ),
        sa.PrimaryKeyConstraint("run_id", "scene_key", name=op.f("run_scene_pkey")),
        schema="scarp",
        comment="Scenes a run judged, used and refused.",
    )
    op.create_index(
        "run_scene_scene_key_idx", "run_scene", ["scene_key"], unique=False, schema="scarp"
    )
    op.create_table(
        "landslide",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Identity."
        ),
        sa.Column("inventory_id", sa.Uuid(), nullable=False, comment="Inventory it belongs to."),
        sa.Column(
            "number", sa.Integer(), nullable=False, comment="1, 2, 3 ... within the inventory."
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="landslide (whole), scar (source) or deposit.",
        ),
        sa.Column(
            "geom",
            Geometry("MULTIPOLYGON", srid=4326, spatial_index=False),
            nullable=False,
            comment="Outline, EPSG:4326.",
        ),
        sa.Column(
            "centroid",
            Geometry("POINT", srid=4326, spatial_index=False),
            sa.Computed("ST_Centroid(geom)", persisted=True),
            nullable=True,
            comment="Centroid of the outline, EPSG:4326.",
        ),
        sa.Column("area_m2", sa.Double(), nullable=False, comment="Geodesic area in m²."),
        sa.Column("perimeter_m", sa.Double(), nullable=False, comment="Geodesic perimeter in m."),
        sa.Column(
            "length_m",
            sa.Double(),
            nullable=True,
            comment="Long side of the smallest enclosing rectangle, m.",
        ),
        sa.Column(
            "width_m",
            sa.Double(),
            nullable=True,
            comment="Short side of the smallest enclosing rectangle, m.",
        ),
        sa.Column("elevation_min_m", sa.Double(), nullable=True, comment="Lowest elevation in m."),
        sa.Column("elevation_mean_m", sa.Double(), nullable=True, comment="Mean elevation in m."),
        sa.Column("elevation_max_m", sa.Double(), nullable=True, comment="Highest elevation in m."),
        sa.Column(
            "drop_m", sa.Double(), nullable=True, comment="Highest minus lowest elevation, m."
        ),
        sa.Column("slope_mean_deg", sa.Double(), nullable=True, comment="Mean slope in degrees."),
        sa.Column(
            "aspect_deg",
            sa.Double(),
            nullable=True,
            comment="Mean downslope direction, degrees from north.",
        ),
        sa.Column("h_over_l", sa.Double(), nullable=True, comment="Drop over length."),
        sa.Column(
            "score_mean",
            sa.Double(),
            nullable=True,
            comment="Mean score of the network inside the outline, 0-1.",
        ),
        sa.Column(
            "confidence", sa.Double(), nullable=True, comment="Confidence in the detection, 0-1."
        ),
        sa.Column("scene_id", sa.Text(), nullable=True, comment="Scene it was seen in."),
        sa.Column(
            "acquired_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When that scene was taken.",
        ),
        sa.Column(
            "volume_m3", sa.Double(), nullable=True, comment="Volume estimated from the area, m³."
        ),
        sa.Column(
            "volume_relation", sa.Text(), nullable=True, comment="Relation that estimated it."
        ),
        sa.Column(
            "touches_scene_edge",
            sa.Boolean(),
            nullable=True,
            comment="Cut by the edge of what a scene covers.",
        ),
        sa.Column(
            "touches_cloud_edge", sa.Boolean(), nullable=True, comment="Cut by cloud or shadow."
        ),
        sa.Column(
            "amalgamated",
            sa.Boolean(),
            nullable=True,
            comment="Probably several landslides in one outline.",
        ),
        sa.Column(
            "review_state",
            sa.Text(),
            server_default="unreviewed",
            nullable=False,
            comment="unreviewed, confirmed, rejected or edited.",
        ),
        sa.Column("reviewed_by", sa.Text(), nullable=True, comment="Who reviewed it."),
        sa.Column(
            "reviewed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was reviewed.",
        ),
        sa.CheckConstraint(
            "(review_state = 'unreviewed') = (reviewed_at IS NULL)",
            name=op.f("landslide_reviewed_at_check"),
        ),
        sa.CheckConstraint(
            "area_m2 > 0 AND area_m2 < 'Infinity'", name=op.f("landslide_area_m2_check")
        ),
        sa.CheckConstraint(
            "drop_m >= 0 AND drop_m < 'Infinity'", name=op.f("landslide_drop_m_check")
        ),
        sa.CheckConstraint(
            "h_over_l >= 0 AND h_over_l < 'Infinity'", name=op.f("landslide_h_over_l_check")
        ),
        sa.CheckConstraint(
            "kind IN ('landslide', 'scar', 'deposit')", name=op.f("landslide_kind_check")
        ),
        sa.CheckConstraint(
            "length_m >= 0 AND length_m < 'Infinity'", name=op.f("landslide_length_m_check")
        ),
        sa.CheckConstraint(
            "perimeter_m >= 0 AND perimeter_m < 'Infinity'",
            name=op.f("landslide_perimeter_m_check"),
        ),
        sa.CheckConstraint(
            "review_state IN ('unreviewed', 'confirmed', 'rejected', 'edited')",
            name=op.f("landslide_review_state_check"),
        ),
        sa.CheckConstraint(
            "volume_m3 >= 0 AND volume_m3 < 'Infinity'", name=op.f("landslide_volume_m3_check")
        ),
        sa.CheckConstraint(
            "width_m >= 0 AND width_m < 'Infinity'", name=op.f("landslide_width_m_check")
        ),
        sa.CheckConstraint("ST_IsValid(geom)", name=op.f("landslide_geom_valid_check")),
        sa.CheckConstraint(
            "aspect_deg >= 0 AND aspect_deg <= 360", name=op.f("landslide_aspect_deg_check")
        ),
        sa.CheckConstraint(
            "confidence >= 0 AND confidence <= 1", name=op.f("landslide_confidence_check")
        ),
        sa.CheckConstraint(
            "elevation_min_m <= elevation_max_m", name=op.f("landslide_elevation_check")
        ),
        sa.CheckConstraint(
            "score_mean >= 0 AND score_mean <= 1", name=op.f("landslide_score_mean_check")
        ),
        sa.CheckConstraint(
            "slope_mean_deg >= 0 AND slope_mean_deg <= 90",
            name=op.f("landslide_slope_mean_deg_check"),
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"],
            ["scarp.inventory.id"],
            name=op.f("landslide_inventory_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("landslide_pkey")),
        sa.UniqueConstraint(
            "inventory_id", "number", name=op.f("landslide_inventory_id_number_key")
        ),
        schema="scarp",
        comment="Landslides of every inventory version.",
    )
    op.create_index(
        "landslide_geom_idx",
        "landslide",
        ["geom"],
        unique=False,
        schema="scarp",
        postgresql_using="gist",
    )
    op.create_table(
        "susceptibility",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Identity of the map."),
        sa.Column("event_id", sa.Text(), nullable=False, comment="Id of the event."),
        sa.Column("inventory_id", sa.Uuid(), nullable=False, comment="Inventory it was fitted to."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Run that made it."),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of what it was made from."),
        sa.Column(
            "path", sa.Text(), nullable=False, comment="The raster, 0-1, nodata where unknown."
        ),
        sa.Column("factors", sa.ARRAY(sa.Text()), nullable=False, comment="Conditioning factors."),
        sa.Column(
            "sampling",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="How presence and absence were drawn.",
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="The model and its parameters."),
        sa.Column(
            "auc_spatial", sa.Double(), nullable=False, comment="AUC, spatial cross-validation."
        ),
        sa.Column(
            "auc_spatial_low",
            sa.Double(),
            nullable=False,
            comment="Lower end of its 95 % interval.",
        ),
        sa.Column(
            "auc_spatial_high",
            sa.Double(),
            nullable=False,
            comment="Upper end of its 95 % interval.",
        ),
        sa.Column(
            "auc_random", sa.Double(), nullable=False, comment="AUC, random cross-validation."
        ),
        sa.Column(
            "auc_random_low", sa.Double(), nullable=False, comment="Lower end of its 95 % interval."
        ),
        sa.Column(
            "auc_random_high",
            sa.Double(),
            nullable=False,
            comment="Upper end of its 95 % interval.",
        ),
        sa.Column(
            "roc",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Points of the ROC curves.",
        ),
        sa.Column(
            "importance",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Importance of each factor.",
        ),
        sa.Column(
            "doubts",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Reservations: list of {code, text}.",
        ),
        sa.Column("current", sa.Boolean(), nullable=False, comment="Newest map of its inventory."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was stored.",
        ),
        sa.CheckConstraint(
            "auc_random BETWEEN 0 AND 1 AND 0 <= auc_random_low "
            "AND auc_random_low <= auc_random_high AND auc_random_high <= 1",
            name=op.f("susceptibility_auc_random_check"),
        ),
        sa.CheckConstraint(
            "auc_spatial BETWEEN 0 AND 1 AND 0 <= auc_spatial_low "
            "AND auc_spatial_low <= auc_spatial_high AND auc_spatial_high <= 1",
            name=op.f("susceptibility_auc_spatial_check"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["scarp.event.id"], name=op.f("susceptibility_event_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["scarp.inventory.id"], name=op.f("susceptibility_inventory_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["scarp.run.id"], name=op.f("susceptibility_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("susceptibility_pkey")),
        sa.UniqueConstraint("event_id", "digest", name=op.f("susceptibility_event_id_digest_key")),
        schema="scarp",
        comment="Susceptibility maps and how well they predict.",
    )
    op.create_index(
        "susceptibility_inventory_id_idx",
        "susceptibility",
        ["inventory_id"],
        unique=False,
        schema="scarp",
    )
    op.create_index(
        "susceptibility_one_current_idx",
        "susceptibility",
        ["event_id", "inventory_id"],
        unique=True,
        schema="scarp",
        postgresql_where=sa.text("current"),
    )
    op.create_index(
        "susceptibility_run_id_idx", "susceptibility", ["run_id"], unique=False, schema="scarp"
    )
    for script in ("0001_guards.sql", "0001_views.sql"):
        op.get_bind().exec_driver_sql(
            (SQL / script).read_text(), execution_options={"no_parameters": True}
        )


def downgrade() -> None:
    """Undo."""
    for view in VIEWS:
        op.execute(f"DROP VIEW scarp.v_{view}")
    for table in TABLES:
        op.drop_table(table, schema="scarp")
    for guard in GUARDS:
        op.execute(f"DROP FUNCTION scarp.guard_{guard}()")
