"""What `scarp up` runs: a Prefect server on the store's PostgreSQL, its pools and a worker of each.

Everything Prefect needs to know goes by environment, so that the same programs run by hand, in a
container or on another machine do the same: see `prefect_environment`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from infra import logs, services
from infra.errors import DatabaseError, ServiceError
from infra.pools import read_pools
from infra.ports import LOOPBACK
from infra.programs import last_line
from infra.schema import database_url, parse_url
from infra.services import Service
from infra.settings import Settings

DEPLOYMENTS = Path(__file__).with_name("prefect.yaml")
# A run whose process died is found by its silence: see `infra/automations.py`.
HEARTBEAT_S = 30
WORKER_LOOKS_S = 1
ASK_S = 5.0
# A run outlives a restart of the server, or of its database: it asks again for four minutes.
PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "7", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500"}


@dataclass(frozen=True)
class Ports:
    """Loopback ports of what people and programs reach."""

    prefect: int = 4200
    console: int = 8085
    health: int = 8086


def prefect_environment(settings: Settings, api_url: str) -> dict[str, str]:
    """What tells a program where the Prefect server is, and how runs behave under it."""
    # Programs work in folders of their own, where a relative path would lead elsewhere.
    named = {"SCARP_RULES": settings.rules, "SCARP_IMPACT": settings.impact}
    return {name: str(path) for name, path in named.items() if path} | {
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PREFECT_WORKER_QUERY_SECONDS": str(WORKER_LOOKS_S),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_TO_API_ENABLED": "true",
        # A line that is about no run stays in the log file.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_SETTINGS_PATH": str(logs.SETTINGS),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "SCARP_HOME": str(settings.home),
        "SCARP_CONSOLE_URL": settings.console_url,
    }


def server(settings: Settings, port: int, host: str = LOOPBACK) -> Service:
    """The Prefect server, with a database of its own beside the store's."""
    api_url = f"http://{LOOPBACK}:{port}/api"
    environment = prefect_environment(settings, api_url)
    # A server that is told of a server asks that one instead of its database.
    del environment["PREFECT_API_URL"], environment["PREFECT_LOGGING_SETTINGS_PATH"]
    return Service(
        "prefect",
        _prefect("server", "start", "--host", host, "--port", str(port)),
        environment
        | {
            "PREFECT_API_DATABASE_CONNECTION_URL": prefect_database(settings),
            # Pages ask the host they came from, whatever it is called from outside.
            "PREFECT_SERVER_UI_API_URL": "/api",
            # Where Prefect is installed may not be ours to write to.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.home / "prefect" / "ui"),
        },
        lambda: _answers(f"{api_url}/health"),
        f"http://{LOOPBACK}:{port}",
    )


def worker(settings: Settings, api_url: str, pool: str, slots: int) -> Service:
    """The worker of a pool, which runs each flow run as a process of its own.

    How many at once is left to the pool: a worker with a limit of its own ends with an error when
    the server offers it a run again that it still counts, as one that was thought to be lost.
    """
    name = f"worker-{pool}"
    return Service(
        name,
        (sys.executable, "-m", "infra.worker", "start", "--pool", pool, "--name", name),
        prefect_environment(settings, api_url) | PATIENT,
        lambda: _is_online(api_url, pool, name),
        f"pool {pool}, {slots} at once",
    )


def console(settings: Settings, api_url: str, port: int, host: str = LOOPBACK) -> Service:
    """`scarp serve`."""
    command = (sys.executable, "-c", "from console.cli import main; main()", "serve")
    return Service(
        "console",
        (*command, "--host", host, "--port", str(port)),
        prefect_environment(settings, api_url),
        lambda: _answers(f"http://{LOOPBACK}:{port}/login"),
        f"http://{LOOPBACK}:{port}",
    )


def relay(settings: Settings, api_url: str) -> Service:
    """What tells the server of news in the store: `flows/relay.py`."""
    command = (sys.executable, "-m", "flows.relay")
    environment = prefect_environment(settings, api_url)
    return Service("relay", command, environment, lambda: True, "news from the store")


