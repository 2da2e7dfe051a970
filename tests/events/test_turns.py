"""Whose turn it is, in a true PostGIS: one response an event, the most urgent first, none lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import EventError
from tasks.events.decisions import request_response, waiting_requests
from tasks.events.registry import register
from tasks.events.states import move
from tasks.events.troubles import new_dead_letters
from tasks.events.turns import (
    CANCELLED,
    FIRST_WAIT,
    LONGEST_WAIT,
    TRIES,
    announce,
    dead_letters,
    due,
    end_turn,
    fail_turn,
    find_turn,
    forget,
    give_up,
    held_turns,
    list_turns,
    replay,
    runs_of_turns,
    take_turn,
)
from tasks.inventory.runs import start_run
from tasks.types import AreaOfInterest, Event, Provenance

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
AREA = AreaOfInterest(MultiPolygon([box(11.8, 44.1, 12.0, 44.3)]), "given")
AGAIN = timedelta(minutes=10)


@pytest.fixture
def ask(engine):
    """Ask for a response to an event, registered on the way."""

    def ask_for(event_id, priority=1.0, version="1", wait=timedelta(0)):
        event = Event(event_id, "rainfall", event_id, NOW, 11.9, 44.2)
        with engine.begin() as connection:
            register(connection, event, AREA)
            said = (event_id, version, "it rained", priority, NOW + wait, NOW)
            request_response(connection, *said)

    return ask_for


@pytest.fixture
def take(engine):
    def take_one(by, now=NOW):
        with engine.begin() as connection:
            return take_turn(connection, by, now)

    return take_one


def test_the_most_urgent_event_comes_first_and_each_once(ask, take, engine):
    for event_id, priority in (("calm", None), ("worst", 9.0), ("bad", 5.0)):
        ask(event_id, priority)
    with engine.connect() as connection:
        waiting = [one.event_id for one in waiting_requests(connection)]
    assert waiting == ["worst", "bad", "calm"]
    assert [take(f"run {n}").event_id for n in range(3)] == ["worst", "bad", "calm"]
    assert take("run 4") is None


def test_a_newer_version_waits_until_the_response_that_runs_is_done(ask, take, engine):
    ask("storm")
    turn = take("one")
    ask("storm", version="2")
    assert take("two") is None
    with engine.begin() as connection:
        end_turn(connection, turn)
        assert [one.event_id for one in due(connection, NOW)] == ["storm"]
    assert take("two").upto > turn.upto


def test_what_is_done_is_not_due_again(ask, take, engine):
    ask("storm")
    ask("storm", version="2")
    turn = take("one")
    with engine.begin() as connection:
        end_turn(connection, turn)
        assert not due(connection, NOW)
        assert find_turn(connection, "storm") is None
    ask("storm", version="2")
    assert take("two").upto == turn.upto


def test_a_run_that_was_killed_takes_up_its_own_turn(ask, take):
    ask("storm")
    ask("other", 0.1)
    assert take("one").attempts == 1
    again = take("one")
    assert (again.event_id, again.attempts) == ("storm", 2)


def test_what_fails_waits_longer_each_time_and_is_dead_in_the_end(ask, take, engine):
    ask("storm")
    now = NOW
    for attempt in range(1, TRIES + 1):
        turn = take(f"run {attempt}", now)
        assert turn.attempts == attempt
        with engine.begin() as connection:
            fail_turn(connection, turn, "the disk is full", now)
            assert find_turn(connection, "storm").failures == attempt
        assert take("too soon", now) is None
        now += FIRST_WAIT * 2 ** (attempt - 1)
    with engine.connect() as connection:
        (dead,) = dead_letters(connection)
    assert (dead.event_id, dead.failure) == ("storm", "the disk is full")
    assert take("never", now + timedelta(days=9)) is None


def test_what_passes_by_itself_is_tried_for_most_of_a_day(ask, take, engine):
    ask("storm")
    now, waits = NOW, []
    while turn := take(f"run {len(waits)}", now):
        with engine.begin() as connection:
            fail_turn(connection, turn, "the network is down", now, passes=True)
            again = find_turn(connection, "storm").retry_at
        waits.append(again - now if again else None)
        now = again or now
    assert waits[:2] == [FIRST_WAIT, FIRST_WAIT * 2] and waits[-2:] == [LONGEST_WAIT, None]
    assert timedelta(hours=12) < now - NOW < timedelta(hours=24)


def test_a_dead_letter_comes_back_by_a_newer_version_or_by_hand(ask, take, engine):
    ask("storm")
    with engine.begin() as connection:
        fail_turn(connection, take("one"), "no source", NOW, give_up=True)
    ask("storm", version="2")
    turn = take("two")
    assert turn.attempts == 1
    with engine.begin() as connection:
        fail_turn(connection, turn, "no source", NOW, give_up=True)
        replay(connection, "storm")
    assert take("three").event_id == "storm"
    with engine.begin() as connection, pytest.raises(EventError, match="no dead letter"):
        replay(connection, "storm")


def test_a_turn_that_somebody_else_has_by_now_is_not_failed(ask, take, engine):
    ask("storm")
    late = take("one")
    with engine.begin() as connection:
        fail_turn(connection, late, "lost", NOW)
    take("two", NOW + FIRST_WAIT)
    with engine.begin() as connection:
        fail_turn(connection, late, "lost", NOW)
        assert [turn.held_by for turn in held_turns(connection)] == ["two"]


def test_a_fresh_event_is_not_due_yet_and_one_that_nobody_wants_answered_never(ask, engine):
    ask("fresh", wait=timedelta(minutes=5))
    for state in ("held", "cancelled", "closed"):
        ask(state)
    with engine.begin() as connection:
        for state in ("held", "cancelled", "closed"):
            move(connection, state, state, "the duty officer said so")
        assert [one.event_id for one in waiting_requests(connection)] == ["fresh"]
        assert not due(connection, NOW)
        assert [one.event_id for one in due(connection, NOW + timedelta(minutes=5))] == ["fresh"]


def test_what_is_due_is_announced_once_and_again_when_it_failed_or_nobody_took_it_up(
    ask, take, engine
):
    ask("storm")

    def told(now):
        with engine.begin() as connection:
            return [(one.event_id, one.first) for one in announce(connection, now, AGAIN)]

    assert told(NOW) == [("storm", True)]
    assert told(NOW) == []
    ask("storm", version="2")
    assert told(NOW) == [("storm", True)]
    assert told(NOW + AGAIN) == [("storm", True)]
    later = NOW + AGAIN + FIRST_WAIT
    with engine.begin() as connection:
        fail_turn(connection, take("one", NOW + AGAIN), "the disk is full", NOW + AGAIN)
    assert told(later) == [("storm", True)] and told(later) == []


def test_what_waits_for_an_event_that_is_cancelled_is_forgotten_and_nothing_else(ask, take, engine):
    for priority, event_id in enumerate(("announced", "failed", "dead", "running")):
        ask(event_id, priority)
    running, dead, failed = (take(by) for by in "abc")
    with engine.begin() as connection:
        fail_turn(connection, failed, "no network", NOW)
        fail_turn(connection, dead, "no source", NOW, give_up=True)
        assert [one.event_id for one in announce(connection, NOW, AGAIN)] == ["announced"]
        begun = [one.event_id for one in list_turns(connection)]
        assert begun == ["dead", "failed", "running"]
        for event_id in ("announced", "failed", "dead", "running"):
            move(connection, event_id, "cancelled", "it did not happen")
        announce(connection, NOW, AGAIN)
        assert find_turn(connection, "announced") is find_turn(connection, "failed") is None
        assert [one.event_id for one in dead_letters(connection)] == ["dead"]
        assert held_turns(connection) == [running]


def test_an_update_is_announced_as_one(ask, take, engine):
    ask("storm")
    with engine.begin() as connection:
        end_turn(connection, take("one"))
    ask("storm", version="2")
    with engine.begin() as connection:
        assert [one.first for one in announce(connection, NOW, AGAIN)] == [False]


def test_twenty_events_asked_for_by_eight_at_once_are_each_taken_once(ask, take):
    for number in range(20):
        ask(f"event-{number}", float(number))
    with ThreadPoolExecutor(8) as eight:
        taken = [turn.event_id for turn in eight.map(take, map(str, range(25))) if turn]
    assert sorted(taken) == sorted(f"event-{number}" for number in range(20))


def test_a_response_that_waits_can_be_given_up_by_hand_and_one_that_runs_goes_on(ask, take, engine):
    ask("running")
    running = take("one")
    ask("storm")
    with engine.begin() as connection:
        assert give_up(connection, "storm", "not now", NOW)
        assert not give_up(connection, "nowhere", "not now", NOW)
        give_up(connection, "running", "not now", NOW)
    assert take("two") is None
    with engine.connect() as connection:
        assert [one.failure for one in dead_letters(connection)] == ["not now"]
        assert new_dead_letters(connection) == [], "people know what they gave up"
        assert held_turns(connection) == [running]


def test_the_runs_of_responses_that_are_made_or_were_cancelled_are_the_relays_to_end(
    ask, take, engine
):
    runs = {}
    for event_id, cause in (("waits", "OSError"), ("cancelled", CANCELLED), ("runs", "")):
        ask(event_id)
        with engine.begin() as connection:
            started = start_run(connection, Provenance(event_id, {}), "map", None, "c0ffee")
            runs[event_id] = started
            turn = take_turn(connection, event_id, NOW)
            if cause:
                fail_turn(connection, turn, "it ended", NOW, cause=cause)
    with engine.connect() as connection:
        assert runs_of_turns(connection) == {runs["cancelled"], runs["runs"]}


def test_a_response_made_by_hand_forgets_the_dead_letter_and_leaves_one_that_runs(
    engine, ask, take
):
    for event_id in ("dead", "running"):
        ask(event_id)
        turn = take("run 1" if event_id == "running" else "run 0")
        if event_id == "dead":
            with engine.begin() as connection:
                fail_turn(connection, turn, "no source", NOW, give_up=True)
    with engine.begin() as connection:
        forget(connection, "dead")
        forget(connection, "running")
        assert dead_letters(connection) == []
        assert [turn.event_id for turn in held_turns(connection)] == ["running"]
