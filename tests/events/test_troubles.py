"""Troubles are told once, and those that people made are none."""

from datetime import UTC, datetime, timedelta

import pytest
from shapely.geometry import MultiPolygon, box

from tasks.events.decisions import request_response
from tasks.events.registry import register
from tasks.events.troubles import GivenUp, new_dead_letters, new_waits
from tasks.events.turns import CANCELLED, fail_turn, take_turn
from tasks.imagery.waits import Terms, end_wait, keep_waiting
from tasks.types import AreaOfInterest, Event

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
AREA = AreaOfInterest(MultiPolygon([box(11.8, 44.1, 12.0, 44.3)]), "given")


@pytest.fixture
def connection(engine):
    with engine.begin() as connection:
        register(connection, Event("storm", "rainfall", "storm", NOW, 11.9, 44.2), AREA)
        yield connection


def give_up(connection, version, cause):
    request_response(connection, "storm", version, "it rained", 1.0, NOW, NOW)
    turn = take_turn(connection, f"run {version}", NOW)
    fail_turn(connection, turn, "no weights", NOW, give_up=True, cause=cause)


def test_a_dead_letter_is_told_once_and_one_that_people_asked_for_never(connection):
    give_up(connection, "1", "ModelError")
    assert new_dead_letters(connection) == [GivenUp("storm", "no weights", "ModelError", 1)]
    assert new_dead_letters(connection) == []
    give_up(connection, "2", CANCELLED)
    assert new_dead_letters(connection) == []


def test_a_wait_is_told_when_it_begins_and_when_its_deadline_has_passed(connection):
    terms = Terms(0.9, NOW + timedelta(days=20), timedelta(hours=12))
    for look in range(2):
        later = NOW + timedelta(hours=12 * look)
        keep_waiting(connection, "storm", terms, 0.1, "clouds", [], later)
        told = new_waits(connection)
        assert [(one.event_id, one.over) for one in told] == [("storm", False)] * (look == 0)
    end_wait(connection, "storm", "deadline", 0.1, "clouds", terms.deadline)
    [told] = new_waits(connection)
    assert (told.over, told.deadline) == (True, terms.deadline)
    assert new_waits(connection) == []
