"""A soak: `python benchmarks/soak.py [MINUTES]`, 15 by default, on loopback alone.

`scarp up` with true processes, and `scarp watch` on a feed served here, which looks every second
instead of every minute. Each minute brings what a busy day might: an event the feed reports, later
changes and sometimes deletes; one that an operator registers with imagery and elevation, which is
mapped and assessed; at times a response that an operator cancels. Every five seconds each
program's memory, files and sockets, the connections to PostgreSQL, the rows of every table and the
bytes of the logs are read, and their slopes taken over the second half (Theil and Sen).

Only what waits for a clock of ours is compressed: looks are 60 to 1, events far more frequent than
on any real day. Heartbeats, polls and the work itself take the time they take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from record import machine as this_machine
from record import write

from console.drills.machine import SCARP, Machine, event_file, throw_away_machine
from console.response import EXAMPLE

EVERY_S = 60.0
LOOK_S = 5.0
DRAIN_S = 600.0
FEED_LOOK_S = 1
RULES = """
[earthquake]
max_age = "9999d"
min_land_km2 = 0.0
"""


class Feed:
    """A ComCat summary that goes on: one more event at a time, changes and deletions of others."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.asked = 0

    def report(self, number: int, **changed: Any) -> None:
        """Say something of an event, new or known."""
        name = f"us7000{number:04d}"
        occurred = datetime(2023, 5, 16, tzinfo=UTC) + timedelta(hours=number)
        told = {"mag": 5.5, "magType": "mww", "place": "the example", "title": "M 5.5 - example"}
        told |= {"time": _ms(occurred), "updated": _ms(datetime.now(UTC)), "type": "earthquake"}
        told |= {"status": "reviewed", "net": "us", "code": name[2:], "ids": f",{name},"}
        told |= {"sources": ",us,", "types": ",origin,", "detail": None} | changed
        # Hours apart, so that no two are taken for one.
        place = [11.58 + 0.01 * number, 44.33, 8.0]
        geometry = {"type": "Point", "coordinates": place}
        self.entries[name] = {
            "type": "Feature",
            "id": name,
            "properties": told,
            "geometry": geometry,
        }

    def page(self) -> bytes:
        """What it answers now."""
        self.asked += 1
        about = {"generated": _ms(datetime.now(UTC)), "status": 200, "count": len(self.entries)}
        page = {"type": "FeatureCollection", "metadata": about}
        return json.dumps(page | {"features": [*self.entries.values()]}).encode()


@contextmanager
def _serving(feed: Feed) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = feed.page()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Nobody reads who asked."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/summary.geojson"
    server.shutdown()
    server.server_close()


@contextmanager
def _watching(machine: Machine, url: str) -> Iterator[subprocess.Popen[bytes]]:
    rules = machine.home / "rules.toml"
    rules.write_text(RULES)
    words = ["watch", "--url", url, "--rules", str(rules), "--interval", f"{FEED_LOOK_S}s"]
    with (machine.home / "watch.log").open("wb") as log:
        watcher = subprocess.Popen(
            [*SCARP, *words], env=machine.environment, stdout=log, stderr=subprocess.STDOUT
        )
    yield watcher
    watcher.terminate()
    watcher.wait()


def main(minutes: float) -> int:
    """Keep the machine busy for so long, and judge what grew."""
    feed, result = Feed(), {"machine": this_machine(), "minutes": minutes}
    with throw_away_machine() as machine, _serving(feed) as url:
        (machine.home / "response.toml").write_text(f'source = "{EXAMPLE}"\n')
        machine.up()
        with _watching(machine, url) as watcher:
            samples = _run(machine, feed, watcher, 60 * minutes)
        result |= _told(samples)
        result["feed_looks"] = feed.asked
        result["looks_of_a_minute_would_take_h"] = round(feed.asked / 60, 1)
        result["outcomes"] = machine.rows(
            "SELECT flow, outcome, count(*) FROM scarp.run GROUP BY 1, 2 ORDER BY 1, 2"
        )
        result["events"] = machine.rows("SELECT state, count(*) FROM scarp.event GROUP BY 1")
        result["restarts"] = [one["restarts"] for one in _services(machine)]
        result["left_over"] = machine.rows(
            "SELECT event_id, failure, dead_at::text FROM scarp.response_turn "
            "WHERE dead_at IS NULL OR failure NOT LIKE '%%cancelled%%'"
        )
    result["leaks"] = _leaks(result["slopes"], result["seconds"])
    write("soak", result)
    print(json.dumps(result["slopes"], indent=1))
    print("leaks:", result["leaks"] or "none", "left over:", result["left_over"] or "nothing")
    return 1 if result["leaks"] or result["left_over"] else 0


def _leaks(slopes: dict[str, dict[str, float]], seconds: float) -> list[str]:
    """What of memory, files and connections would be a tenth larger after as long again."""
    return [
        name
        for name, one in slopes.items()
        if any(kind in name for kind in (" uss_mb", " fds", "connections", "processes"))
        and one["slope_per_h"] * seconds / 3600 > max(0.1 * one["middle"], 2.0)
    ]


