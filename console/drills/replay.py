"""One event through a machine, undisturbed or struck by a fault: the times, and what came of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import rasterio

from console.drills.faults import FAULTS
from console.drills.machine import Machine, event_file, wait_for

PATIENCE_S = 1800.0
SETTLE_S = 180.0
# What the mapping and the assessment do, wherever they run; all else is orchestration.
_WORK = ("look_for_scenes", "make_rasters", "screens_with_images", "outline", "fit_and_map")
_OPEN = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")


@dataclass(frozen=True)
class Moment:
    """Something that happened, in seconds since the event was registered."""

    what: str
    at_s: float


@dataclass(frozen=True)
class Replay:
    """What a fault made of an event.

    Attributes:
        fault: its name.
        event_id: the event, registered for this.
        moments: what happened, in order.
        struck_s: when the fault struck, in seconds since the event was registered.
        recovery_s: from the strike to the published inventory.
        work_s: in the steps of mapping and assessment themselves; None after a fault.
        orchestration_s: everything else until the susceptibility map was stored; None alike.
        tries: how often the response was begun.
        wrong: what is not as it should be, a sentence each; empty if all is well.
        product: digest of polygons and rasters.
    """

    fault: str
    event_id: str
    moments: tuple[Moment, ...]
    struck_s: float
    recovery_s: float | None
    work_s: float | None
    orchestration_s: float | None
    tries: int
    wrong: tuple[str, ...]
    product: str

    @property
    def well(self) -> bool:
        """Whether the right product came exactly once, and nothing was left behind."""
        return not self.wrong


def replay(machine: Machine, example: Path, fault: str, reference: str = "") -> Replay:
    """Register the example as a new event, let a fault strike, and see what comes of it.

    Args:
        machine: up.
        example: folder with `event.json`, `aoi.geojson`, `catalog.json` and `dem.tif`.
        fault: a name of `console.drills.faults.FAULTS`.
        reference: digest of the product of an undisturbed replay; empty compares nothing.

    Raises:
        ServiceError: the fault cannot be set up, or the machine does not take commands.
    """
    event_id = f"drill-{fault}"
    file = event_file(example, event_id, machine.home)
    with FAULTS[fault](machine, example) as strike:
        words = ["register", "--file", str(file), "--aoi", str(example / "aoi.geojson")]
        words += ["--source", str(strike.source), "--dem", str(example / "dem.tif")]
        machine.done(*words)
        if strike.when == "mapping":
            wait_for(partial(_maps, machine, event_id), PATIENCE_S, f"{event_id} is being mapped")
        struck = time.time()
        strike.do()
        tries = _wait_until_answered(machine, event_id)
        return _told(machine, fault, event_id, struck, tries, reference)


def _maps(machine: Machine, event_id: str) -> bool:
    return any((machine.home / "work" / event_id).rglob("*"))


def _wait_until_answered(machine: Machine, event_id: str) -> int:
    """Wait for the end, good or bad; how often the response was begun."""
    tries, deadline = 0, time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        turns = machine.rows(
            "SELECT attempts, dead_at FROM scarp.response_turn WHERE event_id = %(id)s", id=event_id
        )
        for turn in turns:
            tries = max(tries, int(turn["attempts"]))
            if turn["dead_at"]:
                return tries
        if not turns and _assessed(machine, event_id):
            break
        time.sleep(0.5)
    _wait_until_quiet(machine)
    return tries


def _assessed(machine: Machine, event_id: str) -> bool:
    asked = "SELECT FROM scarp.susceptibility WHERE event_id = %(id)s"
    return bool(machine.rows(asked, id=event_id)) and _report(machine, event_id).exists()


def _wait_until_quiet(machine: Machine) -> None:
    """Wait until no run is open, which is when each slot is free again."""
    deadline = time.monotonic() + SETTLE_S
    while _open_runs(machine) and time.monotonic() < deadline:
        time.sleep(0.5)


def _told(
    machine: Machine, fault: str, event_id: str, struck: float, tries: int, reference: str
) -> Replay:
    moments, began = _moments(machine, event_id)
    by_name = {moment.what: moment.at_s for moment in moments}
    published = by_name.get("inventory published")
    struck_s = round(struck - began, 1)
    stored = by_name.get("susceptibility stored")
    work_s = _work_s(machine, event_id) if fault == "none" else None
    product = _product(machine, event_id)
    return Replay(
        fault=fault,
        event_id=event_id,
        moments=tuple(moments),
        struck_s=struck_s,
        recovery_s=None if published is None else round(published - struck_s, 1),
        work_s=work_s,
        orchestration_s=round(stored - work_s, 1) if stored and work_s is not None else None,
        tries=tries,
        wrong=tuple(_wrong(machine, event_id, product, reference)),
        product=product,
    )


def _moments(machine: Machine, event_id: str) -> tuple[list[Moment], float]:
    """What the store and the server wrote of an event, by PostgreSQL's clock where it has a say."""
    (event,) = machine.rows("SELECT registered_at FROM scarp.event WHERE id = %(id)s", id=event_id)
    began = event["registered_at"].timestamp()
    found = [("event registered", began)]
    for run in _flow_runs(machine, event_id):
        if run["start_time"]:
            found.append((f"{run['what']} began", _stamp(run["start_time"])))
        if run["state_type"] == "CANCELLED":
            found.append((f"{run['what']} cancelled", _stamp(run["end_time"])))
    asked = "SELECT created_at FROM scarp.{} WHERE event_id = %(id)s ORDER BY created_at"
    for kind, what in (("inventory", "published"), ("susceptibility", "stored")):
        rows = machine.rows(asked.format(kind), id=event_id)
        found += [(f"{kind} {what}", row["created_at"].timestamp()) for row in rows]
    if (report := _report(machine, event_id)).exists():
        found.append(("products written", report.stat().st_mtime))
    found.sort(key=lambda one: one[1])
    return [Moment(what, round(at - began, 1)) for what, at in found], began


