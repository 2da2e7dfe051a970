"""Whatever a feed holds, the reason is stored and the next event is dealt with."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from flows.feeds import Watch
from flows.watch import look_once
from tasks.events.rules import read_rules
from tests.flows.conftest import rows
from tests.flows.feeds import NOW, SUMMARY, entry, ms

RULES = read_rules()


def looked_at(world, feed, *entries, now=NOW, rules=RULES, generated=None):
    page = {
        "type": "FeatureCollection",
        "metadata": {"generated": ms(generated or now)},
        "features": list(entries),
    }
    url = feed.put("/summary.geojson", page)
    return look_once(Watch(world, "usgs", url, rules), now).decisions


def stored(world):
    query = "SELECT event_id, decision, reason FROM scarp.decision ORDER BY id"
    return {event_id: (decision, reason) for event_id, decision, reason in rows(world, query)}


GOOD = entry("ci38457511", geometry=(-117.6, 35.77, 8.0))
ODD = {
    "no object": (12, "an entry is int instead of a feature"),
    "no magnitude": (entry("us1aaaa", mag=None), "no magnitude yet"),
    "a magnitude in words": (entry("us1aaaa", mag="large"), "magnitude 'large' should be a valid"),
    "a magnitude of 71": (entry("us1aaaa", mag=71), "less than or equal to 10"),
    "not a number": (entry("us1aaaa", mag=float("nan")), "magnitude nan should be a finite"),
    "in the sea": (entry("us1aaaa", geometry=(-40, 30, 10)), "lies in the sea"),
    "deep": (entry("us1aaaa", geometry=(-117, 35, 580)), "580 km is beyond 150 km"),
    "no place": (entry("us1aaaa", geometry=()), "longitude"),
    "off the globe": (entry("us1aaaa", geometry=(-117, 99, 5)), "latitude 99"),
    "no time": (entry("us1aaaa", time=None), "time null is not ms since 1970"),
    "time beyond all time": (entry("us1aaaa", time=9e30), "is not ms since 1970"),
    "no update time": (entry("us1aaaa", updated="yesterday"), 'updated "yesterday" is not ms'),
    "ten years old": (
        entry("us1aaaa", time=ms(NOW - timedelta(days=3653))),
        "it is 10 years old, older than the 30 days",
    ),
    "ahead of the clock": (
        entry("us1aaaa", time=ms(NOW + timedelta(hours=5))),
        "5 hours after the watcher's clock",
    ),
    "a quarry blast": (entry("us1aaaa", type="quarry blast"), "'quarry blast', not an earthquake"),
    "deleted": (entry("us1aaaa", status="deleted"), "deleted it"),
    "an id that is a path": (entry("../../etc/passwd"), "not a name that can stand in paths"),
    "an id with a NUL": (entry("us1\0aaaa"), "not a name that can stand in paths"),
    "a list for an alert": (entry("us1aaaa", mag=2.0, alert=["red"]), "M 2 is below M 5"),
    "half a surrogate": (entry("us1aaaa", title="M\ud800", mag=2.0), "M 2 is below M 5"),
    "no properties": ({"type": "Feature", "id": "us1aaaa", "properties": []}, "updated null"),
    "products that are none": (
        entry("us1aaaa", mag=2.0, products={"shakemap": [None, {}], "origin": 3}),
        "M 2 is below M 5",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_entry_is_ignored_with_its_reason_and_the_next_is_registered(world, feed, name):
    odd, reason = ODD[name]
    made = looked_at(world, feed, odd, GOOD)
    assert [one.decision for one in made] == ["ignored", "registered"]
    assert reason in made[0].reason
    kept = stored(world)
    assert len(kept) == 2 and kept["ci38457511"][0] == "registered"
    assert made[0].reason in {reason for _, reason in kept.values()}
    again = looked_at(world, feed, odd, GOOD, now=NOW + timedelta(minutes=1))
    assert {one.decision for one in again} == {"unchanged"}
    assert stored(world) == kept


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'not this one'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON scarp.event FOR EACH ROW
        WHEN (NEW.id = 'us1aaaa') EXECUTE FUNCTION refuse();
"""


def test_an_event_that_cannot_be_stored_stops_no_other_and_is_tried_again(world, feed):
    other = entry("us1aaaa", geometry=(141.9, 42.7, 35.0))
    page = {"type": "FeatureCollection", "features": [other, GOOD]}
    watch = Watch(world, "usgs", feed.put("/summary.geojson", page), RULES)
    with world.engine.begin() as connection:
        connection.execute(text(REFUSE))
    looked = look_once(watch, NOW)
    assert [one.decision for one in looked.decisions] == ["registered"]
    assert re.search("us1aaaa could not be dealt with: .*not this one", str(looked.failure))
    with world.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER refuse ON scarp.event"))
    again = look_once(watch, NOW)
    assert [one.decision for one in again.decisions] == ["registered", "unchanged"]
    assert again.failure is None


