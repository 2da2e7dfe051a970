"""A response that nobody asked for by hand: begun by an event, in turn, and never left halfway."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from prefect import flow, get_client
from prefect.runtime import flow_run

from flows.artifacts import leave_outcome
from flows.ending import end_promptly
from flows.handover import hand_over
from flows.responding import responding
from flows.standing import options_of
from flows.world import World, open_world
from models.errors import ModelError
from tasks.errors import BadInputError, NoImageryError, ScarpError, TransientError
from tasks.events.registry import find_registered
from tasks.events.turns import Turn, end_turn, fail_turn, take_turn
from tasks.imagery.waits import find_wait

NAME = "respond"
MAPPING = "map-landslides/map-landslides"


@flow(name=NAME)
def answer(event_id: str = "") -> str:
    """Map the most urgent event that waits for a response; its susceptibility follows by itself.

    Args:
        event_id: the event that woke this run, for people; another may be more urgent.

    Raises:
        EventError: there is no such event.
        ScarpError: the response failed; it is tried again later, or left as a dead letter.
    """
    end_promptly()
    world = open_world()
    me = str(flow_run.id)
    with world.engine.begin() as connection:
        if event_id:
            find_registered(connection, event_id)
        turn = take_turn(connection, me, datetime.now(UTC))
    if turn is None:
        return "nothing waits, or the event is being responded to"
    if turn.event_id != event_id:
        _call_it(turn.event_id)
    try:
        with responding(turn.event_id):
            _respond(world, turn)
    except Exception as error:
        known = isinstance(error, (ScarpError, ModelError))
        why = str(error) if known else f"{type(error).__name__}: {error}"
        hopeless = isinstance(error, (BadInputError, ModelError, NoImageryError))
        passes = isinstance(error, TransientError)
        with world.engine.begin() as connection:
            fail_turn(
                connection,
                turn,
                why,
                datetime.now(UTC),
                give_up=hopeless,
                passes=passes,
                cause=type(error).__name__,
            )
        leave_outcome(turn.event_id, f"The response failed: {why}")
        raise
    with world.engine.begin() as connection:
        end_turn(connection, turn)
        wait = find_wait(connection, turn.event_id)
    if wait and wait.lasts:
        leave_outcome(turn.event_id, f"It waits for clear imagery: {wait.reason}")
        return f"{turn.event_id} waits: {wait.reason}"
    leave_outcome(turn.event_id, "The landslides are mapped; susceptibility follows.")
    return f"{turn.event_id} is mapped"


def _respond(world: World, turn: Turn) -> None:
    options = options_of(world, turn.event_id)
    if not (api_url := os.environ.get("PREFECT_API_URL")):
        # With a server the mapping is another process, and this one starts in half the time.
        from flows.map_landslides import map_landslides

        map_landslides(turn.event_id, options)
        return
    parameters = {"event_id": turn.event_id, "options": options.model_dump(mode="json")}
    hand_over(MAPPING, parameters, handed_over_as(turn), api_url)


def handed_over_as(turn: Turn) -> str:
    """The key of the mapping run of a turn: a run begun again finds the mapping it had begun.

    One that failed or was cancelled is not found: then others hold the turn, or it has failed.
    """
    return f"{turn.event_id} {turn.held_by} {turn.failures}"


def _call_it(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=f"respond {name}")
