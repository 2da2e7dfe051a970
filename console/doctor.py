"""`scarp doctor`: what is missing on this machine, and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import typer

from console.output import AsJson, print_json, screen, table
from infra.errors import InfraError
from models.errors import ModelError
from tasks.errors import ScarpError

if TYPE_CHECKING:
    from infra.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `fix` is empty where nothing is wrong."""

    part: str
    ok: bool
    found: str
    fix: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Say what is missing and how to mend it. Example: scarp doctor."""
    from infra.settings import Settings

    settings = Settings()
    findings = [
        Finding("Scarp", True, version_of_scarp()),
        _python(),
        _attempt("data folder", lambda: _home(settings)),
        _attempt("PostgreSQL + PostGIS", lambda: _postgres(settings)),
        _attempt("store", lambda: _store(settings)),
        _attempt("rules", lambda: _rules(settings)),
        _attempt("layers of impact", lambda: _layers(settings)),
        _attempt("weights", _weights),
        _attempt("network runs on", lambda: _device(settings)),
    ]
    if as_json:
        print_json(findings)
    else:
        rows = [
            {"part": f.part, "": "ok" if f.ok else "MISSING", "found": f.found, "to do": f.fix}
            for f in findings
        ]
        screen.print(table("Scarp on this machine", rows))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _attempt(part: str, look: Callable[[], str]) -> Finding:
    """A look that raises is a finding whose error says what to do."""
    try:
        return Finding(part, True, look())
    except (InfraError, ModelError, ScarpError) as error:
        return Finding(part, False, "not usable", str(error))


def version_of_scarp() -> str:
    """The version that is installed, and of a source checkout the commit."""
    from flows.world import code_version

    return ", ".join(dict.fromkeys([version("scarp"), code_version()]))


def _python() -> Finding:
    return Finding("Python", True, sys.version.split()[0])


def _home(settings: Settings) -> str:
    from flows.world import require_room

    require_room(settings.home)
    return str(settings.home)


def _postgres(settings: Settings) -> str:
    from infra.programs import find_binaries

    if settings.database_url:
        return "not needed: SCARP_DATABASE_URL names a server"
    return str(find_binaries())


def _store(settings: Settings) -> str:
    from sqlalchemy import text

    from infra.schema import open_engine

    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            return f"PostGIS {connection.scalar(text('select postgis_lib_version()'))}"
    finally:
        engine.dispose()


def _rules(settings: Settings) -> str:
    from tasks.events.rules import read_rules

    read_rules(settings.rules)
    return str(settings.rules or "the built-in rules")


def _layers(settings: Settings) -> str:
    from tasks.events.impact_layers import read_layers

    if settings.impact is None:
        return "none: impact by magnitude"
    read_layers(settings.impact)
    return str(settings.impact)


def _weights() -> str:
    from models.cards import available
    from models.weights import load

    names = available()
    for name in names:
        load(name)
    return ", ".join(names)


def _device(settings: Settings) -> str:
    import torch

    from tasks.mapping.scoring import device_of

    device = device_of(settings.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return f"{where}, torch {torch.__version__}"
