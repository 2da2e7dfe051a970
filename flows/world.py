"""The ground a flow stands on: the data folder, the store, and the version of the code."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Engine

from infra.schema import open_engine
from infra.settings import Settings


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
    """Read the settings and open the store they name; once for each distinct setting."""
    return _open(Settings())


@cache
def _open(settings: Settings) -> World:
    return World(settings.home, open_engine(settings))


@cache
def code_version() -> str:
    """The commit of a source checkout (with `+dirty` if edited), else the installed version."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return version("scarp")
    git = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
    described = subprocess.run(git, capture_output=True, text=True, check=False)
    return described.stdout.strip() or version("scarp")
