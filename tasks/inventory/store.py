"""Inventories in PostGIS: versions stored whole or not at all, published, found and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from geoalchemy2.shape import from_shape, to_shape
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    column,
    exists,
    func,
    insert,
    select,
    table,
    text,
    true,
    update,
)

from tasks.errors import EventError, InventoryError
from tasks.events.tables import event_alias
from tasks.inventory.bulk import load_landslides
from tasks.inventory.tables import event, inventory, landslide, review_outcome, run_scene, scene
from tasks.types import (
    Doubt,
    InventoryStatus,
    Scene,
    Screening,
    geodesic_area_m2,
    geodesic_measures,
)

# Filled in by the database, or by `store_inventory` itself.
_NOT_GIVEN = ("id", "inventory_id", "number", "geom")
MEASURES = tuple(column.name for column in landslide.columns if column.name not in _NOT_GIVEN)
_REQUIRED = tuple(
    column.name
    for column in landslide.columns
    if column.name in MEASURES and not column.nullable and column.server_default is None
)
_TIMES = ("acquired_at", "reviewed_at")
_SCREENED = ("screened_by", "screen_reason")
_as_reviewed = table(
    "v_landslides_all",
    *(column(kept.name, kept.type) for kept in landslide.columns if kept.name not in _SCREENED),
    column("stands", Boolean()),
    schema="scarp",
)


@dataclass(frozen=True)
class StoredInventory:
    """One version of an event's inventory, without its landslides."""

    id: UUID
    event_id: str
    version: int
    run_id: UUID
    digest: str
    method: str
    threshold: float | None
    minimum_mapping_unit_m2: float
    status: InventoryStatus
    observed: MultiPolygon
    observed_km2: float
    scene_ids: tuple[str, ...]
    landslide_count: int
    area_m2: float
    screens: tuple[Screening, ...]
    doubts: tuple[Doubt, ...]
    licence: str
    attribution: str
    created_at: datetime


def find_inventory(connection: Connection, event_id: str, digest: str) -> StoredInventory | None:
    """The inventory of an event made from these very inputs, if it is stored."""
    mine = (inventory.c.event_id == event_id) & (inventory.c.digest == digest)
    row = connection.execute(select(inventory).where(mine)).one_or_none()
    return _read(row) if row else None


def find_published(connection: Connection, event_id: str) -> StoredInventory | None:
    """The inventory that answers for an event, if one is published."""
    mine = (inventory.c.event_id == event_id) & (inventory.c.status == "published")
    row = connection.execute(select(inventory).where(mine)).one_or_none()
    return _read(row) if row else None


def get_inventory(
    connection: Connection, event_id: str, version: int | None = None
) -> StoredInventory:
    """One version of an event's inventory; without a version the published one.

    `event_id` is any of the event's ids.

    Raises:
        EventError: the event is not registered.
        InventoryError: it has no such inventory; says which it has.
    """
    versions = list_inventories(connection, event_id)
    for stored in versions:
        if stored.version == version or (version is None and stored.status == "published"):
            return stored
    if _own_id(connection, event_id) is None:
        raise EventError(
            f"event {event_id!r} is not registered; `scarp events list` shows the known ones"
        )
    wanted = "published inventory" if version is None else f"inventory version {version}"
    listed = ", ".join(f"{stored.version} ({stored.status})" for stored in versions)
    raise InventoryError(
        f"event {event_id} has no {wanted}; "
        + (f"it has version {listed}" if versions else f"`scarp respond {event_id}` makes one")
    )


def list_inventories(connection: Connection, event_id: str | None = None) -> list[StoredInventory]:
    """Every inventory of an event, by any of its ids, or of all events, by event and version."""
    query = select(inventory).order_by(inventory.c.event_id, inventory.c.version)
    if event_id is not None:
        query = query.where(inventory.c.event_id == _own_id(connection, event_id))
    return [_read(row) for row in connection.execute(query)]


def _own_id(connection: Connection, event_id: str) -> str | None:
    """The id under which an event's inventories stand; None if it is not registered.

    An event that was merged into another keeps its own, though it is an id of the other now.
    """
    own = select(event.c.id).where(event.c.id == event_id)
    alternate = select(event_alias.c.event_id).where(event_alias.c.id == event_id)
    return connection.scalar(own) or connection.scalar(alternate)


