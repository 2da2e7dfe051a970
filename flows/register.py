"""Registering an event: where to look is decided at once, and both are stored together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx
from sqlalchemy import Connection

from flows.entry import deal_with
from flows.feeds import Watch
from flows.prior import expect_landslides
from flows.world import World, open_world
from infra.settings import Settings
from tasks.errors import AreaError, EventError, FeedError, TransientError
from tasks.events import comcat
from tasks.events.aoi import check_near, read_aoi
from tasks.events.crosswalk import names_one
from tasks.events.decide import differences
from tasks.events.decisions import request_response
from tasks.events.ground import provisional_aoi
from tasks.events.impact import Impact
from tasks.events.priors import find_priors, store_prior
from tasks.events.registry import (
    RegisteredEvent,
    find_registered,
    lock_known,
    register,
    set_priority,
)
from tasks.events.reports import EventReport, WatchState
from tasks.events.rules import Limits, read_rules
from tasks.events.wishes import keep_options, kept_options
from tasks.types import AreaOfInterest, Event

Wishes = dict[str, Any]

_OTHERWISE = "give the event's fields, or a page saved from ComCat with --file"


@dataclass(frozen=True)
class Registration:
    """What registering did: `unchanged` if the same event and AOI were there already.

    `asked` is the id it was asked for, which may be another than `event` was registered with;
    `expected` is what is expected of it before any image, None where nothing can be; `differs` what
    an operator now says otherwise than was known, in words.
    """

    asked: str
    event: Event
    aoi: AreaOfInterest
    change: Literal["registered", "updated", "unchanged"]
    expected: Impact | None
    differs: str = ""

    @property
    def known_as(self) -> str:
        """Which event that is, in words, if it was asked for by another of its ids; else empty."""
        other = self.asked != self.event.id
        return f"{self.asked} is another id of {self.event.id}" if other else ""


def register_event(
    event: Event,
    aoi_file: Path | None = None,
    dry: bool = False,
    wishes: Wishes | None = None,
    ask: bool = True,
) -> Registration:
    """Store an event with its area of interest, and ask for a response to what is new.

    The same input twice changes nothing.

    Args:
        event: as the operator describes it.
        aoi_file: where to look; None keeps the area there is, unless that is provisional, and
            draws a provisional one.
        dry: find out what it would do, and store nothing.
        wishes: how to respond, as `ResponseOptions` has it; None leaves what was wished before.
        ask: False where the caller responds himself.

    Raises:
        AreaError: the file holds no usable area, or a rainfall event comes without one.
        RulesError: the file that SCARP_RULES or SCARP_IMPACT names cannot be used.
    """
    world, limits = open_world(), read_rules(Settings().rules).limits(event)
    with _transaction(world, dry) as connection:
        known = lock_known(connection, [*filter(names_one, (event.id, *event.alternate_ids))])
        name = known.event.id if known else event.id
        aoi = _area_of(event, aoi_file, known, limits)
        version = event.source_version or "operator"
        expected = expect_landslides(world, replace(event, id=name), aoi, None, version)
        differs = _said_otherwise(known, event, aoi) if known else ""
        why = "; ".join(filter(None, ("an operator registered it", differs)))
        change = register(connection, event, aoi, reason=why, forced=True)
        if expected and change != "unchanged":
            store_prior(connection, name, expected)
            urgency = limits.priority_weight * expected.impact.expected_km2
            set_priority(connection, name, urgency, expected.impact.how)
        wished = _keep(connection, name, wishes)
        if ask and (wished or change != "unchanged"):
            ask_for_response(connection, name)
        impact = expected.impact if expected else None
        return Registration(event.id, replace(event, id=name), aoi, change, impact, differs)


def register_report(
    report: EventReport,
    aoi_file: Path | None = None,
    dry: bool = False,
    wishes: Wishes | None = None,
    asked: str = "",
) -> Registration:
    """Store what ComCat says of an event, whatever the rules say; feeds keep it up to date.

    Args:
        report: see `ask_comcat` and `saved_report`.
        aoi_file: where to look; None takes the ShakeMap's area or a provisional one.
        dry: find out what it would do, and store nothing.
        wishes: how to respond, as `ResponseOptions` has it; None leaves what was wished before.
        asked: the id ComCat was asked for; by default the report's own.

    Raises:
        EventError: the report says nothing that can be used.
        AreaError: the file holds no usable area, or there is no land to look at.
    """
    if report.event is None:
        raise EventError(report.problem)
    if aoi_file is not None:
        report = replace(report, aoi=read_aoi(aoi_file, near=report.event))
    settings = Settings()
    watch = Watch(open_world(), "usgs", settings.comcat_url, read_rules(settings.rules))
    with _transaction(watch.world, dry) as connection:
        made = deal_with(watch, report, datetime.now(UTC), forced=True, connection=connection)
        if made.decision not in ("registered", "updated", "unchanged", "held"):
            raise AreaError(f"event {report.id} cannot be registered: {made.reason}")
        known = find_registered(connection, made.event_id)
        if _keep(connection, made.event_id, wishes) and made.respond_at is None:
            ask_for_response(connection, made.event_id)
        expected = next((one.impact for one in find_priors(connection, made.event_id)), None)
    done = {"registered": "registered", "unchanged": "unchanged"}.get(made.decision, "updated")
    name = asked or report.id
    return Registration(name, known.event, known.aoi, done, expected)  # type: ignore[arg-type]


def _keep(connection: Connection, event_id: str, wishes: Wishes | None) -> bool:
    """Keep how to respond to an event; whether that is news."""
    name = find_registered(connection, event_id).event.id
    if wishes is None or wishes == kept_options(connection, name):
        return False
    keep_options(connection, name, wishes)
    return True


def ask_for_response(connection: Connection, event_id: str) -> None:
    """Ask for a response to an event because an operator wants one, whatever was made before."""
    known, now = find_registered(connection, event_id), datetime.now(UTC)
    version = f"operator:{now.isoformat()}"
    why = "an operator asked for it"
    request_response(connection, known.event.id, version, why, known.priority, now, now)


def ask_comcat(event_id: str) -> EventReport:
    """What ComCat says of an event just now.

    Raises:
        TransientError: ComCat cannot be reached.
        EventError: it knows no such event.
    """
    address = Settings().comcat_url
    if "{id}" in address:
        url = address.replace("{id}", quote(event_id, safe=""))
    else:
        url = str(httpx.URL(address).copy_merge_params({"eventid": event_id, "format": "geojson"}))
    try:
        reports, _ = comcat.look(url, WatchState(url), datetime.now(UTC))
    except TransientError as error:
        raise TransientError(f"{error}, or {_OTHERWISE}") from error
    except FeedError as error:
        raise EventError(
            f"ComCat tells nothing of event {event_id!r} ({error}); {_OTHERWISE}"
        ) from error
    if len(reports) != 1:
        raise EventError(f"ComCat answers {event_id!r} with {len(reports)} events; give the id")
    return reports[0]


def saved_report(path: Path) -> EventReport | None:
    """What a page saved from ComCat says; None if the file is none.

    Raises:
        EventError: it is a feed of several events.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("type") not in ("Feature", "FeatureCollection"):
        return None
    features = content.get("features", [content])
    if len(features) != 1:
        raise EventError(
            f"{path} holds {len(features)} events; give one event's page, or `scarp watch --url "
            f"{path} --once` to judge all of them by the rules"
        )
    return comcat.read_feature(features[0])


