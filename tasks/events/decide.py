"""Decide about one report: register, update, ignore, hold or cancel, in one transaction.

A version of what a source says is dealt with once. Nothing is decided by version numbers, which
repeat and go backwards, but by the times at which a source sent things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pyproj import Geod
from sqlalchemy import Connection, select

from tasks.events.crosswalk import furthest_apart, grown, names_one, same_event
from tasks.events.decisions import (
    decided_versions,
    list_decisions,
    request_response,
    store_decision,
)
from tasks.events.ground import Ground, land_km2
from tasks.events.priors import store_prior
from tasks.events.registry import (
    RegisteredEvent,
    around,
    lock_known,
    lock_moment,
    register,
    set_priority,
    set_reported,
)
from tasks.events.reports import (
    Decision,
    EventReport,
    Outcome,
    ShakeMapVersion,
    source_version,
)
from tasks.events.rules import (
    Rules,
    judge_ground,
    judge_size,
    judge_time,
    respond_at,
)
from tasks.events.shakemaps import (
    Listing,
    known_shakemaps,
    mark_in_use,
    read_listing,
    store_shakemaps,
)
from tasks.events.states import history, move
from tasks.events.tables import event_alias
from tasks.types import AreaOfInterest, Event

# Whose word about an earthquake stands against whose: the operator's is a first sketch.
_STANDING = {"usgs": 3, "gdacs": 2, "rain": 2}
_TAKEN_BACK = "the source took it back: "
# As long as the longest rain any threshold asks about.
_SAME_STORM_WITHIN = timedelta(hours=1000)
_OPEN = ("registered", "responding", "published")
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class News:
    """What of a report is new.

    Attributes:
        fresh: the versions nobody has decided about yet, the ShakeMap's first.
        late: those among them that were sent before what is known already.
        old: the whole report was sent before what is known.
        listing: the ShakeMaps it offers, and those that its page has dropped or taken up again.
    """

    fresh: tuple[str, ...]
    late: tuple[str, ...]
    old: bool
    listing: Listing

    @property
    def relisted(self) -> tuple[ShakeMapVersion, ...]:
        """The ShakeMaps that came or went with no version to tell of it."""
        return (*self.listing.gone, *self.listing.back)


@dataclass(frozen=True)
class _Case:
    """A report, the event it is about if that is known, and what of it is new."""

    connection: Connection
    report: EventReport
    ground: Ground | None
    rules: Rules
    now: datetime
    forced: bool
    known: RegisteredEvent | None
    news: News

    @property
    def event_id(self) -> str:
        return self.known.event.id if self.known else self.report.id

    @property
    def version(self) -> str:
        """What the decision is about: of several new versions the first.

        A ShakeMap that went without a notice goes by when its page was updated without it.
        """
        when = self.report.reported_at
        came = [source_version(*one.contributor, when) for one in self.news.relisted]
        return (*self.news.fresh, *self.news.late, *came, self.report.source_version)[0]


def decide(
    connection: Connection,
    report: EventReport,
    ground: Ground | None,
    rules: Rules,
    now: datetime,
    forced: bool = False,
) -> Decision:
    """Decide about a report and do what was decided; deciding twice does nothing more.

    Args:
        connection: in a transaction that the caller commits; nothing else is needed to make the
            decision and all its consequences appear at once or not at all.
        report: what a source says.
        ground: where to look, if it was needed (see `needs_ground`).
        rules: the operator's.
        now: the watcher's clock.
        forced: an operator asks for the event, whatever the rules say.
    """
    case = _open_case(connection, report, ground, rules, now, forced)
    if report.status == "deleted":
        made = _take_back(case)
    elif report.event is None:
        made = _keep(case, "ignored", report.problem)
    elif case.known is None:
        made = _judge_new(case, report.event)
    else:
        made = _judge_known(case, case.known, report.event)
    for version in {*case.news.fresh, *case.news.late} - {made.source_version}:
        together = f"dealt with together with {made.source_version}"
        also = replace(made, source_version=version, decision="unchanged", reason=together)
        store_decision(connection, also, rules.digest, reported_at=report.reported_at)
    return made


def report_ids(report: EventReport) -> set[str]:
    """Every id that a report gives its event and no other; a GLIDE number may be of several."""
    return {name for name in (report.id, *report.alternate_ids) if name and names_one(name)}


def find_known(connection: Connection, report: EventReport) -> str | None:
    """The id of the registered event a report is about: by its ids, or as one and the same."""
    by_id = find_named(connection, report)
    if by_id or report.event is None:
        return by_id
    rain = report.event.kind == "rainfall"
    within = _SAME_STORM_WITHIN if rain else furthest_apart(report)
    near = around(connection, report.event.occurred_at, within)
    return same_event(report, near)


def find_named(connection: Connection, report: EventReport) -> str | None:
    """The id of the registered event that has one of a report's ids."""
    owner = select(event_alias.c.event_id).where(event_alias.c.id.in_(report_ids(report)))
    return connection.scalars(owner.order_by(event_alias.c.event_id).limit(1)).first()