def store_inventory(
    connection: Connection,
    *,
    event_id: str,
    run_id: UUID,
    digest: str,
    method: str,
    threshold: float | None,
    minimum_mapping_unit_m2: float,
    observed: MultiPolygon,
    landslides: gpd.GeoDataFrame,
    doubts: Sequence[Doubt],
    publish: bool,
    scene_ids: Sequence[str] = (),
    screens: Sequence[Screening] = (),
    licence: str = "",
    attribution: str = "",
) -> StoredInventory:
    """Store an event's next inventory version with its landslides, in the caller's transaction.

    Writers of one event wait for each other. The same digest again returns what is stored, at
    most published as `publish_draft` does. An empty frame is an inventory that found nothing.

    Args:
        connection: in a transaction that the caller commits; until then nothing is visible.
        event_id: a registered event.
        run_id: the run that made it.
        digest: SHA-256 over everything the inventory was made from.
        method: `ldm-net@sha256...`, `imported` or `manual`.
        threshold: score from which ground counts as landslide, 0-1; None where none was used.
        minimum_mapping_unit_m2: smallest landslide kept, m².
        observed: ground seen clear, EPSG:4326; outside it nothing is known.
        landslides: valid (Multi)Polygons in EPSG:4326 with any of the columns `MEASURES`; area_m2
            and perimeter_m are computed where missing, NaN is stored as unknown. Those screened
            are kept with the reason, and not counted.
        doubts: reservations to keep with it.
        publish: publish it, which supersedes the version published before.
        scene_ids: scenes it was mapped from, the one preferred first.
        screens: what was screened.
        licence: licence of the inventory.
        attribution: whom to credit.

    Raises:
        EventError: the event is not registered.
        InventoryError: the frame or a landslide in it cannot be stored; names which and why.
        StoreError: the database failed while it stored them.
    """
    rows = checked_landslides(landslides)
    if not observed.is_valid:
        raise InventoryError(f"the observed area is not valid: {shapely.is_valid_reason(observed)}")
    key = {"key": f"scarp inventory {event_id}"}
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
    stored = find_inventory(connection, event_id, digest)
    if stored is None:
        inventory_id = uuid4()
        counted = rows[rows["screened_by"].isna()] if "screened_by" in rows else rows
        connection.execute(
            insert(inventory).values(
                id=inventory_id,
                event_id=event_id,
                version=_next_version(connection, event_id),
                run_id=run_id,
                digest=digest,
                method=method,
                threshold=threshold,
                minimum_mapping_unit_m2=minimum_mapping_unit_m2,
                observed=from_shape(observed, srid=4326),
                observed_km2=geodesic_area_m2(observed) / 1e6,
                scene_ids=list(scene_ids),
                landslide_count=len(counted),
                area_m2=float(counted["area_m2"].sum()),
                screens=[asdict(screening) for screening in screens],
                doubts=[asdict(doubt) for doubt in doubts],
                licence=licence,
                attribution=attribution,
            )
        )
        load_landslides(connection, inventory_id, rows, [n for n in MEASURES if n in rows])
        stored = _one(connection, inventory_id)
    if publish and stored.status == "draft":
        stored = publish_draft(connection, stored)
    return stored


def publish_draft(connection: Connection, draft: StoredInventory) -> StoredInventory:
    """Publish a stored draft as it is, unless a newer version is published already.

    Args:
        connection: in a transaction.
        draft: as it is stored.

    Returns:
        The inventory as it is stored now.
    """
    newer = select(inventory.c.id).where(
        inventory.c.event_id == draft.event_id,
        inventory.c.status == "published",
        inventory.c.version > draft.version,
    )
    if connection.execute(newer).first() is None:
        _publish(connection, draft)
    return _one(connection, draft.id)


def read_landslides(connection: Connection, inventory_id: UUID) -> gpd.GeoDataFrame:
    """The landslides of an inventory, EPSG:4326, by number, with the columns `MEASURES`.

    Unknown numbers and texts are NaN, unknown flags and counts NA; a one-part outline is a
    Polygon. What was screened is not among them, and there are no columns about it.
    """
    names = [name for name in MEASURES if name not in _SCREENED]
    return _outlines(connection, inventory_id, names, landslide.c.screened_by.is_(None))


def read_screened(connection: Connection, inventory_id: UUID) -> gpd.GeoDataFrame:
    """What screens set aside, unless a reviewer spoke of it, as `scarp.v_screened` has it.

    With all `MEASURES`; else as `read_landslides`.
    """
    spoken_of = exists().where(
        review_outcome.c.inventory_id == inventory_id,
        review_outcome.c.number == landslide.c.number,
        review_outcome.c.current,
        review_outcome.c.state.is_not(None),
    )
    aside = landslide.c.screened_by.is_not(None) & ~spoken_of
    return _outlines(connection, inventory_id, MEASURES, aside)


