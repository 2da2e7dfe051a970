"""Bringing somebody else's inventory of an event into the store."""

from __future__ import annotations

from pathlib import Path

from flows.runs import recorded_run
from flows.world import open_world
from tasks.events.registry import find_event
from tasks.imagery.rasters import file_sha256
from tasks.inventory.importing import read_area_file, read_inventory_file, store_import
from tasks.inventory.runs import finish_run
from tasks.inventory.store import StoredInventory, find_inventory
from tasks.types import Provenance

NAME = "import-inventory"


def import_inventory(
    event_id: str,
    file: Path,
    layer: str | None = None,
    observed_file: Path | None = None,
    observed_layer: str | None = None,
    *,
    licence: str = "",
    attribution: str = "",
    publish: bool = False,
) -> StoredInventory:
    """Store the polygons of a file as the next inventory version; the same file twice, once.

    Raises:
        EventError: the event is not registered.
        InventoryError: a file or layer cannot be used; nothing is stored.
    """
    world = open_world()
    with world.engine.connect() as connection:
        find_event(connection, event_id)
    imported = read_inventory_file(file, layer)
    observed = read_area_file(observed_file, observed_layer) if observed_file else None
    inputs = {f"file {file.name}": file_sha256(file)}
    if observed_file:
        inputs[f"observed {observed_file.name}"] = file_sha256(observed_file)
    layers = {"layer": layer, "observed_layer": observed_layer, "publish": publish}
    credit = {"licence": licence, "attribution": attribution}
    provenance = Provenance(event_id, inputs, layers | credit)
    with world.engine.connect() as connection:
        stored = find_inventory(connection, event_id, provenance.digest)
    if stored:
        return stored
    with recorded_run(world.engine, provenance, NAME) as run_id, world.engine.begin() as connection:
        stored = store_import(
            connection,
            event_id=event_id,
            run_id=run_id,
            digest=provenance.digest,
            imported=imported,
            observed=observed,
            publish=publish,
            licence=licence,
            attribution=attribution,
        )
        finish_run(connection, run_id, "succeeded")
    return stored
