"""`scarp register` and `scarp events`: what happened, and where to look."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import AsJson, print_json, screen, table

if TYPE_CHECKING:
    from tasks.events.registry import RegisteredEvent

app = typer.Typer(help="Look at the events that are registered.", no_args_is_help=True)


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
    as_json: AsJson = False,
) -> None:
    """Register an earthquake or a rainfall event; the same one twice changes nothing.

    Example: scarp register us2000h8ty --kind earthquake --time 2018-09-05T18:07:59Z
    --lon 141.93 --lat 42.69 --magnitude 6.6 --title "Hokkaido Eastern Iburi"
    """
    from flows.register import register_event
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
    event = read_event(file) if file else event_from_fields(fields, "command line")
    registration = register_event(event, aoi)
    if as_json:
        print_json(registration)
        return
    where, when = registration.aoi, f"{event.occurred_at:%Y-%m-%d %H:%M} UTC"
    screen.print(
        f"{event.id} {registration.change}: {event.title}, {when}\n"
        f"area of interest {where.area_km2:,.1f} km² ({where.how})",
        highlight=False,
        markup=False,
    )


@app.command("list")
def list_events(as_json: AsJson = False) -> None:
    """List the registered events, newest first. Example: scarp events list."""
    from flows.world import open_world
    from tasks.events import registry

    with open_world().engine.connect() as connection:
        events = registry.list_events(connection)
    if as_json:
        print_json(events)
    elif events:
        screen.print(table("Events", [_row(event) for event in events]))
    else:
        screen.print("no event is registered yet: see scarp register --help")


@app.command("show")
def show_event(event_id: str, as_json: AsJson = False) -> None:
    """Show one event and what was made of it. Example: scarp events show us2000h8ty."""
    from flows.world import open_world
    from tasks.events import registry
    from tasks.inventory.store import list_inventories

    world = open_world()
    with world.engine.connect() as connection:
        event = registry.find_event(connection, event_id)
        aoi = registry.find_aoi(connection, event_id)
        inventories = list_inventories(connection, event_id)
    versions = {stored.version: stored.status for stored in inventories}
    if as_json:
        print_json({"event": event, "aoi": aoi, "inventories": versions})
        return
    fields = dataclasses.asdict(event) | {
        "area of interest": f"{aoi.area_km2:,.1f} km² ({aoi.how})",
        "inventories": ", ".join(f"{version} {status}" for version, status in versions.items()),
        "products": world.products(event_id),
    }
    known = {name: value for name, value in fields.items() if value not in (None, "", ())}
    rows = [{"field": name, "value": value} for name, value in known.items()]
    screen.print(table(event.title, rows))


def _row(registered: RegisteredEvent) -> dict[str, object]:
    event = registered.event
    return {
        "id": event.id,
        "kind": event.kind,
        "occurred (UTC)": f"{event.occurred_at:%Y-%m-%d %H:%M}",
        "title": event.title,
        "AOI km²": f"{registered.aoi.area_km2:,.0f}",
        "state": registered.state,
        "inventory": registered.published_version,
    }
