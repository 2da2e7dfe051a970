"""The private PostGIS cluster of one SCARP_HOME: created once, started when needed, shared.

    <home>/postgres/          owned by the user the server runs as, mode 0700
    ├── data/                 the cluster (PGDATA), with the unix socket in it
    ├── pgpass                password of `scarp_owner`, 0600, named by the URL as `passfile`
    ├── port                  the loopback port, kept from start to start while it is free
    └── server.log

PostgreSQL refuses to run as root. Run by root, the server becomes Debian's `postgres` user (else
`nobody`), and where that user cannot reach <home>, as in /root, `<home>/postgres` is a link to a
folder of its own in /var/lib/scarp. The link decides from then on, so the data never moves.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from filelock import FileLock, Timeout
from psycopg.pq import PGconn, Ping

from infra.errors import ClusterError, DatabaseError
from infra.ports import free_port
from infra.programs import DEADLINE_S, Owner, find_binaries, last_line, run

# Not `scarp`: a role named like the schema finds its tables without the prefix, and reflection
# then takes them for another schema's.
ROLE = "scarp_owner"
OUTSIDE = Path("/var/lib/scarp")
LOG_LIMIT_BYTES = 10_000_000
NOBODYS_PID = 2**31 - 1

# A socket named relative to the data folder fits the 107 bytes a socket's path may have, however
# deep <home> lies. JIT costs more than it gives on short PostGIS queries.
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": ".",
    "max_connections": "200",
    "timezone": "UTC",
    "jit": "off",
}


@dataclass(frozen=True)
class ClusterStatus:
    """What `scarp db status` says of a private cluster; port and pid are None while it is down."""

    folder: Path
    created: bool
    running: bool
    port: int | None
    pid: int | None


@dataclass(frozen=True)
class _Server:
    """A living postmaster, as its postmaster.pid tells it."""

    pid: int
    port: int
    ready: bool


def start(home: Path) -> str:
    """Start the private cluster of `home` unless it runs, creating it the first time.

    Safe to call from any number of processes: a running server is found without a lock, and one
    process at a time creates or starts it.

    Returns:
        URL of its database; it names a password file and holds no password.

    Raises:
        PostgresMissingError: PostgreSQL or PostGIS is not installed.
        ClusterError: the folder cannot be written, or the server does not start.
    """
    folder = home / "postgres"
    server = _living_server(folder)
    if server is None or not server.ready:
        with _locked(home):
            server = _start_locked(home, folder)
    return _url(folder, server.port)


def stop(home: Path, *, force: bool = False) -> bool:
    """Stop the private cluster of `home`; False if it was not running.

    Args:
        home: the folder Scarp works in.
        force: stop even while other programs are connected; their transactions roll back.

    Raises:
        ClusterError: others are connected and `force` is not set, or the server does not stop.
    """
    folder = home / "postgres"
    if _living_server(folder) is None:
        return False
    with _locked(home):
        return _stop_locked(folder, force=force)


def status(home: Path) -> ClusterStatus:
    """Say where the private cluster of `home` lies and whether it runs; starts nothing."""
    folder = home / "postgres"
    server = _living_server(folder)
    return ClusterStatus(
        folder=folder.resolve(),
        created=(folder / "data" / "PG_VERSION").exists(),
        running=server is not None and server.ready,
        port=server.port if server else None,
        pid=server.pid if server else None,
    )


def _start_locked(home: Path, folder: Path) -> _Server:
    if not (folder / "data" / "PG_VERSION").exists():
        _create(home, folder)
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(folder / "server.log.1")
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        server = _living_server(folder)
        if server is None:
            _launch(folder, log)
        elif server.ready:
            return server
        time.sleep(0.1)
    raise ClusterError(f"the database server is not ready after {DEADLINE_S:.0f} s; see {log}")


def _stop_locked(folder: Path, *, force: bool) -> bool:
    server = _living_server(folder)
    if server is None:
        return False
    if not force and (others := _clients(_url(folder, server.port))):
        raise ClusterError(
            f"{len(others)} connections use the database ({', '.join(sorted(set(others)))}); "
            "end them first, or pass --force to stop it under them"
        )
    stopped = _pg_ctl(folder, "stop", "-m", "fast", "-t", "60")
    if stopped.returncode != 0:
        raise ClusterError(f"the database server did not stop: {last_line(stopped.stderr)}")
    return True


def _create(home: Path, folder: Path) -> None:
    """Initialise the cluster beside its final name, so that a crash leaves none."""
    binaries = find_binaries()
    try:
        place = _settle(home, folder)
        owner = _server_user(place)
        password = secrets.token_urlsafe(32)
        write_private(place / "pgpass", f"*:*:*:{ROLE}:{password}\n", None)
        write_private(place / "initial-password", password, owner)
        new = place / "data.new"
        shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise ClusterError(_cannot_write(home, error)) from error
    options = [f"--username={ROLE}", "--pwfile=initial-password", "--auth=scram-sha-256"]
    options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    _checked(place, [str(binaries / "initdb"), "-D", "data.new", *options])
    single = [str(binaries / "postgres"), "--single", "-j", "-D", str(new), "postgres"]
    _checked(place, single, "CREATE DATABASE scarp\n")
    (place / "initial-password").unlink()
    new.rename(place / "data")


def _settle(home: Path, folder: Path) -> Path:
    """Make the cluster's folder where the server's user can reach it, and hand it over."""
    home.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 and not os.path.lexists(folder) and not _reachable(home):
        OUTSIDE.mkdir(mode=0o755, parents=True, exist_ok=True)
        _stop_abandoned(home)
        outside = Path(tempfile.mkdtemp(prefix=f"{home.name.strip('.')}-", dir=OUTSIDE))
        (outside / "home").write_text(str(home))
        folder.symlink_to(outside)
    place = folder.resolve()
    place.mkdir(mode=0o700, exist_ok=True)
    owner = _server_user(place)
    if owner:
        os.chown(place, owner.uid, owner.gid)
    return place


def _stop_abandoned(home: Path) -> None:
    """Stop the server of a home that was removed, link and all; its data stays where it is."""
    for record in OUTSIDE.glob("*/home"):
        if record.read_text() == str(home):
            # One that is still in use has moved with its home.
            with suppress(ClusterError):
                _stop_locked(record.parent, force=False)


def _server_user(place: Path) -> Owner | None:
    """Whom to run the server as: None for ourselves; never root."""
    if os.geteuid() != 0:
        return None
    if place.exists() and place.stat().st_uid != 0:
        return Owner(place.stat().st_uid, place.stat().st_gid)
    users = {entry.pw_name: Owner(entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def _reachable(home: Path) -> bool:
    user = _server_user(home / "postgres")
    return run(["test", "-x", str(home)], Path("/"), user).returncode == 0


def _launch(folder: Path, log: Path) -> None:
    """Try once to start the server; returns without one where another try may succeed."""
    _disown_leftovers(folder)
    seen = log.stat().st_size if log.exists() else 0
    settings = [
        word for name, value in SERVER_SETTINGS.items() for word in ("-c", f"{name}={value}")
    ]
    data = str((folder / "data").resolve())
    command = shlex.join(["-D", data, "-p", str(_choose_port(folder)), *settings])
    tried = _pg_ctl(folder, "start", "-t", "60", "-l", "../server.log", "-o", command)
    if tried.returncode == 0 or _living_server(folder):
        return
    logged = log.read_bytes()[seen:].decode(errors="replace") if log.exists() else ""
    said = logged or tried.stderr
    if "could not bind" in said or "could not create any TCP/IP sockets" in said:
        (folder / "port").unlink(missing_ok=True)
    # After a kill -9 the old server's children may hold its memory for some seconds yet.
    elif "is still in use" not in said:
        raise ClusterError(f"the database server does not start: {last_line(said)}; see {log}")


def _living_server(folder: Path) -> _Server | None:
    """The postmaster that postmaster.pid names, if that process is one, of this very folder."""
    data = (folder / "data").resolve()
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None
    except PermissionError as error:
        raise ClusterError(
            f"this user may not read the database in {folder}; run as the one it belongs to, "
            "or set SCARP_HOME to a folder of your own"
        ) from error
    if not _is_postmaster(pid, port, data):
        return None
    return _Server(pid, port, ready=_answers(port))


def _is_postmaster(pid: int, port: int, data: Path) -> bool:
    """Whether a process serves `data`: after a reboot or a restart its pid may be anyone's."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return not Path("/proc/self").exists() and _answers(port)
    return os.fsencode(data) in words