def _wrong(machine: Machine, event_id: str, product: str, reference: str) -> list[str]:
    """What is not as it should be after an event was answered."""

    def rows(query: str) -> list[dict[str, Any]]:
        return machine.rows(f"{query} AND event_id = %(id)s", id=event_id)

    wrong = []
    for kind, where in (("inventory", "status = 'published'"), ("susceptibility", "true")):
        count = len(rows(f"SELECT FROM scarp.{kind} WHERE {where}"))
        if count != 1:
            wrong.append(f"there are {count} rows of {kind}, not one")
    if rows("SELECT FROM scarp.inventory WHERE status <> 'published'"):
        wrong.append("there is an inventory that is not published")
    for turn in rows("SELECT failure FROM scarp.response_turn WHERE true"):
        wrong.append(f"the response is not done: {turn['failure'] or 'it waits'}")
    if rows("SELECT FROM scarp.response_request WHERE done_at IS NULL"):
        wrong.append("the request for a response is not answered")
    for run in rows("SELECT flow FROM scarp.run WHERE outcome IS NULL"):
        wrong.append(f"a run of {run['flow']} has no outcome")
    wrong += [f"the run {name} is still open" for name in _open_runs(machine)]
    if not _report(machine, event_id).exists():
        wrong.append("there is no report")
    if reference and product != reference:
        wrong.append("the product differs from that of an undisturbed replay")
    return wrong


def _product(machine: Machine, event_id: str) -> str:
    """Digest of what the event was answered with: polygons, score and susceptibility."""
    digest = hashlib.sha256()
    for row in machine.rows(
        "SELECT encode(ST_AsBinary(geom), 'hex') AS wkb FROM scarp.v_landslides "
        "WHERE event_id = %(id)s ORDER BY number",
        id=event_id,
    ):
        digest.update(row["wkb"].encode())
    for name in ("score.tif", "susceptibility.tif"):
        path = _report(machine, event_id).parent / name
        if path.exists():
            with rasterio.open(path) as raster:
                digest.update(raster.read().tobytes())
    return digest.hexdigest()


def _report(machine: Machine, event_id: str) -> Path:
    return machine.home / "products" / event_id / "report.html"


def _flow_runs(machine: Machine, event_id: str) -> list[dict[str, Any]]:
    """The runs by deployment that had to do with an event."""
    names = {one["id"]: one["name"] for one in machine.prefect("deployments", {})}
    runs = machine.prefect("flow_runs", {})
    return [
        run | {"what": names[run["deployment_id"]]}
        for run in runs
        if run["deployment_id"] in names and run["parameters"].get("event_id") == event_id
    ]


def _open_runs(machine: Machine) -> list[str]:
    runs = machine.prefect("flow_runs", {"flow_runs": {"state": {"type": {"any_": list(_OPEN)}}}})
    return [run["name"] for run in runs if run["deployment_id"]]


def _work_s(machine: Machine, event_id: str) -> float:
    """Seconds in the steps of mapping and assessment, each counted once: its longest run."""
    longest: dict[str, float] = {}
    for run in _steps(machine, [one["id"] for one in _flow_runs(machine, event_id)]):
        name = run["name"].rsplit("-", 1)[0]
        if name in _WORK:
            longest[name] = max(longest.get(name, 0.0), run["total_run_time"])
    return round(sum(longest.values()), 1)


def _steps(machine: Machine, flow_runs: Sequence[str]) -> list[dict[str, Any]]:
    """The task runs of flow runs and of the flow runs those began."""
    found = machine.prefect("task_runs", {"task_runs": {"flow_run_id": {"any_": list(flow_runs)}}})
    if not found:
        return []
    parents = {"parent_task_run_id": {"any_": [one["id"] for one in found]}}
    begun = [one["id"] for one in machine.prefect("flow_runs", {"flow_runs": parents})]
    return found + (_steps(machine, begun) if begun else [])


def _stamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
