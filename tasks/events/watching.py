"""How far each feed has been read: kept so that the next look reads only what is new."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from tasks.events.reports import Source, WatchState
from tasks.events.tables import watch_state
from tasks.inventory import tables


@dataclass(frozen=True)
class Page:
    """The page of one open event, and when it was last looked at."""

    url: str
    event_id: str
    looked_at: datetime | None


def load_state(connection: Connection, url: str, rules_digest: str) -> WatchState:
    """What is kept of the last look at a feed; nothing, if it was judged by other rules."""
    row = connection.execute(select(watch_state).where(watch_state.c.url == url)).one_or_none()
    if row is None or row.rules_digest != rules_digest:
        return WatchState(url)
    return WatchState(
        url,
        etag=row.etag,
        last_modified=row.last_modified,
        looked_at=row.looked_at and row.looked_at.astimezone(UTC),
        feed_time=row.feed_time and row.feed_time.astimezone(UTC),
        memory=row.memory,
    )


def save_state(
    connection: Connection, state: WatchState, source: Source, rules_digest: str
) -> None:
    """Keep how far a feed was read, once everything in it has been dealt with."""
    values = {
        "source": source,
        "etag": state.etag,
        "last_modified": state.last_modified,
        "looked_at": state.looked_at,
        "feed_time": state.feed_time,
        "memory": dict(state.memory),
        "rules_digest": rules_digest,
    }
    connection.execute(
        insert(watch_state)
        .values(url=state.url, **values)
        .on_conflict_do_update(index_elements=["url"], set_=values)
    )


def keep_page(
    connection: Connection, url: str, source: Source, event_id: str, looked_at: datetime
) -> None:
    """Remember the page of a registered event, and that it has been looked at."""
    values = {"source": source, "event_id": event_id, "looked_at": looked_at}
    rest = {"etag": "", "last_modified": "", "memory": {}, "rules_digest": ""}
    connection.execute(
        insert(watch_state)
        .values(url=url, **values, **rest)
        .on_conflict_do_update(index_elements=["url"], set_=values)
    )


def mark_pages(connection: Connection, urls: Collection[str], looked_at: datetime) -> None:
    """Remember that pages of events have been looked at."""
    mine = watch_state.c.url.in_(set(urls))
    connection.execute(update(watch_state).where(mine).values(looked_at=looked_at))


def pages(connection: Connection, source: Source) -> list[Page]:
    """The pages of every event of a source that is neither cancelled nor closed."""
    rows = connection.execute(
        select(watch_state.c.url, watch_state.c.event_id, watch_state.c.looked_at)
        .join(tables.event, tables.event.c.id == watch_state.c.event_id)
        .where(watch_state.c.source == source, tables.event.c.state.not_in(("cancelled", "closed")))
        .order_by(watch_state.c.url)
    )
    return [
        Page(row.url, row.event_id, row.looked_at and row.looked_at.astimezone(UTC)) for row in rows
    ]
