"""Runs that a worker took up and never began, or that crashed unheard, on a true Prefect server."""

from datetime import UTC, datetime

import httpx
import pytest

from flows.relay import STUCK_S, try_again
from infra.automations import BEGIN_S, TRIES

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
    since = try_again(client, since, 1001.0 + BEGIN_S)
    assert state_of(client, starting)["type"] == "SCHEDULED"
    assert state_of(client, running)["type"] == "RUNNING"
    assert state_of(client, own)["type"] == "PENDING"
    assert try_again(client, since, 2000.0) == {}


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
