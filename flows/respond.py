"""The whole answer to one event: inventory, susceptibility map, products."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prefect import flow

from flows.assess_susceptibility import Assessed, assess_susceptibility
from flows.map_landslides import as_reviewed, map_landslides
from flows.mapped import Mapped
from flows.options import ResponseOptions
from flows.products import folder_of, publish_products
from flows.responding import responding
from flows.standing import keep_for_looks
from flows.steps import step
from flows.world import open_world
from tasks.imagery.waits import Wait

NAME = "respond"


@dataclass(frozen=True)
class Response:
    """What a response left behind."""

    mapped: Mapped
    assessed: Assessed
    folder: Path
    report: Path


@flow(name=NAME)
def respond(
    event_id: str, options: ResponseOptions, now: datetime | None = None
) -> Response | Wait:
    """Map an event's landslides, assess susceptibility, and write the products.

    Where the event waits for more imagery, the next look is made as this one was. What people made
    of an inventory and published is what products show when the same response is asked for again.
    Products of a version beside the published one are put into a folder of their own.

    Args:
        event_id: a registered event.
        options: what the operator chose.
        now: the time it is taken to be; None is the present.

    Returns:
        What was made; if nothing could be seen yet, what the event waits for.

    Raises:
        EventError: there is no such event, or it is held or cancelled.
        ScarpError: see `tasks.errors`; what was finished before stays and is not redone.
    """
    with responding(event_id, now) as name:
        mapped = map_landslides(name, options, now)
        if isinstance(mapped, Wait) or mapped.wait:
            keep_for_looks(open_world(), name, options)
        if isinstance(mapped, Wait):
            return mapped
        mapped = as_reviewed(mapped)
        assessed = assess_susceptibility(name, options.susceptibility, mapped.inventory.version)
        folder = options.out or folder_of(mapped.inventory)
        report = step(publish_products, hours=1)(mapped, assessed, folder)
    return Response(mapped, assessed, folder, report)
