"""A run that nobody will make is not left pending without a word."""

from datetime import UTC, datetime, timedelta

from flows.pools import pools_without_worker


def ask_for_a_run(client, pool, since):
    def post(path, **what):
        return client.post(path, json=what).raise_for_status().json()

    post("/work_pools/", name=pool, type="process")
    flow = post("/flows/", name="a flow")["id"]
    made = post("/deployments/", name="a deployment", flow_id=flow, work_pool_name=pool)["id"]
    asked = {"type": "SCHEDULED", "state_details": {"scheduled_time": since.isoformat()}}
    post(f"/deployments/{made}/create_flow_run", state=asked)


def test_a_pool_without_a_worker_is_named_once_its_runs_are_late(server):
    now = datetime.now(UTC)
    ask_for_a_run(server, "lonely", since=now)
    assert pools_without_worker(server, now + timedelta(seconds=30)) == []
    [lonely] = pools_without_worker(server, now + timedelta(seconds=55))
    assert (lonely.name, lonely.waiting) == ("lonely", 1)
    assert "prefect worker start --pool lonely" in lonely.sentence

    heard = {"name": "somebody", "heartbeat_interval_seconds": 30}
    server.post("/work_pools/lonely/workers/heartbeat", json=heard).raise_for_status()
    assert pools_without_worker(server, now + timedelta(seconds=55)) == []
