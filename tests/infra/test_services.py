"""Programs kept running, and what a killed keeper left."""

import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import prefect
import pytest

from infra import services
from infra.errors import ServiceError
from infra.orchestration import check_server
from infra.programs import last_line
from infra.services import Keeper, Service, alone, keeper_pid, myself


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_stale_pid_that_is_another_program_by_now_is_left_alone(tmp_path, sleeper):
    left = {"name": "prefect", "pid": sleeper.pid, "created": 1.0}
    state = {"pid": sleeper.pid, "created": 1.0, "services": [left]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert keeper_pid(tmp_path) is None
    with alone(tmp_path):
        pass
    assert sleeper.poll() is None


def test_of_two_on_one_folder_the_second_is_told_of_the_first(tmp_path):
    with alone(tmp_path):
        Keeper(tmp_path, myself())
        with pytest.raises(ServiceError, match=f"process {myself()['pid']}"), alone(tmp_path):
            pass


@pytest.mark.parametrize("in_the_way", ["home", "home/up"])
def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path, in_the_way):
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("")
    folder = tmp_path / "home" / "up"
    with (
        pytest.raises(ServiceError, match=rf"programs in {folder} \(.*\); set SCARP_HOME"),
        alone(folder),
    ):
        pass


@pytest.mark.parametrize(("steady_s", "then_s"), [(60.0, 2), (0.0, 1)])
def test_a_program_that_dies_is_started_again_later_each_time_unless_it_ran_for_long(
    tmp_path, monkeypatch, steady_s, then_s
):
    monkeypatch.setattr(services, "STEADY_S", steady_s)
    dying = Service("dying", (sys.executable, "-c", "raise SystemExit(3)"), {}, lambda: True)
    keeper = Keeper(tmp_path, myself())
    list(keeper.start(dying))
    happened = []
    deadline = time.monotonic() + 30
    while len(happened) < 3 and time.monotonic() < deadline:
        happened += keeper.look_after()
        time.sleep(0.05)
    keeper.stop()
    assert happened == [
        "dying ended with 3; starting it again in 1 s",
        "dying was started again",
        f"dying ended with 3; starting it again in {then_s} s",
    ]


def test_a_log_that_has_grown_too_long_is_cut_and_one_older_piece_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "LOG_LIMIT_BYTES", 10)
    log = tmp_path / "talker.log"
    log.write_text("a long time ago\n")
    keeper = Keeper(tmp_path, myself())
    list(keeper.start(Service("talker", ("cat",), {}, lambda: True)))
    keeper.look_after()
    keeper.stop()
    assert (log.read_text(), log.with_suffix(".log.1").read_text()) == ("", "a long time ago\n")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("FATAL:  no such role\nHINT:  make it\n", "no such role"),
        ("starting\nerror: the port is taken\nbye\n", "error: the port is taken"),
        ("╭─ Deploy ─╮\n│ it is late │\n╰──────────╯\n", "it is late"),
        ("", "no reason given"),
    ],
)
def test_of_what_a_program_says_the_line_with_the_reason_is_told(said, told):
    assert last_line(said) == told


@pytest.fixture
def old_server():
    class Old(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"2.20.4"')

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Old) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_a_prefect_server_of_another_version_is_refused(old_server):
    here = f"is version 2.20.4 and Prefect {prefect.__version__} is installed"
    with pytest.raises(ServiceError, match=re.escape(here)):
        check_server(old_server)


def test_a_prefect_server_that_does_not_answer_is_named():
    with pytest.raises(ServiceError, match="http://127.0.0.1:9/api does not answer"):
        check_server("http://127.0.0.1:9/api")