def read_drawn(connection: Connection, inventory_id: UUID) -> gpd.GeoDataFrame:
    """Every outline as it was stored, screened or not: `number` and geometry, EPSG:4326."""
    return _outlines(connection, inventory_id, (), true())


def read_reviewed(
    connection: Connection, inventory_id: UUID, near: BaseGeometry | None = None
) -> gpd.GeoDataFrame:
    """The landslides of an inventory that stand after its reviews; else as `read_landslides`.

    Args:
        connection: the store.
        inventory_id: the inventory.
        near: read only those whose boxes meet this geometry's, EPSG:4326.
    """
    names = [name for name in MEASURES if name not in _SCREENED]
    which: ColumnElement[bool] = _as_reviewed.c.stands
    if near is not None:
        which &= _as_reviewed.c.geom.op("&&")(from_shape(near, srid=4326))
    return _outlines(connection, inventory_id, names, which, _as_reviewed)


def count_reviewed(connection: Connection, inventory_id: UUID) -> tuple[int, float]:
    """How many landslides of an inventory stand after its reviews, and their area in m²."""
    standing = text(
        "SELECT standing_count, standing_area_m2 FROM scarp.v_inventories "
        "WHERE inventory_id = :inventory_id"
    )
    count, area_m2 = connection.execute(standing, {"inventory_id": inventory_id}).one()
    return int(count), float(area_m2)


def _outlines(
    connection: Connection,
    inventory_id: UUID,
    names: Sequence[str],
    which: ColumnElement[bool],
    source: FromClause = landslide,
) -> gpd.GeoDataFrame:
    columns = [source.c[name] for name in names]
    query = (
        select(source.c.number, *columns, func.ST_AsBinary(source.c.geom).label("geometry"))
        .where(source.c.inventory_id == inventory_id, which)
        .order_by(source.c.number)
    )
    result = connection.execute(query)
    frame = pd.DataFrame(result.all(), columns=list(result.keys()))
    outlines = shapely.from_wkb(frame.pop("geometry").to_numpy(dtype=object))
    single = shapely.get_num_geometries(outlines) == 1
    outlines[single] = shapely.get_geometry(outlines[single], 0)
    frame["number"] = frame["number"].astype("int64")
    for kept in columns:
        if kept.type.python_type is int:
            frame[kept.name] = frame[kept.name].astype("Int64")
        elif kept.type.python_type is float:
            frame[kept.name] = frame[kept.name].astype(float)
        elif kept.type.python_type is bool:
            frame[kept.name] = frame[kept.name].astype("boolean")
        elif kept.name in _TIMES:
            frame[kept.name] = pd.to_datetime(frame[kept.name], utc=True)
    return gpd.GeoDataFrame(frame, geometry=outlines, crs="EPSG:4326")


def finest_gsd_m(connection: Connection, stored: StoredInventory) -> float | None:
    """Ground size in m of the finest scene an inventory was mapped from; None if imported."""
    used = scene.c.scene_id.in_(stored.scene_ids)
    finest = connection.scalar(select(func.min(scene.c.gsd_m)).where(used))
    return None if finest is None else float(finest)