def _run(
    machine: Machine, feed: Feed, watcher: subprocess.Popen[bytes], seconds: float
) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = []
    began, over = time.monotonic(), threading.Event()
    busy = threading.Thread(target=_busy, args=(machine, feed, over))
    busy.start()
    try:
        while (at_s := time.monotonic() - began) < seconds + DRAIN_S:
            samples.append({"at_s": at_s} | _sample(machine, watcher))
            if at_s > seconds:
                over.set()
                if not busy.is_alive() and not _waits(machine):
                    break
            time.sleep(LOOK_S)
    finally:
        over.set()
        busy.join()
    return samples


def _busy(machine: Machine, feed: Feed, over: threading.Event) -> None:
    """What happens in the world and what operators do, until it is over."""
    number = 0
    while not over.is_set():
        next_round = time.monotonic() + EVERY_S
        feed.report(number)
        if number:
            feed.report(number - 1, mag=5.6)
        if number > 2 and number % 3 == 0:
            feed.report(number - 2, status="deleted")
        name = f"by-hand-{number}"
        words = ["register", "--file", str(event_file(EXAMPLE, name, machine.home))]
        words += ["--aoi", str(EXAMPLE / "aoi.geojson"), "--source", str(EXAMPLE)]
        machine.scarp(*words, "--dem", str(EXAMPLE / "dem.tif"))
        if number % 4 == 3:
            machine.scarp("runs", "cancel", name)
        number += 1
        over.wait(max(0.0, next_round - time.monotonic()))


def _waits(machine: Machine) -> bool:
    return bool(
        machine.rows("SELECT FROM scarp.response_turn WHERE dead_at IS NULL")
        or machine.rows(
            "SELECT FROM scarp.response_request JOIN scarp.event ON event.id = event_id "
            "LEFT JOIN scarp.response_turn USING (event_id) WHERE done_at IS NULL "
            "AND dead_at IS NULL AND event.state NOT IN ('held', 'cancelled', 'closed')"
        )
    )


def _services(machine: Machine) -> list[dict[str, Any]]:
    with suppress(OSError, ValueError):
        state = json.loads((machine.home / "up" / "state.json").read_text())
        return list(state["services"])
    return []


def _sample(machine: Machine, watcher: subprocess.Popen[bytes]) -> dict[str, float]:
    """Memory, files and sockets of each program, connections, rows and bytes: now."""
    programs = {one["name"]: one["pid"] for one in _services(machine) if one["pid"]}
    programs |= {"scarp-up": machine.keeper().pid, "watch": watcher.pid}
    taken: dict[str, float] = {}
    for name, pid in programs.items():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            taken[f"{name} uss_mb"] = process.memory_full_info().uss / 1e6
            taken[f"{name} fds"] = process.num_fds()
    postmaster = machine.postmaster()
    if postmaster:
        taken["postgres processes"] = len(postmaster.children())
    for row in machine.rows(
        "SELECT coalesce(nullif(application_name, ''), 'prefect') AS name, count(*) AS used "
        "FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid() GROUP BY 1"
    ):
        taken[f"connections {row['name'].split()[0]}"] = row["used"]
    for row in machine.rows(
        "SELECT relname, (xpath('/row/c/text()', query_to_xml(format("
        "'SELECT count(*) AS c FROM scarp.%%I', relname), false, true, '')))[1]::text::bigint AS n "
        "FROM pg_stat_user_tables WHERE schemaname = 'scarp'"
    ):
        taken[f"rows {row['relname']}"] = row["n"]
    taken["log_mb"] = sum(one.stat().st_size for one in (machine.home / "up").iterdir()) / 1e6
    taken["home_files"] = sum(1 for one in _files(machine.home))
    return taken


def _files(home: Path) -> Iterator[Path]:
    for folder in ("work", "products", "prefect", "up"):
        yield from (home / folder).rglob("*")


def _told(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """First, middle and last of each measure, and its slope an hour over the second half."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        for name, value in sample.items():
            if name != "at_s":
                series[name].append((sample["at_s"], value))
    slopes = {}
    for name, points in sorted(series.items()):
        late = points[len(points) // 2 :]
        slopes[name] = {
            "first": round(points[0][1], 1),
            "middle": round(late[0][1], 1),
            "last": round(points[-1][1], 1),
            "most": round(max(value for _, value in points), 1),
            "slope_per_h": round(3600 * _slope(late), 2),
        }
    return {"seconds": round(samples[-1]["at_s"]), "samples": len(samples), "slopes": slopes}


def _slope(points: list[tuple[float, float]]) -> float:
    """Theil and Sen: the median slope of all pairs."""
    pairs = [
        (b[1] - a[1]) / (b[0] - a[0])
        for n, a in enumerate(points)
        for b in points[n + 1 :]
        if b[0] > a[0]
    ]
    return median(pairs) if pairs else 0.0


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 15.0))
