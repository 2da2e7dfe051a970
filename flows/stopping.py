"""Stopping a response that runs under a Prefect server, with the mapping it handed over."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx

from flows.answer import handed_over_as
from flows.world import World
from tasks.errors import EventError, StoreError
from tasks.events.states import settle
from tasks.events.turns import CANCELLED, fail_turn, find_turn, give_up

ASK_S = 10.0
WHY = "it was cancelled by an operator"


def stop_response(world: World, event_id: str, api_url: str | None) -> str:
    """Cancel the response of an event, whether it runs or waits; returns what was done.

    The worker ends the processes; what they had finished stays, and nothing else.

    Raises:
        EventError: there is no such response.
        StoreError: it runs, and the Prefect server does not answer.
    """
    with world.engine.begin() as connection:
        turn = find_turn(connection, event_id)
        if turn is None or turn.held_by is None:
            if not give_up(connection, event_id, WHY, datetime.now(UTC)):
                raise EventError(f"no response to {event_id} runs or waits; see `scarp runs list`")
            return f"the response to {event_id} is not begun any more"
    try:
        with (
            httpx.Client(base_url=api_url or "", timeout=ASK_S) as client,
            # Whatever the run says of its end waits for this, and comes too late.
            world.engine.begin() as connection,
        ):
            now = datetime.now(UTC)
            fail_turn(connection, turn, WHY, now, give_up=True, cause=CANCELLED)
            settle(connection, event_id, "failed", WHY)
            for run in [turn.held_by, *_handed_over(client, handed_over_as(turn))]:
                state = {"type": "CANCELLING", "name": "Cancelling", "message": WHY}
                answer = client.post(f"/flow_runs/{run}/set_state", json={"state": state})
                answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StoreError(
            f"the response to {event_id} runs, but its Prefect server does not answer ({error}); "
            "`scarp status` shows whether it is up"
        ) from error
    return f"the response to {event_id} is being stopped"


def _handed_over(client: httpx.Client, key: str) -> list[str]:
    asked = {"flow_runs": {"idempotency_key": {"any_": [key]}}}
    found = client.post("/flow_runs/filter", json=asked).raise_for_status().json()
    return [run["id"] for run in found if run["state_type"] in ("RUNNING", "PENDING", "SCHEDULED")]
