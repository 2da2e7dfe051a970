"""PostgreSQL's own programs run against the store: psql, pg_dump and pg_restore."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from infra.errors import DatabaseError, SchemaError
from infra.programs import find_binaries
from infra.schema import ROLES_SQL, known_revisions, parse_url

LOCK_TIMEOUT = "-c lock_timeout=10s"


def command(program: str, url: str) -> tuple[list[str], dict[str, str]]:
    """A client program with the database to use, and the environment to run it in.

    A password in the URL goes into the environment: every user of a machine sees its command lines.
    """
    parsed = parse_url(url).set(drivername="postgresql")
    environment = dict(os.environ)
    if parsed.password:
        environment["PGPASSWORD"] = str(parsed.password)
    path = shutil.which(program) or str(find_binaries() / program)
    return [path, "--dbname", without_password(url)], environment


def without_password(url: str) -> str:
    """The URL as libpq takes it, the password left out."""
    parsed = parse_url(url).set(drivername="postgresql")
    return parsed._replace(password=None).render_as_string(hide_password=False)


def service_entry(url: str) -> str:
    """The URL as an entry of `~/.pg_service.conf`, the password left out.

    Programs that ask for host, port and user each, such as QGIS, take its name, `scarp`, instead.
    """
    known = conninfo_to_dict(without_password(url))
    return "\n".join(["[scarp]", *(f"{key}={value}" for key, value in known.items())])


def dump(url: str, path: Path) -> Path:
    """Write the schema `scarp` with all its rows to one file, whole or not at all.

    Raises:
        DatabaseError: the file cannot be written or the database cannot be read.
    """
    # A file put in the place of a device or a pipe takes that away from everybody.
    if not path.name or path.is_char_device() or path.is_block_device() or path.is_fifo():
        raise DatabaseError(f"cannot dump to {str(path)!r}: name a file, such as scarp.dump")
    target = path.resolve()
    partial = target.with_name(f".{target.name}.partial")
    options = ["--format=custom", "--schema=scarp", "--no-owner", "--no-privileges"]
    words, environment = command("pg_dump", url)
    try:
        try:
            _run([*words, *options, "--file", str(partial)], environment, f"cannot dump to {path}")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DatabaseError(f"cannot dump to {path}: {error.strerror}") from error
    return path


def restore(url: str, path: Path) -> None:
    """Replace the schema `scarp` by a dump's, in one transaction; on failure nothing changes.

    The database must have PostGIS. A dump of an older schema is migrated when it is next opened.

    Raises:
        DatabaseError: the file is not a whole dump, or the database refuses it.
        SchemaError: the dump's schema is newer than this Scarp.
    """
    words, environment = command("psql", url)
    environment["PGOPTIONS"] = f"{environment.get('PGOPTIONS', '')} {LOCK_TIMEOUT}".strip()
    with tempfile.TemporaryDirectory(prefix="scarp-restore-") as folder:
        script = Path(folder) / "restore.sql"
        _to_script(path, script)
        _run(
            [
                *words,
                "--no-psqlrc",
                "--quiet",
                "--single-transaction",
                "--set=ON_ERROR_STOP=1",
                "--command=SET client_min_messages = warning; DROP SCHEMA IF EXISTS scarp CASCADE",
                f"--file={script}",
                f"--file={ROLES_SQL}",
            ],
            environment,
            f"cannot restore {path}, nothing was changed",
        )


def _to_script(path: Path, script: Path) -> None:
    """Unpack a dump as SQL, which reads it to its end, and look at the schema it holds."""
    program = shutil.which("pg_restore") or str(find_binaries() / "pg_restore")
    unpack = [program, "--no-owner", "--no-privileges"]
    problem = f"{path} is not a whole dump made by `scarp db dump`"
    _run([*unpack, "--file", str(script), str(path)], dict(os.environ), problem)
    only_revision = [*unpack, "--data-only", "--table=alembic_version", "--file=-", str(path)]
    lines = _run(only_revision, dict(os.environ), problem).splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("COPY scarp.alembic")]
    if not starts:
        raise DatabaseError(problem)
    revision = lines[starts[0] + 1]
    if revision not in known_revisions():
        raise SchemaError(
            f"{path} has schema {revision}, newer than this Scarp ({known_revisions()[-1]}); "
            "upgrade Scarp: pip install --upgrade scarp"
        )


def _run(words: list[str], environment: dict[str, str], problem: str) -> str:
    done = subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()] or said or ["no reason given"]
        raise DatabaseError(f"{problem}: {errors[0]}")
    return done.stdout
