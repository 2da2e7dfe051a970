"""What sources say, and what is decided about it: the records between watcher and rules.

A watcher is a plain function

    look(url, state, now) -> (reports, state)

that reads one feed once. It fetches only what changed since `state`, turns every entry into an
`EventReport` (an entry it cannot read into one with a `problem`) and returns the state to keep. It
stores nothing and decides nothing, so a look that is cut short is simply done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from tasks.types import AreaOfInterest, Event

Source = Literal["usgs", "gdacs", "rain"]
Status = Literal["automatic", "reviewed", "deleted", ""]
Alert = Literal["green", "orange", "red"]
Outcome = Literal["registered", "updated", "unchanged", "ignored", "held", "cancelled"]


@dataclass(frozen=True)
class ShakeMapVersion:
    """One version of a ShakeMap as a feed offers it.

    Version labels repeat and go backwards (v1 ... v6, v1 again, an "atlas" v1), so a version is
    known by source, code and update time alone, and the newest is the one updated last.

    Attributes:
        source: contributor, such as `us`, `nc` or `atlas`.
        code: the contributor's id of the event.
        updated_at: when this version was sent, UTC.
        version: the label it was published with; may be empty.
        status: as published; `DELETE` withdraws what the contributor sent before.
        contents: names of its files, such as `download/grid.xml`, and where they lie.
    """

    source: str
    code: str
    updated_at: datetime
    version: str = ""
    status: str = ""
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """`source:code:updateTime`, the time in ms since 1970 as ComCat writes it."""
        return source_version(self.source, self.code, self.updated_at)

    @property
    def contributor(self) -> tuple[str, str]:
        """Who sent it, under which id: the last word of each contributor counts."""
        return self.source, self.code

    @property
    def withdrawn(self) -> bool:
        """Whether this is the notice that the contributor's ShakeMap is no more."""
        return self.status.upper() == "DELETE"


@dataclass(frozen=True)
class EventReport:
    """What one source says of one event at one time.

    Attributes:
        event: the event as described; None where the entry cannot be used.
        source: which watcher made the report.
        source_version: names this description, and no other, of this event.
        alternate_ids: every other id the source knows the event by.
        reported_at: the source's own update time, UTC.
        status: how far the source stands by it; `deleted` takes it back.
        alert: the source's alert level, if it gives one.
        aoi: an area the source itself gives, such as where rain passed a threshold.
        shakemaps: every version the source offers, withdrawals among them, in any order.
        lists_products: whether `shakemaps` is all that stands, as on an event's own page; a summary
            says nothing of them.
        problem: a sentence on why the entry cannot be used; empty where it can.
        event_id: the id as far as it could be read; empty means `event.id`, or not known.
        detail_url: where the source tells more about this event; empty if nowhere.
    """

    event: Event | None
    source: Source
    source_version: str
    reported_at: datetime
    alternate_ids: tuple[str, ...] = ()
    status: Status = ""
    alert: Alert | None = None
    aoi: AreaOfInterest | None = None
    shakemaps: tuple[ShakeMapVersion, ...] = ()
    problem: str = ""
    event_id: str = ""
    detail_url: str = ""
    lists_products: bool = False

    @property
    def id(self) -> str:
        """The event's id as the source gives it, or what could be read of it."""
        return self.event.id if self.event else self.event_id


@dataclass(frozen=True)
class Decision:
    """What was decided about one description of one event, and why."""

    event_id: str
    source: Source
    source_version: str
    decision: Outcome
    reason: str
    decided_at: datetime
    priority: float | None = None
    respond_at: datetime | None = None


@dataclass(frozen=True)
class WatchState:
    """What is kept of the last look at one URL, so that the next reads only what is new.

    Attributes:
        url: the feed, as the operator wrote it.
        etag: the server's tag of what was read; empty if it gives none.
        last_modified: its `Last-Modified` header, as sent.
        looked_at: the watcher's clock at the last look.
        feed_time: when the feed says it was made; None if it does not say.
        memory: what a watcher needs to keep besides; JSON.
    """

    url: str
    etag: str = ""
    last_modified: str = ""
    looked_at: datetime | None = None
    feed_time: datetime | None = None
    memory: Mapping[str, object] = field(default_factory=dict)


Look = Callable[[str, WatchState, datetime], tuple[Sequence[EventReport], WatchState]]


def source_version(source: str, code: str, updated_at: datetime) -> str:
    """The name of what a source sent at one time: `source:code:updateTime` in ms since 1970."""
    since_1970 = updated_at - datetime(1970, 1, 1, tzinfo=UTC)
    return f"{source}:{code}:{round(since_1970.total_seconds() * 1000)}"


def standing_shakemaps(versions: Sequence[ShakeMapVersion]) -> list[ShakeMapVersion]:
    """Of each contributor the version updated last, unless that is a withdrawal.

    Of two words about one version, the later in the sequence counts.
    """
    last: dict[tuple[str, str], ShakeMapVersion] = {}
    for version in sorted(versions, key=lambda one: one.updated_at):
        last[version.contributor] = version
    return [version for version in last.values() if not version.withdrawn]


def newest_shakemap(versions: Sequence[ShakeMapVersion]) -> ShakeMapVersion | None:
    """The ShakeMap to use: the one updated last whose contributor has not withdrawn it since.

    ComCat's own preference (`preferredWeight`) is not asked: it ranks contributors, and says
    nothing between two versions of one of them.
    """
    return max(standing_shakemaps(versions), key=lambda one: one.updated_at, default=None)