def scenes_of(connection: Connection, stored: StoredInventory) -> list[Scene]:
    """The scenes an inventory was mapped from, as its run found them."""
    query = (
        select(scene)
        .join(run_scene, run_scene.c.scene_key == scene.c.id)
        .where(run_scene.c.run_id == stored.run_id, run_scene.c.used)
        .order_by(scene.c.id)
    )
    return [
        Scene(
            row.scene_id, row.provider, row.collection, row.item_id, row.acquired_at, row.gsd_m,
            tuple(row.bands), row.crs, to_shape(row.footprint), row.hrefs, row.cloud_cover,
            row.checksum, row.licence,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def read_review_states(connection: Connection, inventory_id: UUID) -> gpd.GeoDataFrame:
    """Every outline of an inventory as it is drawn now: number, review_state, geometry.

    `review_state` is unreviewed, confirmed, edited or rejected; what was replaced is left out.
    """
    query = text(
        "SELECT number, review_state, ST_AsBinary(geom) AS geometry FROM scarp.v_landslides_all "
        "WHERE inventory_id = :inventory_id AND review_state <> 'replaced' ORDER BY number"
    )
    rows = connection.execute(query, {"inventory_id": inventory_id})
    frame = pd.DataFrame(rows.all(), columns=list(rows.keys()))
    outlines = shapely.from_wkb(frame.pop("geometry").to_numpy(dtype=object))
    return gpd.GeoDataFrame(frame, geometry=outlines, crs="EPSG:4326")


def _next_version(connection: Connection, event_id: str) -> int:
    if not connection.scalar(select(func.count()).where(event.c.id == event_id)):
        raise EventError(f"event {event_id!r} is not registered; `scarp register` adds it")
    newest = select(func.max(inventory.c.version)).where(inventory.c.event_id == event_id)
    return int(connection.scalar(newest) or 0) + 1


def _publish(connection: Connection, draft: StoredInventory) -> None:
    """Publish a draft; the version published before is superseded in the same transaction."""
    before = (inventory.c.event_id == draft.event_id) & (inventory.c.status == "published")
    superseded = {"status": "superseded", "superseded_at": func.now()}
    connection.execute(update(inventory).where(before).values(superseded))
    told = [asdict(doubt) for doubt in draft.doubts if doubt.code != "draft-waits"]
    published = {"status": "published", "published_at": func.now(), "doubts": told}
    connection.execute(update(inventory).where(inventory.c.id == draft.id).values(published))


def _one(connection: Connection, inventory_id: UUID) -> StoredInventory:
    return _read(connection.execute(select(inventory).where(inventory.c.id == inventory_id)).one())


def _read(row: Row[Any]) -> StoredInventory:
    observed = to_shape(row.observed)
    assert isinstance(observed, MultiPolygon)
    return StoredInventory(
        id=row.id,
        event_id=row.event_id,
        version=row.version,
        run_id=row.run_id,
        digest=row.digest,
        method=row.method,
        threshold=row.threshold,
        minimum_mapping_unit_m2=row.minimum_mapping_unit_m2,
        status=row.status,
        observed=observed,
        observed_km2=row.observed_km2,
        scene_ids=tuple(row.scene_ids),
        landslide_count=row.landslide_count,
        area_m2=row.area_m2,
        screens=tuple(Screening(**screening) for screening in row.screens),
        doubts=tuple(Doubt(**doubt) for doubt in row.doubts),
        licence=row.licence,
        attribution=row.attribution,
        created_at=row.created_at.astimezone(UTC),
    )


def checked_landslides(landslides: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The frame with what every landslide needs, numbered from 0.

    Raises:
        InventoryError: a landslide cannot be stored; names the first, and why.
    """
    frame = landslides.reset_index(drop=True)
    if len(frame) and (frame.crs is None or frame.crs.to_epsg() != 4326):
        raise InventoryError(f"landslides are in {frame.crs or 'no CRS'}; reproject to EPSG:4326")
    outlines = frame.geometry.to_numpy()
    polygonal = np.isin(shapely.get_type_id(outlines), (3, 6))
    _refuse(frame, ~polygonal | shapely.is_empty(outlines), "is not a polygon")
    _refuse(frame, ~shapely.is_valid(outlines), "crosses or touches itself; repair it first")
    _refuse(frame, shapely.has_z(outlines), "has heights; flatten it first")
    outside = (np.abs(shapely.bounds(outlines)) > [180, 90, 180, 90]).any(axis=1)
    _refuse(frame, outside, "is not on Earth; are longitude and latitude swapped?")
    if "area_m2" not in frame or "perimeter_m" not in frame:
        area_m2, perimeter_m = geodesic_measures(outlines)
        frame = frame.assign(**{"area_m2": area_m2, "perimeter_m": perimeter_m} | dict(frame))
    if "kind" not in frame:
        frame["kind"] = "landslide"
    if "review_state" not in frame:
        frame["review_state"] = "unreviewed"
    for name in _REQUIRED:
        _refuse(frame, frame[name].isna().to_numpy(), f"has no {name}")
    _refuse(frame, ~(frame["area_m2"].to_numpy(dtype=float) > 0), "has no area")
    return frame


def _refuse(frame: gpd.GeoDataFrame, bad: np.ndarray, why: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        where = frame.geometry.iloc[first]
        place = f" near {where.bounds[0]:.5f}, {where.bounds[1]:.5f}" if where else ""
        raise InventoryError(f"landslide {first + 1} of {len(frame)}{place} {why}")
