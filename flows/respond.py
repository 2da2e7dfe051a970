"""The whole answer to one event: inventory, susceptibility map, products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from flows.assess_susceptibility import Assessed, assess_susceptibility
from flows.map_landslides import Mapped, map_landslides
from flows.options import ResponseOptions
from flows.products import publish_products
from flows.standing import keep_for_looks
from flows.steps import step
from flows.waiting import look_again
from flows.world import open_world
from tasks.events.decisions import answer_requests, last_request
from tasks.events.registry import find_registered
from tasks.events.states import move, require_open, settle
from tasks.imagery.waits import Wait, find_wait

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

    Where the event waits for more imagery, the next look is made as this one was.

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
        assessed = assess_susceptibility(name, options.susceptibility, mapped.inventory.version)
        folder = options.out or open_world().products(name)
        report = step(publish_products)(mapped, assessed, folder)
    return Response(mapped, assessed, folder, report)


@contextmanager
def responding(event_id: str, now: datetime | None = None) -> Iterator[str]:
    """Keep the event's state and close the requests that the response answers.

    An event that waits for imagery is asked for again, at its next look.

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
        answer_requests(connection, name, last)
        wait = find_wait(connection, name)
        if wait and wait.lasts:
            settle(connection, name, "waiting", wait.reason)
            look_again(connection, wait, known.priority, now or datetime.now(UTC))
        else:
            settle(connection, name, "published", "a response was published")
