"""Runs that were lost: never begun, silent, or crashed unheard, on a true Prefect server."""

import time
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from flows.relay import STUCK_S, try_again
from infra.automations import BEGIN_S, HEARTBEAT, SILENT_S, TRIES

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def client():
    from prefect.settings import PREFECT_API_URL

    with httpx.Client(base_url=PREFECT_API_URL.value(), timeout=60) as client:
        yield client


def new_run(client, kind="PENDING", deployed=True, **state):
    flow = post(client, "/flows/", name="relay-test")
    body = {"flow_id": flow["id"], "state": {"type": kind, **state}}
    if deployed:
        made = post(client, "/deployments/", name="relay-test", flow_id=flow["id"])
        body["deployment_id"] = made["id"]
    return post(client, "/flow_runs/", **body)["id"]


def post(client, path, **body):
    return client.post(path, json=body).raise_for_status().json()


def state_of(client, run):
    return client.get(f"/flow_runs/{run}").json()["state"]


def put(client, run, kind):
    post(
        client,
        f"/flow_runs/{run}/set_state",
        state={"type": kind, "name": kind.capitalize()},
        force=True,
    )


def hear(client, run):
    """A heartbeat of a run, as the server stores it a moment later."""
    told = {"event": HEARTBEAT, "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"}}
    told |= {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat()}
    client.post("/events", json=[told]).raise_for_status()
    asked = {"event": {"name": [HEARTBEAT]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = post(client, "/events/filter", filter=asked)["events"]
        if told["id"] in [event["id"] for event in found]:
            return
        time.sleep(0.2)
    pytest.fail("the server did not store the heartbeat")


def test_a_run_whose_worker_was_lost_is_scheduled_anew_and_others_when_it_is_their_time(client):
    submitting = new_run(client, name="Submitting")
    starting = new_run(client, name="InfrastructurePending")
    running = new_run(client, name="Pending")
    own = new_run(client, name="Submitting", deployed=False)
    since = try_again(client, {}, 1000.0)
    put(client, running, "RUNNING")
    since = try_again(client, since, 1000.0 + STUCK_S["Submitting"])
    assert state_of(client, submitting)["type"] == "PENDING"
    since = try_again(client, since, 1001.0 + STUCK_S["Submitting"])
    assert state_of(client, submitting)["type"] == "SCHEDULED"
    history = client.get("/flow_run_states/", params={"flow_run_id": submitting}).json()
    (crashed,) = [state for state in history if state["type"] == "CRASHED"]
    assert "did not begin within 60 s" in crashed["message"]
    assert state_of(client, starting)["type"] == "PENDING"
    hear(client, running)
    since = try_again(client, since, 1001.0 + BEGIN_S)
    assert state_of(client, starting)["type"] == "SCHEDULED"
    assert state_of(client, running)["type"] == "RUNNING"
    put(client, running, "COMPLETED")
    assert state_of(client, own)["type"] == "PENDING"
    assert try_again(client, since, 2000.0) == {}


def test_a_run_whose_process_starts_slowly_is_not_begun_twice(client):
    slow = new_run(client, name="Submitting")
    told = client.patch(f"/flow_runs/{slow}", json={"infrastructure_pid": "4711"})
    told.raise_for_status()
    since = try_again(client, {}, 1000.0)
    since = try_again(client, since, 1000.0 + BEGIN_S)
    assert state_of(client, slow)["type"] == "PENDING"
    try_again(client, since, 1001.0 + BEGIN_S)
    assert state_of(client, slow)["type"] == "SCHEDULED"


def test_a_run_that_crashes_again_and_again_is_given_up(client):
    run = new_run(client, kind="SCHEDULED")
    now_s, scheduled = 1000.0, 0
    for _ in range(TRIES + 2):
        put(client, run, "CRASHED")
        since = try_again(client, {}, now_s)
        try_again(client, since, now_s + STUCK_S["Crashed"])
        assert state_of(client, run)["type"] == "CRASHED"
        now_s += STUCK_S["Crashed"] + 1
        try_again(client, since, now_s)
        scheduled += state_of(client, run)["type"] == "SCHEDULED"
    assert scheduled == TRIES
    assert datetime.fromisoformat(state_of(client, run)["timestamp"]) < datetime.now(UTC)


def test_a_running_run_that_was_never_heard_or_is_no_more_is_scheduled_anew(client):
    unheard, heard = new_run(client, kind="RUNNING"), new_run(client, kind="RUNNING")
    undeployed = new_run(client, kind="RUNNING", deployed=False)
    hear(client, heard)
    since = try_again(client, {}, 1000.0)
    hear(client, heard)
    since = try_again(client, since, 1001.0 + STUCK_S["Running"])
    assert state_of(client, unheard)["type"] == "SCHEDULED"
    assert state_of(client, heard)["type"] == "RUNNING"
    history = client.get("/flow_run_states/", params={"flow_run_id": unheard}).json()
    (crashed,) = [state for state in history if state["type"] == "CRASHED"]
    assert "nothing was heard of it for 90 s" in crashed["message"]
    try_again(client, since, 1002.0 + 2 * STUCK_S["Running"])
    assert state_of(client, heard)["type"] == "SCHEDULED"
    assert state_of(client, undeployed)["type"] == "RUNNING"
    assert STUCK_S["Running"] > SILENT_S


def test_a_cancelled_run_that_nobody_is_left_to_end_gives_its_slot_back(client):
    run = new_run(client, kind="RUNNING")
    put(client, run, "CANCELLING")
    since = try_again(client, {}, 1000.0)
    try_again(client, since, 1000.0 + STUCK_S["Cancelling"])
    assert state_of(client, run)["type"] == "CANCELLING"
    try_again(client, since, 1001.0 + STUCK_S["Cancelling"])
    assert state_of(client, run)["type"] == "CANCELLED"
