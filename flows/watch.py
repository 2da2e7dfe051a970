"""Watching a feed: what one look at it does, event by event."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from flows.prior import expect_landslides
from flows.world import World
from infra.errors import DatabaseError
from tasks.errors import BadInputError, EventError, FeedError, ScarpError, TransientError
from tasks.events import comcat, gdacs
from tasks.events.decide import decide, find_known, find_named, find_news, needs_ground
from tasks.events.decisions import store_decision
from tasks.events.fetch import may_follow
from tasks.events.ground import Ground, find_ground
from tasks.events.registry import RegisteredEvent, find_registered
from tasks.events.reports import (
    Decision,
    EventReport,
    Look,
    Source,
    WatchState,
    source_version,
)
from tasks.events.rules import Rules, checked_table, re_look_due
from tasks.events.shakemaps import (
    KnownShakeMap,
    choose_shakemap,
    fetch_grid,
    known_shakemaps,
)
from tasks.events.unwanted import ignore_unwanted
from tasks.events.watching import keep_page, load_state, mark_pages, pages, save_state
from tasks.types import AreaOfInterest, Event

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 3600.0
_UNREAD = (FeedError, TransientError, DatabaseError)


@dataclass(frozen=True)
class Watch:
    """One feed, and everything a look at it needs."""

    world: World
    source: Source
    url: str
    rules: Rules

    def may_follow(self, href: str) -> bool:
        """Whether a link in the feed leads where the operator lets it."""
        return may_follow(href, self.url, self.rules.feed.hosts)


@dataclass(frozen=True)
class Looked:
    """What a look did; `failure` says why the feed, the store or an entry was not read, if so."""

    decisions: tuple[Decision, ...]
    failure: ScarpError | DatabaseError | None = None


def look_once(watch: Watch, now: datetime, replay: bool = False) -> Looked:
    """Read a feed once and deal with every entry, what the rules want in a transaction of its own.

    What was read is remembered only when all of it has been dealt with: a look that is killed is
    done again, and finds done what it had finished. An entry that cannot be dealt with stops no
    other, and is read again by the next look.

    Args:
        watch: the feed and the rules.
        now: the watcher's clock, by which ages and waits are reckoned.
        replay: the clock is simulated, and the server's is not.
    """
    digest = watch.rules.digest
    with watch.world.engine.connect() as connection:
        state = _to_ask_by(load_state(connection, watch.url, digest), now, replay)
    try:
        reports, seen = _read(watch, state, now)
    except (FeedError, TransientError) as error:
        said = hashlib.sha256(f"{watch.url} {error}".encode()).hexdigest()[:12]
        version = f"look:{said}:{state.etag}"
        return Looked(tuple(_about_feed(watch, version, str(error), now)), error)
    with watch.world.engine.begin() as connection:
        made = ignore_unwanted(connection, reports, watch.rules, now)
    rest = [(number, report) for number, report in enumerate(reports) if number not in made]
    told = ((number, *_told_more(watch, report, now)) for number, report in rest)
    failures: list[ScarpError] = []
    whole = True
    for number, decision, done in _deal_with_all(watch, told, now, failures):
        made[number] = decision
        whole &= done
    whole &= not failures
    decisions = [made[number] for number in sorted(made)]
    decisions += _look_again(watch, {one.event_id for one in decisions}, now, failures)
    decisions += _if_stale(watch, seen, now)
    with watch.world.engine.begin() as connection:
        kept = seen if whole else replace(seen, etag="", last_modified="")
        save_state(connection, kept, watch.source, digest)
    return Looked(tuple(decisions), failures[0] if failures else None)


def keep_looking(watch: Watch) -> Iterator[Looked]:
    """Look again and again; at growing intervals up to an hour where there is nothing to be read.

    A look that lost the store is done again once it is back.
    """
    wait_s = pause_s = watch.rules.feed.interval.total_seconds()
    while True:
        try:
            looked = look_once(watch, datetime.now(UTC))
        except DatabaseError as error:
            looked = Looked((), error)
        yield looked
        wait_s = min(2 * wait_s, max(pause_s, LONGEST_WAIT_S))
        if not isinstance(looked.failure, _UNREAD):
            wait_s = pause_s
        # Many watchers that were started together do not ask together.
        time.sleep(wait_s * random.uniform(1, 1.1))


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


def _to_ask_by(state: WatchState, now: datetime, replay: bool) -> WatchState:
    """The state with what may be asked by; a clock that went back has seen nothing yet.

    Where the clock is simulated, a server's time of change says nothing of what was seen.
    """
    if state.looked_at is not None and now < state.looked_at:
        return replace(state, etag="", last_modified="")
    return replace(state, last_modified="") if replay else state


def _read(
    watch: Watch, state: WatchState, now: datetime
) -> tuple[Sequence[EventReport], WatchState]:
    """What the feed says; one event's page that is gone says that the event is deleted."""
    try:
        return _watcher(watch)(watch.url, state, now)
    except FeedError as error:
        page = comcat.page_of(state)
        if page is None or not comcat.is_deleted(error):
            raise
        event_id, told_at = page
        word_of = max(told_at, _last_word(watch, event_id, told_at))
        unasked = replace(state, etag="", last_modified="", looked_at=now)
        return [comcat.deleted_report(event_id, error, word_of)], unasked


