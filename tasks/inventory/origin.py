"""Where an inventory came from."""

from __future__ import annotations

from sqlalchemy import Connection, select

from tasks.inventory.carry import REVIEWED
from tasks.inventory.store import StoredInventory, find_inventory
from tasks.inventory.tables import run


def mapped_version(connection: Connection, stored: StoredInventory) -> StoredInventory:
    """The version that looked at the ground: itself, or the one that it was reviewed from."""
    while stored.method == REVIEWED:
        inputs = connection.scalar(select(run.c.inputs).where(run.c.id == stored.run_id)) or {}
        before = find_inventory(connection, stored.event_id, inputs.get("inventory", ""))
        if before is None:
            break
        stored = before
    return stored
