"""`scarp inventory`: look at, bring in and hand out landslide inventories."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console import inventory_diff, inventory_files, inventory_quality, inventory_review
from console.inventory_files import Version, summary
from console.output import AsJson, print_json, print_line, print_note, print_screens, screen, table

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
    from tasks.inventory.origin import made_by

    with open_world().engine.connect() as connection:
        if event_id:
            find_event(connection, event_id)
        lines = [
            summary(inventory) | {"made_by": made_by(connection, inventory)}
            for inventory in store.list_inventories(connection, event_id)
        ]
    if as_json:
        print_json(lines)
    elif lines:
        # Of one event all have its name, and of many the name is worth more than what is left out.
        left_out = {"event"} if event_id else {"method", "stored"}
        if all(line["landslides"] == line["landslides_as_stored"] for line in lines):
            left_out.add("stored")
        rows = [
            {name: value for name, value in _short(line).items() if name not in left_out}
            for line in lines
        ]
        screen.print(table(f"Inventories of {event_id}" if event_id else "Inventories", rows))
    else:
        print_line("no inventory is stored yet: see scarp respond --help")


@app.command("publish")
def publish(
    event_id: str,
    version: Annotated[int, typer.Option(help="The draft to publish.")],
    as_json: AsJson = False,
) -> None:
    """Publish a draft in place of the version published before.

    Example: scarp inventory publish us2000h8ty --version 3
    """
    from flows.publish_draft import publish_draft

    published = publish_draft(event_id, version)
    if as_json:
        print_json(summary(published))
        return
    print_line(f"version {published.version} of {event_id} is published")
    hint = f"`scarp respond {event_id}`, with the options it had, renews the products"
    print_line(hint)


def _short(line: dict[str, Any]) -> dict[str, Any]:
    """A line that fits on a terminal of 80 columns."""
    return {
        "event": line["event_id"],
        "v": line["version"],
        "status": line["status"],
        "method": line["made_by"].partition("@")[0],
        "slides": f"{line['landslides']:,}",
        "stored": f"{line['landslides_as_stored']:,}",
        "km²": line["area_km2"],
        "seen km²": line["observed_km2"],
        "created": f"{line['created_at']:%Y-%m-%d}",
    }


@app.command("show")
def show(event_id: str, version: Version = None, as_json: AsJson = False) -> None:
    """Show one inventory and its largest landslides. Example: scarp inventory show us2000h8ty."""
    from flows.world import open_world
    from tasks.inventory.origin import made_by
    from tasks.inventory.store import get_inventory, read_reviewed

    with open_world().engine.connect() as connection:
        inventory = get_inventory(connection, event_id, version)
        landslides = read_reviewed(connection, inventory.id)
        line = summary(inventory) | {"made_by": made_by(connection, inventory)}
    if as_json:
        # The outlines take the name of their number.
        counted = {f"{name}_as_reviewed": line[name] for name in ("landslides", "area_km2")}
        found = {"screens": inventory.screens, "landslides": landslides.to_geo_dict()}
        print_json(line | counted | found)
        return
    fields = [{"field": name, "value": value} for name, value in line.items()]
    screen.print(table(f"Inventory {event_id} version {inventory.version}", fields))
    shown = ["number", "area_m2", "length_m", "width_m", "drop_m", "score_mean", "acquired_at"]
    largest = landslides.nlargest(LARGEST, "area_m2")[shown].round(DECIMALS).to_dict("records")
    if largest:
        screen.print(table(f"The {len(largest)} largest landslides", largest))
    print_screens(inventory.screens)
    for doubt in inventory.doubts:
        print_note(doubt.text)
