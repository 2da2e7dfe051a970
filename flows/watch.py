"""Watching a feed: what one look at it does, event by event."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from flows.entry import deal_with, has_its_shakemap
from flows.event_page import last_word, read_page, told_more
from flows.feeds import Watch
from flows.world import wake_store
from infra.errors import DatabaseError, InfraError
from tasks.errors import BadInputError, FeedError, ScarpError, TransientError
from tasks.events import comcat, gdacs
from tasks.events.decide import find_named
from tasks.events.decisions import store_decision
from tasks.events.registry import find_registered
from tasks.events.reports import (
    Decision,
    EventReport,
    Look,
    WatchState,
    source_version,
)
from tasks.events.rules import checked_table, re_look_due
from tasks.events.unwanted import ignore_unwanted
from tasks.events.watching import load_state, mark_pages, pages, save_state

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 3600.0
_UNREAD = (FeedError, TransientError, DatabaseError)


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
    failures: list[ScarpError] = []
    told = _all_told(watch, rest, now, failures)
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

    A look that lost the store is done again once it is back; the private cluster is started again.
    """
    wait_s = pause_s = watch.rules.feed.interval.total_seconds()
    while True:
        try:
            looked = look_once(watch, datetime.now(UTC))
        except DatabaseError as error:
            looked = Looked((), error)
            with suppress(InfraError):  # the next look says that it is still away
                wake_store()
        yield looked
        unread = isinstance(looked.failure, _UNREAD)
        wait_s = min(2 * wait_s, max(pause_s, LONGEST_WAIT_S)) if unread else pause_s
        # Many watchers that were started together do not ask together.
        time.sleep(wait_s * random.uniform(1, 1.1))


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
        word_of = max(told_at, last_word(watch, event_id, told_at))
        unasked = replace(state, etag="", last_modified="", looked_at=now)
        return [comcat.deleted_report(event_id, error, word_of)], unasked


def _all_told(
    watch: Watch,
    reports: Iterable[tuple[int, EventReport]],
    now: datetime,
    failures: list[ScarpError],
) -> Iterator[tuple[int, EventReport, bool]]:
    """Numbered reports with what their events' own pages tell besides, as `told_more` reads it."""
    for number, report in reports:
        with _apart(report.id, failures):
            yield number, *told_more(watch, report, now)


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
        with _apart(report.id, failures):
            decision, done = _deal_with(watch, report, now)
            if report.event is not None:
                living[decision.event_id] = report.id
            yield number, decision, done and read
    for number, report, read in deleted:
        with _apart(report.id, failures):
            decision, done = _deal_with(watch, _unless_living(watch, report, living), now)
            yield number, decision, done and read


@contextmanager
def _apart(event_id: str, failures: list[ScarpError]) -> Iterator[None]:
    """Keep what goes wrong with one event, a lost store apart, from the others."""
    try:
        yield
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("%s", event_id)
        known = isinstance(error, ScarpError)
        why = str(error) if known else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        said = f"{event_id} could not be dealt with: {why}; the next look tries again"
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
    return made, settled and (made.decision == "ignored" or has_its_shakemap(watch, made))


def _watcher(watch: Watch) -> Look:
    if watch.source == "usgs":
        return comcat.look
    if watch.source == "gdacs":
        return gdacs.look
    # Rasters and their libraries cost a second to import.
    from tasks.events.rainfall import RainTable, look

    return partial(look, rules=checked_table(RainTable, watch.rules.rain, "rain").to_rules())


def _look_again(
    watch: Watch, done: set[str], now: datetime, failures: list[ScarpError]
) -> Iterator[Decision]:
    """Read again, by schedule, the pages of events that have left the feed.

    One that is out of reach, or cannot be dealt with, is due at the next look as well.
    """
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
    for number, page in enumerate(due):
        with _apart(page.event_id, failures):
            word_of = last_word(watch, page.event_id, now)
            try:
                told.append((number, read_page(page.url, page.event_id, word_of, now), True))
            except (FeedError, TransientError) as error:
                log.warning("%s", error)
                looked += [page.url] if isinstance(error, FeedError) else []
    for number, decision, _ in _deal_with_all(watch, told, now, failures):
        looked.append(due[number].url)
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
