"""`scarp register` and `scarp events`: what happened, and where to look."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import AsJson, print_json, print_line, screen, table
from console.waits import scene_lines, wait_lines

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from flows.plan import Plan
    from flows.register import Registration
    from tasks.events.latency import Milestones
    from tasks.events.registry import RegisteredEvent
    from tasks.events.states import Move

app = typer.Typer(help="Look at events, and hold, release or cancel them.", no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="Why; kept in the event's history.")]
BY_HAND = "an operator said so"


def register(
    event_id: Annotated[
        str | None, typer.Argument(help="ComCat id, GDACS id, or a slug of your own.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the event from a JSON file.")] = None,
    kind: Annotated[str | None, typer.Option(help="earthquake or rainfall.")] = None,
    time: Annotated[str | None, typer.Option(help="With its zone: 2018-09-05T18:07Z.")] = None,
    lon: Annotated[str | None, typer.Option(help="Degrees east.")] = None,
    lat: Annotated[str | None, typer.Option(help="Degrees north.")] = None,
    title: Annotated[str | None, typer.Option(help="A name people know it by.")] = None,
    magnitude: Annotated[str | None, typer.Option(help="Of an earthquake.")] = None,
    magnitude_type: Annotated[str | None, typer.Option(help="Such as Mw.")] = None,
    depth_km: Annotated[str | None, typer.Option(help="Of an earthquake.")] = None,
    rainfall_mm: Annotated[str | None, typer.Option(help="Fallen in all.")] = None,
    duration_h: Annotated[str | None, typer.Option(help="Of the rainfall.")] = None,
    aoi: Annotated[
        Path | None, typer.Option(help="Where to look: GeoJSON or GeoPackage polygons.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would do; store nothing.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(help="Imagery `scarp up` responds with, as for respond; --dry-run counts it."),
    ] = None,
    dem: Annotated[
        Path | None, typer.Option(help="Elevation in metres it responds with, as for respond.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register an earthquake or a rainfall event; the same one twice changes nothing.

    With an id alone, ComCat is asked (SCARP_COMCAT_URL); --file also takes a page saved from it.
    Where `scarp up` runs, what is new is responded to at once.

    Example: scarp register us2000h8ty --kind earthquake --time 2018-09-05T18:07:59Z
    --lon 141.93 --lat 42.69 --magnitude 6.6 --title "Hokkaido Eastern Iburi"
    """
    from flows.options import wishes_of
    from flows.register import ask_comcat, register_event, register_report, saved_report
    from tasks.errors import EventError
    from tasks.events.request import event_from_fields, read_event

    given = {
        "id": event_id,
        "kind": kind,
        "title": title,
        "occurred_at": time,
        "longitude": lon,
        "latitude": lat,
        "magnitude": magnitude,
        "magnitude_type": magnitude_type,
        "depth_km": depth_km,
        "rainfall_mm": rainfall_mm,
        "duration_h": duration_h,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if file and fields:
        raise EventError(f"give either --file {file} or the event's fields, not both")
    wishes = wishes_of(source, dem)
    report = saved_report(file) if file else None
    if event_id and fields.keys() == {"id"}:
        report = ask_comcat(event_id)
    if report:
        registration = register_report(report, aoi, dry_run, wishes, event_id or "")
    else:
        event = read_event(file) if file else event_from_fields(fields, "command line")
        registration = register_event(event, aoi, dry_run, wishes)
    if not dry_run:
        _say_registered(registration, as_json)
        return
    from flows.plan import plan

    asked = plan(registration.event, registration.aoi, registration.expected, source)
    _say_planned(registration, asked, source, as_json)


@app.command("list")
def list_events(as_json: AsJson = False) -> None:
    """List the registered events, newest first. Example: scarp events list."""
    from flows.world import open_world
    from tasks.events import registry
    from tasks.events.turns import dead_letters
    from tasks.imagery.waits import lasting_waits

    with open_world().engine.begin() as connection:
        _end_left(connection)
        events = registry.list_events(connection)
        dead = {turn.event_id: turn.failure for turn in dead_letters(connection)}
        waits = lasting_waits(connection)
    if as_json:
        said = [(one, dead.get(one.event.id), waits.get(one.event.id)) for one in events]
        print_json([vars(one) | {"given_up": d, "waits_for": w} for one, d, w in said])
    elif events:
        stands = dict.fromkeys(waits, "waits") | dict.fromkeys(dead, "given up")
        screen.print(table("Events", [_row(one, stands.get(one.event.id)) for one in events]))
    else:
        print_line("no event is registered yet: see scarp register --help")


@app.command("show")
def show_event(event_id: str, as_json: AsJson = False) -> None:
    """Show one event, its history, what was decided about it and what was made of it.

    Example: scarp events show us2000h8ty
    """
    from flows.dossier import read_dossier
    from flows.world import open_world
    from tasks.events.turns import dead_letters

    world = open_world()
    with world.engine.begin() as connection:
        _end_left(connection)
        dossier = read_dossier(connection, event_id)
        name = dossier.event and dossier.event.id
        dead = [turn.failure for turn in dead_letters(connection) if turn.event_id == name]
    given_up = dead[0] if dead else None
    if as_json:
        print_json(vars(dossier) | {"given_up": given_up})
        return
    if dossier.event and dossier.aoi:
        versions = [f"{version} {status}" for version, status in dossier.inventories.items()]
        fields = dataclasses.asdict(dossier.event) | {
            "alternate_ids": ", ".join(dossier.event.alternate_ids),
            "state": dossier.state,
            "given up": given_up and f"{given_up} (`scarp runs replay {name}` tries again)",
            "area of interest": f"{dossier.aoi.area_km2:,.1f} km² ({dossier.aoi.how})",
            "priority": dossier.priority and f"{dossier.priority:.3g} ({dossier.priority_how})",
            "merged into": dossier.merged_into,
            "inventories": ", ".join(versions),
            "products": world.products(dossier.event.id),
        }
        known = {name: value for name, value in fields.items() if value not in (None, "", ())}
        rows = [{"field": name, "value": value} for name, value in known.items()]
        screen.print(table(dossier.event.title, rows))
    else:
        print_line(f"{event_id} is not registered")
    if dossier.milestones:
        screen.print(table("Latency", _latency(dossier.milestones)))
    if dossier.shakemaps:
        screen.print(table("ShakeMaps", [vars(one) for one in dossier.shakemaps]))
    looked = scene_lines(dossier.wait) if dossier.wait and dossier.wait.lasts else []
    for line in (*wait_lines(dossier.wait), *looked):
        print_line(line)
    if dossier.history:
        screen.print("History", style="bold")
    for change in dossier.history:
        _say_line(change.changed_at, change.change, change.reason)
    if dossier.decisions:
        screen.print("Decisions, by the watcher's clock", style="bold")
    for made in dossier.decisions:
        _say_line(made.decided_at, f"{made.decision} {made.source_version}", made.reason)


@app.command("hold")
def hold(event_id: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let nothing be done about an event until it is released.

    Example: scarp events hold us2000h8ty --reason "wait for the second image"
    """
    _move(event_id, "held", reason, as_json)


@app.command("cancel")
def cancel(event_id: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Give an event up; its inventories stay. Example: scarp events cancel us2000h8ty."""
    _move(event_id, "cancelled", reason, as_json)


@app.command("close")
def close(event_id: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """End work on an event: feeds still update it, but ask for no response.

    Example: scarp events close us2000h8ty
    """
    _move(event_id, "closed", reason, as_json)


@app.command("release")
def release(event_id: str, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let work on a held or cancelled event go on. Example: scarp events release us2000h8ty."""
    from flows.world import open_world
    from tasks.events import operator

    with open_world().engine.begin() as connection:
        known = operator.release(connection, event_id, reason or BY_HAND, datetime.now(UTC))
    _say_state(known, as_json)


@app.command("pin-shakemap")
def pin_shakemap(
    event_id: str,
    identity: Annotated[
        str, typer.Argument(help="source:code:updateTime, or newest to follow the newest again.")
    ],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Draw an event's area of interest from one version of its ShakeMap, whatever comes later.

    Example: scarp events pin-shakemap us10008e3k us:us10008e3k:1491246067413
    """
    from flows.world import open_world
    from infra.settings import Settings
    from tasks.events import operator
    from tasks.events.registry import find_event
    from tasks.events.rules import read_rules

    rules = read_rules(Settings().rules)
    with open_world().engine.begin() as connection:
        limits = rules.limits(find_event(connection, event_id))
        known = operator.choose(connection, event_id, identity, reason or BY_HAND, limits)
    _say_state(known, as_json)


@app.command("due")
def due(as_json: AsJson = False) -> None:
    """List the responses that are asked for, the most urgent first.

    Example: scarp events due
    """
    from flows.world import open_world
    from tasks.events.decisions import waiting_requests
    from tasks.events.turns import dead_letters

    with open_world().engine.connect() as connection:
        waiting = waiting_requests(connection)
        dead = {turn.event_id: turn.failure for turn in dead_letters(connection)}
    if as_json:
        print_json([vars(one) | {"given_up": dead.get(one.event_id)} for one in waiting])
    elif waiting:
        rows = [
            {
                "event": one.event_id,
                "priority": one.priority and f"{one.priority:.3g}",
                "not before (UTC)": "given up"
                if one.event_id in dead
                else f"{one.not_before:%Y-%m-%d %H:%M}",
                "why": dead.get(one.event_id, one.reason),
            }
            for one in waiting
        ]
        screen.print(table("Responses asked for", rows))
    else:
        print_line("no response is asked for")


def _end_left(connection: Connection) -> None:
    """End the responses and runs whose process was killed, for no relay may be there to do it."""
    from tasks.events.states import settle_left
    from tasks.events.turns import runs_of_turns
    from tasks.inventory.runs import close_left

    settle_left(connection)
    close_left(connection, runs_of_turns(connection))


def _latency(reached: Milestones) -> list[dict[str, object]]:
    """One row a milestone: how long after the event, and after Scarp heard of it."""
    since_event = reached.after(reached.occurred)
    since_registered = reached.after(reached.registered)
    return [
        {
            "to": name.replace("_", " "),
            "from the event": _lasting(span),
            "from registration": _lasting(since_registered[name]),
        }
        for name, span in since_event.items()
    ]


def _lasting(span: timedelta) -> str:
    """A span to the second; before the start it has a minus."""
    whole = timedelta(seconds=round(abs(span).total_seconds()))
    return f"-{whole}" if span < timedelta() else str(whole)


def _move(event_id: str, change: Move, reason: str, as_json: bool) -> None:
    from flows.world import open_world
    from tasks.events.states import move

    with open_world().engine.begin() as connection:
        known = move(connection, event_id, change, reason or BY_HAND)
    _say_state(known, as_json)


def _say_state(known: RegisteredEvent, as_json: bool) -> None:
    if as_json:
        print_json(known)
        return
    print_line(
        f"{known.event.id} is {known.state}; area of interest {known.aoi.area_km2:,.1f} km² "
        f"({known.aoi.how})",
    )


def _say_registered(registration: Registration, as_json: bool) -> None:
    if as_json:
        print_json(registration)
        return
    event, where = registration.event, registration.aoi
    if registration.known_as:
        print_line(registration.known_as)
    print_line(
        f"{event.id} {registration.change}: {event.title}, {event.occurred_at:%Y-%m-%d %H:%M} UTC\n"
        f"area of interest {where.area_km2:,.1f} km² ({where.how})",
    )
    if registration.differs:
        print_line(f"changed: {registration.differs}")
    if expected := registration.expected:
        said = f"expected landslides {expected.expected_km2:.3g} km² ({expected.how})"
        print_line(said)


def _say_planned(registration: Registration, plan: Plan, source: str | None, as_json: bool) -> None:
    """What `--dry-run` found, nothing of which was stored."""
    record = {
        "asked": registration.asked,
        "event": registration.event,
        "aoi": registration.aoi,
        "aoi_km2": round(registration.aoi.area_km2, 3),
        "would_be": registration.change,
        "differs": registration.differs,
        "expected_km2": plan.expected_km2,
        "expected_how": plan.expected_how,
        "scenes": plan.scenes,
        "size_bytes": plan.size_bytes if plan.scenes is not None else None,
    }
    if as_json:
        print_json(record)
        return
    where, imagery = registration.aoi, "not counted; name a source with --source"
    if plan.scenes is None and source:
        imagery = "one image, read when the event is responded to"
    elif plan.scenes is not None:
        imagery = f"{len(plan.scenes)} scenes, {_megabytes(plan.size_bytes)} to read"
    expected = "not known; ShakeMaps and magnitudes tell of earthquakes only"
    if plan.expected_km2 is not None:
        expected = f"{plan.expected_km2:,.3g} km² ({plan.expected_how})"
    said = (registration.known_as, f"would be {registration.change}", registration.differs)
    facts = {
        "event": ": ".join(filter(None, said)),
        "area of interest": f"{where.area_km2:,.1f} km² ({where.how})",
        "expected landslides": expected,
        "imagery": imagery,
    }
    rows = [{"": name, "what it would do": value} for name, value in facts.items()]
    screen.print(table(f"{registration.event.title} (nothing was stored)", rows))
    for cost in plan.scenes or ():
        size = "unknown size" if cost.size_bytes is None else _megabytes(cost.size_bytes)
        print_line(f"{cost.scene}: {cost.acquired_at}, {size}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"


def _say_line(moment: datetime, what: str, why: str) -> None:
    line = f"{moment:%Y-%m-%d %H:%M:%S} {what}" + (f": {why}" if why else "")
    print_line(line)


def _row(registered: RegisteredEvent, stands: str | None) -> dict[str, object]:
    event = registered.event
    # Held, cancelled or closed says more, since it is what a person decided.
    undecided = registered.state in ("registered", "published")
    return {
        "id": event.id,
        "occurred (UTC)": f"{event.occurred_at:%Y-%m-%d %H:%M}",
        "title": event.title,
        "km²": f"{registered.aoi.area_km2:,.0f}",
        "state": stands if stands and undecided else registered.state,
        "inv.": registered.published_version,
    }
