"""Tells the Prefect server what the store knows: `python -m flows.relay`, kept up by `scarp up`.

A response that is due, a published inventory, a stored susceptibility map and a response that was
given up become Prefect events, on which the deployments' triggers and the notifications wait. The
store remembers what was told, and only once the server has taken it: an event is told late rather
than never. It also sees when the run that had a turn has ended without saying so, when runs wait
for a worker that is not there, and when one was lost, before it began or later.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from prefect.events import Event, Resource
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from flows.pools import pools_without_worker
from flows.world import World, open_world
from infra.automations import BEGIN_S, HEARTBEAT, SILENT_S, TRIES
from infra.errors import InfraError
from infra.notifications import FAILED, NO_IMAGERY, OVERDUE, UNMANNED
from tasks.errors import NoImageryError, StoreError
from tasks.events.announcements import new_inventories, new_susceptibility
from tasks.events.states import settle_left
from tasks.events.troubles import new_dead_letters, new_waits
from tasks.events.turns import CANCELLED, Turn, announce, fail_turn, held_turns
from tasks.inventory.runs import LOST, close_left, finish_run, open_runs
from tasks.types import Outcome

# Run as a program this module has another name.
log = logging.getLogger("flows.relay")

LOOK_S = 1.0
REAP_S = 5.0
# Nobody took it up: the server, or the run, was lost.
AGAIN = timedelta(minutes=10)
ASK_S = 10.0
# How long a run may stay in a state of that name, or without a heartbeat in it: many times what a
# worker takes from there to starting a process, and what the server's own automation takes. A run
# whose process was started keeps the name Submitting until it begins, and has `BEGIN_S` for that.
STUCK_S = {
    "Submitting": 60.0,
    "Running": SILENT_S + 15.0,
    "Crashed": 30.0,
    "Cancelling": 60.0,
}
# Older runs are history: they were given up, and are not begun by an upgrade.
RECENT = timedelta(hours=3)
_MOST = 200
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def relay(world: World, client: httpx.Client) -> int:
    """Tell the server all news, and return how many there were; what it did not take stays news."""
    told = 0
    for news in (_due, _inventories, _susceptibility, _given_up, _waits):
        with world.engine.begin() as connection:
            events = news(connection, client)
            if events:
                body = [event.model_dump(mode="json") for event in events]
                client.post("/events", json=body).raise_for_status()
            told += len(events)
    return told


def reap(world: World, client: httpx.Client) -> int:
    """Take their turn from runs that ended without giving it back; returns how many."""
    with world.engine.connect() as connection:
        held = held_turns(connection)
    lost = [(turn, why) for turn in held if (why := _lost(turn, client))]
    for turn, why in lost:
        with world.engine.begin() as connection:
            stopped = "cancelled" in why
            cause = CANCELLED if stopped else "RunLost"
            fail_turn(connection, turn, why, datetime.now(UTC), give_up=stopped, cause=cause)
    return len(lost)


def close_lost_runs(world: World, client: httpx.Client) -> int:
    """Give the runs an outcome whose flow run, or process, has ended without one; returns how many.

    What the server does not know is somebody's own, by hand, and goes on while its process lives.
    """
    with world.engine.connect() as connection:
        unended = open_runs(connection)
    ends = {run_id: _end_of(flow_run, client) for run_id, flow_run in unended.items()}
    lost = {run_id: end for run_id, end in ends.items() if end in _ENDED}
    for run_id, end in lost.items():
        outcome: Outcome = "cancelled" if end == "CANCELLED" else "failed"
        # Whoever closed it meanwhile knew more.
        with suppress(StoreError), world.engine.begin() as connection:
            finish_run(connection, run_id, outcome, LOST)
    with world.engine.begin() as connection:
        killed = close_left(connection, {run_id for run_id, end in ends.items() if end})
    return len(lost) + len(killed)


def _end_of(flow_run_id: str, client: httpx.Client) -> str:
    """The type of a flow run's state; empty where the server knows none."""
    asked = client.get(f"/flow_runs/{flow_run_id}")
    if asked.status_code == httpx.codes.NOT_FOUND:
        return ""
    state = asked.raise_for_status().json()["state"]
    return str(state["type"]) if state else ""


