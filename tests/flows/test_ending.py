"""Cancelled work stops, also in the middle of a long computation."""

import os
import signal
import subprocess
import sys
import time

import psutil

STUBBORN = """
import signal, sys
import numpy as np
from flows.ending import end_promptly
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Prefect has one in every run
end_promptly()
print("begun", flush=True)
a = np.random.default_rng(0).random((4000, 4000))
for _ in range(3):
    np.linalg.svd(a)  # keeps Python from its signals for minutes
"""


def run(**environment):
    command = [sys.executable, "-c", STUBBORN]
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(2)
    return process


def test_a_run_that_does_not_hear_it_is_asked_to_end_is_gone_all_the_same():
    with run(PREFECT__FLOW_RUN_ID="1") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGKILL


WORKER = """
import subprocess, sys
begun = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(begun.pid, flush=True)
begun.wait()
"""


def test_a_run_that_outlives_its_worker_ends_when_it_is_cancelled(server):
    def post(path, **body):
        return server.post(path, json=body).raise_for_status().json()

    flow = post("/flows/", name="ending-test")["id"]
    flow_run = post("/flow_runs/", flow_id=flow, state={"type": "RUNNING"})["id"]
    environment = os.environ | {
        "PREFECT__FLOW_RUN_ID": flow_run,
        "PREFECT_API_URL": str(server.base_url),
    }
    command = [sys.executable, "-c", WORKER, STUBBORN]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        begun = psutil.Process(int(worker.stdout.readline()))
        assert worker.stdout.readline() == "begun\n"
        worker.kill()
    post(f"/flow_runs/{flow_run}/set_state", state={"type": "CANCELLING"})
    begun.wait(timeout=60)
    told = server.get(f"/flow_runs/{flow_run}").json()["state"]
    assert told["type"] == "CANCELLED"
