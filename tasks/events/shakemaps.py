"""The ShakeMaps of an event: every version a feed offered, which is used, which is pinned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from tasks.errors import EventError, FeedError, TransientError
from tasks.events.fetch import download, may_follow
from tasks.events.reports import EventReport, ShakeMapVersion, newest_shakemap, standing_shakemaps
from tasks.events.tables import shakemap

# What can be read, the whole grid first: `raster.zip` rounds, `grid.xml.zip` is rarely there.
GRIDS = ("download/grid.xml", "download/raster.zip", "download/grid.xml.zip")


@dataclass(frozen=True)
class KnownShakeMap:
    """A version of an event's ShakeMap as the store knows it.

    `path` is the grid as fetched, with its checksum; None where it was not, with the `problem`.
    """

    version: ShakeMapVersion
    url: str
    path: Path | None = None
    sha256: str | None = None
    pinned: bool = False
    in_use: bool = False
    problem: str = ""


def known_shakemaps(connection: Connection, event_id: str) -> list[KnownShakeMap]:
    """Every version known of an event's ShakeMaps, in the order they were sent."""
    mine = select(shakemap).where(shakemap.c.event_id == event_id).order_by(shakemap.c.updated_at)
    return [_read(row) for row in connection.execute(mine)]


@dataclass(frozen=True)
class Listing:
    """What an event's page makes of the ShakeMaps known before.

    Attributes:
        offered: every version the page offers, and a withdrawal of each that it lists no more.
        gone: what stood before, and of whose contributor nothing stands any more.
        back: what was gone, and stands again.
    """

    offered: tuple[ShakeMapVersion, ...]
    gone: tuple[ShakeMapVersion, ...] = ()
    back: tuple[ShakeMapVersion, ...] = ()


def read_listing(report: EventReport, known: Sequence[KnownShakeMap], old: bool) -> Listing:
    """Compare the ShakeMaps of a report with those known before.

    Args:
        report: only one that lists products can withdraw by silence.
        known: the event's ShakeMaps.
        old: the report was sent before what is known: it neither takes nor brings anything back.
    """
    versions = [one.version for one in known]
    if old:
        withdrawn = {one.identity for one in versions if one.withdrawn}
        return Listing(tuple(one for one in report.shakemaps if one.identity not in withdrawn))
    listed = {one.contributor for one in report.shakemaps}
    silent = [one for one in versions if report.lists_products and one.contributor not in listed]
    notices = [replace(one, status="DELETE", contents={}) for one in silent]
    offered = (*report.shakemaps, *notices)
    before, after = standing_shakemaps(versions), standing_shakemaps([*versions, *offered])
    names = {one.identity for one in versions}
    return Listing(
        offered,
        gone=_of_others(before, after),
        back=tuple(one for one in _of_others(after, before) if one.identity in names),
    )


def _of_others(
    some: Sequence[ShakeMapVersion], others: Sequence[ShakeMapVersion]
) -> tuple[ShakeMapVersion, ...]:
    """Those of some whose contributor has none among the others."""
    theirs = {one.contributor for one in others}
    return tuple(one for one in some if one.contributor not in theirs)


def choose_shakemap(
    known: Sequence[KnownShakeMap], offered: Sequence[ShakeMapVersion]
) -> KnownShakeMap | None:
    """The version to use: the pinned one, else the newest that stands, known or offered now."""
    if pinned := next((one for one in known if one.pinned), None):
        return pinned
    stored = {one.version.identity: one for one in known}
    newest = newest_shakemap([*(one.version for one in known), *offered])
    if newest is None:
        return None
    url = grid_url(newest)
    told = stored.get(newest.identity) or KnownShakeMap(newest, url)
    return replace(told, url=url or told.url)


def grid_url(version: ShakeMapVersion) -> str:
    """Where the shaking of a version lies; empty if it offers none that can be read."""
    return next((version.contents[name] for name in GRIDS if name in version.contents), "")


