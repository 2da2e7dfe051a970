"""PostgreSQL's programs on this machine: found, and run as the user the server runs as."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from infra.errors import ClusterError, PostgresMissingError

SEARCHED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
MISSING = (
    "Scarp needs PostgreSQL 13 or newer with PostGIS 3; on Debian or Ubuntu: "
    "apt-get install postgresql postgresql-postgis; or name a server in SCARP_DATABASE_URL"
)
DEADLINE_S = 120.0
# What errors of Prefect's and our own commands are framed with.
_FRAME = " \t│╭╮╰╯─"


class Owner(NamedTuple):
    """A user by number; he need not have a name on this machine."""

    uid: int
    gid: int


def find_binaries(major: str | None = None) -> Path:
    """Folder of the newest PostgreSQL that has PostGIS, or of version `major`.

    Raises:
        PostgresMissingError: there is none; says what to install.
    """
    on_path = shutil.which("pg_ctl")
    found = [Path(on_path).resolve().parent] if on_path else []
    for pattern in SEARCHED:
        found += sorted(Path("/").glob(pattern.lstrip("/")), key=_version_in_path, reverse=True)
    installed = [folder for folder in found if (folder / "initdb").exists()]
    suitable = [folder for folder in installed if major in (None, _major(folder))]
    if suitable:
        with_postgis = [folder for folder in suitable if _has_postgis(folder)]
        if with_postgis:
            return with_postgis[0]
        raise PostgresMissingError(f"PostGIS is not installed for {suitable[0]}: {MISSING}")
    if installed and major:
        raise PostgresMissingError(
            f"the database was created by PostgreSQL {major}, which is no longer installed: "
            f"apt-get install postgresql-{major} postgresql-{major}-postgis-3"
        )
    raise PostgresMissingError(f"PostgreSQL is not installed: {MISSING}")


def run(
    command: list[str],
    folder: Path,
    user: Owner | None,
    text: str = "",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder` as `user`, in English, with nothing of our environment.

    Raises:
        ClusterError: it does not end in time.
    """
    identity: dict[str, Any] = {}
    if user:
        identity = {"user": user.uid, "group": user.gid, "extra_groups": []}
    # Output goes to files: a server that pg_ctl leaves behind would keep a pipe open for ever.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={"PATH": os.defpath, "LC_ALL": "C", **environment},
                input=text,
                stdout=out,
                stderr=err,
                text=True,
                check=False,
                timeout=DEADLINE_S,
                umask=0o077,
                start_new_session=True,
                **identity,
            )
        except subprocess.TimeoutExpired:
            name = Path(command[0]).name
            raise ClusterError(f"{name} in {folder} has not ended in {DEADLINE_S:.0f} s") from None
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def last_line(text: str) -> str:
    """The line of a program's output that says what went wrong, as one clause of a sentence."""
    lines = [line for drawn in text.splitlines() if (line := drawn.strip(_FRAME))]
    telling = [line for line in lines if "FATAL" in line or "ERROR" in line or "error" in line]
    return (telling or lines or ["no reason given"])[-1].split("FATAL:  ")[-1]


def _has_postgis(binaries: Path) -> bool:
    shared = run([str(binaries / "pg_config"), "--sharedir"], Path("/"), None).stdout.strip()
    return (Path(shared) / "extension" / "postgis.control").exists()


def _major(binaries: Path) -> str:
    words = run([str(binaries / "postgres"), "--version"], Path("/"), None).stdout.split()
    return words[2].split(".")[0] if len(words) > 2 else ""


def _version_in_path(folder: Path) -> int:
    return int("".join(filter(str.isdigit, str(folder))) or 0)
