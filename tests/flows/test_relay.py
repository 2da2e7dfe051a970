"""Runs that a worker took up and never began, on a true Prefect server."""

import httpx
import pytest

from flows.relay import SUBMIT_S, crash_unbegun
from infra.automations import BEGIN_S

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def client():
    from prefect.settings import PREFECT_API_URL

    with httpx.Client(base_url=PREFECT_API_URL.value(), timeout=60) as client:
        yield client


def new_run(client, **state):
    flow = client.post("/flows/", json={"name": "relay-test"}).raise_for_status().json()
    body = {"flow_id": flow["id"], "state": {"type": "PENDING", **state}}
    return client.post("/flow_runs/", json=body).raise_for_status().json()["id"]


def state_of(client, run):
    return client.get(f"/flow_runs/{run}").json()["state"]


def test_a_run_whose_worker_was_lost_crashes_after_a_minute_and_others_when_it_is_their_time(
    client,
):
    submitting = new_run(client, name="Submitting")
    starting = new_run(client, name="InfrastructurePending")
    running = new_run(client, name="Pending")
    since = crash_unbegun(client, {}, 1000.0)
    client.post(
        f"/flow_runs/{running}/set_state",
        json={"state": {"type": "RUNNING", "name": "Running"}, "force": True},
    ).raise_for_status()
    since = crash_unbegun(client, since, 1000.0 + SUBMIT_S)
    assert state_of(client, submitting)["type"] == "PENDING"
    since = crash_unbegun(client, since, 1001.0 + SUBMIT_S)
    assert state_of(client, submitting)["type"] == "CRASHED"
    assert "did not begin within 60 s" in state_of(client, submitting)["message"]
    assert state_of(client, starting)["type"] == "PENDING"
    since = crash_unbegun(client, since, 1001.0 + BEGIN_S)
    assert state_of(client, starting)["type"] == "CRASHED"
    assert state_of(client, running)["type"] == "RUNNING"
    assert crash_unbegun(client, since, 2000.0) == {}
