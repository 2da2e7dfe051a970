from dataclasses import replace
from datetime import UTC, datetime

import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import EventError
from tasks.events.registry import find_registered, register
from tasks.events.states import history, move, require_open, settle
from tasks.types import AreaOfInterest, Event

QUAKE = Event("us1", "earthquake", "A quake", datetime(2024, 5, 1, tzinfo=UTC), 10.0, 46.0, 5.2)
AREA = AreaOfInterest(MultiPolygon([box(9, 45, 11, 47)]), "given")


@pytest.fixture
def connection(engine):
    with engine.begin() as connection:
        register(connection, QUAKE, AREA)
        yield connection


def test_an_event_goes_from_registered_to_closed_and_its_history_tells(connection):
    for change in ("responding", "published", "closed"):
        move(connection, "us1", change, f"because {change}")
    told = [(one.change, one.state, one.reason) for one in history(connection, "us1")]
    assert told == [
        ("registered", "registered", ""),
        ("responding", "responding", "because responding"),
        ("published", "published", "because published"),
        ("closed", "closed", "because closed"),
    ]


@pytest.mark.parametrize(
    ("before", "change"),
    [([], "published"), ([], "released"), (["held"], "responding"), (["held"], "closed")],
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


def test_a_response_that_failed_leaves_the_event_registered(connection):
    move(connection, "us1", "responding", "")
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


def test_an_update_leaves_the_state_alone(connection):
    move(connection, "us1", "held", "wait")
    register(connection, replace(QUAKE, magnitude=5.4), AREA)
    assert find_registered(connection, "us1").state == "held"
