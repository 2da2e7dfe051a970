"""What a drill breaks: each fault is set up before the event, and strikes while it is answered.

none               nothing
flow-killed        kill -9 of the process that maps
worker-killed      kill -9 of the gpu pool's worker
both-killed        kill -9 of the worker with the process that maps
worker-terminated  SIGTERM of the gpu pool's worker
prefect-killed     kill -9 of the Prefect server
postgres-killed    kill -9 of PostgreSQL, the first process of all
all-killed         kill -9 of `scarp up` and of everything it runs, which is then started again
network-refused    the image catalog refuses connections for two minutes
disk-full          no room for intermediate rasters until the first try has failed (root only)
clock-forward      the programs' clocks jump an hour ahead (PostgreSQL's does not)
clock-back         … an hour back
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from console.drills.machine import Machine, end, free_port, wait_for
from infra.errors import ServiceError
from infra.orchestration import LOOPBACK

REFUSED_S = 120.0
HOUR_S = 3600
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Strike:
    """When a fault strikes, what it does then, and the imagery that the event is answered with."""

    source: Path | str
    do: Callable[[], None] = lambda: None
    when: Literal["registered", "mapping"] = "mapping"


Fault = Callable[[Machine, Path], AbstractContextManager[Strike]]


@contextmanager
def _nothing(_machine: Machine, example: Path) -> Iterator[Strike]:
    yield Strike(example, when="registered")


def _killing(kill: Callable[[Machine], None]) -> Fault:
    @contextmanager
    def fault(machine: Machine, example: Path) -> Iterator[Strike]:
        yield Strike(example, partial(kill, machine))

    return fault


def _flow(machine: Machine) -> None:
    end(*machine.flow_runs_of("gpu"))


def _worker(machine: Machine) -> None:
    end(machine.service("worker-gpu"))


def _both(machine: Machine) -> None:
    mapping = machine.flow_runs_of("gpu")
    end(machine.service("worker-gpu"), *mapping)


def _terminated(machine: Machine) -> None:
    end(machine.service("worker-gpu"), by=signal.SIGTERM)


def _prefect(machine: Machine) -> None:
    end(*_family(machine.service("prefect")))


def _postgres(machine: Machine) -> None:
    end(machine.postmaster())


def _up(machine: Machine) -> None:
    _end_and_start_again(machine, [machine.keeper()])


def _all(machine: Machine) -> None:
    everything = [*_family(machine.keeper()), *_family(machine.postmaster())]
    _end_and_start_again(machine, everything)


def _end_and_start_again(machine: Machine, processes: list[psutil.Process]) -> None:
    end(*processes)
    psutil.wait_procs(processes, timeout=PATIENCE_S)
    machine.up()


def _family(process: psutil.Process | None) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)] if process else []


@contextmanager
def _network(_machine: Machine, example: Path) -> Iterator[Strike]:
    """Nobody listens where the catalog should be, until it is served there."""
    port = free_port()
    app = Starlette()
    app.mount("/", StaticFiles(directory=example))
    server = uvicorn.Server(uvicorn.Config(app, LOOPBACK, port, log_level="critical"))
    serving = threading.Thread(target=server.run, daemon=True)

    def refuse_then_serve() -> None:
        time.sleep(REFUSED_S)
        serving.start()

    yield Strike(f"http://{LOOPBACK}:{port}/catalog.json", refuse_then_serve, "registered")
    server.should_exit = True
    if serving.ident:
        serving.join()


@contextmanager
def _disk(machine: Machine, example: Path) -> Iterator[Strike]:
    """A file system of a few pages where intermediate rasters go; it is made larger later."""
    if os.geteuid() != 0:
        raise ServiceError("disk-full mounts a small file system, which root alone may do")
    place = machine.home / "work"
    place.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))

    def failed() -> bool:
        return bool(machine.rows("SELECT FROM scarp.response_turn WHERE failures > 0"))

    def until_it_failed() -> None:
        wait_for(failed, PATIENCE_S, "a try fails for want of room")
        _run("mount", "-o", "remount,size=1g", str(place))

    try:
        yield Strike(example, until_it_failed)
    finally:
        _run("umount", "--lazy", str(place))


def _jumping(by_s: int) -> Fault:
    @contextmanager
    def fault(machine: Machine, example: Path) -> Iterator[Strike]:
        yield Strike(example, partial(machine.move_clock, by_s))

    return fault


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"{' '.join(words)}: {done.stderr.strip()}")


FAULTS: dict[str, Fault] = {
    "none": _nothing,
    "flow-killed": _killing(_flow),
    "worker-killed": _killing(_worker),
    "both-killed": _killing(_both),
    "worker-terminated": _killing(_terminated),
    "prefect-killed": _killing(_prefect),
    "postgres-killed": _killing(_postgres),
    "up-killed": _killing(_up),
    "all-killed": _killing(_all),
    "network-refused": _network,
    "disk-full": _disk,
    "clock-forward": _jumping(HOUR_S),
    "clock-back": _jumping(-HOUR_S),
}


def needs_clock(names: Iterable[str]) -> bool:
    """Whether any of these faults moves the clock."""
    return any(name.startswith("clock-") for name in names)