@contextmanager
def _transaction(world: World, dry: bool) -> Iterator[Connection]:
    with world.engine.connect() as connection:
        yield connection
        if dry:
            connection.rollback()
        else:
            connection.commit()


def _area_of(
    event: Event, aoi_file: Path | None, known: RegisteredEvent | None, limits: Limits
) -> AreaOfInterest:
    """The area given now, else the one there is, else a provisional one, drawn anew each time."""
    if aoi_file is not None:
        return read_aoi(aoi_file, near=event)
    if known and not known.aoi.how.startswith("provisional"):
        check_near(known.aoi, event, f"its area ({known.aoi.how}), which --aoi FILE replaces,")
        return known.aoi
    if event.kind == "earthquake":
        return provisional_aoi(event, limits)
    raise AreaError(
        f"rainfall event {event.id} has no area of interest; give one with --aoi FILE "
        "(GeoJSON or GeoPackage)"
    )


def _said_otherwise(known: RegisteredEvent, event: Event, aoi: AreaOfInterest) -> str:
    before, after = known.aoi, aoi
    area = f"area {before.area_km2:,.1f} → {after.area_km2:,.1f} km²"
    same = before.geometry.equals(after.geometry)
    return ", ".join(filter(None, (differences(known.event, event), "" if same else area)))
