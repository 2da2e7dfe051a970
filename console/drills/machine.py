"""A throw-away SCARP_HOME with `scarp up` in it: used by its own commands, looked at from outside.

Nothing here starts what a drill looks at: a store or a server that is down is told as such, and
comes back by itself or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
from psycopg.rows import dict_row

from console.up import interrupted_by_sigterm
from infra import postgres
from infra.errors import ServiceError
from infra.ports import LOOPBACK, free_port
from infra.programs import last_line
from infra.services import keeper_pid, read_state

SCARP = (sys.executable, "-c", "from console.cli import main; main()")
CLOCK = Path(__file__).parent / "clock.c"
ASK_S = 5.0
LOOK_S = 0.25
# What of the caller's world must not reach the machine's.
_KEPT_OUT = ("SCARP_", "PREFECT_")
Found = TypeVar("Found")


class Machine:
    """One `scarp up` on free ports, whose programs may be given a clock that can be moved."""

    def __init__(self, home: Path, cpu_slots: int = 2, own_clock: bool = False) -> None:
        self.home = home
        self.clock = home / "clock" if own_clock else None
        ports = {name: free_port() for name in ("prefect", "console", "health")}
        self.options = [word for name, port in ports.items() for word in _option(name, port)]
        self.options += ["--cpu-slots", str(cpu_slots), "--no-watch"]
        self.api = f"http://{LOOPBACK}:{ports['prefect']}/api"
        self.health = f"http://{LOOPBACK}:{ports['health']}/healthz"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_KEPT_OUT)}
        # Prefect leaves folders where temporary files go.
        temporary = home / "tmp"
        temporary.mkdir(exist_ok=True)
        temporary.chmod(0o1777)
        self.environment = kept | {"SCARP_HOME": str(home), "TMPDIR": str(temporary)}

    def scarp(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            [*SCARP, *words],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *words: str, **environment: str) -> str:
        """Run a command that must succeed; returns what it printed.

        Raises:
            ServiceError: it did not; says why.
        """
        ran = self.scarp(*words, **environment)
        if ran.returncode:
            said = (ran.stderr or ran.stdout).strip().splitlines() or ["no reason given"]
            reason = said[-1].removeprefix("scarp: ")
            raise ServiceError(f"`scarp {words[0]}` in {self.home} failed: {reason}")
        return ran.stdout

    def up(self) -> None:
        """Start everything and wait until it is ready."""
        clock = _moved_by(self.clock) if self.clock else {}
        self.done("up", "--detach", *self.options, **clock)

    def move_clock(self, by_s: int) -> None:
        """Let the clock of all programs but PostgreSQL jump.

        Raises:
            ServiceError: they have no clock of their own.
        """
        if self.clock is None:
            raise ServiceError("the programs have the machine's clock, which is left alone")
        moved = int.from_bytes(self.clock.read_bytes(), sys.byteorder, signed=True)
        # In place: the programs have mapped the file.
        with self.clock.open("r+b") as file:
            file.write(_seconds(moved + by_s))

    def down(self) -> None:
        """End everything; one that is down already stays so."""
        self.scarp("down")
        self.scarp("db", "stop", "--force")

    def keeper(self) -> psutil.Process:
        """The process of `scarp up`."""
        pid = keeper_pid(self.home / "up")
        if pid is None:
            raise ServiceError(f"nothing is up in {self.home}")
        return psutil.Process(pid)

    def service(self, name: str) -> psutil.Process | None:
        """The process of a program that `scarp up` keeps running; None while it is down."""
        state = read_state(self.home / "up") or {"services": []}
        pids = [one["pid"] for one in state["services"] if one["name"] == name]
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(pids[0]) if pids and pids[0] else None
        return None

    def flow_runs_of(self, pool: str) -> list[psutil.Process]:
        """The processes of flow runs that the worker of a pool has begun."""
        worker = self.service(f"worker-{pool}")
        with suppress(psutil.NoSuchProcess):
            return worker.children(recursive=True) if worker else []
        return []

    def postmaster(self) -> psutil.Process | None:
        """PostgreSQL's first process."""
        pid = postgres.status(self.home).pid
        return psutil.Process(pid) if pid else None

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Ask the store; what is down answers with no row."""
        if not postgres.status(self.home).running:
            return []
        try:
            with psycopg.connect(
                postgres.start(self.home), connect_timeout=10, row_factory=dict_row
            ) as connection:
                return connection.execute(query, values).fetchall()
        except psycopg.Error:
            return []

    def prefect(self, path: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Ask the Prefect server for records; what is down answers with none."""
        with suppress(httpx.HTTPError, ValueError):
            answer = httpx.post(f"{self.api}/{path}/filter", json=asked, timeout=ASK_S)
            if answer.is_success:
                return list(answer.json())
        return []


@contextmanager
def throw_away_machine(
    keep: bool = False, cpu_slots: int = 2, own_clock: bool = False
) -> Iterator[Machine]:
    """A machine that is not up yet; gone after the block with all it stored and started.

    Args:
        keep: leave the folder, with its logs and products, but nothing running.
        cpu_slots: runs at once on the pool cpu.
        own_clock: give the programs a clock that can be moved.
    """
    home = Path(tempfile.mkdtemp(prefix="scarp-drill-"))
    # PostgreSQL, which does not run as root, must reach its folder.
    home.chmod(0o755)
    machine = Machine(home, cpu_slots, own_clock)
    try:
        with interrupted_by_sigterm():
            yield machine
    finally:
        machine.down()
        if not keep:
            # The cluster may lie elsewhere: see `infra/postgres.py`.
            shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)


def wait_for(what: Callable[[], Found], patience_s: float, awaited: str) -> Found:
    """Wait until something is so; returns what it is.

    Raises:
        ServiceError: it is not so in time.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(LOOK_S)
    raise ServiceError(f"{awaited}: not so after {patience_s:.0f} s")


def end(*processes: psutil.Process | None, by: signal.Signals = signal.SIGKILL) -> None:
    """Send processes a signal, those that are there."""
    for process in processes:
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(by)


def event_file(example: Path, event_id: str, folder: Path, **changed: Any) -> Path:
    """The example's event under another id, which makes it another event."""
    told = json.loads((example / "event.json").read_text()) | {"alternate_ids": []} | changed
    path = folder / f"{event_id}.json"
    path.write_text(json.dumps(told | {"id": event_id}))
    return path


def _moved_by(clock: Path) -> dict[str, str]:
    """The environment in which the time of day is off by as many seconds as a file says."""
    library = clock.with_suffix(".so")
    compiler = shutil.which("cc")
    if not compiler:
        raise ServiceError("a clock of one's own is a C library: apt-get install gcc libc6-dev")
    words = (compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(CLOCK))
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode:
        raise ServiceError(f"{CLOCK} cannot be compiled: {last_line(made.stderr)}")
    if not clock.exists():
        clock.write_bytes(_seconds(0))
    return {"LD_PRELOAD": str(library), "SCARP_CLOCK": str(clock)}


def _seconds(count: int) -> bytes:
    return count.to_bytes(8, sys.byteorder, signed=True)


def _option(name: str, port: int) -> tuple[str, str]:
    return f"--{name}-port", str(port)
