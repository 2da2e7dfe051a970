"""Many processes at once, and processes killed where they stand: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from flows.feeds import Watch
from flows.watch import look_once
from infra.schema import open_engine
from tasks.events.rules import read_rules
from tests.flows.conftest import rows
from tests.flows.feeds import NOW, entry

ROOT = Path(__file__).parents[2]


def _look(settings, url):
    from flows.world import World

    engine = open_engine(settings)
    made = look_once(Watch(World(settings.home, engine), "usgs", url, read_rules()), NOW).decisions
    engine.dispose()
    return [(one.event_id, one.decision) for one in made]


def feed_of(folder, count):
    """A feed of strong earthquakes, every fourth of them too weak for the rules."""
    entries = [
        entry(
            f"us{number:05d}",
            geometry=(70 + number * 0.7, 32.0, 10.0),
            mag=4.0 if number % 4 == 0 else 6.0,
            time=entry()["properties"]["time"] - number * 900_000,
        )
        for number in range(count)
    ]
    path = folder / "feed.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": entries}))
    return str(path)


def test_two_watchers_of_one_feed_register_each_event_once(settings, world, tmp_path):
    url = feed_of(tmp_path, 12)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        one, other = pool.starmap(_look, [(settings, url)] * 2, chunksize=1)
    made = Counter((*one, *other))
    assert sum(made[f"us{n:05d}", "registered"] for n in range(12)) == 9
    assert sum(made[f"us{n:05d}", "ignored"] for n in range(12)) == 3
    assert len(rows(world, "SELECT 1 FROM scarp.response_request")) == 9
    assert len(rows(world, "SELECT 1 FROM scarp.decision")) == 12


def _killed_after(world, command, environment, count):
    """Run a command and kill it when so many decisions are stored; the count it left."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if rows(world, "SELECT count(*) FROM scarp.decision")[0][0] >= count:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    return rows(world, "SELECT count(*) FROM scarp.decision")[0][0]


def test_a_watcher_killed_where_it_stands_misses_nothing_and_repeats_nothing(
    settings, world, tmp_path
):
    url = feed_of(tmp_path, 24)
    command = [sys.executable, "-c", "from console.cli import main; main()", "watch", "--url", url]
    command += ["--once", "--json", "--now", (NOW + timedelta(minutes=1)).isoformat()]
    home = {"SCARP_HOME": str(settings.home), "SCARP_DATABASE_URL": settings.database_url}
    environment = os.environ | home
    left = [_killed_after(world, command, environment, count) for count in (1, 11)]
    assert left[0] < left[1] < 24
    assert rows(world, "SELECT count(*) FROM scarp.watch_state") == [(0,)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    printed = Counter(one["decision"] for one in json.loads(ran.stdout))
    assert printed["unchanged"] == left[1] and printed.total() == 24
    kept = Counter(decision for (decision,) in rows(world, "SELECT decision FROM scarp.decision"))
    assert kept == {"registered": 18, "ignored": 6}
    whole = "SELECT count(*), count(DISTINCT event_id) FROM scarp.response_request"
    assert rows(world, whole) == [(18, 18)]
    assert rows(world, "SELECT count(*) FROM scarp.event_history") == [(18,)]
    assert rows(world, "SELECT count(*) FROM scarp.aoi") == [(18,)]
