"""Evidence of change in the store, beside the inventories and never in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from geoalchemy2.shape import from_shape, to_shape
from shapely.geometry import MultiPolygon
from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.postgresql import insert

from tasks.imagery.backscatter import THRESHOLD, RadarChange
from tasks.imagery.tables import change_evidence
from tasks.inventory.tables import run
from tasks.types import geodesic_area_m2

METHOD = "Sentinel-1 log-ratio"
# What a run calls the area it looked at.
AREA = "aoi"


@dataclass(frozen=True)
class Evidence:
    """Change that radar saw; ground in EPSG:4326, `changed` empty where nothing did."""

    id: UUID
    event_id: str
    digest: str
    method: str
    threshold: float
    comparisons: tuple[dict[str, Any], ...]
    path: Path
    looked: MultiPolygon
    changed: MultiPolygon
    looked_km2: float
    changed_km2: float
    created_at: datetime

    @property
    def passes(self) -> str:
        """What was compared, in words."""
        return "; ".join(
            f"{one['orbit']} {'+'.join(one['polarisations']).upper()}: "
            f"{', '.join(sorted(one['before']))} against {', '.join(one['after'])}"
            for one in self.comparisons
        )


def store_evidence(
    connection: Connection, event_id: str, run_id: UUID, digest: str, seen: RadarChange
) -> Evidence:
    """Store what radar saw change; the same again changes nothing.

    Args:
        connection: in a transaction that the caller commits.
        event_id: a registered event.
        run_id: the run that made it.
        digest: of what it was made from.
        seen: what to store.
    """
    compared = [
        {
            "orbit": one.orbit,
            "polarisations": list(one.polarisations),
            "before": [day.isoformat() for day in one.before],
            "after": [day.isoformat() for day in one.after],
        }
        for one in seen.comparisons
    ]
    connection.execute(
        insert(change_evidence)
        .values(
            id=uuid4(),
            event_id=event_id,
            run_id=run_id,
            digest=digest,
            method=METHOD,
            threshold=THRESHOLD,
            comparisons=compared,
            path=str(seen.path),
            looked=from_shape(seen.looked, 4326),
            geom=None if seen.changed.is_empty else from_shape(seen.changed, 4326),
            looked_km2=geodesic_area_m2(seen.looked) / 1e6,
            changed_km2=geodesic_area_m2(seen.changed) / 1e6,
        )
        .on_conflict_do_nothing(constraint="change_evidence_digest_key")
    )
    stored = find_evidence(connection, event_id, digest)
    assert stored is not None
    return stored


def find_evidence(
    connection: Connection, event_id: str, digest: str | None = None, area: str | None = None
) -> Evidence | None:
    """The newest evidence of an event, if there is any.

    Args:
        connection: to the store.
        event_id: the event.
        digest: only what was made from these very inputs.
        area: only what was looked for in this area, as its run names it: WKB, hexadecimal.
    """
    wanted = select(change_evidence).where(change_evidence.c.event_id == event_id)
    if digest:
        wanted = wanted.where(change_evidence.c.digest == digest)
    if area:
        made = wanted.join(run, run.c.id == change_evidence.c.run_id)
        wanted = made.where(run.c.inputs[AREA].astext == area)
    row = connection.execute(wanted.order_by(change_evidence.c.created_at.desc()).limit(1)).first()
    return _evidence(row) if row else None


def _evidence(row: Row[Any]) -> Evidence:
    return Evidence(
        row.id,
        row.event_id,
        row.digest,
        row.method,
        row.threshold,
        tuple(row.comparisons),
        Path(row.path),
        to_shape(row.looked),
        to_shape(row.geom) if row.geom is not None else MultiPolygon(),
        row.looked_km2,
        row.changed_km2,
        row.created_at.astimezone(UTC),
    )
