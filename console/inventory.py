"""`scarp inventory`: look at, bring in and hand out landslide inventories."""

from __future__ import annotations

from typing import Annotated

import typer

from console import inventory_diff, inventory_files, inventory_quality, inventory_review
from console.inventory_files import Version, summary
from console.output import AsJson, print_json, say_screens, screen, table

LARGEST = 10
DECIMALS = {"area_m2": 0, "length_m": 0, "width_m": 0, "drop_m": 0, "score_mean": 2}

app = typer.Typer(
    help="List, show, import, export, review and compare inventories.", no_args_is_help=True
)
app.command("import")(inventory_files.import_file)
app.command("export")(inventory_files.export)
app.command("quality")(inventory_quality.quality)
app.command("review")(inventory_review.review)
app.command("diff")(inventory_diff.diff)
app.command("lineage")(inventory_diff.lineage)


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
        print_json([summary(inventory) for inventory in inventories])
    elif inventories:
        rows = [summary(inventory) for inventory in inventories]
        for row in rows:
            row["method"] = row["method"].partition("@")[0]
        screen.print(table("Inventories", rows))
    else:
        screen.print("no inventory is stored yet: see scarp respond --help")


@app.command("show")
def show(event_id: str, version: Version = None, as_json: AsJson = False) -> None:
    """Show one inventory and its largest landslides. Example: scarp inventory show us2000h8ty."""
    from flows.world import open_world
    from tasks.inventory.store import get_inventory, read_reviewed

    with open_world().engine.connect() as connection:
        inventory = get_inventory(connection, event_id, version)
        landslides = read_reviewed(connection, inventory.id)
    if as_json:
        found = {"screens": inventory.screens, "landslides": landslides.to_geo_dict()}
        print_json(summary(inventory) | found)
        return
    fields = [{"field": name, "value": value} for name, value in summary(inventory).items()]
    screen.print(table(f"Inventory {event_id} version {inventory.version}", fields))
    shown = ["number", "area_m2", "length_m", "width_m", "drop_m", "score_mean", "acquired_at"]
    largest = landslides.nlargest(LARGEST, "area_m2")[shown].round(DECIMALS).to_dict("records")
    if largest:
        screen.print(table(f"The {len(largest)} largest landslides", largest))
    say_screens(inventory.screens)
    for doubt in inventory.doubts:
        screen.print(f"[yellow]note:[/] {doubt.text}", highlight=False)
