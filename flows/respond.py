"""The whole answer to one event: inventory, susceptibility map, products."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.assess_susceptibility import Assessed, assess_susceptibility
from flows.map_landslides import Mapped, map_landslides
from flows.options import ResponseOptions
from flows.products import publish_products
from flows.steps import step
from flows.world import open_world

NAME = "respond"


@dataclass(frozen=True)
class Response:
    """What a response left behind."""

    mapped: Mapped
    assessed: Assessed
    folder: Path
    report: Path


@flow(name=NAME)
def respond(event_id: str, options: ResponseOptions) -> Response:
    """Map an event's landslides, assess susceptibility, and write the products.

    Raises:
        ScarpError: see `tasks.errors`; what was finished before stays and is not redone.
    """
    mapped = map_landslides(event_id, options)
    assessed = assess_susceptibility(event_id, options.susceptibility, mapped.inventory.version)
    folder = options.out or open_world().products(event_id)
    report = step(publish_products)(mapped, assessed, folder)
    return Response(mapped, assessed, folder, report)