def _deal_with_all(
    watch: Watch,
    told: Iterable[tuple[int, EventReport, bool]],
    now: datetime,
    failures: list[ScarpError],
) -> Iterator[tuple[int, Decision, bool]]:
    """Deal with numbered reports, whatever is deleted last: it may live on by another of its ids.

    Args:
        watch: the feed and the rules.
        told: numbered reports, and whether each says all there is.
        now: the watcher's clock.
        failures: where to add what kept a report from being dealt with.

    Yields:
        The number, what was decided, and whether the report need not be read again.
    """
    living: dict[str, str] = {}
    deleted = []
    for number, report, read in told:
        if report.status == "deleted":
            deleted.append((number, report, read))
            continue
        with _apart(report, failures):
            decision, done = _deal_with(watch, report, now)
            if report.event is not None:
                living[decision.event_id] = report.id
            yield number, decision, done and read
    for number, report, read in deleted:
        with _apart(report, failures):
            decision, done = _deal_with(watch, _unless_living(watch, report, living), now)
            yield number, decision, done and read


@contextmanager
def _apart(report: EventReport, failures: list[ScarpError]) -> Iterator[None]:
    """Keep what goes wrong with one report, a lost store apart, from the others."""
    try:
        yield
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("%s of %s", report.id, report.source)
        known = isinstance(error, ScarpError)
        why = str(error) if known else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        said = f"{report.id} could not be dealt with: {why}; the next look tries again"
        failures.append(ScarpError(said))


def _unless_living(watch: Watch, report: EventReport, living: Mapping[str, str]) -> EventReport:
    """A deletion, unless the same look tells of the event under another of its ids."""
    with watch.world.engine.connect() as connection:
        other = living.get(find_named(connection, report) or "", report.id)
    if other == report.id:
        return report
    return replace(report, status="", problem=f"{report.problem}, but it lives on as {other}")


def _deal_with(watch: Watch, told: EventReport, now: datetime) -> tuple[Decision, bool]:
    """As `deal_with`, whatever the entry is like; and whether it need not be read again."""
    try:
        made = deal_with(watch, told, now)
    except BadInputError as error:
        # Its other ids may be what is odd about it.
        odd = replace(told, event=None, alternate_ids=(), problem=str(error))
        made = deal_with(watch, odd, now)
    # What lies ahead of the clock is decided when the clock has passed it.
    settled = told.event is None or told.event.occurred_at <= now
    return made, settled and (made.decision == "ignored" or _fetched(watch, made))


def _watcher(watch: Watch) -> Look:
    if watch.source == "usgs":
        return comcat.look
    if watch.source == "gdacs":
        return gdacs.look
    # Rasters and their libraries cost a second to import.
    from tasks.events.rainfall import RainTable, look

    return partial(look, rules=checked_table(RainTable, watch.rules.rain, "rain").to_rules())


def _told_more(watch: Watch, report: EventReport, now: datetime) -> tuple[EventReport, bool]:
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
        page = _read_page(report.detail_url, report.id, report.reported_at, now)
    except (FeedError, TransientError) as error:
        log.warning("%s", error)
        return (_as_known(report, known) if known else report), False
    return replace(page, alternate_ids=page.alternate_ids or report.alternate_ids), True


def _read_page(url: str, event_id: str, word_of: datetime, now: datetime) -> EventReport:
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


def _last_word(watch: Watch, event_id: str, otherwise: datetime) -> datetime:
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


def _fetched(watch: Watch, made: Decision) -> bool:
    """Whether nothing of an event waits for another try: its ShakeMap has been fetched."""
    with watch.world.engine.connect() as connection:
        chosen = choose_shakemap(known_shakemaps(connection, made.event_id), [])
    return not _may_be_fetched(watch, chosen)


def _look_again(
    watch: Watch, done: set[str], now: datetime, failures: list[ScarpError]
) -> Iterator[Decision]:
    """Read again, by schedule, the pages of events that have left the feed."""
    with watch.world.engine.connect() as connection:
        due = [
            page
            for page in pages(connection, watch.source)
            if page.event_id not in done
            and watch.may_follow(page.url)
            and re_look_due(
                find_registered(connection, page.event_id).event, watch.rules, page.looked_at, now
            )
        ]
    looked = []
    told: list[tuple[int, EventReport, bool]] = []
    for page in due:
        word_of = _last_word(watch, page.event_id, now)
        try:
            report = _read_page(page.url, page.event_id, word_of, now)
        except (FeedError, TransientError) as error:
            log.warning("%s", error)
            looked += [page.url] if isinstance(error, FeedError) else []
            continue
        looked.append(page.url)
        told.append((len(told), report, True))
    for _, decision, _ in _deal_with_all(watch, told, now, failures):
        yield decision
    with watch.world.engine.begin() as connection:
        mark_pages(connection, looked, now)


def _if_stale(watch: Watch, state: WatchState, now: datetime) -> Sequence[Decision]:
    """Say of a feed that it has stood still, once for each time it was made."""
    made = state.feed_time
    if made is None or now - made < watch.rules.feed.stale_after:
        return []
    sentence = (
        f"{watch.url} is stale: it was made {made:%Y-%m-%d %H:%M} UTC, {(now - made).days} days "
        "before the watcher's clock; look whether its source still works"
    )
    return _about_feed(watch, source_version("feed", "", made), sentence, now)


def _about_feed(watch: Watch, version: str, reason: str, now: datetime) -> list[Decision]:
    """Keep what is wrong with a feed as a whole; it is about no event."""
    made = Decision("", watch.source, version, "ignored", reason, now)
    with watch.world.engine.begin() as connection:
        new = store_decision(connection, made, watch.rules.digest)
    return [made if new else replace(made, decision="unchanged")]
