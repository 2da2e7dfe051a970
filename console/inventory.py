"""`scarp inventory`: look at, bring in and hand out landslide inventories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.output import AsJson, print_json, screen, table

if TYPE_CHECKING:
    from tasks.inventory.store import StoredInventory

LARGEST = 10

app = typer.Typer(help="List, show, import and export inventories.", no_args_is_help=True)

Version = Annotated[int | None, typer.Option(help="Default: the published version.")]


@app.command("list")
def list_inventories(
    event_id: Annotated[str | None, typer.Argument(help="Default: of every event.")] = None,
    as_json: AsJson = False,
) -> None:
    """List inventories by event and version. Example: scarp inventory list us2000h8ty."""
    from flows.world import open_world
    from tasks.events.registry import find_event
    from tasks.inventory import store

    with open_world().engine.connect() as connection:
        if event_id:
            find_event(connection, event_id)
        inventories = store.list_inventories(connection, event_id)
    if as_json:
        print_json([_summary(inventory) for inventory in inventories])
    elif inventories:
        rows = [_summary(inventory) for inventory in inventories]
        for row in rows:
            row["method"] = row["method"].partition("@")[0]
        screen.print(table("Inventories", rows))
    else:
        screen.print("no inventory is stored yet: see scarp respond --help")


@app.command("show")
def show(event_id: str, version: Version = None, as_json: AsJson = False) -> None:
    """Show one inventory and its largest landslides. Example: scarp inventory show us2000h8ty."""
    from flows.world import open_world
    from tasks.inventory.store import get_inventory, read_landslides

    with open_world().engine.connect() as connection:
        inventory = get_inventory(connection, event_id, version)
        landslides = read_landslides(connection, inventory.id)
    if as_json:
        print_json(_summary(inventory) | {"landslides": landslides.to_geo_dict()})
        return
    summary = [{"field": name, "value": value} for name, value in _summary(inventory).items()]
    screen.print(table(f"Inventory {event_id} version {inventory.version}", summary))
    shown = ["number", "area_m2", "length_m", "width_m", "drop_m", "score_mean", "acquired_at"]
    largest = landslides.nlargest(LARGEST, "area_m2")[shown].round(2).to_dict("records")
    if largest:
        screen.print(table(f"The {len(largest)} largest landslides", largest))
    for doubt in inventory.doubts:
        screen.print(f"[yellow]note:[/] {doubt.text}", highlight=False)


@app.command("export")
def export(
    event_id: str,
    out: Annotated[Path, typer.Option("--out", "-o", help="A .gpkg, .parquet or .geojson file.")],
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Write an inventory to a file. Example: scarp inventory export us2000h8ty -o iburi.gpkg."""
    from flows.world import open_world
    from tasks.inventory.export import export_inventory
    from tasks.inventory.store import get_inventory, read_landslides

    with open_world().engine.connect() as connection:
        inventory = get_inventory(connection, event_id, version)
        landslides = read_landslides(connection, inventory.id)
    export_inventory(landslides, inventory.observed, out)
    if as_json:
        print_json(_summary(inventory) | {"path": out})
    else:
        screen.print(f"{len(landslides)} landslides written to {out}", highlight=False)


@app.command("import")
def import_file(
    event_id: str,
    file: Annotated[Path, typer.Argument(help="GeoPackage, GeoJSON, shapefile or GeoParquet.")],
    layer: Annotated[str | None, typer.Option(help="Layer of the landslides.")] = None,
    observed_layer: Annotated[
        str | None, typer.Option(help="Layer of the area that was interpreted.")
    ] = None,
    observed_file: Annotated[
        Path | None, typer.Option(help="File of the area that was interpreted.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the inventory.")] = "",
    attribution: Annotated[str, typer.Option(help="Whom to credit.")] = "",
    publish: Annotated[bool, typer.Option(help="Supersede the published inventory.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store somebody else's inventory of an event as a new version, a draft unless published.

    Example: scarp inventory import us2000h8ty inventory.gpkg --layer scars
    --observed-layer interpreted_area
    """
    from flows.import_inventory import import_inventory

    imported = import_inventory(
        event_id,
        file,
        layer,
        observed_file or (file if observed_layer else None),
        observed_layer,
        licence=licence,
        attribution=attribution,
        publish=publish,
    )
    if as_json:
        print_json(_summary(imported))
    else:
        screen.print(
            f"version {imported.version} ({imported.status}): "
            f"{imported.landslide_count} landslides, {imported.area_m2 / 1e6:.2f} km², "
            f"{imported.observed_km2:.1f} km² interpreted",
            highlight=False,
        )
        for doubt in imported.doubts:
            screen.print(f"[yellow]note:[/] {doubt.text}", highlight=False)


def _summary(inventory: StoredInventory) -> dict[str, Any]:
    return {
        "event_id": inventory.event_id,
        "version": inventory.version,
        "status": inventory.status,
        "method": inventory.method,
        "landslides": inventory.landslide_count,
        "area_km2": round(inventory.area_m2 / 1e6, 4),
        "observed_km2": round(inventory.observed_km2, 4),
        "created_at": f"{inventory.created_at:%Y-%m-%d %H:%M}",
    }
