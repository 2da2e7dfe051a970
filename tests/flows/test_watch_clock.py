"""Looks by a clock that is simulated, or that jumps."""

from __future__ import annotations

from datetime import timedelta

from flows.feeds import Watch
from flows.watch import look_once
from tests.flows.conftest import rows
from tests.flows.feeds import NOW, entry, ms
from tests.flows.looks import RULES, decisions, look

LONG_AGO = "Sat, 06 Jul 2019 00:00:00 GMT"


def statuses(feed):
    return [status for _, status in feed.asked]


def test_a_clock_that_went_back_asks_without_a_tag(world, feed):
    assert decisions(look(world, feed, entry())) == ["registered"]
    assert look(world, feed, entry(), now=NOW + timedelta(minutes=1)) == []
    assert decisions(look(world, feed, entry(), now=NOW)) == ["unchanged"]
    assert look(world, feed, entry(), now=NOW) == []
    assert statuses(feed) == [200, 304, 200, 304]


def test_what_a_wrong_clock_found_too_old_is_registered_when_the_clock_is_right(world, feed):
    ahead = NOW + timedelta(days=3653)
    [made] = look(world, feed, entry(), now=ahead)
    assert made.decision == "ignored" and "10 years old" in made.reason
    assert decisions(look(world, feed, entry())) == ["registered"]


def test_a_replay_never_asks_by_the_time_of_a_file(world, feed):
    feed.changed["/summary.geojson"] = LONG_AGO
    url = feed.put("/summary.geojson", {"type": "FeatureCollection", "features": [entry()]})
    watch = Watch(world, "usgs", url, RULES)
    made = [
        look_once(watch, NOW + timedelta(minutes=n), replay).decisions
        for n, replay in enumerate((True, True, False, False))
    ]
    assert list(map(decisions, made)) == [["registered"], ["unchanged"], [], []]
    assert statuses(feed) == [200, 200, 304, 304]


def test_a_page_that_a_wrong_clock_looked_at_is_looked_at_again(world, feed):
    told = entry()
    told["properties"]["detail"] = feed.put("/page.geojson", entry())
    look(world, feed, told)
    look(world, feed, now=NOW + timedelta(days=3653))
    feed.put("/page.geojson", entry(mag=7.4, updated=ms(NOW) + 5))
    [made] = look(world, feed, now=NOW + timedelta(hours=6))
    assert made.decision == "updated"
    assert look(world, feed, now=NOW + timedelta(hours=6, minutes=1)) == []
    assert rows(world, "SELECT magnitude FROM scarp.event") == [(7.4,)]
