"""Where an inventory came from: who mapped it, and what of it people have looked at."""

from __future__ import annotations

from sqlalchemy import Connection, select

from tasks.inventory.review import Progress, progress
from tasks.inventory.store import StoredInventory, find_inventory
from tasks.inventory.tables import run

REVIEWED = "reviewed"
MADE_BY_PEOPLE = ("imported", "manual")


def mapped_version(connection: Connection, stored: StoredInventory) -> StoredInventory:
    """The version that looked at the ground: itself, or the one that it was reviewed from."""
    while stored.method == REVIEWED:
        inputs = connection.scalar(select(run.c.inputs).where(run.c.id == stored.run_id)) or {}
        before = find_inventory(connection, stored.event_id, inputs.get("inventory", ""))
        if before is None:
            break
        stored = before
    return stored


def how_made(mapped: StoredInventory, reviewed: Progress) -> str:
    """Who made a reviewed version, in words, and how much of it nobody has looked at.

    Args:
        mapped: its `mapped_version`.
        reviewed: how far its own review has come.
    """
    by = "" if mapped.method == REVIEWED else f"{mapped.method.partition('@')[0]}; "
    return (
        f"{by}reviewed: {reviewed.confirmed:,} confirmed, {reviewed.edited:,} drawn or edited, "
        f"{reviewed.unreviewed:,} not reviewed"
    )


def made_by(connection: Connection, stored: StoredInventory) -> str:
    """Who made a version: its method, or of a reviewed one `how_made`."""
    if stored.method != REVIEWED:
        return stored.method
    return how_made(mapped_version(connection, stored), progress(connection, stored.id))
