"""`scarp db`: look after the database Scarp keeps its records in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from console.output import AsJson, print_json, print_line, say, screen, table

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Start the database and bring its schema up to date. Example: scarp db start."""
    print_line(f"running: {_open()}")


@app.command()
def stop(
    force: Annotated[
        bool, typer.Option(help="Stop even while other programs are connected.")
    ] = False,
) -> None:
    """Stop Scarp's own database; the next command starts it again. Example: scarp db stop."""
    from infra import postgres
    from infra.errors import ClusterError
    from infra.settings import Settings

    settings = Settings()
    if settings.database_url:
        raise ClusterError("SCARP_DATABASE_URL names a server of your own; stop it where it runs")
    print_line("stopped" if postgres.stop(settings.home, force=force) else "was not running")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say where the database is and whether it runs; starts nothing. Example: scarp db status."""
    from infra import postgres
    from infra.clients import without_password
    from infra.settings import Settings

    settings = Settings()
    known: dict[str, Any]
    if settings.database_url:
        known = {"private": False, "url": without_password(settings.database_url)}
    else:
        private = postgres.status(settings.home)
        known = {
            "private": True,
            "folder": private.folder,
            "created": private.created,
            "running": private.running,
            "port": private.port,
            "pid": private.pid,
        }
    if as_json:
        print_json(known)
    else:
        screen.print(table("Database", [{"what": what, "is": known[what]} for what in known]))


@app.command()
def url(
    role: Annotated[
        Literal["owner", "writer", "reader"],
        typer.Option(help="reader sees the views alone, writer can add to the tables."),
    ] = "owner",
    service: Annotated[
        bool, typer.Option("--service", help="An entry for ~/.pg_service.conf, for QGIS.")
    ] = False,
) -> None:
    """Print the database's URL, started and migrated, for psql and other programs.

    It holds no password: that of Scarp's own database lies in the file it names, that of a server
    of your own belongs into PGPASSWORD or ~/.pgpass.

    Example: psql "$(scarp db url --role reader)" -c "select * from scarp.v_landslides limit 5"
    """
    from infra.clients import service_entry, without_password
    from infra.roles import role_url
    from infra.settings import Settings

    known = _open_with_password() if role == "owner" else role_url(Settings(), role)
    typer.echo(service_entry(known) if service else without_password(known))


@app.command()
def describe() -> None:
    """Say what every view and column means, as Markdown. Example: scarp db describe."""
    from infra.describe import describe_views
    from infra.schema import open_engine
    from infra.settings import Settings

    engine = open_engine(Settings())
    try:
        with engine.connect() as connection:
            typer.echo(describe_views(connection), nl=False)
    finally:
        engine.dispose()


@app.command()
def psql(
    words: Annotated[list[str] | None, typer.Argument(help="Options for psql, after --.")] = None,
) -> None:
    """Open psql on the database. Example: scarp db psql -- -c "select * from scarp.v_events"."""
    from infra.clients import command

    program, environment = command("psql", _open_with_password())
    os.execve(program[0], [*program, *(words or [])], environment)


@app.command()
def dump(file: Annotated[Path, typer.Argument(help="The file to write.")]) -> None:
    """Write everything in the database to one file. Example: scarp db dump scarp.dump."""
    from infra import clients

    print_line(f"dumped to {clients.dump(_open_with_password(), file)}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `scarp db dump` wrote.", exists=True)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace everything in the database by a dump. Example: scarp db restore scarp.dump."""
    from infra import clients

    if not yes:
        typer.confirm("Replace every event and inventory in the database?", abort=True)
    clients.restore(_open_with_password(), file)
    say(f"restored {file}")
    _open()


def _open() -> str:
    """Open the store as every command does, and return its URL without a password."""
    from infra.clients import without_password

    return without_password(_open_with_password())


def _open_with_password() -> str:
    from infra.schema import database_url, open_engine
    from infra.settings import Settings

    settings = Settings()
    open_engine(settings).dispose()
    return database_url(settings)
