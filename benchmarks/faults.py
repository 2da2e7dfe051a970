"""The fault matrix: `python benchmarks/faults.py [FAULT …]`, by default all of them.

One `scarp up` with true processes in a SCARP_HOME of its own. The bundled example is answered
undisturbed, then once for each fault of `console/drills/faults.py`, each time as a new event, and
must end in the product of the undisturbed replay exactly once: one inventory, one susceptibility
map, the same polygons and rasters, no run or request left open. What is written after each fault
takes the place of what was measured of it before. Times depend on how busy the machine is; what
came of each event does not.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from record import RESULTS, write
from record import machine as this_machine
from rich.console import Console

from console.drills.faults import FAULTS, needs_clock
from console.drills.machine import throw_away_machine
from console.drills.replay import replay
from console.output import table
from console.response import EXAMPLE
from infra.errors import ServiceError


def main(asked: list[str]) -> int:
    """Replay the example under each fault; the exit code says whether all ended well."""
    known = RESULTS / "faults.json"
    replays: dict[str, Any] = json.loads(known.read_text())["replays"] if known.exists() else {}
    names = ["none", *(asked or [name for name in FAULTS if name != "none"])]
    reference = ""
    with throw_away_machine(own_clock=needs_clock(names)) as machine:
        machine.up()
        for name in names:
            about = this_machine()
            try:
                one = replay(machine, EXAMPLE, name, reference)
            except ServiceError as error:
                replays[name] = {"well": False, "wrong": [str(error)], "machine": about}
            else:
                reference = reference or one.product
                replays[name] = asdict(one) | {"well": one.well, "machine": about}
            write("faults", {"replays": replays})
            print(name, "well" if replays[name]["well"] else replays[name]["wrong"], flush=True)
    Console(width=160).print(table("Fault matrix", [_row(replays, name) for name in names]))
    return 0 if all(replays[name]["well"] for name in names) else 1


def _row(replays: dict[str, Any], name: str) -> dict[str, Any]:
    shown = ("struck_s", "recovery_s", "tries", "well", "wrong")
    return {"fault": name} | {key: replays[name].get(key) for key in shown}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
