"""`scarp inventory diff` and `lineage`: what changed from one version to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.inventory_files import Version
from console.output import AsJson, print_json, print_line, screen, table

if TYPE_CHECKING:
    from tasks.inventory.compare import Tally


def diff(
    event_id: str,
    before: Annotated[int, typer.Argument(help="Version to compare from.")],
    after: Annotated[int, typer.Argument(help="Version to compare with.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw a map: .png, .gpkg or .geojson.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed where both versions looked, as reviewed.

    Example: scarp inventory diff us2000h8ty 1 2 -o changes.gpkg
    """
    from flows.world import open_world
    from tasks.inventory.compare import difference_of_versions, write_changes

    with open_world().engine.connect() as connection:
        found = difference_of_versions(connection, event_id, before, after)
    if out and out.suffix == ".png":
        from tasks.publish.map_figures import difference_figure

        difference_figure(out, found.changes, found.left_out, found.ground)
    elif out:
        write_changes(found, out)
    tallies: dict[str, Tally] = {**found.tallies, "not comparable": found.not_comparable}
    if as_json:
        changes = found.changes.drop(columns="geometry").to_dict("records")
        about = {"event_id": event_id, "before": before, "after": after}
        compared = {"ground_km2": found.ground_km2, "tallies": tallies, "changes": changes}
        print_json(about | compared | {"path": out})
        return
    rows = [
        {
            "change": change,
            f"version_{before}": tally.before,
            f"version_{after}": tally.after,
            f"km²_{before}": f"{tally.before_m2 / 1e6:.4f}",
            f"km²_{after}": f"{tally.after_m2 / 1e6:.4f}",
        }
        for change, tally in tallies.items()
    ]
    screen.print(table(f"{event_id}: version {before} to {after}", rows))
    print_line(f"compared on the {found.ground_km2:.2f} km² that both observed")
    if out:
        print_line(f"map written to {out}")


def lineage(
    event_id: str,
    number: Annotated[int, typer.Argument(help="The landslide, by number.")],
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Follow a landslide through all versions. Example: scarp inventory lineage us2000h8ty 17."""
    from flows.world import open_world
    from tasks.inventory import compare
    from tasks.inventory.store import get_inventory

    with open_world().engine.connect() as connection:
        at = get_inventory(connection, event_id, version).version
        steps = compare.lineage(connection, event_id, at, number)
    if as_json:
        print_json(steps)
        return
    rows = [
        {
            "version": step.version,
            "landslides": None
            if step.area_m2 is None
            else ", ".join(map(str, step.numbers)) or "none",
            "area_m2": None if step.area_m2 is None else f"{step.area_m2:.0f}",
            "change": step.change,
        }
        for step in steps
    ]
    screen.print(table(f"{event_id}: landslide {number} of version {at}", rows))
