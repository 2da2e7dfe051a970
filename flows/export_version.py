"""One version of an inventory as a file, for the command line and the console alike."""

from __future__ import annotations

from pathlib import Path

from flows.world import open_world
from tasks.events.registry import find_aoi, find_event
from tasks.inventory.citation import About
from tasks.inventory.export import export_inventory
from tasks.inventory.export_profiles import Profile
from tasks.inventory.store import (
    StoredInventory,
    get_inventory,
    read_reviewed,
    read_screened,
)


def export_version(
    event_id: str, version: int | None, out: Path, profile: Profile = "scarp"
) -> tuple[StoredInventory, int]:
    """Write a version as reviewed, by default the published one, with everything known of it.

    Returns:
        The version, and how many landslides were written.

    Raises:
        EventError, InventoryError: there is no such version, or `out` is of no known format.
        StorageError: `out` cannot be written.
    """
    with open_world().engine.connect() as connection:
        event = find_event(connection, event_id)
        inventory = get_inventory(connection, event.id, version)
        landslides = read_reviewed(connection, inventory.id)
        screened = read_screened(connection, inventory.id)
        about = About(event, inventory)
        aoi = find_aoi(connection, event.id).geometry
    export_inventory(
        landslides,
        inventory.observed,
        out,
        aoi=aoi,
        screened=screened,
        about=about,
        profile=profile,
    )
    return inventory, len(landslides)
