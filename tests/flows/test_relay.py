"""Runs that were lost: never begun, silent, or crashed unheard, on a true Prefect server."""

import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from shapely.geometry import MultiPolygon, box

from flows.relay import STUCK_S, reap, try_again
from infra.automations import BEGIN_S, HEARTBEAT, SILENT_S, TRIES
from tasks.events.decisions import request_response
from tasks.events.registry import register
from tasks.events.turns import find_turn, take_turn
from tasks.types import AreaOfInterest, Event


def new_run(server, kind="PENDING", deployed=True, **state):
    flow = post(server, "/flows/", name="relay-test")
    body = {"flow_id": flow["id"], "state": {"type": kind, **state}}
    if deployed:
        made = post(server, "/deployments/", name="relay-test", flow_id=flow["id"])
        body["deployment_id"] = made["id"]
    return post(server, "/flow_runs/", **body)["id"]


def post(server, path, **body):
    return server.post(path, json=body).raise_for_status().json()


def state_of(server, run):
    return server.get(f"/flow_runs/{run}").json()["state"]


def put(server, run, kind):
    post(
        server,
        f"/flow_runs/{run}/set_state",
        state={"type": kind, "name": kind.capitalize()},
        force=True,
    )


def hear(server, run):
    """A heartbeat of a run, as the server stores it a moment later."""
    told = {"event": HEARTBEAT, "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"}}
    told |= {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat()}
    server.post("/events", json=[told]).raise_for_status()
    asked = {"event": {"name": [HEARTBEAT]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = post(server, "/events/filter", filter=asked)["events"]
        if told["id"] in [event["id"] for event in found]:
            return
        time.sleep(0.2)
    pytest.fail("the server did not store the heartbeat")


def test_a_run_whose_worker_was_lost_is_scheduled_anew_and_others_when_it_is_their_time(server):
    submitting = new_run(server, name="Submitting")
    starting = new_run(server, name="InfrastructurePending")
    running = new_run(server, name="Pending")
    own = new_run(server, name="Submitting", deployed=False)
    since = try_again(server, {}, 1000.0)
    put(server, running, "RUNNING")
    since = try_again(server, since, 1000.0 + STUCK_S["Submitting"])
    assert state_of(server, submitting)["type"] == "PENDING"
    since = try_again(server, since, 1001.0 + STUCK_S["Submitting"])
    assert state_of(server, submitting)["type"] == "SCHEDULED"
    history = server.get("/flow_run_states/", params={"flow_run_id": submitting}).json()
    (crashed,) = [state for state in history if state["type"] == "CRASHED"]
    assert "did not begin within 60 s" in crashed["message"]
    assert state_of(server, starting)["type"] == "PENDING"
    hear(server, running)
    since = try_again(server, since, 1001.0 + BEGIN_S)
    assert state_of(server, starting)["type"] == "SCHEDULED"
    assert state_of(server, running)["type"] == "RUNNING"
    put(server, running, "COMPLETED")
    assert state_of(server, own)["type"] == "PENDING"
    assert try_again(server, since, 2000.0) == {}


def test_a_run_whose_process_starts_slowly_is_not_begun_twice(server):
    slow = new_run(server, name="Submitting")
    told = server.patch(f"/flow_runs/{slow}", json={"infrastructure_pid": "4711"})
    told.raise_for_status()
    since = try_again(server, {}, 1000.0)
    since = try_again(server, since, 1000.0 + BEGIN_S)
    assert state_of(server, slow)["type"] == "PENDING"
    try_again(server, since, 1001.0 + BEGIN_S)
    assert state_of(server, slow)["type"] == "SCHEDULED"


@pytest.mark.parametrize(("began", "again"), [(False, TRIES), (True, TRIES - 1)])
def test_a_run_that_crashes_again_and_again_is_given_up(server, began, again):
    run = new_run(server, kind="SCHEDULED")
    now_s, scheduled = 1000.0, 0
    for _ in range(TRIES + 1):
        if began:
            put(server, run, "RUNNING")
        put(server, run, "CRASHED")
        since = try_again(server, {}, now_s)
        try_again(server, since, now_s + STUCK_S["Crashed"])
        assert state_of(server, run)["type"] == "CRASHED"
        now_s += STUCK_S["Crashed"] + 1
        try_again(server, since, now_s)
        scheduled += state_of(server, run)["type"] == "SCHEDULED"
    assert scheduled == again
    assert datetime.fromisoformat(state_of(server, run)["timestamp"]) < datetime.now(UTC)


def test_a_turn_is_taken_from_a_run_that_crashed_for_the_last_time_and_not_before(world, server):
    run, now = new_run(server, kind="SCHEDULED"), datetime.now(UTC)
    storm = Event("storm", "rainfall", "A storm", now, 11.9, 44.2)
    with world.engine.begin() as connection:
        area = AreaOfInterest(MultiPolygon([box(11.8, 44.1, 12.0, 44.3)]), "given")
        register(connection, storm, area)
        request_response(connection, "storm", "1", "it rained", None, now, now)
        assert take_turn(connection, run, now)
    reaped = []
    for _ in range(TRIES):
        put(server, run, "RUNNING")
        put(server, run, "CRASHED")
        reaped.append(reap(world, server))
    assert reaped == [0] * (TRIES - 1) + [1]
    with world.engine.connect() as connection:
        assert find_turn(connection, "storm").failure.startswith("its run crashed: ")


def test_a_running_run_that_was_never_heard_or_is_no_more_is_scheduled_anew(server):
    unheard, heard = new_run(server, kind="RUNNING"), new_run(server, kind="RUNNING")
    undeployed = new_run(server, kind="RUNNING", deployed=False)
    hear(server, heard)
    since = try_again(server, {}, 1000.0)
    hear(server, heard)
    since = try_again(server, since, 1001.0 + STUCK_S["Running"])
    assert state_of(server, unheard)["type"] == "SCHEDULED"
    assert state_of(server, heard)["type"] == "RUNNING"
    history = server.get("/flow_run_states/", params={"flow_run_id": unheard}).json()
    (crashed,) = [state for state in history if state["type"] == "CRASHED"]
    assert "nothing was heard of it for 90 s" in crashed["message"]
    try_again(server, since, 1002.0 + 2 * STUCK_S["Running"])
    assert state_of(server, heard)["type"] == "SCHEDULED"
    assert state_of(server, undeployed)["type"] == "RUNNING"
    assert STUCK_S["Running"] > SILENT_S


def test_a_cancelled_run_that_nobody_is_left_to_end_gives_its_slot_back(server):
    run = new_run(server, kind="RUNNING")
    put(server, run, "CANCELLING")
    since = try_again(server, {}, 1000.0)
    try_again(server, since, 1000.0 + STUCK_S["Cancelling"])
    assert state_of(server, run)["type"] == "CANCELLING"
    try_again(server, since, 1001.0 + STUCK_S["Cancelling"])
    assert state_of(server, run)["type"] == "CANCELLED"
