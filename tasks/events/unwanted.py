"""What the rules do not want: most of a feed, put aside together before the rest is decided."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from tasks.events.crosswalk import furthest_apart
from tasks.events.decide import report_ids
from tasks.events.decisions import decided_by, store_decision
from tasks.events.reports import Decision, EventReport
from tasks.events.rules import Rules, judge_size, judge_time
from tasks.events.tables import event_alias
from tasks.inventory import tables


def ignore_unwanted(
    connection: Connection, reports: Sequence[EventReport], rules: Rules, now: datetime
) -> dict[int, Decision]:
    """Decide about earthquakes that are too small, too deep or too old, and none that is known.

    Args:
        connection: in a transaction that the caller commits.
        reports: the entries of a feed.
        rules: the operator's.
        now: the watcher's clock.

    Returns:
        The decisions, by the position of the entry; the entries left out are to be dealt with one
        by one (`decide`).
    """
    reasons = {
        number: reason
        for number, report in enumerate(reports)
        if (reason := _why_not(report, rules, now))
    }
    names = {name for number in reasons for name in report_ids(reports[number])}
    known = select(event_alias.c.id).where(event_alias.c.id.in_(names))
    taken = set(connection.scalars(known))
    moments = sorted(connection.scalars(select(tables.event.c.occurred_at)))
    decided = decided_by(connection, names, rules.digest)
    made = {}
    for number, reason in reasons.items():
        report = reports[number]
        if not report_ids(report) & taken and not _any_about(moments, report):
            made[number] = _ignore(connection, report, reason, decided, rules, now)
    return made


def _why_not(report: EventReport, rules: Rules, now: datetime) -> str:
    """Why the rules do not want an earthquake; empty if they do, or it is none that has been."""
    event = report.event
    if event is None or report.status == "deleted" or event.occurred_at > now:
        return ""
    if event.kind != "earthquake":
        return ""
    verdicts = judge_size(event, report.alert, rules), judge_time(event, rules, now)
    return next((verdict.reason for verdict in verdicts if not verdict.wanted), "")


def _any_about(moments: list[datetime], report: EventReport) -> bool:
    """Whether some known event happened when this one did, and might be it."""
    assert report.event is not None
    when, within = report.event.occurred_at, furthest_apart(report)
    first = bisect_left(moments, when - within)
    return first < bisect_right(moments, when + within)


def _ignore(
    connection: Connection,
    report: EventReport,
    reason: str,
    decided: set[tuple[str, str]],
    rules: Rules,
    now: datetime,
) -> Decision:
    shakemaps = sorted(report.shakemaps, key=lambda one: one.updated_at)
    versions = [*(one.identity for one in shakemaps[-1:]), report.source_version]
    fresh = [
        version
        for version in versions
        if not any((name, version) in decided for name in report_ids(report))
    ]
    first = (fresh or versions)[0]
    made = Decision(report.id, report.source, first, "ignored", reason, now)
    # Another watcher of the feed may have been a moment faster.
    if not fresh or not store_decision(
        connection, made, rules.digest, reported_at=report.reported_at
    ):
        return replace(made, decision="unchanged", reason=f"ignored before: {reason}")
    for version in fresh[1:]:
        also = replace(
            made,
            source_version=version,
            decision="unchanged",
            reason=f"dealt with together with {first}",
        )
        store_decision(connection, also, rules.digest, reported_at=report.reported_at)
    return made
