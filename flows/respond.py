"""The whole answer to one event: inventory, susceptibility map, products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.assess_susceptibility import Assessed, assess_susceptibility
from flows.map_landslides import Mapped, map_landslides
from flows.options import ResponseOptions
from flows.products import publish_products
from flows.steps import step
from flows.world import open_world
from tasks.events.decisions import answer_requests, last_request
from tasks.events.registry import find_registered
from tasks.events.states import move, require_open, settle

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
        EventError: there is no such event, or it is held or cancelled.
        ScarpError: see `tasks.errors`; what was finished before stays and is not redone.
    """
    with responding(event_id) as name:
        mapped = map_landslides(name, options)
        assessed = assess_susceptibility(name, options.susceptibility, mapped.inventory.version)
        folder = options.out or open_world().products(name)
        report = step(publish_products)(mapped, assessed, folder)
    return Response(mapped, assessed, folder, report)


@contextmanager
def responding(event_id: str) -> Iterator[str]:
    """Keep the event's state and close the requests that the response answers.

    Yields:
        The id the event was registered with.
    """
    engine = open_world().engine
    with engine.begin() as connection:
        known = find_registered(connection, event_id)
        require_open(known)
        name, last = known.event.id, last_request(connection, known.event.id)
        move(connection, name, "responding", "a response began")
    try:
        yield name
    except BaseException as error:
        with engine.begin() as connection:
            settle(connection, name, "failed", str(error) or type(error).__name__)
        raise
    with engine.begin() as connection:
        settle(connection, name, "published", "a response was published")
        answer_requests(connection, name, last)
