"""What a drill breaks: each fault is set up before the event, and strikes while it is answered.

none               nothing
flow-killed        kill -9 of the process that maps
worker-killed      kill -9 of the gpu pool's worker
both-killed        kill -9 of the worker with the process that maps
worker-terminated  SIGTERM of the gpu pool's worker
prefect-killed     kill -9 of the Prefect server
postgres-killed    kill -9 of PostgreSQL, the first process of all
all-killed         kill -9 of `scarp up` and of everything it runs, which is then started again
cancelled          an operator cancels the response while imagery is read, and asks for it again
network-refused    the image catalog refuses connections for two minutes
disk-full          no room for intermediate rasters until the first try has failed (root only)
clock-forward      the programs' clocks jump an hour ahead (PostgreSQL's does not)
clock-back         … an hour back
"""

from __future__ import annotations

import asyncio
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
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from console.drills.machine import Machine, end, wait_for
from infra.errors import ServiceError
from infra.ports import LOOPBACK, free_port

REFUSED_S = 120.0
CANCELLED_S = 10.0
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
def _cancelled(machine: Machine, example: Path) -> Iterator[Strike]:
    """Imagery is read for as long as it takes to cancel: it is held back once rasters are begun."""
    event_id = "drill-cancelled"
    let_go = threading.Event()

    def cancel_then_replay() -> None:
        runs = [*machine.flow_runs_of("cpu"), *machine.flow_runs_of("gpu")]
        machine.done("runs", "cancel", event_id)
        _, running = psutil.wait_procs(runs, timeout=CANCELLED_S)
        let_go.set()
        if running or not runs:
            raise ServiceError(
                f"{len(running)} of {len(runs)} runs go on after {CANCELLED_S:.0f} s"
            )
        if machine.rows("SELECT FROM scarp.inventory WHERE event_id = %(id)s", id=event_id):
            raise ServiceError(f"the cancelled response to {event_id} left an inventory")
        machine.done("runs", "replay", event_id)

    def held() -> bool:
        return not let_go.is_set() and any((machine.home / "work" / event_id).rglob("*.tif"))

    with _catalog(example, held) as (serving, url):
        serving.start()
        yield Strike(url, cancel_then_replay)
        let_go.set()


@contextmanager
def _network(_machine: Machine, example: Path) -> Iterator[Strike]:
    """Nobody listens where the catalog should be, until it is served there."""
    with _catalog(example) as (serving, url):

        def refuse_then_serve() -> None:
            time.sleep(REFUSED_S)
            serving.start()

        yield Strike(url, refuse_then_serve, "registered")


@contextmanager
def _catalog(
    example: Path, held: Callable[[], bool] = lambda: False
) -> Iterator[tuple[threading.Thread, str]]:
    """A thread that will serve the example's catalog, to nobody while it is held, and where."""
    files, port = StaticFiles(directory=example), free_port()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while held():
            await asyncio.sleep(0.1)
        await files(scope, receive, send)

    config = uvicorn.Config(app, LOOPBACK, port, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run, daemon=True)
    yield serving, f"http://{LOOPBACK}:{port}/catalog.json"
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
    "cancelled": _cancelled,
    "network-refused": _network,
    "disk-full": _disk,
    "clock-forward": _jumping(HOUR_S),
    "clock-back": _jumping(-HOUR_S),
}


def needs_clock(names: Iterable[str]) -> bool:
    """Whether any of these faults moves the clock."""
    return any(name.startswith("clock-") for name in names)
