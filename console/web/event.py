"""One event: what happened, what is known, what is not, and what may be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.background import BackgroundTask

from console.service.products import EventId, Number
from console.web.access import Operator, Viewer, address_of
from console.web.pages import page, words
from console.web.rasters import rasters_of
from flows.export_version import export_version
from flows.overview import STEPS
from flows.picture import Picture, read_ground, read_picture
from flows.register import ask_for_response
from flows.standing import choose_source, known_source
from flows.stopping import stop_response
from flows.world import World, open_world
from infra.orchestration import api_url_of
from infra.settings import Settings
from tasks.access.audit import list_acts, written_down
from tasks.errors import InventoryError
from tasks.events import operator, turns
from tasks.events.registry import find_event, find_registered
from tasks.events.states import move
from tasks.imagery.hosts import without_query
from tasks.inventory.compare import difference_of_versions
from tasks.inventory.export import FORMATS
from tasks.inventory.sizes import describe_sizes
from tasks.inventory.store import get_inventory, read_reviewed
from tasks.publish.map_figures import difference_figure
from tasks.publish.size_figures import size_figure

router = APIRouter(prefix="/events/{event_id}")
Version = Number | None
Act = Literal["hold", "release", "cancel", "close", "stop", "respond", "replay"]
Reason = Annotated[str, Form(max_length=300)]
ImageSource = Annotated[str, Form(max_length=2000)]
# What a map can show, and how: the band's colours and range as titiler takes them.
RASTERS = {
    "before": "",
    "after": "",
    "score": "unscale=true&rescale=0,1&colormap_name=ylorbr",
    "hillshade": "",
    "susceptibility": "unscale=true&rescale=0,1&colormap_name=ylorbr",
}
# What begins a response, for which a source of imagery may be named.
BEGIN: set[Act] = {"respond", "replay"}
# What may be done in which state, in the order the page offers it.
OFFERED: dict[str, tuple[Act, ...]] = {
    "registered": ("respond", "hold", "cancel", "close"),
    "responding": ("stop", "hold", "cancel"),
    "published": ("respond", "hold", "cancel", "close"),
    "closed": ("respond", "hold"),
    "held": ("release", "cancel"),
    "cancelled": ("release",),
}


@router.get("", response_class=HTMLResponse)
def event_page(
    request: Request, event_id: EventId, holder: Viewer, version: Version = None
) -> Response:
    """Everything about one event, with a version of its inventory."""
    world = open_world()
    shown = read_picture(world, event_id, version)
    name = shown.line.event_id
    places = _places(world, shown)
    offered = _offered(shown) if holder.may("operator") else ()
    return page(
        request,
        "event.html",
        picture=shown,
        line=shown.line,
        steps=STEPS,
        rasters=list(places),
        offered=offered,
        source=known_source(world, name) if BEGIN & set(offered) else None,
        acts=list_acts(world.engine, name) if holder.may("operator") else (),
        formats=FORMATS,
        map=_for_the_map(shown, places),
    )


@router.get("/status", response_class=HTMLResponse)
def status(request: Request, event_id: EventId, _: Viewer, version: Version = None) -> Response:
    """The part of the page that changes while a response runs."""
    shown = read_picture(open_world(), event_id, version)
    return page(request, "status.html", picture=shown, line=shown.line, steps=STEPS)


@router.get("/ground.geojson")
def ground(event_id: EventId, _: Viewer, version: Version = None) -> Response:
    """The area of interest, what was seen of it, and what was not."""
    found = read_ground(open_world(), event_id, version)
    return JSONResponse(found, media_type="application/geo+json")


@router.get("/sizes.png")
def sizes(event_id: EventId, _: Viewer, version: Version = None) -> Response:
    """How many landslides there are of which size, as reviewed."""
    with open_world().engine.connect() as connection:
        stored = get_inventory(connection, event_id, version)
        areas = read_reviewed(connection, stored.id)["area_m2"].to_numpy(dtype=float)
    if not len(areas):
        raise InventoryError(f"version {stored.version} of {event_id} has no landslide")
    least = stored.minimum_mapping_unit_m2
    return drawn(lambda path: size_figure(path, areas, least, describe_sizes(areas, least)))


@router.get("/diff", response_class=HTMLResponse)
def diff_page(
    request: Request,
    event_id: EventId,
    _: Viewer,
    before: Number,
    after: Number,
) -> Response:
    """What changed from one version to another, where both looked."""
    world = open_world()
    with world.engine.connect() as connection:
        event = find_event(connection, event_id)
        found = difference_of_versions(connection, event.id, before, after)
    return page(
        request,
        "diff.html",
        event=event,
        before=before,
        after=after,
        tallies={**found.tallies, "not comparable": found.not_comparable},
        ground_km2=found.ground_km2,
    )


@router.get("/diff.png")
def diff_picture(
    event_id: EventId,
    _: Viewer,
    before: Number,
    after: Number,
) -> Response:
    """The same as a map."""
    with open_world().engine.connect() as connection:
        found = difference_of_versions(connection, event_id, before, after)
    if found.ground.is_empty:
        raise InventoryError(f"versions {before} and {after} looked at no ground in common")
    return drawn(lambda path: difference_figure(path, found.changes, found.left_out, found.ground))


@router.get("/versions/{version}/{form}", response_class=FileResponse)
def download(event_id: EventId, version: Number, form: str, _: Viewer) -> Response:
    """A version of the inventory as a file: gpkg, parquet, fgb, geojson, csv, kml or zip."""
    if f".{form}" not in FORMATS:
        known = ", ".join(one.removeprefix(".") for one in FORMATS)
        raise InventoryError(f"{form!r} is no format of an inventory; choose {known}")
    aside = TemporaryDirectory(prefix="scarp-download-")
    path = Path(aside.name) / f"{event_id}_v{version}.{form}"
    export_version(event_id, version, path)
    return FileResponse(path, filename=path.name, background=BackgroundTask(aside.cleanup))


@router.post("/{act}")
def act(
    request: Request,
    event_id: EventId,
    act: Act,
    by: Operator,
    reason: Reason = "",
    source: ImageSource = "",
) -> Response:
    """Hold, release, cancel or close an event; begin, stop or try again the response to it."""
    world = open_world()
    with world.engine.connect() as connection:
        name = find_registered(connection, event_id).event.id
    why = f"{by.name}: {reason.strip()}" if reason.strip() else by.name
    source = source.strip() if act in BEGIN else ""
    said = "; ".join(filter(None, (reason.strip(), source and f"imagery of {source}")))
    with written_down(world.engine, by, address_of(request), act, name, without_query(said)):
        _do(world, name, act, why, source)
    return RedirectResponse(f"/events/{name}", 303)


def _do(world: World, event_id: str, act: Act, why: str, source: str) -> None:
    if act == "stop":
        stop_response(world, event_id, api_url_of(Settings()))
        return
    with world.engine.begin() as connection:
        now = datetime.now(UTC)
        if act in BEGIN:
            choose_source(world, connection, event_id, source)
        if act == "respond":
            ask_for_response(connection, event_id)
        elif act == "replay":
            turns.replay(connection, event_id)
        elif act == "release":
            operator.release(connection, event_id, why, now)
        elif act == "hold":
            move(connection, event_id, "held", why)
        elif act == "cancel":
            move(connection, event_id, "cancelled", why)
        else:
            move(connection, event_id, "closed", why)


def drawn(draw: Callable[[Path], object]) -> Response:
    """A figure as an answer."""
    with TemporaryDirectory(prefix="scarp-figure-") as aside:
        path = Path(aside) / "figure.png"
        draw(path)
        return Response(path.read_bytes(), media_type="image/png")


def _places(world: World, shown: Picture) -> dict[str, str]:
    """Where the tiles of what the map can show are asked for.

    They are products of the event, but for susceptibility, of which an event may have many maps.
    """
    name = shown.line.event_id
    fitted = rasters_of(shown.susceptibility) if shown.susceptibility else {}
    products = {
        one: f"/products/{name}/{one}"
        for one in RASTERS
        if (world.products(name) / f"{one}.tif").is_file()
    }
    found = products | {"susceptibility": fitted.get("susceptibility", "")}
    return {one: found[one] for one in RASTERS if found.get(one)}


def _offered(shown: Picture) -> tuple[Act, ...]:
    offered = OFFERED[shown.line.state]
    return ("replay", *offered) if shown.line.given_up else offered


def _for_the_map(shown: Picture, places: Mapping[str, str]) -> dict[str, Any]:
    """What the map of the page has to know."""
    stored = shown.shown
    return {
        "event": shown.line.event_id,
        "version": stored.version if stored else None,
        "rasters": RASTERS,
        "places": places,
        "words": words()["map"],
    }
