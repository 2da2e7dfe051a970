"""Susceptibility maps in the store: what they were made from and how well they predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, insert, select, text, update

from tasks.susceptibility.tables import susceptibility
from tasks.types import Doubt, Interval


@dataclass(frozen=True)
class StoredSusceptibility:
    """One susceptibility map: the raster lies at `path`, everything else in the store."""

    id: UUID
    event_id: str
    inventory_id: UUID
    run_id: UUID
    digest: str
    path: Path
    factors: tuple[str, ...]
    sampling: dict[str, Any]
    model: str
    auc_spatial: Interval
    auc_random: Interval
    roc: dict[str, Any]
    importance: dict[str, Any]
    doubts: tuple[Doubt, ...]
    current: bool
    created_at: datetime


def find_susceptibility(
    connection: Connection, event_id: str, digest: str
) -> StoredSusceptibility | None:
    """The map of an event made from these very inputs, if it is stored."""
    mine = (susceptibility.c.event_id == event_id) & (susceptibility.c.digest == digest)
    row = connection.execute(select(susceptibility).where(mine)).one_or_none()
    return _read(row) if row else None


def store_susceptibility(
    connection: Connection,
    *,
    event_id: str,
    inventory_id: UUID,
    run_id: UUID,
    digest: str,
    path: Path,
    factors: Sequence[str],
    sampling: Mapping[str, Any],
    model: str,
    auc_spatial: Interval,
    auc_random: Interval,
    roc: Mapping[str, Any],
    importance: Mapping[str, Any],
    doubts: Sequence[Doubt],
) -> StoredSusceptibility:
    """Store a map as the current one of its inventory; the same digest again changes nothing.

    Args:
        connection: in a transaction that the caller commits.
        event_id: the event.
        inventory_id: the inventory it was fitted to.
        run_id: the run that made it.
        digest: SHA-256 over everything it was made from.
        path: the raster, 0-1.
        factors: names of the conditioning factors.
        sampling: how presence and absence were drawn.
        model: the model and its parameters, in words.
        auc_spatial: AUC of spatial cross-validation, the headline.
        auc_random: AUC of random cross-validation.
        roc: points of the ROC curves, as JSON holds them.
        importance: importance of each factor.
        doubts: reservations to keep with it.
    """
    key = {"key": f"scarp susceptibility {event_id}"}
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
    stored = find_susceptibility(connection, event_id, digest)
    if stored is not None:
        return stored
    siblings = susceptibility.c.inventory_id == inventory_id
    connection.execute(update(susceptibility).where(siblings).values(current=False))
    values = {
        "id": uuid4(),
        "event_id": event_id,
        "inventory_id": inventory_id,
        "run_id": run_id,
        "digest": digest,
        "path": str(path),
        "factors": list(factors),
        "sampling": dict(sampling),
        "model": model,
        **_interval("auc_spatial", auc_spatial),
        **_interval("auc_random", auc_random),
        "roc": dict(roc),
        "importance": dict(importance),
        "doubts": [asdict(doubt) for doubt in doubts],
        "current": True,
    }
    row = connection.execute(insert(susceptibility).values(**values).returning(susceptibility))
    return _read(row.one())


def _interval(name: str, auc: Interval) -> dict[str, float]:
    return {
        name: float(auc.value),
        f"{name}_low": float(auc.low),
        f"{name}_high": float(auc.high),
    }


def _read(row: Row[Any]) -> StoredSusceptibility:
    return StoredSusceptibility(
        id=row.id,
        event_id=row.event_id,
        inventory_id=row.inventory_id,
        run_id=row.run_id,
        digest=row.digest,
        path=Path(row.path),
        factors=tuple(row.factors),
        sampling=row.sampling,
        model=row.model,
        auc_spatial=Interval(row.auc_spatial, row.auc_spatial_low, row.auc_spatial_high),
        auc_random=Interval(row.auc_random, row.auc_random_low, row.auc_random_high),
        roc=row.roc,
        importance=row.importance,
        doubts=tuple(Doubt(**doubt) for doubt in row.doubts),
        current=row.current,
        created_at=row.created_at.astimezone(UTC),
    )
