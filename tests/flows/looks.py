"""One look at a feed of entries made for a test, and what it leaves in the store."""

from __future__ import annotations

from datetime import timedelta

from flows.feeds import Watch
from flows.watch import look_once
from tasks.events.registry import find_registered
from tasks.events.rules import read_rules
from tests.conftest import DATA
from tests.flows.feeds import NOW, ms

RULES = read_rules()
GRID = DATA / "usgs_groundfailure_loma_prieta" / "grid.xml"
LOMA_PRIETA = {"geometry": (-121.88, 37.036, 17.2), "mag": 6.9}


def look(world, feed, *entries, now=NOW, rules=RULES, path="/summary.geojson"):
    url = feed.put(path, {"type": "FeatureCollection", "features": list(entries)})
    return list(look_once(Watch(world, "usgs", url, rules), now).decisions)


def shakemap(feed, minutes, status="UPDATE", version="1", grid=True):
    """A ShakeMap as a page lists it, sent so many minutes after the clock's hour began."""
    url = feed.url + f"/grid_{minutes}.xml"
    return {
        "source": "us",
        "code": "ci38457511",
        "updateTime": ms(NOW + timedelta(minutes=minutes)),
        "status": status,
        "properties": {"version": version},
        "contents": {"download/grid.xml": {"url": url}} if grid else {},
    }


def decisions(made):
    return [one.decision for one in made]


def known(world, event_id="ci38457511"):
    with world.engine.connect() as connection:
        return find_registered(connection, event_id)