def deploy(
    settings: Settings,
    api_url: str,
    slots: Mapping[str, int],
    watching: bool,
    pools: Path | None = None,
) -> None:
    """Apply pools, deployments (`prefect.yaml`) and automations; again, it changes nothing.

    Args:
        settings: whose SCARP_HOME.
        api_url: the server.
        slots: runs at once, by pool.
        watching: whether feeds are looked at by schedule.
        pools: file of the pools' base job templates, see `infra.pools`; None means that workers run
            flow runs as processes of their own machine.

    Raises:
        PoolError: `pools` cannot be used.
        ServiceError: the server refuses them; says what.
    """
    if pools:
        read_pools(pools, slots)
    environment = {**os.environ, **prefect_environment(settings, api_url)}
    limits = [f"{pool}={limit}" for pool, limit in slots.items()]
    settings.home.mkdir(parents=True, exist_ok=True)
    for command in (
        (
            sys.executable,
            "-m",
            "infra.automations",
            *([str(pools.absolute())] if pools else []),
            *limits,
        ),
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(DEPLOYMENTS)),
    ):
        done = subprocess.run(
            command,
            env=environment,
            cwd=settings.home,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            said = last_line(done.stderr or done.stdout)
            raise ServiceError(f"the deployments cannot be applied: {said}")
    _watch(api_url, watching)


def _watch(api_url: str, watching: bool) -> None:
    """Let the schedules of `watch` run, or rest."""
    change = "resume_deployment" if watching else "pause_deployment"
    try:
        found = httpx.get(f"{api_url}/deployments/name/watch/watch", timeout=ASK_S)
        deployment = found.raise_for_status().json()["id"]
        done = httpx.post(f"{api_url}/deployments/{deployment}/{change}", timeout=ASK_S)
        done.raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceError(f"the deployment watch cannot be scheduled: {error}") from error


def is_watching(api_url: str) -> bool:
    """Whether a look at a feed is scheduled or under way, so that feeds are in fact looked at."""
    asked = {
        "deployments": {"name": {"any_": ["watch"]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}},
        "limit": 1,
    }
    try:
        found = httpx.post(f"{api_url}/flow_runs/filter", json=asked, timeout=ASK_S)
        return bool(found.raise_for_status().json())
    except httpx.HTTPError:
        return False


def api_url_of(settings: Settings) -> str | None:
    """The Prefect server to talk to: the one the environment names, else that of `scarp up`."""
    if named := os.environ.get("PREFECT_API_URL"):
        return named
    folder = settings.home / "up"
    state = services.read_state(folder)
    return str(state["api_url"]) if state and services.keeper_pid(folder) else None


def check_server(api_url: str) -> None:
    """See that a Prefect server answers, and is of the version that is installed here.

    Raises:
        ServiceError: it does not, or is not.
    """
    import prefect

    try:
        said = httpx.get(f"{api_url}/admin/version", timeout=ASK_S).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServiceError(
            f"the Prefect server {api_url} does not answer ({error}); start it, or unset "
            "PREFECT_API_URL and let `scarp up` run one"
        ) from error
    if said != prefect.__version__:
        raise ServiceError(
            f"the Prefect server {api_url} is version {said} and Prefect {prefect.__version__} is "
            "installed here; install the same on both"
        )


def prefect_database(settings: Settings) -> str:
    """URL of the Prefect server's database, created where it is missing.

    Raises:
        DatabaseError: this user may not create it; says what to run.
    """
    url = parse_url(database_url(settings))
    name = f"{url.database}_prefect"
    shown = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with (
            psycopg.connect(shown, autocommit=True) as connection,
            suppress(psycopg.errors.DuplicateDatabase),
        ):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise DatabaseError(
            f"the Prefect server needs the database {name} ({last_line(str(error))}); have the "
            f"administrator run: CREATE DATABASE {name}"
        ) from error
    here = url.set(drivername="postgresql+asyncpg", database=name)
    return here.render_as_string(hide_password=False)


def gpu_slots() -> int:
    """Runs at once on the `gpu` pool: one for each device, and one where there is none."""
    if not shutil.which("nvidia-smi"):
        return 1
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return max(1, len([line for line in listed.stdout.splitlines() if line.startswith("GPU ")]))


def workers_online(api_url: str, pool: str) -> list[str]:
    """Names of the workers of a pool that were heard of lately.

    Raises:
        httpx.HTTPError: the server does not say.
    """
    asked = httpx.post(f"{api_url}/work_pools/{pool}/workers/filter", json={}, timeout=ASK_S)
    return [one["name"] for one in asked.raise_for_status().json() if one["status"] == "ONLINE"]


def _is_online(api_url: str, pool: str, name: str) -> bool:
    try:
        return name in workers_online(api_url, pool)
    except httpx.HTTPError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=ASK_S).is_success
    except httpx.HTTPError:
        return False


def _prefect(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "prefect", *words)
