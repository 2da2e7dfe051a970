"""From an event to what people wait for: measured from the rows that the work itself leaves."""

from datetime import UTC, datetime, timedelta

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.events.decisions import request_response
from tasks.events.latency import Failures, failures, milestones, queue
from tasks.events.registry import register
from tasks.events.states import move
from tasks.events.turns import take_turn
from tasks.inventory.runs import finish_run, record_judgements, start_run
from tasks.inventory.store import store_inventory
from tasks.types import AreaOfInterest, Event, Provenance, Scene, SceneJudgement

AREA = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])
OCCURRED = datetime(2026, 5, 17, tzinfo=UTC)


def taken(name, days):
    return Scene(
        id=name,
        provider="folder",
        collection="",
        item_id=name,
        acquired_at=OCCURRED + timedelta(days=days),
        gsd_m=10.0,
        bands=("red", "green", "blue"),
        crs="EPSG:32632",
        footprint=AREA,
        hrefs={},
        checksum=name,
    )


@pytest.fixture
def connection(engine):
    with engine.begin() as connection:
        for name in ("storm", "other"):
            event = Event(name, "rainfall", name, OCCURRED, 11.9, 44.2)
            register(connection, event, AreaOfInterest(AREA, "given"))
        yield connection


def publish(connection):
    run_id = start_run(connection, Provenance("storm", {}), "map-landslides", None, "c0ffee")
    scenes = [taken("before", -3), taken("clear", 6), taken("clouded", 1)]
    record_judgements(
        connection,
        run_id,
        [SceneJudgement(one, 1.0, one.id != "clouded", "judged") for one in scenes],
    )
    store_inventory(
        connection,
        event_id="storm",
        run_id=run_id,
        digest="1",
        method="ldm-net",
        threshold=0.5,
        minimum_mapping_unit_m2=0.0,
        observed=AREA,
        landslides=gpd.GeoDataFrame(geometry=[box(11.9, 44.2, 11.91, 44.21)], crs=4326),
        doubts=[],
        publish=True,
    )


def test_the_first_image_is_the_first_used_after_the_event_and_what_is_not_yet_is_left_out(
    connection,
):
    move(connection, "storm", "responding", "a response began")
    publish(connection)
    [storm] = milestones(connection, "storm")
    reached = storm.after(storm.occurred)
    assert list(reached) == ["registered", "response", "first_image", "inventory"]
    assert reached["first_image"] == timedelta(days=6)
    assert storm.after(storm.registered)["registered"] == timedelta(0)
    [other] = [one for one in milestones(connection) if one.event_id == "other"]
    assert list(other.after(other.occurred)) == ["registered"]


def test_the_queue_is_as_old_as_its_oldest_response_that_nobody_makes(connection):
    now = OCCURRED + timedelta(hours=9)
    for name, hours in (("storm", 2), ("other", 5)):
        asked = now - timedelta(hours=hours)
        request_response(connection, name, "1", "it rained", hours, asked, asked)
    assert queue(connection, now).age == timedelta(hours=5)
    assert take_turn(connection, "run 1", now).event_id == "other"
    waits = queue(connection, now)
    assert (waits.waiting, waits.age) == (1, timedelta(hours=2))


def test_failures_are_counted_by_the_kind_of_error(connection):
    for cause in ("NoImageryError", "NoImageryError", None):
        run_id = start_run(connection, Provenance("storm", {}), "map-landslides", None, "c0ffee")
        finish_run(connection, run_id, "failed", "it failed", cause)
    assert failures(connection) == [
        Failures("map-landslides", "NoImageryError", 2),
        Failures("map-landslides", "unknown", 1),
    ]