def find_news(
    connection: Connection, report: EventReport, known: RegisteredEvent | None, rules: Rules
) -> News:
    """What of a report nothing was decided about yet.

    What other rules ignored, these may want; what is registered is not registered again by them.
    """
    names = report_ids(report) | ({known.event.id, *known.event.alternate_ids} if known else set())
    seen = decided_versions(connection, names, None if known else rules.digest)
    fresh: list[str] = []
    late: list[str] = []
    others = known_shakemaps(connection, known.event.id) if known else []
    seen |= {one.version.identity for one in others}
    if report.shakemaps:
        last = max(report.shakemaps, key=lambda one: one.updated_at)
        newer = any(one.version.updated_at > last.updated_at for one in others)
        if last.identity not in seen:
            (late if newer else fresh).append(last.identity)
    before = known.reported_at if known and known.event.source == report.source else None
    old = before is not None and report.reported_at < before
    if report.source_version not in seen:
        (late if old else fresh).append(report.source_version)
    listing = read_listing(report, others, old=old or bool(late))
    return News(tuple(fresh), tuple(late), old, listing)


def needs_ground(report: EventReport, known: bool, rules: Rules, now: datetime) -> bool:
    """Whether it must be found out where to look, before it can be decided about a report."""
    if report.event is None or report.status == "deleted":
        return False
    if known:
        return True
    timely = judge_time(report.event, rules, now).wanted
    return timely and judge_size(report.event, report.alert, rules).wanted


def _open_case(
    connection: Connection,
    report: EventReport,
    ground: Ground | None,
    rules: Rules,
    now: datetime,
    forced: bool,
) -> _Case:
    if report.event is not None:
        lock_moment(connection, report.event.occurred_at)
    names = report_ids(report) | ({twin} if (twin := find_known(connection, report)) else set())
    known = lock_known(connection, names) if names else None
    news = find_news(connection, report, known, rules)
    return _Case(connection, report, ground, rules, now, forced, known, news)


def _judge_new(case: _Case, event: Event) -> Decision:
    """Register an event that nobody knew, or say why not."""
    size = judge_size(event, case.report.alert, case.rules)
    # Its time last: what is ahead of the clock is decided again, and what is too small is not.
    for verdict in (size, judge_time(event, case.rules, case.now)):
        if not verdict.wanted and not case.forced:
            return _keep(case, "ignored", verdict.reason)
    ground = case.ground or Ground(None, problem="its ground was not looked at")
    if ground.aoi is None:
        return _keep(case, "ignored", ground.problem)
    dry_km2 = land_km2(ground.aoi, case.rules.limits(event).land)
    land = judge_ground(event, ground.aoi, dry_km2, case.rules)
    if not land.wanted and not case.forced:
        return _keep(case, "ignored", land.reason)
    why = "an operator asked for it" if case.forced else size.reason
    reason = "; ".join(filter(None, (why, f"area: {ground.aoi.how}", ground.remark)))
    _store(case, event, ground.aoi, reason)
    held_by = case.rules.holds_back(report_ids(case.report))
    if held_by and not case.forced:
        move(case.connection, event.id, "held", f"the hold list names {held_by}")
        return _keep(case, "held", f"{reason}; the hold list names {held_by}")
    return _keep(case, "registered", reason, respond=True)


def _judge_known(case: _Case, known: RegisteredEvent, event: Event) -> Decision:
    """Bring a known event up to date with what is new about it."""
    if known.state == "cancelled":
        last = history(case.connection, known.event.id)[-1]
        if not last.reason.startswith(_TAKEN_BACK):
            return _keep(case, "ignored", "an operator cancelled it; `scarp events release` undoes")
        if not case.news.fresh or _outranked(case.report, known):
            stays: Outcome = "ignored" if case.news.fresh else "unchanged"
            return _keep(case, stays, f"it stays cancelled: {last.reason}")
        move(case.connection, known.event.id, "released", "the source stands by it again")
        return _update(case, known, event, "registered")
    if _outranked(case.report, known):
        return _add_ids(case, known, event)
    if event.kind == "rainfall" and case.report.aoi:
        return _grow(case, known, event, case.report.aoi)
    return _update(case, known, event, "updated")


