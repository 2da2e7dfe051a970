"""A command that is killed leaves no server behind: true processes, truly killed."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

COMMAND = """
import sys
from flows.ephemeral import EphemeralServer
from prefect.server.api.server import SubprocessASGIServer

EphemeralServer()
server = SubprocessASGIServer()
server.start()
print(server.server_process.pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def command(tmp_path):
    away = {name for name in os.environ if name.startswith("PREFECT_")}
    kept = {name: value for name, value in os.environ.items() if name not in away}
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        env=kept | {"SCARP_HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("by", [signal.SIGKILL, None])
def test_the_server_of_a_command_ends_with_it(command, by):
    server = psutil.Process(int(command.stdout.readline()))
    assert server.ppid() == command.pid
    watch = next(one for one in psutil.Process(command.pid).children() if one.name() == "sh")
    if by:
        command.send_signal(by)
    else:
        command.stdin.write("\n")
        command.stdin.flush()
    assert command.wait(60) == (-by if by else 0)
    _, left = psutil.wait_procs([server, watch], timeout=60)
    assert left == []
