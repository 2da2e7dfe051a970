"""The ground a flow stands on: the data folder, the store, and the version of the code."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock

from sqlalchemy import Engine

from infra.schema import database_url, open_engine
from infra.settings import Settings
from tasks.errors import StorageError

LEAST_FREE_MB = 300
_opening = Lock()


@dataclass(frozen=True)
class World:
    """One SCARP_HOME with its store; two homes are two worlds."""

    home: Path
    engine: Engine

    def work(self, event_id: str, digest: str) -> Path:
        """Folder of intermediate rasters, one for each set of inputs."""
        return self.home / "work" / event_id / digest[:16]

    def products(self, event_id: str) -> Path:
        """Folder of an event's products."""
        return self.home / "products" / event_id


def open_world() -> World:
    """Read the settings and open the store they name; once for each store, whoever asks first."""
    settings = Settings()
    with _opening:
        return _open(settings.home, settings.database_url)


def wake_store() -> None:
    """Start the private cluster again if it ended; a server of `SCARP_DATABASE_URL` is not ours.

    Raises:
        PostgresMissingError, ClusterError: it does not start.
    """
    database_url(Settings())


@cache
def _open(home: Path, url: str | None) -> World:
    return World(home, open_engine(Settings(home=home, database_url=url)))


def require_room(folder: Path) -> None:
    """Find out before any work starts that a folder cannot take what a run writes.

    Raises:
        StorageError: the folder, or the nearest that exists, is not writable or its disk is full.
    """
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise StorageError(f"{place} is not a writable folder; choose another or mend it")
    free_mb = shutil.disk_usage(place).free / 1e6
    if free_mb < LEAST_FREE_MB:
        raise StorageError(
            f"{folder} has {free_mb:.0f} MB of disk left, {LEAST_FREE_MB} MB are needed; "
            "free some space or choose another folder (SCARP_HOME, --out)"
        )


@cache
def code_version() -> str:
    """The commit of a source checkout (with `+dirty` if edited), else the installed version.

    A machine without git has a checkout by copying it; nothing else needs git there.
    """
    here, program = Path(__file__).parent, shutil.which("git")
    if program is None or not (here.parent / ".git").exists():
        return version("scarp")
    git = [program, "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
    described = subprocess.run(git, capture_output=True, text=True, check=False)
    return described.stdout.strip() or version("scarp")
