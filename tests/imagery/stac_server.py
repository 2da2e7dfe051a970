"""A true STAC API, stac-fastapi-pgstac, over a database of its own in a PostGIS server of ours."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

DATABASE = "stac"
STARTED_S = 120.0
_LOAD = """
import json, sys
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods
from pypgstac.migrate import Migrate

database = PgstacDB(dsn="")
if sys.argv[1] == "migrate":
    Migrate(database).run_migration()
else:
    loader = getattr(Loader(database), f"load_{sys.argv[1]}")
    loader(map(json.loads, sys.stdin), insert_mode=Methods.upsert)
"""


@dataclass(frozen=True)
class StacServer:
    """Where the API answers, and how its database is reached."""

    url: str
    environment: dict[str, str]

    def load(self, kind: str, records: Iterable[str]) -> None:
        """Store `collections` or `items`, each as JSON; those that are there are replaced."""
        _pypgstac(self.environment, kind, "\n".join(records))


@contextmanager
def stac_server(postgres_url: str) -> Iterator[StacServer]:
    """Serve an empty STAC API while the block runs.

    Args:
        postgres_url: of a database of the server, as a user who may create others.
    """
    place = conninfo_to_dict(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    with psycopg.connect(make_conninfo(postgres_url, dbname=DATABASE)) as connection:
        connection.execute("CREATE EXTENSION postgis")
    environment = os.environ | {
        "PGHOST": str(place["host"]),
        "PGPORT": str(place["port"]),
        "PGUSER": str(place["user"]),
        "PGDATABASE": DATABASE,
        "PGPASSWORD": _password(Path(str(place["passfile"]))),
    }
    _pypgstac(environment, "migrate")
    with _listening() as (listener, url):
        command = [sys.executable, "-m", "uvicorn", "--factory", "--fd", str(listener.fileno())]
        app = "stac_fastapi.pgstac.app:create_app"
        process = subprocess.Popen(
            [*command, "--log-level", "error", app],
            env=environment,
            pass_fds=[listener.fileno()],
        )
        try:
            _wait_for(url, process)
            yield StacServer(url, environment)
        finally:
            process.terminate()
            process.wait()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def _pypgstac(environment: dict[str, str], what: str, given: str = "") -> None:
    # In a process of its own: its libraries warn, and our warnings are errors.
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOAD, what],
        env=environment,
        input=given,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _password(passfile: Path) -> str:
    return passfile.read_text().strip().splitlines()[0].rsplit(":", 1)[1]


@contextmanager
def _listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    since = time.monotonic()
    while process.poll() is None and time.monotonic() - since < STARTED_S:
        try:
            # The socket accepts before the server does; it answers once it is ready.
            httpx.get(f"{url}/_mgmt/ping", timeout=STARTED_S).raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the STAC API at {url} did not start (exit code {process.poll()})")
