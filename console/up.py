"""`scarp up`, `scarp status`, `scarp down`: everything on one machine, watched over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.garbage import stay
from console.output import AsJson, print_json, print_line, say, screen, table

if TYPE_CHECKING:
    from infra.orchestration import Ports
    from infra.services import Keeper, Service
    from infra.settings import Settings

LOOK_S = 0.5
DETACHED_S = 600.0
# A server schedules the first look within a minute.
SCHEDULED_S = 180.0
DOWN_S = 90.0


def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    console_port: Annotated[int, typer.Option(min=1, max=65535)] = 8085,
    health_port: Annotated[int, typer.Option(min=1, max=65535)] = 8086,
    cpu_slots: Annotated[int, typer.Option(min=1, help="Runs at once on the pool cpu.")] = 2,
    watch: Annotated[
        bool, typer.Option(help="Look at the feeds of USGS and GDACS by schedule.")
    ] = True,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all is ready; `scarp down` ends it.")
    ] = False,
) -> None:
    """Run the database, a Prefect server, its workers and the console until Ctrl-C.

    With PREFECT_API_URL set, that server is used and none is started. Example: scarp up --detach
    """
    from infra.orchestration import Ports
    from infra.ports import LOOPBACK
    from infra.services import alone
    from infra.settings import Settings

    ports = Ports(prefect_port, console_port, health_port)
    settings = Settings()
    if "console_url" not in settings.model_fields_set:
        here = f"http://{LOOPBACK}:{ports.console}"
        settings = settings.model_copy(update={"console_url": here})
    _require_usable(settings)
    folder = settings.home / "up"
    if detach:
        _detached(folder, [word for word in sys.argv[1:] if word != "--detach"])
        return
    with alone(folder):
        _keep_up(settings, ports, cpu_slots, watch, folder)


def status(as_json: AsJson = False) -> None:
    """Show what `scarp up` keeps running; exits with 1 where something is down.

    Example: scarp status
    """
    from infra.services import keeper_pid, read_state
    from infra.settings import Settings

    folder = Settings().home / "up"
    state = read_state(folder)
    if state is None or keeper_pid(folder) is None:
        if as_json:
            print_json({"up": False, "services": []})
        else:
            say("nothing is up; `scarp up` starts it")
        raise typer.Exit(1)
    if as_json:
        print_json({"up": True, **state})
    else:
        shown = ("name", "pid", "restarts", "address", "log")
        rows = [{name: one[name] for name in shown} for one in state["services"]]
        screen.print(table(f"Up as process {state['pid']}", rows))
    if not all(one["pid"] for one in state["services"]):
        raise typer.Exit(1)


def down() -> None:
    """End what `scarp up` started, and only that. Example: scarp down."""
    from infra.errors import ServiceError
    from infra.services import is_left, keeper_pid
    from infra.settings import Settings

    folder = Settings().home / "up"
    pid = keeper_pid(folder)
    if pid is None:
        say("nothing is up")
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise ServiceError(
            f"process {pid} belongs to another user; run `scarp down` as the one who ran `scarp up`"
        ) from None
    if not is_left(folder, DOWN_S):
        raise ServiceError(f"process {pid} has not ended in {DOWN_S:.0f} s; see {folder}")
    say("down")


def _keep_up(settings: Settings, ports: Ports, cpu_slots: int, watch: bool, folder: Path) -> None:
    from infra import orchestration
    from infra.health import serving_health
    from infra.ports import LOOPBACK, check_ports
    from infra.services import Keeper, myself

    outside = os.environ.get("PREFECT_API_URL")
    api_url = outside or f"http://{LOOPBACK}:{ports.prefect}/api"
    check_ports(_asked(ports, outside))
    if outside:
        orchestration.check_server(api_url)
    keeper = Keeper(folder, myself() | {"api_url": api_url})
    with suppress(KeyboardInterrupt), interrupted_by_sigterm(), ExitStack() as stack:
        began = time.monotonic()
        stack.enter_context(_database(settings))
        stack.callback(keeper.stop)
        _say_ready("postgres", time.monotonic() - began, _where_the_store_is(settings))
        if not outside:
            _start(keeper, orchestration.server(settings, ports.prefect))
        slots = {"cpu": cpu_slots, "gpu": orchestration.gpu_slots()}
        orchestration.deploy(settings, api_url, slots, watch)
        workers = [orchestration.worker(settings, api_url, *slot) for slot in slots.items()]
        told = orchestration.relay(settings, api_url)
        served = orchestration.console(settings, api_url, ports.console)
        _start(keeper, *workers, told, served)
        stack.enter_context(
            serving_health(
                LOOPBACK,
                ports.health,
                partial(_health, keeper, api_url if watch else None, time.monotonic()),
                partial(_metrics, keeper),
            )
        )
        where = f"http://{LOOPBACK}:{ports.health}/healthz"
        _say_ready("health", time.monotonic() - began, where)
        _say_standing(settings)
        say(f"people log in at {settings.console_url} with what `scarp token add NAME` gives them")
        say(f"up in {time.monotonic() - began:.0f} s; `scarp down` ends all of it")
        stay()
        while True:
            for sentence in keeper.look_after():
                say(sentence)
            _look_after_database(settings)
            time.sleep(LOOK_S)
    say("ended all that was started")


def _require_usable(settings: Settings) -> None:
    """Refuse a folder, rules or layers by which everything would fail with nobody there.

    Raises:
        StorageError: SCARP_HOME is not writable, or its disk is full.
        RulesError: a file that SCARP_RULES or SCARP_IMPACT names cannot be used.
    """
    from flows.world import require_room
    from tasks.events.impact_layers import read_layers
    from tasks.events.rules import read_rules

    require_room(settings.home)
    read_rules(settings.rules)
    if settings.impact:
        read_layers(settings.impact)


def _say_standing(settings: Settings) -> None:
    """Say that nothing will be mapped by itself where nobody has said from which imagery."""
    from flows.standing import FILE, standing
    from tasks.errors import BadInputError

    file = settings.home / FILE
    try:
        known = standing(file)
    except BadInputError as error:
        # Whoever names a source with the event, or watches, needs none of it.
        say(str(error))
        return
    if "source" not in known:
        say(
            f"events without a source of their own are not mapped: write source = "
            f"'earth-search', or another, to {file}"
        )


def _start(keeper: Keeper, *together: Service) -> None:
    for service, took in keeper.start(*together):
        _say_ready(service.name, took, service.address)


def _asked(ports: Ports, outside: str | None) -> dict[str, int]:
    asked = {"--console-port": ports.console, "--health-port": ports.health}
    return asked if outside else {"--prefect-port": ports.prefect} | asked


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is Ctrl-C; neither is heard again while things are being ended."""

    def interrupt(_number: int, _frame: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _database(settings: Settings) -> Iterator[None]:
    """The store, started and migrated; stopped in the end if it was not running before."""
    from infra import postgres
    from infra.schema import open_engine

    ran_before = bool(settings.database_url) or postgres.status(settings.home).running
    open_engine(settings).dispose()
    try:
        yield
    finally:
        if not ran_before:
            postgres.stop(settings.home, force=True)


def _look_after_database(settings: Settings) -> None:
    from infra import postgres
    from infra.errors import InfraError

    if settings.database_url or postgres.status(settings.home).running:
        return
    try:
        postgres.start(settings.home)
        say("postgres was started again")
    except InfraError as error:
        say(f"postgres does not start: {error}")


def _where_the_store_is(settings: Settings) -> str:
    from infra import postgres

    if settings.database_url:
        return "as SCARP_DATABASE_URL says"
    return f"127.0.0.1:{postgres.status(settings.home).port}"


def _health(keeper: Keeper, watched_by: str | None, since: float) -> tuple[bool, dict[str, Any]]:
    """Whether all that was started runs and, by a server's address, feeds are looked at."""
    from infra.orchestration import is_watching

    statuses = keeper.statuses()
    services = {one.name: bool(one.pid) for one in statuses}
    watching = is_watching(watched_by) if watched_by else None
    late = watching is False and time.monotonic() - since > SCHEDULED_S
    well = all(services.values()) and not late
    return well, {"well": well, "watching": watching, "services": services}


def _metrics(keeper: Keeper) -> bytes:
    from flows.metrics import exposition

    return exposition(
        lambda: {one.name: (one.pid is not None, one.restarts) for one in keeper.statuses()}
    )


def _say_ready(name: str, took: float, address: str) -> None:
    print_line(f"{name:<12} ready in {took:4.1f} s  {address}")


def _detached(folder: Path, words: list[str]) -> None:
    """Start the same command on its own, and wait until it says that it is up."""
    from infra.errors import ServiceError
    from infra.services import keeper_pid, make_folder

    make_folder(folder)
    log = folder / "up.log"
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-c", "from console.cli import main; main()", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACHED_S
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if started.poll() is not None:
            reasons = said.strip().splitlines() or ["it said nothing"]
            raise ServiceError(reasons[-1].removeprefix("scarp: "))
        if "scarp: up in" in said and keeper_pid(folder):
            typer.echo(said, nl=False)
            return
        time.sleep(0.2)
    raise ServiceError(f"it is not up after {DETACHED_S:.0f} s; see {log}")
