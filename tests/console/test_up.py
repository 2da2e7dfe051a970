"""`scarp up` as it is used: true servers, workers and runs, on ports of their own."""

import json
import os
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import psutil
import pytest

from console.up import _say_standing
from infra.orchestration import is_watching, prefect_environment
from infra.ports import free_port
from infra.services import alone
from infra.settings import Settings
from tests.conftest import EXAMPLE
from tests.console.machine import Machine, running, wait_for

EVENT = "emilia-romagna-2023"


@pytest.fixture(scope="module")
def machine():
    with running("scarp-up-") as machine:
        yield machine


def test_everything_is_ready_and_says_so(machine):
    assert httpx.get(machine.health).json()["well"]
    code, out, _ = machine.scarp("status", "--json")
    assert code == 0
    names = [one["name"] for one in json.loads(out)["services"]]
    assert names == ["prefect", "worker-cpu", "worker-gpu", "relay", "console"]
    deployed = httpx.post(f"{machine.api}/deployments/filter", json={}).json()
    names = {one["name"] for one in deployed}
    assert {"watch", "respond", "map-landslides", "assess-susceptibility", "train"} <= names
    assert {one["name"] for one in deployed if one["paused"]} == {"watch"}


def test_looks_at_feeds_are_scheduled_where_they_are_wanted(machine):
    name = f"{machine.api}/deployments/name/watch/watch"
    deployment = f"{machine.api}/deployments/{httpx.get(name).json()['id']}"
    assert not is_watching(machine.api)
    httpx.post(f"{deployment}/resume_deployment").raise_for_status()
    try:
        wait_for(lambda: is_watching(machine.api), seconds=120)
    finally:
        httpx.post(f"{deployment}/pause_deployment").raise_for_status()


@pytest.mark.parametrize(
    ("written", "said"),
    [("source = ", "is not TOML"), ("dem = 'x'", "write source ="), ("source = 'x'", "")],
)
def test_what_response_toml_lacks_is_said_and_ends_nothing(tmp_path, capsys, written, said):
    (tmp_path / "response.toml").write_text(written)
    _say_standing(Settings(home=tmp_path))
    told = "".join(capsys.readouterr()).replace("\n", " ")
    assert (said in told) if said else not told


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


def test_two_ports_that_are_the_same_are_told_before_anything_is_started(tmp_path):
    elsewhere, port = Machine(tmp_path), str(free_port())
    code, _, error = elsewhere.scarp("up", "--prefect-port", port, "--console-port", port)
    assert code == 1
    assert f"port {port} is asked for twice, by --prefect-port and --console-port" in error
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("name", ["SCARP_RULES", "SCARP_IMPACT"])
def test_rules_and_layers_that_cannot_be_used_are_told_before_anything_is_started(tmp_path, name):
    elsewhere = Machine(tmp_path)
    elsewhere.environment[name] = str(tmp_path / "my.toml")
    (tmp_path / "my.toml").write_text("[earthquake]\nmin_magnitud = 5\n")
    for words in ((), ("--detach",)):
        code, _, error = elsewhere.scarp("up", *elsewhere.ports, *words)
        assert code == 2 and f"{tmp_path / 'my.toml'}: earthquake" in error
    assert not (tmp_path / "up").exists()


@pytest.mark.parametrize("words", [(), ("--detach",)])
def test_a_home_that_is_none_is_told_before_anything_is_started(tmp_path, words):
    elsewhere = Machine(tmp_path / "file" / "home")
    (tmp_path / "file").write_text("")
    code, _, error = elsewhere.scarp("up", *elsewhere.ports, *words)
    assert code == 1 and f"{tmp_path / 'file'} is not a writable folder" in error


def test_programs_find_rules_that_were_named_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCARP_RULES", "my.toml")
    environment = prefect_environment(Settings(home=tmp_path / "home"), "http://127.0.0.1:1/api")
    assert environment["SCARP_RULES"] == str(tmp_path / "my.toml")
    assert "SCARP_IMPACT" not in environment


def test_a_server_of_another_version_is_told_before_anything_is_started(tmp_path):
    class Old(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"2.20.0"')

        def log_message(self, *_):
            pass

    elsewhere = Machine(tmp_path)
    with HTTPServer(("127.0.0.1", 0), Old) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        elsewhere.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{server.server_port}/api"
        code, _, error = elsewhere.scarp("up", *elsewhere.ports)
        server.shutdown()
        thread.join()
    assert code == 1 and "is version 2.20.0 and Prefect" in error
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("written", ["{", "{}", "[]", '{"pid": 1}'])
def test_a_damaged_record_of_what_is_up_is_none(tmp_path, written):
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "state.json").write_text(written)
    code, _, error = Machine(tmp_path).scarp("status")
    assert code == 1 and "nothing is up" in error


