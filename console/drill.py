"""`scarp drill`: a past event answered again, by a `scarp up` of its own, while things break."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import AsJson, print_json, print_line, say, screen, table
from console.response import EXAMPLE

if TYPE_CHECKING:
    from console.drills.replay import Replay


def drill(
    faults: Annotated[
        str, typer.Option(help="What to break, by name and comma, or all; see docs/operations.md.")
    ] = "",
    example: Annotated[Path, typer.Option(help="Folder of the event to replay.")] = EXAMPLE,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the folder with its logs and products.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a past event on a machine of its own, and see that it is answered exactly once.

    Everything runs in a throw-away SCARP_HOME. The first replay is undisturbed; each fault then
    gets one, whose product must equal the first's. Exits with 1 unless all is well.

    Example: scarp drill --faults flow-killed,postgres-killed
    """
    from console.drills.faults import needs_clock
    from console.drills.machine import throw_away_machine
    from console.drills.replay import replay

    names = _named(faults)
    say(f"a machine of its own is being started; then {len(names)} replays")
    with throw_away_machine(keep, own_clock=needs_clock(names)) as machine:
        machine.up()
        say(f"up in {machine.home}")
        done: list[Replay] = []
        for name in names:
            one = replay(machine, example.resolve(), name, done[0].product if done else "")
            done.append(one)
            say(f"{name}: {'as it should be' if one.well else '; '.join(one.wrong)}")
    if as_json:
        print_json([_record(one) for one in done])
    else:
        _show(done)
    if not all(one.well for one in done):
        raise typer.Exit(1)


def _named(faults: str) -> list[str]:
    from console.drills.faults import FAULTS
    from tasks.errors import BadInputError

    asked = list(FAULTS) if faults == "all" else [one for one in faults.split(",") if one]
    unknown = [one for one in asked if one not in FAULTS]
    if unknown:
        raise BadInputError(f"--faults {unknown[0]!r} is not one of {', '.join(FAULTS)}, all")
    return ["none", *(one for one in asked if one != "none")]


def _record(one: Replay) -> dict[str, object]:
    return vars(one) | {"well": one.well}


def _show(done: list[Replay]) -> None:
    first = done[0]
    rows = [{"seconds": f"{one.at_s:.1f}", "what": one.what} for one in first.moments]
    screen.print(table("An undisturbed event", rows))
    if first.orchestration_s is not None:
        said = f"{first.work_s} s of work, {first.orchestration_s} s of orchestration"
        print_line(said)
    results = [
        {
            "fault": one.fault,
            "struck_s": one.struck_s,
            "recovery_s": one.recovery_s,
            "tries": one.tries,
            "right_product_once": "yes" if one.well else "; ".join(one.wrong),
        }
        for one in done[1:]
    ]
    if results:
        screen.print(table("Faults", results))
