"""A draft made the answer to its event, because somebody says so."""

from __future__ import annotations

from flows.publish_reviews import assess_again
from flows.world import open_world
from tasks.errors import InventoryError
from tasks.events.states import settle_published
from tasks.inventory.store import StoredInventory, get_inventory
from tasks.inventory.store import publish_draft as publish


def publish_draft(event_id: str, version: int) -> StoredInventory:
    """Publish a draft in place of the version published before, and renew the susceptibility map.

    Raises:
        EventError, InventoryError: there is no such version, it is superseded, or a newer one is
            published.
        AssessmentError: the version is published, and its susceptibility map could not be made.
    """
    with open_world().engine.begin() as connection:
        draft = get_inventory(connection, event_id, version)
        stored = publish(connection, draft) if draft.status == "draft" else draft
        if stored.status == "published":
            settle_published(connection, stored.event_id)
    if stored.status != "published":
        why = (
            "was superseded" if stored.status == "superseded" else "is older than what is published"
        )
        raise InventoryError(
            f"version {version} of {event_id} {why}; to bring it back, write it to a file with "
            f"`scarp inventory export {event_id} --version {version} -o FILE` and import that"
        )
    if stored is not draft:
        assess_again(stored)
    return stored
