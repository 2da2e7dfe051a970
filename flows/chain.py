"""What follows a new inventory: susceptibility, then the products that show both."""

from __future__ import annotations

import logging

from prefect import flow

from flows.artifacts import leave_products, progress_in_ui
from flows.assess_susceptibility import assess_susceptibility
from flows.ending import end_promptly
from flows.map_landslides import find_again
from flows.products import folder_of, publish_products
from flows.standing import options_of, susceptibility_options_of
from flows.steps import step
from flows.world import open_world
from tasks.errors import InventoryError
from tasks.inventory.origin import MADE_BY_PEOPLE, REVIEWED
from tasks.inventory.store import get_inventory

log = logging.getLogger(__name__)

NAME = "assess-susceptibility"


@flow(name=NAME)
def follow_up(event_id: str, version: int) -> str:
    """Assess susceptibility from a new inventory, and renew the event's products.

    One that is a draft because more imagery is waited for is followed up as well. Where imagery,
    weights or options have changed since it was mapped, the products are left to the next response.

    Args:
        event_id: the event.
        version: of the inventory; one that is superseded by now is left to what follows its
            successor.

    Raises:
        ScarpError: see `tasks.errors`.
    """
    end_promptly()
    world = open_world()
    with world.engine.connect() as connection:
        inventory = get_inventory(connection, event_id, version)
    by_people = inventory.method in (REVIEWED, *MADE_BY_PEOPLE)
    if inventory.status == "superseded" or (inventory.status == "draft" and by_people):
        return f"version {version} of {event_id} is {inventory.status}"
    if by_people:
        assessed = assess_susceptibility(
            event_id, susceptibility_options_of(world, event_id), version
        )
        return assessed.skipped or f"{event_id} is assessed"
    options = options_of(world, event_id)
    try:
        mapped = find_again(event_id, options, inventory)
    except InventoryError as error:
        log.warning("the products stay as they are: %s", error)
        mapped = None
    with progress_in_ui(event_id):
        assessed = assess_susceptibility(event_id, options.susceptibility, version)
        if mapped:
            folder = options.out or folder_of(inventory)
            step(publish_products, hours=1)(mapped, assessed, folder)
    if mapped:
        leave_products(mapped, assessed)
    return assessed.skipped or f"{event_id} is assessed"
