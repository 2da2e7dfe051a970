"""The page that a feed names for one event: what it tells besides, and whether it is gone."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from flows.feeds import Watch
from tasks.errors import EventError, FeedError, TransientError
from tasks.events import comcat
from tasks.events.decide import find_known, needs_ground
from tasks.events.registry import RegisteredEvent, find_registered
from tasks.events.reports import EventReport, WatchState

log = logging.getLogger(__name__)


def told_more(watch: Watch, report: EventReport, now: datetime) -> tuple[EventReport, bool]:
    """The report with what the event's own page tells besides; and whether that could be read."""
    if not report.detail_url or report.shakemaps or watch.source != "usgs":
        return report, True
    if not watch.may_follow(report.detail_url) or report.detail_url == watch.url:
        return replace(report, detail_url=""), True
    with watch.world.engine.connect() as connection:
        name = find_known(connection, report)
        known = find_registered(connection, name) if name else None
    if known and _is_known(report, known):
        return _as_known(report, known), True
    if not needs_ground(report, known is not None, watch.rules, now):
        return report, True
    try:
        page = read_page(report.detail_url, report.id, report.reported_at, now)
    except (FeedError, TransientError) as error:
        log.warning("%s", error)
        return (_as_known(report, known) if known else report), False
    return replace(page, alternate_ids=page.alternate_ids or report.alternate_ids), True


def read_page(url: str, event_id: str, word_of: datetime, now: datetime) -> EventReport:
    """What an event's own page says; one that is gone says that the event is deleted.

    Args:
        url: the page.
        event_id: the event's id.
        word_of: when the source last spoke of the event, as which its deletion counts.
        now: the watcher's clock.

    Raises:
        FeedError: it is not the page of one event.
        TransientError: it cannot be reached.
    """
    try:
        reports, _ = comcat.look(url, WatchState(url), now)
    except FeedError as error:
        if not comcat.is_deleted(error):
            raise
        reports = [comcat.deleted_report(event_id, error, word_of)]
    if len(reports) != 1:
        raise FeedError(f"{url} tells of {len(reports)} events; the page of {event_id} is wanted")
    return replace(reports[0], detail_url=url)


def last_word(watch: Watch, event_id: str, otherwise: datetime) -> datetime:
    """When its source last spoke of a registered event; of another, or if unknown, as given."""
    with watch.world.engine.connect() as connection:
        try:
            return find_registered(connection, event_id).reported_at or otherwise
        except EventError:
            return otherwise


def _is_known(report: EventReport, known: RegisteredEvent) -> bool:
    before = known.reported_at if known.event.source == report.source else None
    return before is not None and report.reported_at <= before


def _as_known(report: EventReport, known: RegisteredEvent) -> EventReport:
    """A summary that says no more than the event's page did, under the version of that page."""
    return replace(report, source_version=known.event.source_version or report.source_version)
