"""Programs kept running: each started when the one before is ready, and again when it dies.

    <home>/up/
    ├── lock          held by the process that keeps them, freed by the kernel when it dies
    ├── state.json    its pid, and each program's, for `scarp status` and for who comes after it
    └── <name>.log    what a program says; cut, with one older piece kept, at `LOG_LIMIT_BYTES`

A program that dies is started again after a second, then two, four, … up to a minute; one that ran
for a minute starts over at a second. What a killed keeper left running is ended by the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from infra.errors import ServiceError
from infra.programs import last_line

READY_S = 300.0
STOP_S = 15.0
LONGEST_WAIT_S = 60.0
STEADY_S = 60.0
LOG_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True)
class Service:
    """A program to keep running; `ready` says whether it does its work."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    address: str = ""


@dataclass(frozen=True)
class ServiceStatus:
    """How a program fares; pid is None while it is down."""

    name: str
    pid: int | None
    created: float | None
    restarts: int
    address: str
    log: str


@dataclass
class _Kept:
    """A program with the process that runs it."""

    service: Service
    log: Path
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    failures: int = 0
    started: float = 0.0
    due: float = 0.0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.service.command,
                env={**os.environ, **self.service.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the keeper, which ends them in their order.
                start_new_session=True,
            )
        self.started = time.monotonic()

    def check(self) -> None:
        """Raise if it ended, or takes too long to be ready."""
        ended = self.process is not None and self.process.poll() is not None
        if ended or time.monotonic() - self.started > READY_S:
            what = "ended" if ended else f"is not ready after {READY_S:.0f} s"
            said = _message(last_line(self.log.read_text(errors="replace")[-4000:]))
            raise ServiceError(f"{self.service.name} {what}: {said}; see {self.log}")

    @property
    def status(self) -> ServiceStatus:
        pid = self.process.pid if self.process and self.process.poll() is None else None
        created = _created(pid) if pid else None
        named = self.service
        return ServiceStatus(named.name, pid, created, self.restarts, named.address, str(self.log))


@dataclass
class Keeper:
    """Keeps programs running in `folder`, which it must have for itself: see `alone`."""

    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    _kept: list[_Kept] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._record()

    def start(self, *together: Service) -> Iterator[tuple[Service, float]]:
        """Start programs at once; yields each, when it is ready, with the seconds it took.

        Raises:
            ServiceError: one ended, or was not ready in time; says what it said last.
        """
        waiting = [_Kept(service, self.folder / f"{service.name}.log") for service in together]
        for kept in waiting:
            self._kept.append(kept)
            kept.start()
        self._record()
        while waiting:
            for kept in [kept for kept in waiting if kept.service.ready()]:
                waiting.remove(kept)
                yield kept.service, time.monotonic() - kept.started
            for kept in waiting:
                kept.check()
            time.sleep(0.1)

    def look_after(self) -> list[str]:
        """Start again what died, if it is time; returns what happened, a sentence each."""
        happened = []
        now = time.monotonic()
        for kept in self._kept:
            _cut(kept.log)
            if kept.process is not None and (code := kept.process.poll()) is not None:
                if now - kept.started > STEADY_S:
                    kept.failures = 0
                wait = min(2.0**kept.failures, LONGEST_WAIT_S)
                kept.failures, kept.due, kept.process = kept.failures + 1, now + wait, None
                how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
                happened.append(f"{kept.service.name} {how}; starting it again in {wait:.0f} s")
            elif kept.process is None and now >= kept.due:
                kept.start()
                kept.restarts += 1
                happened.append(f"{kept.service.name} was started again")
        if happened:
            self._record()
        return happened

    def statuses(self) -> list[ServiceStatus]:
        """How each program fares, in the order they were started."""
        return [kept.status for kept in self._kept]

    def stop(self) -> None:
        """End all programs, the last started first, with whatever they started themselves."""
        for kept in reversed(self._kept):
            if kept.process is not None:
                _end(kept.process.pid)
                kept.process.wait()
        self._kept.clear()
        (self.folder / "state.json").unlink(missing_ok=True)

    def _record(self) -> None:
        state = {**self.about, "services": [asdict(status) for status in self.statuses()]}
        aside = self.folder / ".state.json"
        aside.write_text(json.dumps(state, indent=1))
        aside.replace(self.folder / "state.json")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a folder for oneself while the block runs, once leftovers of a killed keeper are ended.

    Raises:
        ServiceError: another process has it, says which; or it cannot be written.
    """
    make_folder(folder)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        state = read_state(folder) or {}
        raise ServiceError(
            f"Scarp is up already in {folder.parent} (process {state.get('pid', 'unknown')}); "
            "`scarp status` shows it, `scarp down` ends it"
        ) from None
    except OSError as error:
        raise ServiceError(_cannot_write(folder, error.strerror or error)) from error
    try:
        for left in (read_state(folder) or {}).get("services", []):
            if left["pid"] and _created(left["pid"]) == left["created"]:
                _end(left["pid"])
        yield
    finally:
        lock.release()


def is_left(folder: Path, wait_s: float) -> bool:
    """Whether the process that has a folder, and all it kept, ends in time; see `alone`."""
    with suppress(Timeout), FileLock(folder / "lock").acquire(timeout=wait_s):
        return True
    return False


def make_folder(folder: Path) -> None:
    """Make the folder in which programs are kept.

    Raises:
        ServiceError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(_cannot_write(folder, error.strerror or error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ServiceError(_cannot_write(folder, "it is not writable"))


def _cannot_write(folder: Path, why: object) -> str:
    return f"cannot keep programs in {folder} ({why}); set SCARP_HOME to a folder you can write"


def read_state(folder: Path) -> dict[str, Any] | None:
    """What the keeper of a folder last wrote of itself; None if there is none, or it is damaged."""
    try:
        state = json.loads((folder / "state.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    known = isinstance(state, dict) and {"pid", "created", "services"} <= state.keys()
    return state if known else None


def keeper_pid(folder: Path) -> int | None:
    """The process that keeps programs in a folder now; None if nobody does."""
    state = read_state(folder)
    if state is None or _created(state["pid"]) != state["created"]:
        return None
    return int(state["pid"])


def myself() -> dict[str, Any]:
    """What tells this process from any other that has its pid later."""
    return {"pid": os.getpid(), "created": _created(os.getpid())}


def _message(line: str) -> str:
    """The sentence of a line, which may be one of JSON."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line


def _created(pid: int) -> float | None:
    """Seconds from boot to the start of a process: no change of the machine's clock changes it."""
    try:
        return round(float(psutil.Process(pid).create_time() - psutil.boot_time()), 2)
    except psutil.NoSuchProcess:
        return None


def _end(pid: int) -> None:
    """End a process and all it started: asked first, then killed."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGTERM)
        _, stubborn = psutil.wait_procs(family, timeout=STOP_S)
        for one in stubborn:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(stubborn, timeout=STOP_S)


def _cut(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        # Its writer appends, and goes on at the new end.
        os.truncate(log, 0)
