"""Susceptibility maps in the store: what they were made from and how well they predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, insert, select, text, update

from tasks.susceptibility.classes import ClassRow
from tasks.susceptibility.tables import MapKind, susceptibility
from tasks.types import Doubt, Interval


@dataclass(frozen=True, kw_only=True)
class Susceptibility:
    """One susceptibility map: its rasters lie on disk, everything else in the store.

    Attributes:
        event_id: the event.
        inventory_id: the inventory it was fitted to; None if it was carried over.
        run_id: the run that made it.
        digest: SHA-256 over everything it was made from.
        path: the raster, 0-1.
        factors: names of the conditioning factors.
        sampling: how presence and absence were drawn.
        model: the model and its parameters, in words.
        auc_spatial: AUC of spatial cross-validation, the headline.
        auc_random: AUC of random cross-validation.
        roc: points of the ROC curves, as JSON holds them.
        importance: loss of spatial AUC without each factor, the largest first.
        doubts: reservations to keep with it.
        kind: fitted to the event's own landslides, or carried over from other events.
        learned_from: the events a carried map was learned from.
        settings: what was asked for, from which it can be made again.
        metrics: everything else that was measured, as JSON holds it.
        classes: what lies in each class.
        factor_table: each factor with its kind, unit and source.
        absent_factors: factors that were not given or could not be used.
        compared: maps made before this inventory, scored against it.
        classes_path: raster of the classes.
        uncertainty_path: raster of the members' spread, if the model has members.
        applicability_path: raster of where the model applies.
        applicable_share: share of the mapped ground where it does, 0-1.
    """

    event_id: str
    inventory_id: UUID | None
    run_id: UUID
    digest: str
    path: Path
    factors: tuple[str, ...]
    sampling: Mapping[str, Any]
    model: str
    auc_spatial: Interval
    auc_random: Interval
    roc: Mapping[str, Any]
    importance: Mapping[str, Interval]
    doubts: tuple[Doubt, ...] = ()
    kind: MapKind = "fitted"
    learned_from: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[ClassRow, ...] = ()
    factor_table: tuple[Mapping[str, Any], ...] = ()
    absent_factors: tuple[str, ...] = ()
    compared: tuple[Mapping[str, Any], ...] = ()
    classes_path: Path | None = None
    uncertainty_path: Path | None = None
    applicability_path: Path | None = None
    applicable_share: float | None = None

    @property
    def gap(self) -> float:
        """Random minus spatial AUC: what the first flatters."""
        return self.auc_random.value - self.auc_spatial.value

    @property
    def learned_here(self) -> bool:
        """Whether the model learned from the landslides of its event; `physical` learns nothing."""
        return self.kind == "fitted" and self.settings.get("model") != "physical"

    @property
    def rasters(self) -> tuple[Path, ...]:
        """Every raster it is made of."""
        others = (self.classes_path, self.uncertainty_path, self.applicability_path)
        return (self.path, *(path for path in others if path))


@dataclass(frozen=True, kw_only=True)
class StoredSusceptibility(Susceptibility):
    """A map as the store holds it; `current` is the newest of its inventory."""

    id: UUID
    current: bool
    created_at: datetime


def find_susceptibility(
    connection: Connection, event_id: str, digest: str
) -> StoredSusceptibility | None:
    """The map of an event made from these very inputs, if it is stored."""
    mine = (susceptibility.c.event_id == event_id) & (susceptibility.c.digest == digest)
    row = connection.execute(select(susceptibility).where(mine)).one_or_none()
    return _read(row) if row else None


def list_susceptibility(
    connection: Connection, event_id: str, kind: MapKind | None = None
) -> list[StoredSusceptibility]:
    """The maps of an event, the latest first."""
    mine = susceptibility.c.event_id == event_id
    if kind:
        mine &= susceptibility.c.kind == kind
    latest = (susceptibility.c.created_at.desc(), susceptibility.c.id)
    query = select(susceptibility).where(mine).order_by(*latest)
    return [_read(row) for row in connection.execute(query)]


def store_susceptibility(connection: Connection, made: Susceptibility) -> StoredSusceptibility:
    """Store a map as the current one of its inventory; the same digest again changes nothing.

    Args:
        connection: in a transaction that the caller commits.
        made: the map, its rasters written.
    """
    key = {"key": f"scarp susceptibility {made.event_id}"}
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
    stored = find_susceptibility(connection, made.event_id, made.digest)
    if stored is not None:
        return stored
    siblings = (susceptibility.c.event_id == made.event_id) & (
        susceptibility.c.inventory_id.is_not_distinct_from(made.inventory_id)
    )
    connection.execute(update(susceptibility).where(siblings).values(current=False))
    values = {name.name: _plain(getattr(made, name.name)) for name in fields(made)}
    for name in ("auc_spatial", "auc_random"):
        auc = values.pop(name)
        values |= {name: auc["value"], f"{name}_low": auc["low"], f"{name}_high": auc["high"]}
    row = connection.execute(
        insert(susceptibility).values(id=uuid4(), current=True, **values).returning(susceptibility)
    )
    return _read(row.one())


def _plain(value: Any) -> Any:
    """A field as its column holds it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Interval):
        return {end: float(number) for end, number in asdict(value).items()}
    if isinstance(value, Doubt | ClassRow):
        return asdict(value)
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value


def _read(row: Row[Any]) -> StoredSusceptibility:
    paths = ("path", "classes_path", "uncertainty_path", "applicability_path")
    lists = ("factors", "learned_from", "factor_table", "absent_factors", "compared")
    same = ("sampling", "model", "roc", "kind", "settings", "metrics", "applicable_share")
    found = row._mapping
    values: dict[str, Any] = {
        name: found[name]
        for name in ("id", "event_id", "inventory_id", "run_id", "digest", "current", *same)
    }
    values |= {name: found[name] and Path(found[name]) for name in paths}
    values |= {name: tuple(found[name]) for name in lists}
    for auc in ("auc_spatial", "auc_random"):
        values[auc] = Interval(found[auc], found[f"{auc}_low"], found[f"{auc}_high"])
    losses = {name: Interval(**loss) for name, loss in found["importance"].items()}
    return StoredSusceptibility(
        **values,
        # JSONB keeps no order
        importance=dict(sorted(losses.items(), key=lambda loss: -loss[1].value)),
        doubts=tuple(Doubt(**doubt) for doubt in found["doubts"]),
        classes=tuple(ClassRow(**one) for one in found["classes"]),
        created_at=found["created_at"].astimezone(UTC),
    )
