"""`scarp`: one command from an event to a map. Each group of commands is a file beside this one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console import (
    dataset,
    db,
    doctor,
    drill,
    events,
    evidence,
    impact,
    inventory,
    learning,
    machines,
    mapping,
    networks,
    notify,
    response,
    runs,
    serve,
    susceptibility_group,
    tokens,
    up,
    watch,
)
from console.garbage import start_fast
from console.output import say
from infra.errors import InfraError
from infra.network import spare_loopback, trust_alike
from models.errors import ModelError
from tasks.errors import BadInputError, ScarpError

app = typer.Typer(
    name="scarp",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scarp {doctor.version_of_scarp()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say which this is.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """Landslide event response: from an earthquake or a storm to an inventory and a map."""


app.command()(response.demo)
app.command()(events.register)
app.command()(watch.watch)
app.add_typer(events.app, name="events")
app.command()(impact.impact)
app.command()(response.respond)
app.command()(evidence.evidence)
app.command(name="map")(mapping.map_image)
app.add_typer(inventory.app, name="inventory")
app.command()(learning.evaluate)
app.command()(learning.train)
app.command()(learning.experiment)
app.add_typer(dataset.app, name="dataset")
app.add_typer(susceptibility_group.app, name="susceptibility")
app.add_typer(networks.app, name="model")
app.add_typer(db.app, name="db")
app.command()(serve.serve)
app.add_typer(tokens.app, name="token")
app.command()(up.up)
app.command()(up.status)
app.command()(up.down)
app.command()(notify.notify)
app.command()(machines.deploy)
app.command()(machines.start)
app.add_typer(runs.app, name="runs")
app.command()(drill.drill)
app.command()(doctor.doctor)


def main() -> None:
    """Run a command; an error made on purpose ends in its sentence and its exit code."""
    start_fast()
    spare_loopback()
    trust_alike()
    try:
        _refuse_empty(sys.argv[1:])
        app()
    except (ScarpError, ModelError, InfraError) as error:
        say(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        sys.exit(130)


def _refuse_empty(words: list[str]) -> None:
    """An empty path would be the current folder; what is empty was most often a shell variable."""
    ours = words[: words.index("--")] if "--" in words else words
    for number, word in enumerate(ours):
        name, given, value = word.partition("=")
        if not word or (name.startswith("--") and given and not value):
            after = ours[number - 1] if number and not word else name
            raise BadInputError(
                f"what follows {after or 'scarp'!r} is empty; give it a value, or leave it out"
            )
