"""The life of an event while it is responded to, whoever makes the response."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine

from flows.waiting import look_again
from flows.world import open_world
from infra.logs import about
from tasks.events.decisions import answer_requests, last_request
from tasks.events.registry import find_registered
from tasks.events.states import move, require_open, settle, sign_of_life
from tasks.events.turns import forget
from tasks.imagery.waits import find_wait

log = logging.getLogger(__name__)


@contextmanager
def responding(event_id: str, now: datetime | None = None) -> Iterator[str]:
    """Keep the event's state and close the requests that the response answers.

    An event that waits for imagery is asked for again, at its next look. Where this process is
    killed, `tasks.events.states.settle_left` ends the response for it.

    Yields:
        The id the event was registered with.
    """
    engine = open_world().engine
    with engine.connect() as connection:
        name = find_registered(connection, event_id).event.id
    with sign_of_life(engine, name), _responding(engine, name, now):
        yield name


@contextmanager
def _responding(engine: Engine, name: str, now: datetime | None) -> Iterator[None]:
    with engine.begin() as connection:
        known = find_registered(connection, name)
        require_open(known)
        last = last_request(connection, name)
        move(connection, name, "responding", "a response began")
    try:
        with about(event=name):
            log.info("a response began")
            yield
            log.info("the response is done")
    except BaseException as error:
        with engine.begin() as connection:
            settle(connection, name, "failed", str(error) or _unsaid(error))
        raise
    with engine.begin() as connection:
        answer_requests(connection, name, last)
        forget(connection, name)
        wait = find_wait(connection, name)
        if wait and wait.lasts:
            settle(connection, name, "waiting", wait.reason)
            look_again(connection, wait, known.priority, now or datetime.now(UTC))
        else:
            settle(connection, name, "published", "a response was published")


def _unsaid(error: BaseException) -> str:
    """What to say of an error without words; one that is no `Exception` asks a process to end."""
    return type(error).__name__ if isinstance(error, Exception) else "it was stopped"
