"""`scarp respond` and `scarp demo`: the whole job, and what it left behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.clock import moment
from console.options import checked
from console.output import (
    AsJson,
    print_json,
    print_line,
    print_note,
    print_screens,
    progress_bars,
    screen,
    table,
)
from console.waits import scene_lines, wait_lines

if TYPE_CHECKING:
    from datetime import datetime

    from flows.options import ResponseOptions
    from flows.respond import Response
    from tasks.imagery.waits import Wait

Profiles = Annotated[
    Path | None, typer.Option(help="TOML file of further profiles; see docs/imagery.md.")
]
AllowHosts = Annotated[
    list[str] | None, typer.Option("--allow-host", help="Further host to read files from.")
]
EXAMPLE = Path(__file__).parents[1] / "examples" / "emilia_romagna_2023"


def respond(
    event_id: Annotated[str, typer.Argument(help="A registered event.")],
    source: Annotated[
        str,
        typer.Option(
            help="STAC API or catalog, an image file or folder, or a profile: earth-search, "
            "planetary-computer, cdse, cmr, planet."
        ),
    ],
    collections: Annotated[
        list[str] | None, typer.Option("--collection", help="STAC collection to look in.")
    ] = None,
    profiles: Profiles = None,
    allow_hosts: AllowHosts = None,
    dem: Annotated[
        Path | None, typer.Option(help="Elevation in metres; without it no susceptibility.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Ignore imagery after this time: 2023-06-01T00:00Z.")
    ] = None,
    weights: Annotated[str, typer.Option(help="Name or path of the weights.")] = "current",
    threshold: Annotated[
        float | None, typer.Option(help="Score of a landslide. Default: the weights' own.")
    ] = None,
    minimum_mapping_unit_m2: Annotated[
        float, typer.Option(help="Smallest landslide kept, in m².")
    ] = 300.0,
    hole_area_m2: Annotated[float, typer.Option(help="Holes of a smaller area are filled.")] = 0.0,
    simplify_m: Annotated[
        float, typer.Option(help="How far corners may move; 0 keeps them all.")
    ] = 0.0,
    split: Annotated[
        bool, typer.Option("--split", help="Take bodies of several landslides apart.")
    ] = False,
    volume_relation: Annotated[
        str, typer.Option(help="guzzetti2009, larsen2010-soil or larsen2010-bedrock.")
    ] = "guzzetti2009",
    screens: Annotated[
        list[str] | None,
        typer.Option(
            "--screen",
            help="Set aside: slope=5 (degrees), bare-before=0.4 (NDVI), water=FILE, built=FILE.",
        ),
    ] = None,
    minimum_clear: Annotated[
        float, typer.Option(help="Least clear share of what a scene covers of the AOI.")
    ] = 0.6,
    coverage: Annotated[
        float, typer.Option(help="Clear share of the AOI with which no more imagery is waited for.")
    ] = 0.8,
    wait_days: Annotated[
        float, typer.Option(help="Days after the event until which it is waited for; 0 never.")
    ] = 30.0,
    look_hours: Annotated[float, typer.Option(help="Hours from one look to the next.")] = 12.0,
    now: Annotated[
        str | None, typer.Option(help="Simulated time, with its zone: 2023-05-19T00:00Z.")
    ] = None,
    radar: Annotated[
        str | None,
        typer.Option(
            help="Sentinel-1 to look at for evidence of change when it is waited for in vain."
        ),
    ] = None,
    normalise: Annotated[
        str, typer.Option(help="Match the image's histogram to: none, training or before.")
    ] = "none",
    window_px: Annotated[int, typer.Option(help="Side of the network's window.")] = 512,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the products.")] = None,
    as_json: AsJson = False,
) -> None:
    """Map an event's landslides, assess susceptibility and write a report.

    Where too little of the area was seen clear, the inventory is a draft and the event waits for
    more; run it again to look again, or let `scarp up` do so.

    Example: scarp respond us2000h8ty --source scene.tif
    """
    from flows.options import ResponseOptions
    from tasks.imagery.waits import Wait

    options = checked(
        ResponseOptions,
        source=source,
        collections=tuple(collections or ()),
        profiles=profiles,
        allow_hosts=tuple(allow_hosts or ()),
        dem=dem,
        until=until,
        weights=weights,
        threshold=threshold,
        minimum_mapping_unit_m2=minimum_mapping_unit_m2,
        hole_area_m2=hole_area_m2,
        simplify_m=simplify_m,
        split=split,
        volume_relation=volume_relation,
        screens=tuple(screens or ()),
        minimum_clear=minimum_clear,
        coverage=coverage,
        wait_days=wait_days,
        look_hours=look_hours,
        radar=radar,
        normalise=normalise,
        window_px=window_px,
        out=out,
    )
    response = _run(event_id, options, moment(now))
    if isinstance(response, Wait):
        _show_wait(response, as_json)
    else:
        _show(response, as_json)


def demo(
    example: Annotated[Path, typer.Option(help="Folder of the example.")] = EXAMPLE,
    open_report: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Map the landslides of Emilia-Romagna, May 2023, from the bundled images.

    Example: scarp demo
    """
    from flows.options import ResponseOptions
    from flows.register import register_event
    from tasks.errors import CatalogError
    from tasks.events.request import read_event
    from tasks.imagery.waits import Wait

    if not (example / "catalog.json").exists():
        raise CatalogError(
            f"{example} does not hold the example (catalog.json); it comes with the source "
            "repository: run from a clone, or pass --example FOLDER"
        )
    event = read_event(example / "event.json")
    register_event(event, example / "aoi.geojson", ask=False)
    source, dem = str(example / "catalog.json"), example / "dem.tif"
    options = checked(ResponseOptions, source=source, dem=dem)
    response = _run(event.id, options, moment(None))
    if isinstance(response, Wait):
        _show_wait(response, as_json)
        return
    _show(response, as_json)
    if open_report and sys.stdout.isatty() and not as_json:
        typer.launch(response.report.as_uri())


