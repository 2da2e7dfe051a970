"""`scarp inventory import` and `export`: inventories in and out of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from console.output import AsJson, print_json, print_line, print_note, screen, table

if TYPE_CHECKING:
    from tasks.inventory.importing import Mending
    from tasks.inventory.store import StoredInventory

SHOWN = 20

# typer reads these; the tasks' own are the same, and cost a second to import
Kind = Literal["landslide", "scar", "deposit"]
Profile = Literal["scarp", "usgs", "inspire"]
Version = Annotated[int | None, typer.Option(help="Default: the published version.")]


def export(
    event_id: str,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help=".gpkg, .parquet, .fgb, .geojson, .csv, .kml or .zip."),
    ],
    version: Version = None,
    profile: Annotated[
        Profile, typer.Option(help="Whose column names: docs/inventories.md.")
    ] = "scarp",
    as_json: AsJson = False,
) -> None:
    """Write an inventory to a file. Example: scarp inventory export us2000h8ty -o iburi.gpkg."""
    from flows.export_version import export_version

    inventory, count = export_version(event_id, version, out, profile)
    if as_json:
        print_json(summary(inventory) | {"path": out})
    else:
        print_line(f"{count} landslides written to {out}")


def import_file(
    event_id: str,
    file: Annotated[
        Path,
        typer.Argument(
            help="Shapefile or zip of them, GeoPackage, GeoJSON, FlatGeobuf, GeoParquet, KML, CSV."
        ),
    ],
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer of the landslides, or NAME=KIND; again for more."),
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="What outlines bound, where nothing else says so.")
    ] = "landslide",
    column: Annotated[
        list[str] | None, typer.Option(help="Read a column from the file's, such as kind=Type.")
    ] = None,
    kind_word: Annotated[
        list[str] | None, typer.Option(help="What a word for a kind means, such as runout=deposit.")
    ] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of the file, if it states none or a wrong one.")
    ] = None,
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

    Example: scarp inventory import us2000h8ty inventory.gpkg --layer scars=scar
    --layer deposits=deposit --observed-layer interpreted_area
    """
    from flows.import_inventory import PolygonSource, import_inventory

    source = PolygonSource(
        file=file,
        layers=dict(_layer(given, kind) for given in layer or []),
        kind=kind,
        crs=crs,
        columns=_pairs(column, "--column"),
        kinds={
            word: _kind(meaning, "--kind-word")
            for word, meaning in _pairs(kind_word, "--kind-word").items()
        },
        observed_file=observed_file or (file if observed_layer else None),
        observed_layer=observed_layer,
    )
    done = import_inventory(
        event_id, source, licence=licence, attribution=attribution, publish=publish
    )
    if as_json:
        mended = [asdict(mending) for mending in done.polygons.mended]
        print_json(summary(done.inventory) | {"mended": mended})
    else:
        _say_imported(done.inventory, done.polygons.mended)


def summary(inventory: StoredInventory) -> dict[str, Any]:
    """The line of an inventory in a list: what stands after reviews, beside what was stored."""
    from flows.world import open_world
    from tasks.inventory.store import count_reviewed

    with open_world().engine.connect() as connection:
        count, area_m2 = count_reviewed(connection, inventory.id)
    return {
        "event_id": inventory.event_id,
        "version": inventory.version,
        "status": inventory.status,
        "method": inventory.method,
        "landslides": count,
        "area_km2": round(area_m2 / 1e6, 4),
        "landslides_as_stored": inventory.landslide_count,
        "area_km2_as_stored": round(inventory.area_m2 / 1e6, 4),
        "observed_km2": round(inventory.observed_km2, 4),
        "created_at": inventory.created_at,
    }


def _say_imported(imported: StoredInventory, mended: Sequence[Mending]) -> None:
    line = summary(imported)
    print_line(
        f"version {imported.version} ({imported.status}): "
        f"{line['landslides']} landslides, {line['area_km2']:.2f} km², "
        f"{imported.observed_km2:.1f} km² interpreted",
    )
    for doubt in imported.doubts:
        print_note(doubt.text)
    if mended:
        shown = [asdict(mending) for mending in mended[:SHOWN]]
        more = f", the first {SHOWN} of {len(mended)} (--json has all)" if mended[SHOWN:] else ""
        screen.print(table(f"Outlines mended{more}", shown))


def _layer(given: str, default: Kind) -> tuple[str, Kind]:
    name, _, kind = given.rpartition("=")
    return (name, _kind(kind, "--layer")) if name else (given, default)


def _kind(word: str, option: str) -> Kind:
    if word not in get_args(Kind):
        raise typer.BadParameter(f"{option}: {word!r} is not one of {', '.join(get_args(Kind))}")
    return cast(Kind, word)


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    split = [pair.partition("=") for pair in given or []]
    for name, _, value in split:
        if not name or not value:
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {name or value!r}")
    return {name: value for name, _, value in split}