def _lost(turn: Turn, client: httpx.Client) -> str:
    """Why the run that has a turn will not end it; empty while it may."""
    asked = client.get(f"/flow_runs/{turn.held_by}")
    if asked.status_code == httpx.codes.NOT_FOUND:
        return f"the run {turn.held_by} is not known to the Prefect server any more"
    run = asked.raise_for_status().json()
    state = run["state"] or {"type": "PENDING"}
    if state["type"] == "CRASHED" and run["run_count"] < TRIES:
        return ""
    if state["type"] in _ENDED:
        return f"its run {state['name'].lower()}: {state.get('message') or 'no reason given'}"
    return ""


def tell_unmanned(client: httpx.Client, told: frozenset[str]) -> frozenset[str]:
    """Say of a pool, once, that runs wait for a worker it does not have.

    Args:
        client: of the server.
        told: names of the pools of which it was said.

    Returns:
        The same, with those of now in their place.
    """
    lacking = pools_without_worker(client, datetime.now(UTC))
    for pool in lacking:
        if pool.name not in told:
            log.warning("%s", pool.sentence)
            resource = Resource({"prefect.resource.id": f"scarp.pool.{pool.name}"})
            said = {"reason": pool.sentence, "waiting": pool.waiting}
            event = Event(event=UNMANNED, resource=resource, payload=said, id=uuid4())
            client.post("/events", json=[event.model_dump(mode="json")]).raise_for_status()
    return frozenset(pool.name for pool in lacking)


def try_again(client: httpx.Client, since: Mapping[str, float], now_s: float) -> dict[str, float]:
    """Schedule deployed runs anew that crashed, fell silent, or were taken up and do not begin.

    The server has automations for these. One that is killed forgets what it was waiting for, never
    waits for more from a run that was lost with its first heartbeat, and holds back for a quarter
    of an hour what follows an event it lost. A run that is cancelled and has nobody left to end it
    is said to have ended, which frees its slot.

    Args:
        client: of the server.
        since: when each sign of a run that should not be its last was first seen.
        now_s: seconds of a clock that nobody sets, as those in `since` are.

    Returns:
        The same, of the last signs of runs now.
    """
    waiting: dict[str, float] = {}
    for run in _unsettled(client):
        state = run["state"]
        sign = _last_sign(run, client)
        waiting[sign] = first = since.get(sign, now_s)
        patience_s = _patience_s(run)
        if now_s - first <= patience_s:
            continue
        if state["type"] == "CANCELLING":
            _set_state(client, run["id"], "CANCELLED", state["message"])
            continue
        if state["type"] != "CRASHED":
            what = "nothing was heard of it for" if _runs(run) else "it did not begin within"
            log.warning("run %s: %s %.0f s", run["name"], what, patience_s)
            _set_state(client, run["id"], "CRASHED", f"{what} {patience_s:.0f} s")
        if run["run_count"] < TRIES and _crashes(client, run["id"]) <= TRIES:
            _set_state(client, run["id"], "SCHEDULED", "it crashed and is tried again")
    return waiting


