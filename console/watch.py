"""`scarp watch`: let feeds register events while operators sleep."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.clock import moment
from console.garbage import stay
from console.output import AsJson, print_json, print_line, say, screen, table

if TYPE_CHECKING:
    from flows.feeds import Watch
    from flows.watch import Looked
    from tasks.events.reports import Decision


def watch(
    source: Annotated[str, typer.Option(help="usgs, gdacs or rain.")] = "usgs",
    url: Annotated[
        str | None, typer.Option(help="The feed: a URL or a file. Default: the source's own.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    now: Annotated[
        str | None, typer.Option(help="Simulated time, with its zone: 2017-07-29T00:05:00Z.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="Rules in TOML; docs/events.md. Default: SCARP_RULES.")
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="Time between looks: 90s, 5min, 1h. Default: the rules'.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch a feed, and register, update or cancel events by the rules.

    With --json, a look prints one array of its decisions; without --once, each decision is an
    object on a line of its own.

    Example: scarp watch --source usgs --url feed.geojson --once --json
    """
    from flows.feeds import open_watch
    from flows.watch import keep_looking, look_once
    from tasks.errors import BadInputError

    watched, clock = open_watch(source, url, rules, interval), moment(now)
    if now and not once:
        raise BadInputError("--now simulates one moment; give --once with it")
    if not once:
        stay()
        for looked in keep_looking(watched):
            _tell(watched, looked, as_json)
        return
    looked = look_once(watched, clock, replay=now is not None)
    if as_json:
        print_json(looked.decisions)
    else:
        _draw(looked.decisions)
    if looked.failure:
        raise looked.failure


def _tell(watched: Watch, looked: Looked, as_json: bool) -> None:
    """What one of many looks did: what changed nothing is not worth a line."""
    if looked.failure:
        say(str(looked.failure))
    for decision in looked.decisions:
        if decision.decision == "unchanged":
            continue
        if as_json:
            typer.echo(json.dumps(_row(decision), ensure_ascii=False))
        else:
            row = f"{decision.event_id} {decision.decision}: {decision.reason}"
            print_line(row)


def _draw(decisions: tuple[Decision, ...]) -> None:
    told = [decision for decision in decisions if decision.decision != "unchanged"]
    if told:
        columns = ("event_id", "decision", "reason", "source_version")
        rows = [{name: getattr(one, name) for name in columns} for one in told]
        screen.print(table("Decisions", rows))
    print_line(f"{len(decisions) - len(told)} entries bring nothing new")


def _row(decision: Decision) -> dict[str, Any]:
    times = {"decided_at": decision.decided_at, "respond_at": decision.respond_at}
    return dataclasses.asdict(decision) | {
        name: moment.isoformat() if moment else None for name, moment in times.items()
    }