def _run(event_id: str, options: ResponseOptions, now: datetime) -> Response | Wait:
    from flows.ephemeral import EphemeralServer
    from flows.map_landslides import check_asked
    from flows.products import check_folder
    from flows.respond import respond as respond_flow
    from flows.world import open_world, require_room
    from infra.orchestration import api_url_of
    from infra.settings import Settings
    from tasks.errors import EventError
    from tasks.events.registry import find_registered
    from tasks.events.states import require_open
    from tasks.events.turns import find_turn

    world = open_world()
    # Said before Prefect is started, which takes seconds.
    with world.engine.connect() as connection:
        known = find_registered(connection, event_id)
        require_open(known)
        turn = find_turn(connection, known.event.id)
    if turn and turn.held_by and api_url_of(Settings()):
        raise EventError(
            f"event {known.event.id} is being responded to by flow run {turn.held_by}; "
            f"`scarp runs list` shows it, `scarp runs cancel {known.event.id}` stops it"
        )
    if options.out:
        check_folder(options.out, known.event.id)
    for folder in (world.home, options.out or world.products(event_id)):
        require_room(folder)
    check_asked(known.aoi, options)
    EphemeralServer()
    with progress_bars():
        return respond_flow(event_id, options, now)


def _show(response: Response, as_json: bool) -> None:
    summary = _summary(response)
    if as_json:
        print_json(summary)
        return
    rows = [{"": name.replace("_", " "), "result": value} for name, value in summary.items()]
    screen.print(table(response.mapped.event.title, rows))
    print_screens(response.mapped.inventory.screens)
    for doubt in response.mapped.inventory.doubts:
        print_note(doubt.text)
    for line in wait_lines(response.mapped.wait):
        print_line(line)


def _show_wait(wait: Wait, as_json: bool) -> None:
    if as_json:
        print_json({"event_id": wait.event_id, "status": "waiting", **vars(wait)})
        return
    for line in (*wait_lines(wait), *scene_lines(wait)):
        print_line(line)


def _summary(response: Response) -> dict[str, Any]:
    from flows.world import open_world
    from tasks.inventory.store import count_reviewed

    mapped, inventory = response.mapped, response.mapped.inventory
    with open_world().engine.connect() as connection:
        count, area_m2 = count_reviewed(connection, inventory.id)
    model = response.assessed.susceptibility
    return {
        "event_id": mapped.event.id,
        "inventory_version": inventory.version,
        "status": inventory.status,
        "scenes_used": ", ".join(scene.id for scene in mapped.rasters.mosaic.scenes),
        "scenes_refused": sum(not judgement.used for judgement in mapped.judgements),
        "observed_km2": round(inventory.observed_km2, 3),
        "aoi_km2": round(mapped.aoi.area_km2, 3),
        "landslides": count,
        "landslide_area_km2": round(area_m2 / 1e6, 4),
        "screened": sum(one.set_aside for one in inventory.screens),
        "auc_spatial": round(model.auc_spatial.value, 3) if model else None,
        "auc_random": round(model.auc_random.value, 3) if model else None,
        "susceptibility_skipped": response.assessed.skipped or None,
        "next_look_at": mapped.wait and mapped.wait.next_look_at,
        "products": str(response.folder),
        "report": str(response.report),
    }
