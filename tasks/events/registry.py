"""The register of events: one row each, and every change of it in the history."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal

from geoalchemy2.shape import from_shape, to_shape
from shapely.geometry import MultiPolygon, Point
from sqlalchemy import Connection, Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DataError, IntegrityError

from tasks.errors import EventError
from tasks.inventory import tables
from tasks.types import AreaOfInterest, Event

Registered = Literal["registered", "updated", "unchanged"]

_STORED_AS_THEY_ARE = (
    "id",
    "kind",
    "title",
    "occurred_at",
    "magnitude",
    "magnitude_type",
    "depth_km",
    "rainfall_mm",
    "duration_h",
    "source",
    "source_version",
)


@dataclass(frozen=True)
class RegisteredEvent:
    """An event of the register with the version of its published inventory, if it has one."""

    event: Event
    aoi: AreaOfInterest
    state: tables.EventState
    published_version: int | None
    registered_at: datetime
    updated_at: datetime


def register(connection: Connection, event: Event, aoi: AreaOfInterest) -> Registered:
    """Insert an event or bring its row up to date; the same description again changes nothing.

    Writers of one event wait for each other until the caller's transaction ends.

    Args:
        connection: in a transaction that the caller commits.
        event: what a source says now; `occurred_at` must be aware.
        aoi: valid MultiPolygon in EPSG:4326.

    Raises:
        EventError: a field is one the register cannot hold.
    """
    if event.occurred_at.tzinfo is None:
        raise EventError(
            f"event {event.id}: occurred_at {event.occurred_at.isoformat()} has no time zone; "
            "give it in UTC, as in 2018-09-05T18:07:59Z"
        )
    _lock(connection, event.id)
    known = _find(connection, event.id)
    if known and known.event == _as_stored(event) and _same_area(known.aoi, aoi):
        return "unchanged"
    change: Registered = "updated" if known else "registered"
    try:
        with connection.begin_nested():
            _write(connection, event, aoi, change)
    except (DataError, IntegrityError) as error:
        raise EventError(f"event {event.id!r} cannot be registered: {_complaint(error)}") from error
    return change


def find_event(connection: Connection, event_id: str) -> Event:
    """The event of this id.

    Raises:
        EventError: there is none; names the nearest known ids and how to register it.
    """
    return _get(connection, event_id).event


def find_aoi(connection: Connection, event_id: str) -> AreaOfInterest:
    """The area of interest of an event, EPSG:4326.

    Raises:
        EventError: there is no such event.
    """
    return _get(connection, event_id).aoi


def list_events(connection: Connection) -> list[RegisteredEvent]:
    """Every event of the register, the latest first."""
    newest_first = _query().order_by(tables.event.c.occurred_at.desc(), tables.event.c.id)
    return [_read(row) for row in connection.execute(newest_first)]


def _write(connection: Connection, event: Event, aoi: AreaOfInterest, change: Registered) -> None:
    area = from_shape(aoi.geometry, srid=4326)
    values = {name: getattr(event, name) for name in _STORED_AS_THEY_ARE}
    values["point"] = from_shape(Point(event.longitude, event.latitude), srid=4326)
    values["alternate_ids"] = list(event.alternate_ids)
    place = {"how": aoi.how, "geom": area, "area_km2": aoi.area_km2}
    if change == "registered":
        connection.execute(insert(tables.event).values(**values))
    else:
        mine = tables.event.c.id == event.id
        connection.execute(update(tables.event).where(mine).values(**values, updated_at=func.now()))
    connection.execute(
        upsert(tables.aoi)
        .values(event_id=event.id, **place)
        .on_conflict_do_update(index_elements=["event_id"], set_=place)
    )
    record = asdict(event) | {"occurred_at": event.occurred_at.astimezone(UTC).isoformat()}
    connection.execute(
        insert(tables.event_history).values(
            event_id=event.id, change=change, record=record, aoi_how=aoi.how, aoi=area
        )
    )


def _lock(connection: Connection, event_id: str) -> None:
    key = f"scarp event {event_id}"
    if "\0" in key:
        raise EventError(f"event id {event_id!r} holds a NUL character; leave it out")
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key}
    )


def _query() -> Any:
    published = (tables.inventory.c.event_id == tables.event.c.id) & (
        tables.inventory.c.status == "published"
    )
    return (
        select(
            tables.event,
            tables.aoi.c.how,
            tables.aoi.c.geom,
            tables.inventory.c.version.label("published_version"),
        )
        .join_from(tables.event, tables.aoi)
        .outerjoin(tables.inventory, published)
    )


def _find(connection: Connection, event_id: str) -> RegisteredEvent | None:
    row = connection.execute(_query().where(tables.event.c.id == event_id)).one_or_none()
    return _read(row) if row else None


def _get(connection: Connection, event_id: str) -> RegisteredEvent:
    known = None if "\0" in event_id else _find(connection, event_id)
    if known is None:
        ids = list(connection.scalars(select(tables.event.c.id)))
        near = get_close_matches(event_id, ids, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise EventError(
            f"event {event_id!r} is not registered{hint or ';'} "
            "`scarp events` lists the known ones, `scarp register` adds one"
        )
    return known


def _read(row: Row[Any]) -> RegisteredEvent:
    point = to_shape(row.point)
    stored = {name: getattr(row, name) for name in _STORED_AS_THEY_ARE}
    event = Event(
        **stored, longitude=point.x, latitude=point.y, alternate_ids=tuple(row.alternate_ids)
    )
    area = to_shape(row.geom)
    assert isinstance(area, MultiPolygon)
    return RegisteredEvent(
        event=_as_stored(event),
        aoi=AreaOfInterest(area, row.how),
        state=row.state,
        published_version=row.published_version,
        registered_at=row.registered_at.astimezone(UTC),
        updated_at=row.updated_at.astimezone(UTC),
    )


def _as_stored(event: Event) -> Event:
    """The event as it comes back: the instant in UTC, whole numbers as floats, tuples as tuples."""
    return Event(
        **asdict(event)
        | {
            "occurred_at": event.occurred_at.astimezone(UTC),
            "alternate_ids": tuple(event.alternate_ids),
        }
    )


def _same_area(one: AreaOfInterest, other: AreaOfInterest) -> bool:
    same: bool = one.geometry.normalize().equals_exact(other.geometry.normalize(), 0.0)
    return one.how == other.how and same


def _complaint(error: DataError | IntegrityError) -> str:
    return str(error.orig).splitlines()[0]