def _unsettled(client: httpx.Client) -> list[dict[str, Any]]:
    """Deployed runs that a worker has or had, and that crashed not long ago."""
    recent = {"after_": (datetime.now(UTC) - RECENT).isoformat()}
    found: list[dict[str, Any]] = []
    for asked in (
        {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
        {"state": {"type": {"any_": ["CRASHED"]}}, "expected_start_time": recent},
    ):
        runs = {"flow_runs": asked | {"deployment_id": {"is_null_": False}}, "limit": _MOST}
        found += client.post("/flow_runs/filter", json=runs).raise_for_status().json()
    return found


def _patience_s(run: dict[str, Any]) -> float:
    """How long a run may give no other sign.

    One whose process was started may only be slow: begun again, the two would do the same at once.
    """
    state = run["state"]
    if state["type"] == "PENDING" and run["infrastructure_pid"]:
        return BEGIN_S
    return STUCK_S.get(state["name"], BEGIN_S)


def _last_sign(run: dict[str, Any], client: httpx.Client) -> str:
    """What is another text once a run goes on: its state, and how often it was heard in it.

    Heartbeats are counted, for their times are those of a clock that may be set.
    """
    state = str(run["state"]["id"])
    if not _runs(run):
        return state
    of_run = {"id": [f"prefect.flow-run.{run['id']}"]}
    asked = {"filter": {"event": {"name": [HEARTBEAT]}, "resource": of_run}, "limit": 1}
    answer = client.post("/events/filter", json=asked).raise_for_status()
    return f"{state} {answer.json()['total']}"


def _runs(run: dict[str, Any]) -> bool:
    return bool(run["state"]["type"] == "RUNNING")


def _crashes(client: httpx.Client, flow_run_id: str) -> int:
    """How often a run has crashed."""
    states = client.get("/flow_run_states/", params={"flow_run_id": flow_run_id})
    return sum(state["type"] == "CRASHED" for state in states.raise_for_status().json())


def _set_state(client: httpx.Client, flow_run_id: str, kind: str, message: str) -> None:
    state = {"type": kind, "name": kind.capitalize(), "message": message}
    asked = {"state": state, "force": True}
    client.post(f"/flow_runs/{flow_run_id}/set_state", json=asked).raise_for_status()


def _due(connection: Connection, _client: httpx.Client) -> list[Event]:
    return [
        _event(
            "scarp.event.registered" if one.first else "scarp.event.updated",
            "scarp.event",
            one.event_id,
            {"reason": one.reason, "priority": one.priority},
        )
        for one in announce(connection, datetime.now(UTC), AGAIN)
    ]


def _inventories(connection: Connection, client: httpx.Client) -> list[Event]:
    return [
        _event(
            "scarp.inventory.created",
            "scarp.inventory",
            one.event_id,
            {"version": one.version, "inventory_id": str(one.id)},
        )
        for one in new_inventories(connection)
        if one.flow_run_id is None or _is_known(one.flow_run_id, client)
    ]


def _susceptibility(connection: Connection, _client: httpx.Client) -> list[Event]:
    return [
        _event(
            "scarp.susceptibility.created",
            "scarp.susceptibility",
            one.event_id,
            {"susceptibility_id": str(one.id)},
        )
        for one in new_susceptibility(connection)
    ]


def _given_up(connection: Connection, _client: httpx.Client) -> list[Event]:
    return [
        _event(
            NO_IMAGERY if one.cause == NoImageryError.__name__ else FAILED,
            "scarp.response",
            one.event_id,
            {"reason": one.why, "cause": one.cause, "failures": one.failures},
        )
        for one in new_dead_letters(connection)
    ]


def _waits(connection: Connection, _client: httpx.Client) -> list[Event]:
    return [
        _event(
            OVERDUE if one.over else NO_IMAGERY,
            "scarp.imagery",
            one.event_id,
            {"reason": f"{one.reason}; the deadline is {one.deadline:%Y-%m-%d %H:%M} UTC"},
        )
        for one in new_waits(connection)
    ]


def _is_known(flow_run_id: str, client: httpx.Client) -> bool:
    """Whether a run is this server's; `scarp respond` by hand assesses what it maps itself."""
    return client.get(f"/flow_runs/{flow_run_id}").status_code != httpx.codes.NOT_FOUND


def _event(name: str, kind: str, event_id: str, payload: dict[str, Any]) -> Event:
    resource = {"prefect.resource.id": f"{kind}.{event_id}", "scarp.event_id": event_id}
    return Event(event=name, resource=Resource(resource), payload=payload, id=uuid4())


def main() -> None:
    """Relay until the process is ended; what fails is tried again at the next look."""
    world = open_world()
    reaped = 0.0
    unmanned: frozenset[str] = frozenset()
    stuck: dict[str, float] = {}
    with httpx.Client(base_url=os.environ["PREFECT_API_URL"], timeout=ASK_S) as client:
        while True:
            try:
                if told := relay(world, client):
                    log.info("%d events told", told)
                if time.monotonic() - reaped > REAP_S:
                    reap(world, client)
                    with world.engine.begin() as connection:
                        settle_left(connection)
                    close_lost_runs(world, client)
                    unmanned = tell_unmanned(client, unmanned)
                    stuck = try_again(client, stuck, time.monotonic())
                    reaped = time.monotonic()
            except (httpx.HTTPError, DBAPIError, StoreError, InfraError) as error:
                log.warning("not told, tried again: %s", str(error).splitlines()[0])
                # Nobody could be heard meanwhile.
                stuck = {}
                time.sleep(REAP_S)
            time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