def _grow(case: _Case, known: RegisteredEvent, event: Event, aoi: AreaOfInterest) -> Decision:
    """Add to a storm what another look sees of it."""
    event, aoi = grown(event, aoi, known)
    if aoi is known.aoi:
        return _keep(case, "unchanged", "the storm has not grown since the last look")
    wider = replace(case.ground, aoi=aoi) if case.ground else Ground(aoi)
    return _update(replace(case, ground=wider), known, event, "updated")


def _update(case: _Case, known: RegisteredEvent, event: Event, outcome: Outcome) -> Decision:
    ground = case.ground
    before = known.event
    newly_fetched = bool(
        ground and ground.shakemap and ground.shaking and not ground.shakemap.in_use
    )
    asked_for = case.forced and not (known.forced and _given(ground) in (None, known.aoi))
    if not (case.news.fresh or case.news.relisted or newly_fetched or asked_for):
        if case.news.late:
            return _keep(case, "unchanged", "it was sent before what is known already")
        return _keep(case, "unchanged", "nothing new since the last look")
    told = case.report.source_version in case.news.fresh
    after = event if told else before
    if after.magnitude is None:
        after = replace(after, magnitude=before.magnitude, magnitude_type=before.magnitude_type)
    aoi = _area(known, ground, case.news.listing.gone)
    parts = [
        differences(before, after) if told else "",
        *_about_listing(case.news.listing),
        _about_ground(known, ground, aoi),
    ]
    if asked_for:
        parts.insert(0, "an operator asked for it")
    reason = "; ".join(filter(None, parts)) or "sent again, with place and size as before"
    wanted = judge_size(after, case.report.alert, case.rules)
    if not wanted.wanted and not known.forced:
        reason += f"; {wanted.reason}: it stays registered, no response is asked for"
    _store(case, after, aoi, reason)
    if known.state in ("held", "closed"):
        held: Outcome = "held" if known.state == "held" else "updated"
        return _keep(case, held, f"{reason}; it is {known.state}, no response is asked for")
    news = bool(case.news.fresh) or newly_fetched or asked_for or aoi != known.aoi
    return _keep(case, outcome, reason, respond=news and (wanted.wanted or known.forced))


def _take_back(case: _Case) -> Decision:
    """Cancel an event its source no longer stands by; one that an operator forced is held."""
    known, why = case.known, case.report.problem
    if known is None:
        return _keep(case, "ignored", why)
    if case.news.old or known.state == "cancelled" or _told_before(case, known, why):
        return _keep(case, "unchanged", f"it is {known.state} already, or known better since")
    set_reported(case.connection, known.event.id, case.report.reported_at)
    if known.forced:
        if known.state != "held":
            move(case.connection, known.event.id, "held", f"{_TAKEN_BACK}{why}")
        return _keep(case, "held", f"{why}; an operator registered it: release or cancel it")
    move(case.connection, known.event.id, "cancelled", f"{_TAKEN_BACK}{why}")
    return _keep(case, "cancelled", why)


def _told_before(case: _Case, known: RegisteredEvent, why: str) -> bool:
    """Whether the same was said before: a deletion may come with no new time of update."""
    names = (known.event.id, *known.event.alternate_ids, case.report.id)
    return any(
        one.source_version == case.report.source_version and one.reason.startswith(why)
        for one in list_decisions(case.connection, names)
    )


def _add_ids(case: _Case, known: RegisteredEvent, event: Event) -> Decision:
    """Of a source that knows less than the one that described the event, keep only its ids."""
    more = (*known.event.alternate_ids, event.id, *event.alternate_ids)
    change = register(
        case.connection,
        replace(known.event, alternate_ids=more),
        known.aoi,
        reason=f"{case.report.source} knows it as {event.id}",
        reported_at=known.reported_at,
    )
    same = f"it is {known.event.id}, which {known.event.source} describes"
    return _keep(case, "updated" if change == "updated" else "unchanged", same)


def _store(case: _Case, event: Event, aoi: AreaOfInterest, reason: str) -> None:
    """Write the event, its ShakeMaps and its priority."""
    ids = (case.report.id, *case.report.alternate_ids)
    known = case.known
    # The clocks of two sources say nothing of each other.
    before = known.reported_at if known and known.event.source == case.report.source else None
    register(
        case.connection,
        replace(event, id=case.event_id, alternate_ids=(*event.alternate_ids, *ids)),
        aoi,
        reason=reason,
        forced=case.forced,
        reported_at=max(filter(None, (before, case.report.reported_at))),
    )
    ground = case.ground
    if ground:
        offered = case.news.listing.offered
        store_shakemaps(case.connection, case.event_id, offered, ground.shakemap)
    if ground and aoi == ground.aoi:
        drawn = ground.shakemap if ground.shaking else None
        mark_in_use(case.connection, case.event_id, drawn.version.identity if drawn else None)
    if ground and (expected := ground.expected):
        store_prior(case.connection, case.event_id, expected)
        set_priority(case.connection, case.event_id, _priority(case), expected.impact.how)


