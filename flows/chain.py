"""What follows a new inventory: susceptibility, then the products that show both."""

from __future__ import annotations

from prefect import flow

from flows.artifacts import leave_products, progress_in_ui
from flows.assess_susceptibility import assess_susceptibility
from flows.ending import end_promptly
from flows.map_landslides import map_landslides
from flows.products import publish_products
from flows.standing import options_of, susceptibility_options_of
from flows.steps import step
from flows.world import open_world
from tasks.imagery.waits import Wait
from tasks.inventory.carry import MADE_BY_PEOPLE, REVIEWED
from tasks.inventory.store import get_inventory

NAME = "assess-susceptibility"


@flow(name=NAME)
def follow_up(event_id: str, version: int) -> str:
    """Assess susceptibility from a new inventory, and renew the event's products.

    One that is a draft because more imagery is waited for is followed up as well.

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
    # Everything is found on disk and in the store, since the same inputs give it.
    mapped = map_landslides(event_id, options)
    if isinstance(mapped, Wait):
        return f"{event_id} waits: {mapped.reason}"
    with progress_in_ui(event_id):
        assessed = assess_susceptibility(event_id, options.susceptibility, mapped.inventory.version)
        folder = options.out or world.products(event_id)
        step(publish_products, hours=1)(mapped, assessed, folder)
    leave_products(mapped, assessed)
    return assessed.skipped or f"{event_id} is assessed"
