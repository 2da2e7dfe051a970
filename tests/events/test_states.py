import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from tasks.errors import EventError
from tasks.events.decisions import request_response
from tasks.events.registry import find_registered, register
from tasks.events.states import (
    WITHOUT_A_WORD,
    history,
    move,
    require_open,
    settle,
    settle_left,
    sign_of_life,
)
from tasks.events.turns import take_turn
from tasks.inventory.runs import start_run
from tasks.inventory.store import store_inventory
from tasks.types import AreaOfInterest, Event, Provenance

QUAKE = Event("us1", "earthquake", "A quake", datetime(2024, 5, 1, tzinfo=UTC), 10.0, 46.0, 5.2)
AREA = AreaOfInterest(MultiPolygon([box(9, 45, 11, 47)]), "given")


@pytest.fixture
def connection(engine):
    with engine.begin() as connection:
        register(connection, QUAKE, AREA)
        yield connection


def test_an_event_goes_from_registered_to_closed_and_its_history_tells(connection):
    for change in ("responding", "published", "closed", "responding"):
        move(connection, "us1", change, f"because {change}")
    told = [(one.change, one.state, one.reason) for one in history(connection, "us1")]
    assert told == [
        ("registered", "registered", ""),
        ("responding", "responding", "because responding"),
        ("published", "published", "because published"),
        ("closed", "closed", "because closed"),
        ("responding", "responding", "because responding"),
    ]


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ([], "published"),
        ([], "released"),
        (["held"], "responding"),
        (["held"], "closed"),
        (["responding"], "closed"),
    ],
)
def test_a_change_out_of_order_is_refused_and_changes_nothing(connection, before, change):
    for step in before:
        move(connection, "us1", step, "")
    state = find_registered(connection, "us1").state
    with pytest.raises(EventError, match=f"event us1 is {state}; only one that is"):
        move(connection, "us1", change, "")
    assert find_registered(connection, "us1").state == state


def test_being_there_already_changes_nothing(connection):
    move(connection, "us1", "held", "first")
    move(connection, "us1", "held", "again")
    assert [one.reason for one in history(connection, "us1")] == ["", "first"]


def test_a_response_that_failed_leaves_the_event_registered_though_it_left_a_draft(connection):
    move(connection, "us1", "responding", "")
    store(connection, publish=False)
    settle(connection, "us1", "failed", "no imagery")
    assert find_registered(connection, "us1").state == "registered"


def test_a_hold_during_a_response_stays(connection):
    move(connection, "us1", "responding", "")
    move(connection, "us1", "held", "wait")
    settle(connection, "us1", "published", "done")
    assert find_registered(connection, "us1").state == "held"


@pytest.mark.parametrize("change", ["held", "cancelled"])
def test_nobody_responds_to_what_is_held_or_cancelled(connection, change):
    require_open(find_registered(connection, "us1"))
    with pytest.raises(EventError, match=f"is {change}; `scarp events release us1`"):
        require_open(move(connection, "us1", change, ""))


def test_a_merged_event_is_left_to_the_one_it_turned_out_to_be(connection):
    register(connection, replace(QUAKE, id="us2"), AREA)
    register(connection, replace(QUAKE, alternate_ids=("us2",)), AREA)
    with pytest.raises(EventError, match="us2 was merged into us1; respond to that one"):
        require_open(find_registered(connection, "us2"))
    with pytest.raises(EventError, match="us2 was merged into us1; name that one"):
        move(connection, "us2", "released", "by mistake")


def test_an_update_leaves_the_state_alone(connection):
    move(connection, "us1", "held", "wait")
    register(connection, replace(QUAKE, magnitude=5.4), AREA)
    assert find_registered(connection, "us1").state == "held"


RESPONDER = """
import sys
from sqlalchemy import create_engine
from tasks.events.states import move, sign_of_life
engine = create_engine(sys.argv[1])
with sign_of_life(engine, "us1"):
    with engine.begin() as connection:
        move(connection, "us1", "responding", "a response began")
    print("responding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def responder(engine):
    """Another process that responds to the event."""
    with engine.begin() as connection:
        register(connection, QUAKE, AREA)
    address = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", RESPONDER, address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "responding\n"
        yield process
        process.kill()


def store(connection, publish=True):
    run_id = start_run(connection, Provenance("us1", {}), "map-landslides", None, "c0ffee")
    store_inventory(
        connection,
        event_id="us1",
        run_id=run_id,
        digest="1",
        method="ldm-net",
        threshold=0.5,
        minimum_mapping_unit_m2=0.0,
        observed=AREA.geometry,
        landslides=gpd.GeoDataFrame(geometry=[], crs=4326),
        doubts=[],
        publish=publish,
    )


def left(engine):
    with engine.begin() as connection:
        return settle_left(connection)


def kill(responder, engine):
    """Kill -9, and wait until PostgreSQL has seen that the session is gone."""
    responder.kill()
    responder.wait()
    session = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    with engine.connect() as connection:
        while connection.scalar(session) > 1:
            connection.rollback()


def test_a_response_that_was_killed_is_over_and_one_that_lives_is_not(engine, responder):
    assert left(engine) == []
    kill(responder, engine)
    with sign_of_life(engine, "us1"):
        assert left(engine) == []
    assert left(engine) == ["us1"]
    with engine.connect() as connection:
        assert find_registered(connection, "us1").state == "registered"
        last = history(connection, "us1")[-1]
    assert (last.change, last.reason) == ("failed", WITHOUT_A_WORD)
    assert left(engine) == []


def test_a_killed_response_whose_turn_is_held_is_left_to_whoever_begins_it_again(engine, responder):
    now = datetime(2024, 5, 2, tzinfo=UTC)
    with engine.begin() as connection:
        request_response(connection, "us1", "1", "news", None, now, now)
        assert take_turn(connection, "a flow run", now)
    kill(responder, engine)
    assert left(engine) == []
    with engine.connect() as connection:
        assert find_registered(connection, "us1").state == "responding"


OTHERS = "pid <> pg_backend_pid() AND datname = current_database()"
SIGN = {"sign": "scarp response to us1"}
END_OTHERS = text(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OTHERS}")


def test_a_response_outlives_a_database_that_was_started_anew(engine):
    with sign_of_life(engine, "us1"), engine.connect() as connection:
        assert connection.scalar(END_OTHERS) == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_response_taken_for_killed_when_its_session_ended_goes_on(engine, responder):
    with engine.begin() as connection:
        connection.execute(END_OTHERS)
        # A session that is told to end may hold its sign for a moment yet.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:sign, 0))"), SIGN)
        assert settle_left(connection) == ["us1"]
    with engine.connect() as connection:
        while find_registered(connection, "us1").state != "responding":
            connection.rollback()
        assert history(connection, "us1")[-1].reason == "the response goes on"
    assert left(engine) == []
    kill(responder, engine)
    assert left(engine) == ["us1"]


@pytest.mark.parametrize("steps", [["failed"], ["held", "released"]])
def test_a_response_that_published_leaves_its_event_published_whatever_was_said(connection, steps):
    move(connection, "us1", "responding", "")
    for step in steps:
        move(connection, "us1", step, "meanwhile")
    store(connection)
    settle(connection, "us1", "published", "a response was published")
    assert find_registered(connection, "us1").state == "published"
    assert history(connection, "us1")[-1].reason == "a response was published"
