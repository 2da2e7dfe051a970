"""`scarp up` as it is used: true servers, workers and runs, on ports of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import EXAMPLE

SCARP = (sys.executable, "-c", "from console.cli import main; main()")
EVENT = "emilia-romagna-2023"
PATIENCE_S = 240


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machine:
    """A SCARP_HOME with commands run in it as a person would."""

    def __init__(self, home):
        self.home = home
        ports = {name: free_port() for name in ("prefect", "console", "health")}
        self.ports = [
            word for name, port in ports.items() for word in (f"--{name}-port", str(port))
        ]
        self.api = f"http://127.0.0.1:{ports['prefect']}/api"
        self.health = f"http://127.0.0.1:{ports['health']}/healthz"
        kept_out = ("PREFECT_API_URL", "SCARP_DATABASE_URL", "PREFECT_HOME")
        self.environment = {k: v for k, v in os.environ.items() if k not in kept_out}
        self.environment["SCARP_HOME"] = str(home)

    def scarp(self, *words):
        done = subprocess.run(
            [*SCARP, *words], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def state(self):
        return json.loads((self.home / "up" / "state.json").read_text())

    def pid(self, name):
        return next(one["pid"] for one in self.state()["services"] if one["name"] == name)

    def python(self, code, *words):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def wait_for(what, seconds=PATIENCE_S):
    """Wait until something is so; gives what it is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    pytest.fail(f"not so after {seconds} s: {what.__name__}")


@pytest.fixture(scope="module")
def machine():
    home = Path(tempfile.mkdtemp(prefix="scarp-up-"))
    home.chmod(0o755)
    machine = Machine(home)
    code, out, error = machine.scarp("up", "--detach", *machine.ports)
    assert code == 0, out + error
    yield machine
    machine.scarp("down")
    machine.scarp("db", "stop", "--force")
    shutil.rmtree(home)


def test_everything_is_ready_and_says_so(machine):
    assert httpx.get(machine.health).json()["well"]
    code, out, _ = machine.scarp("status", "--json")
    assert code == 0
    names = [one["name"] for one in json.loads(out)["services"]]
    assert names == ["prefect", "worker-cpu", "worker-gpu", "relay", "console"]
    deployed = httpx.post(f"{machine.api}/deployments/filter", json={}).json()
    assert {"respond", "map-landslides", "assess-susceptibility"} <= {d["name"] for d in deployed}


def test_a_second_one_on_the_same_folder_says_that_it_is_up(machine):
    code, _, error = machine.scarp("up", *machine.ports)
    assert code == 1
    assert f"up already in {machine.home} (process {machine.state()['pid']})" in error


def test_a_port_in_use_is_told_with_the_option_that_chooses_another(machine, tmp_path):
    elsewhere = Machine(tmp_path)
    code, _, error = elsewhere.scarp("up", *machine.ports)
    assert code == 1
    assert "is in use" in error and "--prefect-port" in error
    assert not (tmp_path / "postgres").exists()


ASK = """
import sys
from datetime import UTC, datetime
from flows.register import register_event
from flows.world import open_world
from tasks.events.decisions import request_response
from tasks.events.request import read_event
from tasks.events.wishes import keep_options

example, options = sys.argv[1], {"source": sys.argv[2], "dem": sys.argv[3]}
event = register_event(read_event(__import__("pathlib").Path(example) / "event.json"),
                       __import__("pathlib").Path(example) / "aoi.geojson").event
now = datetime.now(UTC)
with open_world().engine.begin() as connection:
    keep_options(connection, event.id, options)
    request_response(connection, event.id, now.isoformat(), "asked", 1.0, now, now)
"""


def test_a_registered_event_is_mapped_and_assessed_by_triggers_alone(machine):
    asked = datetime.now(UTC)
    machine.python(ASK, str(EXAMPLE), str(EXAMPLE / "catalog.json"), str(EXAMPLE / "dem.tif"))
    report = machine.home / "products" / EVENT / "report.html"

    def assessed():
        return report.exists() and (report.parent / "susceptibility.tif").exists()

    wait_for(assessed)
    code, out, _ = machine.scarp("inventory", "list", "--json")
    assert code == 0
    (inventory,) = json.loads(out)
    assert inventory["status"] == "published"
    runs = httpx.post(f"{machine.api}/flow_runs/filter", json={}).json()
    began = {run["name"]: run["start_time"] for run in runs}
    print(f"asked {asked:%H:%M:%S}", began)
    by_deployment = [run for run in runs if run["deployment_id"]]
    assert len(by_deployment) == 3
    assert json.loads(machine.scarp("runs", "list", "--json")[1]) == []


def test_a_worker_that_is_killed_is_started_again(machine):
    killed = machine.pid("worker-cpu")
    os.kill(killed, signal.SIGKILL)

    def started_again():
        pid = machine.pid("worker-cpu")
        return pid if pid not in (None, killed) else None

    wait_for(started_again)
    assert httpx.get(machine.health).status_code in (200, 503)


def test_down_ends_all_of_it_and_nothing_else(machine):
    started = [one["pid"] for one in machine.state()["services"]]
    family = [child.pid for pid in started for child in psutil.Process(pid).children(True)]
    code, _, error = machine.scarp("down")
    assert (code, "down" in error) == (0, True)
    assert not any(psutil.pid_exists(pid) for pid in [*started, *family])
    code, _, error = machine.scarp("status")
    assert code == 1 and "nothing is up" in error
    assert "nothing is up" in machine.scarp("down")[2]
