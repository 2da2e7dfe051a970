"""A machine with `scarp up`, as tests run it: ports of its own, commands as a person types them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.ports import free_port

SCARP = (sys.executable, "-c", "from console.cli import main; main()")
PATIENCE_S = 240


class Machine:
    """A SCARP_HOME with commands run in it as a person would."""

    def __init__(self, home):
        self.home = home
        ports = {name: free_port() for name in ("prefect", "console", "health")}
        self.ports = [
            word for name, port in ports.items() for word in (f"--{name}-port", str(port))
        ]
        self.api = f"http://127.0.0.1:{ports['prefect']}/api"
        self.console = f"http://127.0.0.1:{ports['console']}"
        self.health = f"http://127.0.0.1:{ports['health']}/healthz"
        kept_out = ("PREFECT_API_URL", "SCARP_DATABASE_URL", "PREFECT_HOME")
        self.environment = {k: v for k, v in os.environ.items() if k not in kept_out}
        self.environment["SCARP_HOME"] = str(home)
        # Nothing that runs here asks a proxy for this machine.
        self.environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")

    def scarp(self, *words):
        done = subprocess.run(
            [*SCARP, *words], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def state(self):
        return json.loads((self.home / "up" / "state.json").read_text())

    def pid(self, name):
        return next(one["pid"] for one in self.state()["services"] if one["name"] == name)

    def python(self, code, *words, **environment):
        """Run a program of one's own, which spares this machine the proxy itself."""
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=self.environment | {"NO_PROXY": "127.0.0.1"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running(prefix):
    """A machine in a home of its own, up as long as the block runs."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    home.chmod(0o755)
    machine = Machine(home)
    # Another user's worker was here first: what Prefect keeps in the temporary folder is theirs.
    (home / "tmp").mkdir()
    (home / "tmp" / "runner_storage").touch()
    machine.environment["TMPDIR"] = str(home / "tmp")
    code, out, error = machine.scarp("up", "--detach", "--no-watch", *machine.ports)
    assert code == 0, out + error
    yield machine
    machine.scarp("down")
    machine.scarp("db", "stop", "--force")
    shutil.rmtree(home)


def wait_for(what, seconds=PATIENCE_S):
    """Wait until something is so; gives what it is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    pytest.fail(f"not so after {seconds} s: {what.__name__}")