def fetch_grid(
    chosen: KnownShakeMap, folder: Path, feed_url: str, hosts: Collection[str]
) -> KnownShakeMap:
    """The same version with its grid on disk, or with the reason why it is not.

    Args:
        chosen: the version to use.
        folder: where grids are kept.
        feed_url: the feed that offered it, whose own host may be asked.
        hosts: other hosts that may be asked.
    """
    if chosen.path is not None and chosen.path.exists():
        return chosen
    name = chosen.version.identity
    if not chosen.url:
        return replace(chosen, problem=f"ShakeMap {name} offers no grid")
    if not may_follow(chosen.url, feed_url, hosts):
        return replace(
            chosen,
            problem=f"ShakeMap {name} could not be fetched: {urlsplit(chosen.url).netloc} is "
            "neither the feed's own host nor one of the rules' [feed] hosts",
        )
    # What a feed calls itself must not lead out of the folder.
    path = folder / re.sub("[^A-Za-z0-9.-]", "_", f"{name}_{Path(chosen.url).name}")
    try:
        download(chosen.url, path)
    except (FeedError, TransientError) as error:
        return replace(chosen, problem=f"ShakeMap {name} could not be fetched: {error}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(chosen, path=path, sha256=digest, problem="")


def store_shakemaps(
    connection: Connection,
    event_id: str,
    offered: Sequence[ShakeMapVersion],
    used: KnownShakeMap | None,
) -> None:
    """Keep every version a feed offered, and which of them the area of interest comes from.

    Args:
        connection: in a transaction that the caller commits.
        event_id: the registered event.
        offered: what the feed lists; may be only a part of what it listed before.
        used: the version chosen, with its grid or its problem.
    """
    everyone = {one.identity: KnownShakeMap(one, grid_url(one)) for one in offered}
    withdrawn = {one.identity: one.withdrawn for one in offered}
    if used:
        everyone[used.version.identity] = used
    for one in everyone.values():
        version = one.version
        said = withdrawn.get(version.identity, version.withdrawn)
        fresh = {"event_id": event_id, "withdrawn": said}
        if used and version.identity == used.version.identity:
            path = str(one.path) if one.path else None
            fresh |= {"path": path, "sha256": one.sha256, "problem": one.problem, "url": one.url}
        values = {
            "identity": version.identity,
            "source": version.source,
            "code": version.code,
            "updated_at": version.updated_at,
            "version": version.version,
            "url": one.url,
            "pinned": one.pinned,
            "in_use": False,
            "problem": "",
        }
        connection.execute(
            insert(shakemap)
            .values(values | fresh)
            .on_conflict_do_update(index_elements=["identity"], set_=fresh)
        )


def pin_shakemap(connection: Connection, event_id: str, identity: str) -> None:
    """Choose a version of an event's ShakeMap against newer ones.

    Raises:
        EventError: the event has no such ShakeMap; names those it has.
    """
    known = [one.version.identity for one in known_shakemaps(connection, event_id)]
    if identity not in known:
        has = ", ".join(known) or "none"
        raise EventError(
            f"event {event_id} has no ShakeMap {identity!r}; it has {has} (source:code:updateTime)"
        )
    _mark(connection, event_id, identity, "pinned")


def unpin_shakemap(connection: Connection, event_id: str) -> None:
    """Let the newest version of an event's ShakeMap be used again."""
    _mark(connection, event_id, None, "pinned")


def mark_in_use(connection: Connection, event_id: str, identity: str | None) -> None:
    """Say from which version an event's area of interest was drawn; None says from none."""
    _mark(connection, event_id, identity, "in_use")


def _mark(connection: Connection, event_id: str, identity: str | None, column: str) -> None:
    """Set a column for one version of an event, and for no other of it."""
    mine = shakemap.c.event_id == event_id
    connection.execute(update(shakemap).where(mine, shakemap.c[column]).values({column: False}))
    connection.execute(
        update(shakemap).where(mine, shakemap.c.identity == identity).values({column: True})
    )


def _read(row: Row[Any]) -> KnownShakeMap:
    status = "DELETE" if row.withdrawn else ""
    return KnownShakeMap(
        ShakeMapVersion(row.source, row.code, row.updated_at.astimezone(UTC), row.version, status),
        url=row.url,
        path=Path(row.path) if row.path else None,
        sha256=row.sha256,
        pinned=row.pinned,
        in_use=row.in_use,
        problem=row.problem,
    )