def _answers(port: int) -> bool:
    """Whether a server takes connections; unlike its pid file it cannot be out of date."""
    return PGconn.ping(f"host=127.0.0.1 port={port} connect_timeout=2".encode()) == Ping.OK


def _disown_leftovers(folder: Path) -> None:
    """Let PostgreSQL see that the server which left its lock files here is gone.

    It takes any process of its user that has the pid for that server: another program after a
    reboot, or, in a container whose first process reaps no orphans, the killed server itself, dead
    but not buried. The pid is replaced and not the file removed, for PostgreSQL reads in the file
    which shared memory must be free before it starts.
    """
    data = folder / "data"
    for socket_file in data.glob(".s.PGSQL.*"):
        socket_file.unlink()
    pid_file = data / "postmaster.pid"
    if pid_file.exists():
        _, *others = pid_file.read_text().split("\n")
        pid_file.write_text("\n".join([str(NOBODYS_PID), *others]))


def _choose_port(folder: Path) -> int:
    """The port of the last start if it is free, else any free one, kept for the next start."""
    kept = folder / "port"
    said = kept.read_text().strip() if kept.exists() else ""
    port = int(said) if said.isdigit() else free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            port = free_port()
    write_private(kept, str(port), None)
    return port


def _clients(url: str) -> list[str]:
    """Names of the programs connected, ourselves left out."""
    query = (
        "SELECT coalesce(nullif(application_name, ''), 'unnamed') FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            return [name for (name,) in connection.execute(query)]
    except psycopg.OperationalError as error:
        said = last_line(str(error))
        raise DatabaseError(f"the private database does not answer: {said}") from None


def _url(folder: Path, port: int) -> str:
    passfile = quote(str(folder.resolve() / "pgpass"), safe="/")
    return f"postgresql://{ROLE}@127.0.0.1:{port}/scarp?passfile={passfile}"


def _pg_ctl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    data = (folder / "data").resolve()
    binaries = find_binaries((data / "PG_VERSION").read_text().strip())
    command = [str(binaries / "pg_ctl"), *words, "-w", "-s"]
    return run(command, data, _server_user(folder), PGDATA=str(data))


def _checked(place: Path, command: list[str], text: str = "") -> None:
    done = run(command, place, _server_user(place), text)
    if done.returncode != 0:
        tool = Path(command[0]).name
        raise ClusterError(
            f"{tool} failed in {place}: {last_line(done.stderr)}; "
            "mend that, or set SCARP_HOME to another folder"
        )


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One process at a time creates, starts or stops the cluster of `home`."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "postgres.lock", timeout=DEADLINE_S):
            yield
    except Timeout:
        raise ClusterError(
            f"another Scarp process has been starting the database in {home} for "
            f"{DEADLINE_S:.0f} s; end it and try again"
        ) from None
    except OSError as error:
        raise ClusterError(_cannot_write(home, error)) from error


def _cannot_write(home: Path, error: OSError) -> str:
    why = error.strerror or error
    return f"cannot keep a database in {home} ({why}); set SCARP_HOME to a folder you can write"


def write_private(path: Path, text: str, owner: Owner | None) -> None:
    """Put a file that its owner alone can read, whole, in place of the one there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if owner:
        os.chown(aside, owner.uid, owner.gid)
    aside.replace(path)
