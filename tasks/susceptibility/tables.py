"""The table of susceptibility maps: what each was made from, and how well it predicts."""

from typing import Literal

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tasks.inventory.tables import between, event_id, metadata, now, one_of

MapKind = Literal["fitted", "carried"]

susceptibility = Table(
    "susceptibility",
    metadata,
    Column("id", Uuid, primary_key=True, comment="Identity of the map."),
    event_id(),
    Column(
        "inventory_id",
        ForeignKey("scarp.inventory.id"),
        comment="Inventory it was fitted to; NULL if it was carried over from other events.",
    ),
    Column("run_id", ForeignKey("scarp.run.id"), nullable=False, comment="Run that made it."),
    Column("digest", Text, nullable=False, comment="SHA-256 of what it was made from."),
    Column("path", Text, nullable=False, comment="The raster, 0-1, nodata where unknown."),
    Column("factors", ARRAY(Text), nullable=False, comment="Conditioning factors."),
    Column("sampling", JSONB, nullable=False, comment="How presence and absence were drawn."),
    Column("model", Text, nullable=False, comment="The model and its parameters."),
    Column("auc_spatial", Double, nullable=False, comment="AUC, spatial cross-validation."),
    Column("auc_spatial_low", Double, nullable=False, comment="Lower end of its 95 % interval."),
    Column("auc_spatial_high", Double, nullable=False, comment="Upper end of its 95 % interval."),
    Column("auc_random", Double, nullable=False, comment="AUC, random cross-validation."),
    Column("auc_random_low", Double, nullable=False, comment="Lower end of its 95 % interval."),
    Column("auc_random_high", Double, nullable=False, comment="Upper end of its 95 % interval."),
    Column("roc", JSONB, nullable=False, comment="Points of the ROC curves."),
    Column("importance", JSONB, nullable=False, comment="Importance of each factor."),
    Column("doubts", JSONB, nullable=False, comment="Reservations: list of {code, text}."),
    Column("current", Boolean, nullable=False, comment="Newest map of its inventory."),
    now("created_at", "When it was stored."),
    Column(
        "kind",
        Text,
        nullable=False,
        server_default="fitted",
        comment="fitted to the event's own landslides, or carried over from other events.",
    ),
    Column(
        "learned_from",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="Events a carried map was learned from.",
    ),
    Column(
        "settings",
        JSONB,
        nullable=False,
        server_default="{}",
        comment="What was asked for, from which it can be made again; empty if not recorded.",
    ),
    Column(
        "metrics",
        JSONB,
        nullable=False,
        server_default="{}",
        comment="Folds, precision and recall, Brier score, calibration, success and prediction "
        "rates, partial dependence, collinearity.",
    ),
    Column(
        "classes",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="Each class: bounds, area, share of area and of landslides, density.",
    ),
    Column(
        "factor_table",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="Each factor: kind, unit, source, names of its classes.",
    ),
    Column(
        "absent_factors",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="Factors that were not given, or that were given and could not be used.",
    ),
    Column(
        "compared",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="Maps made before this inventory, scored against it: list of "
        "{what, digest, auc, cells}.",
    ),
    Column("classes_path", Text, comment="Raster of the classes, 1 least; NULL if not recorded."),
    Column("uncertainty_path", Text, comment="Raster of the spread of the model's members, 0-1."),
    Column(
        "applicability_path",
        Text,
        comment="Raster of the dissimilarity index; its second band is 1 where the map applies.",
    ),
    Column(
        "applicable_share",
        Double,
        comment="Share of the mapped ground inside the area of applicability, 0-1.",
    ),
    UniqueConstraint("event_id", "digest"),
    *(
        CheckConstraint(
            f"{auc} BETWEEN 0 AND 1 AND 0 <= {auc}_low AND {auc}_low <= {auc}_high "
            f"AND {auc}_high <= 1",
            name=auc,
        )
        for auc in ("auc_spatial", "auc_random")
    ),
    one_of("kind", MapKind),
    between("applicable_share", 0, 1),
    CheckConstraint("(kind = 'fitted') = (inventory_id IS NOT NULL)", name="inventory_id"),
    Index(
        "susceptibility_one_current_idx",
        "event_id",
        "inventory_id",
        unique=True,
        postgresql_where=text("current"),
    ),
    Index("susceptibility_inventory_id_idx", "inventory_id"),
    Index("susceptibility_run_id_idx", "run_id"),
    comment="Susceptibility maps and how well they predict.",
)