def test_a_page_that_cannot_be_dealt_with_is_read_again_by_the_next_look(world, feed):
    told = entry("us1aaaa")
    told["properties"]["detail"] = feed.put("/page.geojson", entry("us1aaaa"))
    looked_at(world, feed, told)
    feed.put("/page.geojson", entry("us1aaaa", mag=7.4, updated=ms(NOW) + 5))
    with world.engine.begin() as connection:
        connection.execute(text(REFUSE))
    later = NOW + timedelta(hours=6)
    assert looked_at(world, feed, now=later) == ()
    with world.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER refuse ON scarp.event"))
    [made] = looked_at(world, feed, now=later + timedelta(minutes=1))
    assert made.decision == "updated"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (json.dumps(SUMMARY).encode()[:700], "is not whole GeoJSON"),
        (b"<!DOCTYPE html><html><body>Down for maintenance</body></html>", "is a web page"),
        (b"", "is not whole GeoJSON"),
        (b"[1, 2]", "holds no GeoJSON object"),
        (b'{"type": "Point", "coordinates": [1, 2]}', "holds a GeoJSON 'Point'"),
        (b"[" * 100_000, "is not whole GeoJSON"),
    ],
)
def test_a_feed_that_is_none_is_read_again_at_the_next_look(world, feed, body, complaint):
    url = feed.put("/summary.geojson", body)
    looked = look_once(Watch(world, "usgs", url, RULES), NOW)
    assert complaint in str(looked.failure)
    assert [complaint in one.reason for one in looked.decisions] == [True]
    assert [complaint in reason for _, reason in stored(world).values()] == [True]
    assert [one.decision for one in looked_at(world, feed, GOOD)] == ["registered"]


@pytest.mark.parametrize(("status", "complaint"), [(503, "try again later"), (404, "HTTP 404")])
def test_a_server_that_fails_is_asked_again(world, feed, status, complaint):
    url = feed.put("/summary.geojson", b"")
    feed.statuses["/summary.geojson"] = status
    assert complaint in str(look_once(Watch(world, "usgs", url, RULES), NOW).failure)
    del feed.statuses["/summary.geojson"]
    assert [one.decision for one in looked_at(world, feed, GOOD)] == ["registered"]


def test_a_stale_feed_is_said_to_be_and_its_events_are_judged(world, feed):
    made = looked_at(world, feed, GOOD, generated=NOW - timedelta(days=3))
    assert [one.decision for one in made] == ["registered", "ignored"]
    assert "is stale" in made[1].reason and "3 days before" in made[1].reason
    assert made[1].event_id == ""


def test_what_was_ahead_of_the_clock_is_registered_when_the_clock_has_passed_it(world, feed):
    ahead = entry("us1aaaa", time=ms(NOW + timedelta(hours=5)))
    assert [one.decision for one in looked_at(world, feed, ahead)] == ["ignored"]
    url = f"{feed.url}/summary.geojson"
    later = look_once(Watch(world, "usgs", url, RULES), NOW + timedelta(hours=6)).decisions
    assert [one.decision for one in later] == ["registered"]


def test_what_is_ahead_of_the_clock_and_too_small_is_not_said_to_be_decided_again(world, feed):
    looked_at(world, feed, entry("us1aaaa", mag=3.0, time=ms(NOW + timedelta(hours=5))))
    assert stored(world)["us1aaaa"] == ("ignored", "M 3 is below M 5 of the rules")


def test_a_clock_that_jumps_back_undoes_nothing(world, feed):
    looked_at(world, feed, GOOD)
    back = NOW - timedelta(days=400)
    assert [one.decision for one in looked_at(world, feed, GOOD, now=back)] == ["unchanged"]
    assert len(rows(world, "SELECT * FROM scarp.event")) == 1


def test_an_earthquake_on_the_antimeridian_gets_an_area_on_both_sides(world, feed):
    taveuni = entry("us1aaaa", geometry=(180.05, -16.8, 12.0), mag=7.0)
    assert [one.decision for one in looked_at(world, feed, taveuni)] == ["registered"]
    [(west, east, valid)] = rows(
        world, "SELECT ST_XMin(aoi), ST_XMax(aoi), ST_IsValid(aoi) FROM scarp.v_events"
    )
    assert west < -179 and east > 179 and valid


def test_above_sea_level_is_a_depth(world, feed):
    made = looked_at(world, feed, entry("us1aaaa", geometry=(-117.6, 35.77, -1.2)))
    assert [one.decision for one in made] == ["registered"]
    assert rows(world, "SELECT depth_km FROM scarp.event") == [(-1.2,)]
