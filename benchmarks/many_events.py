"""Twenty events at once on one gpu slot and two cpu slots: `python benchmarks/many_events.py [N]`.

Earthquakes of different magnitudes, with the area and the imagery of the bundled example, are all
registered before `scarp up` starts. Looked at: whether each is published and assessed once, in
which order against the expected impact, and what all processes together held in memory
(proportional set size), read every two seconds from /proc.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import Any

import psutil
from record import machine as this_machine
from record import write

from console.drills.machine import Machine, throw_away_machine
from console.response import EXAMPLE

PATIENCE_S = 5400.0
LOOK_S = 2.0
# One process registers all of them, as a feed would.
REGISTER = """
import sys
from dataclasses import replace
from pathlib import Path
from flows.register import register_event
from tasks.events.request import read_event

example = Path(sys.argv[1])
wishes = {"source": str(example), "dem": str(example / "dem.tif")}
rain = read_event(example / "event.json")
for word in sys.argv[2:]:
    quake = replace(rain, id=f"quake-{word}", kind="earthquake", magnitude=float(word),
                    magnitude_type="Mw", rainfall_mm=None, duration_h=None, alternate_ids=())
    register_event(quake, example / "aoi.geojson", wishes=wishes)
"""
ANSWERED = """
    SELECT event.id, event.priority, inventory.created_at AS published,
        susceptibility.created_at AS assessed
    FROM scarp.event LEFT JOIN scarp.inventory ON inventory.event_id = event.id
    LEFT JOIN scarp.susceptibility ON susceptibility.event_id = event.id
    ORDER BY inventory.created_at
"""


def main(count: int) -> int:
    """Answer `count` events; the exit code says whether all were, once, and in order."""
    magnitudes = [f"{5 + 0.1 * number:.1f}" for number in range(count)]
    random.Random(1).shuffle(magnitudes)
    result: dict[str, Any] = {"machine": this_machine(), "events": count}
    with throw_away_machine(cpu_slots=2) as machine:
        command = [sys.executable, "-c", REGISTER, str(EXAMPLE), *magnitudes]
        subprocess.run(command, env=machine.environment, check=True)
        machine.up()
        began = time.time()
        memory = _watch(machine, count)
        result |= _told(machine.rows(ANSWERED), began, memory)
        dead = machine.rows("SELECT event_id, failure FROM scarp.response_turn")
        result["not_done"] = dead
    write("many_events", result)
    print({name: value for name, value in result.items() if name != "memory_mb"})
    whole = result["published_once"] == result["assessed_once"] == count
    return 0 if whole and not dead else 1


def _watch(machine: Machine, count: int) -> list[float]:
    """Wait until all is answered; the memory of all processes meanwhile, in MB."""
    memory, deadline = [], time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        memory.append(round(_memory_mb(machine), 1))
        rows = machine.rows(ANSWERED)
        if sum(row["assessed"] is not None for row in rows) >= count:
            break
        time.sleep(LOOK_S)
    return memory


def _memory_mb(machine: Machine) -> float:
    roots = [machine.keeper(), machine.postmaster()]
    family = [one for root in roots if root for one in (root, *root.children(recursive=True))]
    total = 0
    for one in family:
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def _told(rows: list[dict[str, Any]], began: float, memory: list[float]) -> dict[str, Any]:
    published = [row for row in rows if row["published"]]
    wanted = sorted(published, key=lambda row: -row["priority"])
    places = [abs(wanted.index(row) - place) for place, row in enumerate(published)]
    third = max(1, len(memory) // 3)
    return {
        "published_once": len({row["id"] for row in published}),
        "rows": len(rows),
        "assessed_once": len({row["id"] for row in rows if row["assessed"]}),
        "order": [row["id"] for row in published],
        "places_off_at_most": max(places, default=None),
        "published_after_s": [round(row["published"].timestamp() - began) for row in published],
        "assessed_after_s": [
            round(row["assessed"].timestamp() - began) for row in published if row["assessed"]
        ],
        "memory_peak_mb": max(memory),
        "memory_peak_by_third_mb": [max(memory[n * third : (n + 1) * third]) for n in range(3)],
        "memory_mb": memory,
    }


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