SAVE_WEBHOOK = """
import sys
from prefect.blocks.webhook import Webhook
Webhook(url=sys.argv[1], headers={"content-type": "application/json"}).save("scarp")
"""


@pytest.fixture(scope="module")
def told(machine):
    """What a webhook that an operator set up has received."""
    letters = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            letters.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/hook"
        machine.python(SAVE_WEBHOOK, url, PREFECT_API_URL=machine.api)
        code, out, error = machine.scarp("notify")
        assert (code, out) == (0, "Webhook: told\n"), error
        yield letters
        server.shutdown()
        thread.join()


def test_a_registered_event_is_mapped_assessed_and_told_of_by_triggers_alone(machine, told):
    event, aoi = str(EXAMPLE / "event.json"), str(EXAMPLE / "aoi.geojson")
    imagery = ("--source", str(EXAMPLE / "catalog.json"), "--dem", str(EXAMPLE / "dem.tif"))
    code, _, error = machine.scarp("register", "--file", event, "--aoi", aoi, *imagery)
    assert code == 0, error
    folder = machine.home / "products" / EVENT

    def assessed():
        return (folder / "report.html").exists() and (folder / "susceptibility.tif").exists()

    wait_for(assessed)
    code, out, _ = machine.scarp("inventory", "list", "--json")
    assert code == 0
    (inventory,) = json.loads(out)
    assert inventory["status"] == "published"
    runs = httpx.post(f"{machine.api}/flow_runs/filter", json={}).json()
    assert len([run for run in runs if run["deployment_id"]]) == 3
    assert json.loads(machine.scarp("runs", "list", "--json")[1]) == []
    assert "test" in [letter["news"] for letter in told]
    [news] = [letter for letter in told if letter["news"] == "an inventory was published"]
    assert news["event_id"] == EVENT and "Version 1 " in news["body"]


def test_runs_leave_a_summary_a_map_links_and_progress(machine):
    def left():
        found = httpx.post(f"{machine.api}/artifacts/filter", json={}).json()
        by_key = {one["key"]: one["data"] for one in found}
        wanted = {f"{what}-{EVENT}" for what in ("response", "inventory", "summary", "report")}
        bars = [key for key in by_key if key and key.startswith("progress-")]
        return by_key if wanted <= by_key.keys() and bars else None

    image = wait_for(left)[f"map-{EVENT}"]
    shown = httpx.get(image)
    assert shown.headers["content-type"] == "image/png" and len(shown.content) > 10_000


def test_how_long_it_took_is_told_to_people_and_to_prometheus(machine):
    metrics = httpx.get(machine.health.replace("healthz", "metrics")).text
    assert 'scarp_service_up{service="relay"} 1.0' in metrics
    assert 'scarp_latency_seconds_count{since="registration",to="map"} 1.0' in metrics
    shown = machine.scarp("events", "show", EVENT)[1]
    assert re.search(r"first image +│ 7 days", shown) and re.search(r"map +│", shown)


def test_what_cannot_be_responded_to_is_given_up_at_once_and_told(machine, told):
    quake = "--kind earthquake --time 2018-09-05T18:07:59Z --lon 141.93 --lat 42.69 --magnitude 6.6"
    assert machine.scarp("register", "us2000h8ty", *quake.split(), "--title", "Iburi")[0] == 0

    def given_up():
        return [one for one in told if one["news"] == "a response was given up"]

    [news] = wait_for(given_up)
    assert news["event_id"] == "us2000h8ty"
    assert "no source of imagery is known for us2000h8ty" in news["body"]
    [dead] = json.loads(machine.scarp("runs", "dead", "--json")[1])
    assert (dead["event"], dead["tries"]) == ("us2000h8ty", 1)


def test_a_run_for_an_unknown_event_fails_with_its_name(machine):
    found = httpx.get(f"{machine.api}/deployments/name/respond/respond").json()["id"]
    asked = {"parameters": {"event_id": "nowhere"}}
    url = f"{machine.api}/deployments/{found}/create_flow_run"
    run = httpx.post(url, json=asked).json()["id"]

    def failed():
        state = httpx.get(f"{machine.api}/flow_runs/{run}").json()["state"]
        return state["message"] if state["type"] == "FAILED" else None

    assert "event 'nowhere' is not registered" in wait_for(failed)
    wrong = httpx.post(url, json={"parameters": {"event_id": 7}})
    assert wrong.status_code == 409 and "7 is not of type 'string'" in wrong.text


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
    with alone(machine.home / "up"):
        """Another `scarp up` may follow at once."""
    assert not any(psutil.pid_exists(pid) for pid in [*started, *family])
    code, _, error = machine.scarp("status")
    assert code == 1 and "nothing is up" in error
    assert "nothing is up" in machine.scarp("down")[2]
