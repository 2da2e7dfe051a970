"""Two hundred events from eight watchers at once: none lost, none doubled, none out of date."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tests.flows.conftest import rows
from tests.flows.feeds import NOW, entry, ms

ROOT = Path(__file__).parents[2]
EVENTS, PROCESSES = 200, 8
# Far inland in Asia, and no two close enough to be taken for one.
PLACES = [(60 + 0.2 * n, 34 + 10 * ((n * 0.618) % 1), 10.0) for n in range(EVENTS)]


def told(number, minutes):
    """What is said of one of many earthquakes so many minutes after it, its magnitude growing."""
    return entry(
        f"us{number:08d}",
        geometry=PLACES[number],
        mag=round(5 + 0.01 * minutes, 2),
        time=ms(NOW - timedelta(hours=5)) + 40_000 * number,
        updated=ms(NOW - timedelta(hours=2) + timedelta(minutes=minutes)),
    )


def feed_file(path, entries):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": entries}))
    return path


def watcher(path):
    """A process of its own that looks at a feed once, as `scarp watch` does."""
    start = "from console.cli import main; main()"
    command = [sys.executable, "-c", start, "watch", "--url", path, "--once", "--json"]
    return subprocess.Popen(
        [*map(str, command), "--now", NOW.isoformat()],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(world):
    return rows(world, "SELECT id, magnitude FROM scarp.event ORDER BY id")


def asked(world):
    return rows(world, "SELECT event_id, source_version FROM scarp.response_request ORDER BY 1, 2")


def test_200_events_by_8_processes_at_once_are_each_there_once_and_up_to_date(world, tmp_path):
    draw = random.Random(8)
    feeds = [
        [told(n, draw.choice((0, 10, 20))) for n in draw.choices(range(EVENTS), k=15)]
        for _ in range(PROCESSES)
    ]
    for number in range(EVENTS):
        draw.choice(feeds).append(told(number, 20))
    for entries in feeds:
        draw.shuffle(entries)
    running = [watcher(feed_file(tmp_path / f"{n}.json", one)) for n, one in enumerate(feeds)]
    made = []
    for process in running:
        answer, complaint = process.communicate()
        assert process.returncode == 0, complaint
        made += json.loads(answer)
    assert len(made) == sum(map(len, feeds))
    assert stored(world) == [(f"us{n:08d}", 5.2) for n in range(EVENTS)]
    registered = [one["event_id"] for one in made if one["decision"] == "registered"]
    assert sorted(registered) == [f"us{n:08d}" for n in range(EVENTS)]
    changed = [one for one in made if one["decision"] in ("registered", "updated")]
    responses = sorted((one["event_id"], one["source_version"]) for one in changed)
    assert asked(world) == responses
    assert len(set(responses)) == len(responses)
