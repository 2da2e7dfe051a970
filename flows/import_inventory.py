"""Bringing somebody else's inventory of an event into the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.publish_draft import publish_draft
from flows.runs import recorded_run
from flows.world import open_world
from tasks.errors import InventoryError
from tasks.events.registry import find_aoi, find_event
from tasks.files import file_sha256
from tasks.inventory.importing import (
    ImportedPolygons,
    joined,
    read_area_file,
    read_inventory_file,
    require_in_area,
    require_looked_in_area,
    store_import,
)
from tasks.inventory.polygon_files import OBSERVED, fields_of_ours, parts_of
from tasks.inventory.runs import finish_run
from tasks.inventory.store import StoredInventory, find_inventory
from tasks.inventory.tables import LandslideKind
from tasks.types import Provenance

NAME = "import-inventory"


@dataclass(frozen=True)
class PolygonSource:
    """Where the outlines of an inventory stand, and how to read them.

    Attributes:
        file: the polygon file.
        layers: its layers by name, with what their outlines bound; empty: its only layer.
        kind: what outlines bound where nothing else says so.
        crs: the CRS the file was drawn in, where it states none or a wrong one.
        columns: which landslide column is read from which of the file's.
        kinds: what the file's words for a kind mean.
        observed_file: file of the ground its author looked at.
        observed_layer: layer of that file.

    Of a file that Scarp wrote, what it looked at and what outlines bound is read unless said.
    """

    file: Path
    layers: Mapping[str, LandslideKind] = field(default_factory=dict)
    kind: LandslideKind = "landslide"
    crs: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, LandslideKind] = field(default_factory=dict)
    observed_file: Path | None = None
    observed_layer: str | None = None


@dataclass(frozen=True)
class Imported:
    """The version stored, and the outlines as they were read and mended."""

    inventory: StoredInventory
    polygons: ImportedPolygons


def import_inventory(
    event_id: str,
    source: PolygonSource,
    *,
    licence: str = "",
    attribution: str = "",
    publish: bool = False,
) -> Imported:
    """Store the polygons of a file as the next inventory version; the same file twice, once.

    Raises:
        EventError: the event is not registered.
        InventoryError: a file or layer cannot be used, and nothing is stored; or the version that
            is stored already cannot be published.
        AssessmentError: as `publish_draft`.
    """
    world = open_world()
    with world.engine.connect() as connection:
        event_id = find_event(connection, event_id).id
        aoi = find_aoi(connection, event_id)
    source = _as_exported(source)
    polygons = _read(source)
    elsewhere = require_in_area(polygons, aoi.geometry)
    observed = None
    if source.observed_file:
        observed = read_area_file(source.observed_file, source.observed_layer, source.crs)
        require_looked_in_area(observed, aoi.geometry, str(source.observed_file))
    elif not len(polygons.landslides):
        raise InventoryError(
            f"{polygons.name} has no features; if its author looked and found no landslide, say "
            "where with --observed-layer or --observed-file"
        )
    credit = {"licence": licence, "attribution": attribution}
    provenance = _provenance(event_id, source, credit)
    with world.engine.connect() as connection:
        stored = find_inventory(connection, event_id, provenance.digest)
    if stored is None:
        run = recorded_run(world.engine, provenance, NAME)
        with run as run_id, world.engine.begin() as connection:
            stored = store_import(
                connection,
                event_id=event_id,
                run_id=run_id,
                digest=provenance.digest,
                imported=polygons,
                observed=observed,
                elsewhere=elsewhere,
                licence=licence,
                attribution=attribution,
            )
            finish_run(connection, run_id, "succeeded")
    if publish and stored.status == "draft":
        stored = publish_draft(event_id, stored.version)
    return Imported(stored, polygons)


def _as_exported(source: PolygonSource) -> PolygonSource:
    """What files that Scarp wrote say of themselves, where nothing else was said."""
    fields = fields_of_ours(source.file) if source.file.exists() else None
    if fields is None:
        return source
    if source.observed_file is None:
        source = replace(source, observed_file=source.file, observed_layer=OBSERVED)
    if "kind" in fields and not source.layers:
        source = replace(source, columns={"kind": "kind"} | dict(source.columns))
    return source


def _read(source: PolygonSource) -> ImportedPolygons:
    layers: list[tuple[str | None, LandslideKind]] = [*source.layers.items()]
    return joined(
        [
            read_inventory_file(
                source.file,
                layer,
                kind,
                crs=source.crs,
                columns=source.columns,
                kinds=source.kinds,
                may_be_empty=True,
            )
            for layer, kind in layers or [(None, source.kind)]
        ]
    )


def _provenance(event_id: str, source: PolygonSource, credit: dict[str, str]) -> Provenance:
    files = {"file": source.file, "observed": source.observed_file}
    inputs = {
        f"{what} {part.name}": file_sha256(part)
        for what, file in files.items()
        if file
        for part in parts_of(file)
    }
    reading = {
        "layers": dict(source.layers),
        "kind": source.kind,
        "crs": source.crs,
        "columns": dict(source.columns),
        "kinds": dict(source.kinds),
        "observed_layer": source.observed_layer,
    }
    return Provenance(event_id, inputs, reading | credit)
