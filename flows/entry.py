"""One entry of a feed: the ground it is about, and what is decided and done about it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from flows.feeds import Watch
from flows.prior import expect_landslides
from tasks.errors import ScarpError
from tasks.events.decide import decide, find_known, find_named, find_news, needs_ground
from tasks.events.ground import Ground, find_ground
from tasks.events.registry import find_registered
from tasks.events.reports import Decision, EventReport
from tasks.events.shakemaps import KnownShakeMap, choose_shakemap, fetch_grid, known_shakemaps
from tasks.events.watching import keep_page
from tasks.types import AreaOfInterest, Event


def deal_with(
    watch: Watch,
    report: EventReport,
    now: datetime,
    forced: bool = False,
    connection: Connection | None = None,
) -> Decision:
    """Decide about one report, with its ground if that matters, in one transaction.

    Args:
        watch: the feed and the rules.
        report: what the feed says.
        now: the watcher's clock.
        forced: an operator asks for the event, whatever the rules say.
        connection: in a transaction that the caller ends; None for one of its own.

    Raises:
        ScarpError: the report cannot be dealt with; nothing of it was stored.
    """
    ground = _ground(watch, report, now, forced)
    begun = nullcontext(connection) if connection else watch.world.engine.begin()
    with begun as mine:
        made = decide(mine, report, ground, watch.rules, now, forced)
        if made.decision in ("registered", "updated", "held") and report.detail_url:
            keep_page(mine, report.detail_url, watch.source, made.event_id, now)
    return made


def has_its_shakemap(watch: Watch, made: Decision) -> bool:
    """Whether nothing of an event waits for another try: its ShakeMap has been fetched."""
    with watch.world.engine.connect() as connection:
        chosen = choose_shakemap(known_shakemaps(connection, made.event_id), [])
    return not _may_be_fetched(watch, chosen)


def _ground(watch: Watch, report: EventReport, now: datetime, forced: bool) -> Ground | None:
    """Where to look, with the ShakeMap fetched; None where it makes no difference."""
    event = report.event
    if event is None:
        return None
    wanted = forced or needs_ground(report, False, watch.rules, now)
    with watch.world.engine.connect() as connection:
        # What the rules do not want matters only if it is registered, under an id of its own.
        name = (find_known if wanted else find_named)(connection, report)
        if not (wanted or name):
            return None
        known = find_registered(connection, name) if name else None
        shakemaps = known_shakemaps(connection, name) if name else []
        news = find_news(connection, report, known, watch.rules)
    chosen = choose_shakemap(shakemaps, news.listing.offered)
    told = news.fresh or news.relisted
    if known and not (told or forced or _may_be_fetched(watch, chosen)):
        return None
    if chosen:
        folder = watch.world.home / "shakemaps" / (name or event.id)
        chosen = fetch_grid(chosen, folder, watch.url, watch.rules.feed.hosts)
    found = find_ground(event, report.aoi, chosen, watch.rules.limits(event))
    return _expecting(watch, found, replace(event, id=name or event.id), report.source_version)


def _expecting(watch: Watch, found: Ground, event: Event, version: str) -> Ground:
    """The same ground with the landslides to expect there, or with why they are not known."""
    if found.aoi is None:
        return found
    drawn_from = found.shakemap.version.identity if found.shakemap and found.shaking else version
    share = watch.rules.limits(event).aoi_expected_share
    try:
        expected = expect_landslides(watch.world, event, found.aoi, found.shaking, drawn_from)
        prior = expected.impact.path if expected else None
        aoi = _refined(found.aoi, prior, share) if prior else found.aoi
    except ScarpError as error:
        why = f"what to expect is not known: {error}"
        return replace(found, remark="; ".join(filter(None, (found.remark, why))))
    return replace(found, aoi=aoi, expected=expected)


def _refined(aoi: AreaOfInterest, prior: Path, share: float) -> AreaOfInterest:
    # Rasters and their libraries cost a second to import.
    from tasks.events.refine import refined_aoi

    return refined_aoi(aoi, prior, share)


def _may_be_fetched(watch: Watch, chosen: KnownShakeMap | None) -> bool:
    """Whether a ShakeMap waits for another try."""
    return chosen is not None and chosen.path is None and watch.may_follow(chosen.url)
