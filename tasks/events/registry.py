"""The register of events: one row each, every id of it, and every change of it in the history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal

from geoalchemy2.shape import from_shape, to_shape
from shapely.geometry import MultiPolygon, Point
from sqlalchemy import Connection, Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DataError, IntegrityError

from tasks.errors import EventError
from tasks.events.crosswalk import names_one
from tasks.events.tables import event_alias, response_request, shakemap, watch_state
from tasks.inventory import tables
from tasks.types import AreaOfInterest, Event

_MOMENT_S = 600

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
    """An event of the register with the version of its published inventory, if it has one.

    `forced` says that an operator registered it, `reported_at` when the feed sent the description
    (None where an operator gave it), `merged_into` the event that it turned out to be.
    """

    event: Event
    aoi: AreaOfInterest
    state: tables.EventState
    published_version: int | None
    registered_at: datetime
    updated_at: datetime
    forced: bool
    reported_at: datetime | None
    priority: float | None
    priority_how: str | None
    merged_into: str | None


def register(
    connection: Connection,
    event: Event,
    aoi: AreaOfInterest,
    *,
    reason: str = "",
    forced: bool = False,
    reported_at: datetime | None = None,
) -> Registered:
    """Insert an event or bring its row up to date; the same description again changes nothing.

    An event known by any of the given ids is that event, and keeps the id it was registered with.
    Ids of two known events make them one (see `lock_known`). Writers of one event wait for each
    other until the caller's transaction ends; writers of different events do not meet.

    Args:
        connection: in a transaction that the caller commits.
        event: what a source says now; `occurred_at` must be aware.
        aoi: valid MultiPolygon in EPSG:4326.
        reason: why, for the history.
        forced: an operator asks for it; stays so.
        reported_at: when the source sent this description; None if an operator gave it.

    Raises:
        EventError: a field is one the register cannot hold.
    """
    if event.occurred_at.tzinfo is None:
        raise EventError(
            f"event {event.id}: occurred_at {event.occurred_at.isoformat()} has no time zone; "
            "give it in UTC, as in 2018-09-05T18:07:59Z"
        )
    known = lock_known(connection, [*filter(names_one, (event.id, *event.alternate_ids))])
    told = _as_stored(_named_as(event, known.event.id if known else event.id))
    if known and _says_nothing_new(known, told, aoi, forced):
        return "unchanged"
    change: Literal["registered", "updated"] = "updated" if known else "registered"
    values = {"forced": forced or bool(known and known.forced), "reported_at": reported_at}
    try:
        with connection.begin_nested():
            _write(connection, told, aoi, change, values)
            record_change(connection, told.id, change, reason)
    except (DataError, IntegrityError) as error:
        raise EventError(f"event {event.id!r} cannot be registered: {_complaint(error)}") from error
    return change


def lock_known(connection: Connection, ids: Collection[str]) -> RegisteredEvent | None:
    """The event known by any of these ids, locked until the transaction ends; None if none is.

    Where they belong to several events, the one registered first stays, and the others are
    cancelled as merged into it: their rows, histories and inventories remain, their ids are its
    ids from now on.

    Raises:
        EventError: the ids belong to events of different kinds, or one cannot be an id.
    """
    # All writers take these locks in one order before they lock any row: nobody waits in a ring.
    _lock(connection, [f"event {name}" for name in ids])
    owners = select(event_alias.c.event_id).where(event_alias.c.id.in_(set(ids)))
    rows = connection.execute(
        select(tables.event.c.id, tables.event.c.kind)
        .where(tables.event.c.id.in_(owners))
        .order_by(tables.event.c.id)
        .with_for_update(key_share=True)
    ).all()
    if not rows:
        return None
    known = [find_registered(connection, row.id) for row in rows]
    first, *others = sorted(known, key=lambda one: (one.registered_at, one.event.id))
    for other in others:
        _merge(connection, first, other)
    return find_registered(connection, first.event.id) if others else first


def lock_moment(connection: Connection, moment: datetime) -> None:
    """Keep others from registering, meanwhile, what happened about the same moment.

    Two sources that report one earthquake under different ids find each other's entry only if
    they do not look for it at the same time. To be taken before `lock_known`.
    """
    bucket = int(moment.timestamp() // _MOMENT_S)
    _lock(connection, [f"moment {number}" for number in range(bucket - 1, bucket + 2)])


def record_change(
    connection: Connection, event_id: str, change: tables.EventChange, reason: str
) -> None:
    """Add the event as it stands now to its history."""
    known = find_registered(connection, event_id)
    event = known.event
    record = asdict(event) | {"occurred_at": event.occurred_at.isoformat()}
    connection.execute(
        insert(tables.event_history).values(
            event_id=event_id,
            change=change,
            reason=reason,
            state=known.state,
            record=record,
            aoi_how=known.aoi.how,
            aoi=from_shape(known.aoi.geometry, srid=4326),
        )
    )


def set_reported(connection: Connection, event_id: str, reported_at: datetime) -> None:
    """Store when the source last spoke of an event, where it described nothing new."""
    mine = tables.event.c.id == event_id
    connection.execute(update(tables.event).where(mine).values(reported_at=reported_at))


def set_priority(connection: Connection, event_id: str, priority: float | None, how: str) -> None:
    """Store how urgent an event is: larger comes first, and `how` says what it was made from."""
    mine = tables.event.c.id == event_id
    connection.execute(update(tables.event).where(mine).values(priority=priority, priority_how=how))


def find_event(connection: Connection, event_id: str) -> Event:
    """The event of this id, or of which this is an alternate id.

    Raises:
        EventError: there is none; names the nearest known ids and how to register it.
    """
    return find_registered(connection, event_id).event


def find_aoi(connection: Connection, event_id: str) -> AreaOfInterest:
    """The area of interest of an event, EPSG:4326.

    Raises:
        EventError: there is no such event.
    """
    return find_registered(connection, event_id).aoi


def find_registered(connection: Connection, event_id: str) -> RegisteredEvent:
    """The event of this id, else the one of which it is an alternate id, with its standing.

    Raises:
        EventError: there is none; names the nearest known ids and how to register it.
    """
    known = None if "\0" in event_id else _find(connection, event_id)
    if known is None:
        ids = list(connection.scalars(select(event_alias.c.id)))
        near = get_close_matches(event_id, ids, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise EventError(
            f"event {event_id!r} is not registered{hint or ';'} "
            "`scarp events list` lists the known ones, `scarp register` adds one"
        )
    return known


def around(connection: Connection, moment: datetime, within: timedelta) -> list[RegisteredEvent]:
    """The events that happened about a moment."""
    occurred = tables.event.c.occurred_at.between(moment - within, moment + within)
    unmerged = tables.event.c.merged_into.is_(None)
    return [_read(row) for row in connection.execute(_query().where(occurred, unmerged))]


def list_events(connection: Connection) -> list[RegisteredEvent]:
    """Every event of the register, the latest first."""
    newest_first = _query().order_by(tables.event.c.occurred_at.desc(), tables.event.c.id)
    return [_read(row) for row in connection.execute(newest_first)]


def _says_nothing_new(
    known: RegisteredEvent, told: Event, aoi: AreaOfInterest, forced: bool
) -> bool:
    if set(told.alternate_ids) - set(known.event.alternate_ids) or (forced and not known.forced):
        return False
    same = replace(told, alternate_ids=()) == replace(known.event, alternate_ids=())
    return same and _same_area(known.aoi, aoi)


def _write(
    connection: Connection,
    event: Event,
    aoi: AreaOfInterest,
    change: Registered,
    standing: dict[str, Any],
) -> None:
    values = {name: getattr(event, name) for name in _STORED_AS_THEY_ARE} | standing
    values["point"] = from_shape(Point(event.longitude, event.latitude), srid=4326)
    area = from_shape(aoi.geometry, srid=4326)
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
    last = select(func.max(event_alias.c.position)).where(event_alias.c.event_id == event.id)
    next_position = (connection.scalar(last) or 0) + (change == "updated")
    ids = [
        {"id": name, "event_id": event.id, "position": position}
        for position, name in enumerate((event.id, *event.alternate_ids), start=next_position)
    ]
    connection.execute(upsert(event_alias).values(ids).on_conflict_do_nothing())


def _merge(connection: Connection, kept: RegisteredEvent, other: RegisteredEvent) -> None:
    """Make two known events one: the ids and ShakeMaps of the other become those of the kept."""
    mine, yours = kept.event, other.event
    if mine.kind != yours.kind:
        raise EventError(
            f"{mine.id} ({mine.kind}) and {yours.id} ({yours.kind}) cannot be one event; "
            "give the alternate ids of one of them only"
        )
    moved: Sequence[tuple[Any, dict[str, Any]]] = (
        (event_alias, {"position": event_alias.c.position + len(mine.alternate_ids) + 1}),
        (shakemap, {"pinned": False, "in_use": False}),
        (watch_state, {}),
    )
    for table, values in moved:
        connection.execute(
            update(table).where(table.c.event_id == yours.id).values(event_id=mine.id, **values)
        )
    connection.execute(
        update(response_request)
        .where(response_request.c.event_id == yours.id, response_request.c.done_at.is_(None))
        .values(done_at=func.now())
    )
    connection.execute(
        update(tables.event)
        .where(tables.event.c.id == yours.id)
        .values(state="cancelled", merged_into=mine.id, updated_at=func.now())
    )
    if other.forced and not kept.forced:
        connection.execute(
            update(tables.event).where(tables.event.c.id == mine.id).values(forced=True)
        )
    record_change(connection, yours.id, "merged", f"it is the same event as {mine.id}")
    record_change(connection, mine.id, "merged", f"{yours.id} is the same event")


def _lock(connection: Connection, names: Collection[str]) -> None:
    """Wait for everyone who holds one of these, and hold them to the end of the transaction."""
    for name in names:
        if "\0" in name:
            raise EventError(f"{name!r} holds a NUL character; leave it out")
    in_order = (
        "SELECT pg_advisory_xact_lock(hashtextextended('scarp ' || name, 0)) "
        "FROM (SELECT name FROM unnest(CAST(:names AS text[])) AS names (name) "
        'ORDER BY name COLLATE "C") AS sorted'
    )
    connection.execute(text(in_order), {"names": sorted(set(names))})


def _query() -> Any:
    published = (tables.inventory.c.event_id == tables.event.c.id) & (
        tables.inventory.c.status == "published"
    )
    names = (
        select(event_alias.c.id)
        .where(event_alias.c.event_id == tables.event.c.id, event_alias.c.id != tables.event.c.id)
        .order_by(event_alias.c.position, event_alias.c.id)
    )
    return (
        select(
            tables.event,
            func.array(names.scalar_subquery()).label("alternate_ids"),
            tables.aoi.c.how,
            tables.aoi.c.geom,
            tables.inventory.c.version.label("published_version"),
        )
        .join_from(tables.event, tables.aoi)
        .outerjoin(tables.inventory, published)
    )


def _find(connection: Connection, event_id: str) -> RegisteredEvent | None:
    owner = select(event_alias.c.event_id).where(event_alias.c.id == event_id).scalar_subquery()
    # A merged event is still found by its own id, which has become an alias of another.
    exact = select(tables.event.c.id).where(tables.event.c.id == event_id).scalar_subquery()
    row = connection.execute(
        _query().where(tables.event.c.id == func.coalesce(exact, owner))
    ).one_or_none()
    return _read(row) if row else None


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
        forced=row.forced,
        reported_at=row.reported_at and row.reported_at.astimezone(UTC),
        priority=row.priority,
        priority_how=row.priority_how,
        merged_into=row.merged_into,
    )


def _named_as(event: Event, known_id: str) -> Event:
    """The event under the id it was registered with; the source's own becomes an alternate."""
    others = dict.fromkeys((event.id, *event.alternate_ids))
    others.pop(known_id, None)
    return replace(event, id=known_id, alternate_ids=tuple(others))


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