def _keep(case: _Case, outcome: Outcome, reason: str, respond: bool = False) -> Decision:
    """Store a decision and what it asks for; one that was made before changes nothing."""
    ground = case.ground
    drawn = ground.shakemap if ground and ground.shaking else None
    version = case.version
    if outcome == "updated" and not (case.news.fresh or case.news.relisted) and drawn:
        version = drawn.version.identity
    made = Decision(
        case.event_id, case.report.source, version, outcome, reason, case.now, _priority(case)
    )
    if outcome == "unchanged" and not case.news.late:
        return made
    shakemap = drawn.version.identity if drawn else ""
    new = store_decision(
        case.connection, made, case.rules.digest, shakemap, case.report.reported_at
    )
    if not new:
        return replace(made, decision="unchanged", reason=f"{outcome} before: {reason}")
    if respond and case.report.event:
        at = respond_at(case.report.event, case.rules, case.now)
        request_response(
            case.connection, made.event_id, version, reason, made.priority, at, case.now
        )
        return replace(made, respond_at=at)
    return made


def _priority(case: _Case) -> float | None:
    """The larger the expected impact, the more urgent; as before where nothing new is expected."""
    event, ground = case.report.event, case.ground
    if event is None or ground is None or ground.expected is None:
        return case.known.priority if case.known else None
    return case.rules.limits(event).priority_weight * ground.expected.impact.expected_km2


def _area(
    known: RegisteredEvent, ground: Ground | None, gone: Sequence[ShakeMapVersion]
) -> AreaOfInterest:
    """The better of the area known and the one found now; an operator's own is never replaced."""
    if given := _given(ground):
        return given
    if known.aoi.how == "given" or ground is None or ground.aoi is None:
        return known.aoi
    fetched = ground.shakemap is None or ground.shakemap.path is not None
    provisional_now = ground.shaking is None
    if provisional_now and not fetched and not gone and known.aoi.how.startswith("ShakeMap"):
        return known.aoi
    return ground.aoi


def _given(ground: Ground | None) -> AreaOfInterest | None:
    """The area that an operator gives now, if one does."""
    return ground.aoi if ground and ground.aoi and ground.aoi.how == "given" else None


def _about_ground(known: RegisteredEvent, ground: Ground | None, aoi: AreaOfInterest) -> str:
    if ground is None:
        return ""
    chosen = ground.shakemap
    drawn = chosen and not chosen.in_use and ground.shaking and aoi == ground.aoi
    said = (
        f"area: {aoi.how}" if aoi.how != known.aoi.how else "",
        f"the area is drawn from ShakeMap {chosen.version.identity}" if chosen and drawn else "",
        f"ShakeMap {chosen.version.identity} is pinned" if chosen and chosen.pinned else "",
        ground.remark,
    )
    return "; ".join(filter(None, said))


def _about_listing(listing: Listing) -> list[str]:
    """What its page no longer says of an event's ShakeMaps, or says again."""
    gone = [f"{one.source} no longer offers its ShakeMap {one.identity}" for one in listing.gone]
    back = [f"{one.source} offers its ShakeMap {one.identity} again" for one in listing.back]
    return gone + back


def differences(before: Event, after: Event) -> str:
    """What a new description says otherwise, in words; empty if nothing that counts."""
    said = []
    if before.magnitude != after.magnitude:
        said.append(f"M {_number(before.magnitude)} → {_number(after.magnitude)}")
    if before.depth_km != after.depth_km:
        said.append(f"depth {_number(before.depth_km)} → {_number(after.depth_km)} km")
    _, _, metres = _WGS84.inv(before.longitude, before.latitude, after.longitude, after.latitude)
    if metres >= 100:
        said.append(f"moved {metres / 1000:.1f} km")
    later_s = (after.occurred_at - before.occurred_at).total_seconds()
    if later_s:
        said.append(f"origin time {later_s:+.1f} s")
    if before.title != after.title:
        said.append(f"now called {after.title}")
    return ", ".join(said)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"


def _outranked(report: EventReport, known: RegisteredEvent) -> bool:
    return _STANDING[report.source] < _STANDING.get(known.event.source, 0)
