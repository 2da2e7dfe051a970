"""Storms and shared GLIDE numbers, from the feed to the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import xarray

from flows.entry import deal_with
from flows.feeds import Watch
from flows.watch import look_once
from tasks.events.registry import find_registered
from tasks.events.reports import EventReport
from tasks.events.rules import read_rules
from tasks.types import Event
from tests.conftest import EXAMPLE
from tests.flows.conftest import rows

START = datetime(2023, 5, 16, tzinfo=UTC)
RULES = read_rules()


@pytest.fixture
def rain(tmp_path):
    """Hourly rain over the hills south of the Po, of which a test says how far it has come."""
    fallen = np.zeros((60, 20, 30), np.float32)
    fallen[10:34, 5:10, 6:13] = 6
    fallen[30:54, 5:10, 13:16] = 6

    def write(first, last, factor=1.0):
        ends = [START.replace(tzinfo=None) + timedelta(hours=n + 1) for n in range(first, last)]
        xarray.Dataset(
            {"rain": (("time", "lat", "lon"), fallen[first:last] * factor, {"units": "mm"})},
            {
                "time": np.array(ends, "M8[ns]"),
                "lat": 44.95 - 0.1 * np.arange(20),
                "lon": 10.55 + 0.1 * np.arange(30),
            },
        ).to_netcdf(tmp_path / "rain.nc", engine="netcdf4")
        return str(tmp_path / "rain.nc")

    return write


def look(world, url, hours):
    return look_once(Watch(world, "rain", url, RULES), START + timedelta(hours=hours)).decisions


def test_a_storm_is_registered_once_and_grows_with_every_look(world, rain):
    (first,) = look(world, rain(0, 34), hours=34)
    (second,) = look(world, rain(0, 35), hours=35)
    (third,) = look(world, rain(0, 44), hours=44)
    assert [one.decision for one in (first, second, third)] == [
        "registered",
        "unchanged",
        "updated",
    ]
    assert first.event_id == second.event_id == third.event_id
    assert rows(world, "SELECT count(*) FROM scarp.event") == [(1,)]
    requests = rows(world, "SELECT source_version FROM scarp.response_request ORDER BY id")
    assert requests == [(first.source_version,), (third.source_version,)]


def test_rain_that_leaves_the_files_leaves_the_storm_as_it_was(world, rain):
    look(world, rain(0, 44), hours=44)
    with world.engine.connect() as connection:
        (event_id,) = rows(world, "SELECT id FROM scarp.event")[0]
        before = find_registered(connection, event_id)
    (made,) = look(world, rain(24, 50), hours=50)
    assert (made.event_id, made.decision) == (event_id, "unchanged")
    with world.engine.connect() as connection:
        assert find_registered(connection, event_id) == before


def test_a_storm_that_has_lasted_longer_than_events_may_be_old_goes_on(world, rain):
    young = RULES.rainfall.model_copy(update={"max_age": timedelta(hours=30)})
    rules = RULES.model_copy(update={"rainfall": young})
    (first,) = look(world, rain(0, 34), hours=34)
    watch = Watch(world, "rain", rain(20, 56), rules)
    (made,) = look_once(watch, START + timedelta(hours=56)).decisions
    assert (made.event_id, made.decision) == (first.event_id, "updated")


def test_a_look_that_is_done_again_changes_nothing(world, rain):
    url = rain(0, 44)
    (made,) = look(world, url, hours=44)
    (again,) = look(world, url, hours=45)
    assert (again.event_id, again.decision) == (made.event_id, "unchanged")
    assert len(rows(world, "SELECT 1 FROM scarp.response_request")) == 1


def test_the_gauge_of_the_examples_is_a_storm(world):
    (made,) = look(world, str(EXAMPLE.parent / "rain" / "gauge.csv"), hours=48)
    assert made.decision == "registered"
    title, started = rows(world, "SELECT title, occurred_at FROM scarp.event")[0]
    assert title == "Rain of 176 mm in 22 h, 1.8 times the landslide threshold caine1980"
    assert started.astimezone(UTC) == START + timedelta(hours=7)


def test_missing_rain_is_told_and_registers_nothing(world, rain):
    (made,) = look(world, rain(0, 44, factor=np.nan), hours=44)
    assert (made.event_id, made.decision) == ("", "ignored")
    assert "it cannot be told whether the threshold was passed in 600 of 600 cells" in made.reason


def test_two_files_that_are_no_rain_are_two_complaints(world, tmp_path):
    for name in ("one.nc", "other.nc"):
        (tmp_path / name).write_text("<html>")
        looked = look_once(Watch(world, "rain", str(tmp_path / name), RULES), START)
        assert [one.decision for one in looked.decisions] == ["ignored"]
        assert name in looked.decisions[0].reason
        assert looked.failure is not None


def test_two_earthquakes_of_one_disaster_share_its_glide_number_and_stay_two(world):
    glide = "EQ-2016-000033-JPN"
    foreshock = Event(
        id="EQ1100001",
        kind="earthquake",
        title="M 6.2",
        occurred_at=datetime(2016, 4, 14, 12, 26, 35, tzinfo=UTC),
        longitude=130.70,
        latitude=32.79,
        magnitude=6.2,
        depth_km=9,
        source="gdacs",
        alternate_ids=(glide,),
    )
    main = replace(
        foreshock,
        id="EQ1100002",
        occurred_at=datetime(2016, 4, 15, 16, 25, 6, tzinfo=UTC),
        magnitude=7.0,
    )
    watch = Watch(world, "gdacs", "feed", RULES)
    for event in (foreshock, main):
        now = event.occurred_at + timedelta(hours=1)
        version = f"gdacs:{event.id}:1:1"
        report = EventReport(event, "gdacs", version, now, (glide,), "automatic")
        assert deal_with(watch, report, now).decision == "registered"
        assert deal_with(watch, report, now).decision == "unchanged"
    found = rows(world, "SELECT id, magnitude FROM scarp.event ORDER BY id")
    assert found == [("EQ1100001", 6.2), ("EQ1100002", 7.0)]
