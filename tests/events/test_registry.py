import multiprocessing
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from infra.schema import open_engine
from tasks.errors import EventError
from tasks.events.decisions import is_asked_for, request_response
from tasks.events.registry import (
    around,
    find_aoi,
    find_event,
    find_registered,
    list_events,
    lock_moment,
    register,
)
from tasks.events.reports import ShakeMapVersion
from tasks.events.shakemaps import known_shakemaps, mark_in_use, pin_shakemap, store_shakemaps
from tasks.events.watching import keep_page, pages
from tasks.types import AreaOfInterest, Event

HOKKAIDO = Event(
    id="us2000h8ty",
    kind="earthquake",
    title="M 6.6 - Hokkaido Eastern Iburi, Japan",
    occurred_at=datetime(2018, 9, 5, 18, 7, 59, 150000, tzinfo=UTC),
    longitude=141.9294,
    latitude=42.6861,
    magnitude=6.6,
    magnitude_type="mww",
    depth_km=35,
    source="us",
    source_version="us2000h8ty 2022-05-03T20:16:24Z",
    alternate_ids=("iscgem615104", "EQ1150934"),
)
EVENTS, PROCESSES = 60, 3
AREA = AreaOfInterest(MultiPolygon([box(141.8, 42.6, 142.1, 42.9)]), "given")


def history(engine):
    with engine.connect() as connection:
        return connection.scalars(text("SELECT change FROM scarp.event_history ORDER BY id")).all()


def test_an_event_comes_back_as_it_was_given(engine):
    with engine.begin() as connection:
        assert register(connection, HOKKAIDO, AREA) == "registered"
    with engine.connect() as connection:
        assert find_event(connection, "us2000h8ty") == HOKKAIDO
        assert find_aoi(connection, "us2000h8ty") == AREA


def test_registered_twice_is_registered_once(engine):
    tokyo = timezone(timedelta(hours=9))
    ring_from_another_corner = MultiPolygon([box(142.1, 42.6, 141.8, 42.9, ccw=False)])
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AREA)
        again = replace(HOKKAIDO, occurred_at=HOKKAIDO.occurred_at.astimezone(tokyo))
        area = AreaOfInterest(ring_from_another_corner, "given")
        assert register(connection, again, area) == "unchanged"
    assert history(engine) == ["registered"]


@pytest.mark.parametrize("change", [{"magnitude": 6.7}, {"title": "Iburi"}, {"longitude": 141.93}])
def test_a_change_updates_the_event_and_keeps_what_was_said_before(engine, change):
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AREA)
        assert register(connection, replace(HOKKAIDO, **change), AREA) == "updated"
        assert find_event(connection, HOKKAIDO.id) == replace(HOKKAIDO, **change)
        first = connection.scalar(text("SELECT record FROM scarp.event_history ORDER BY id"))
    assert first["magnitude"] == 6.6 and first["title"] == HOKKAIDO.title
    assert history(engine) == ["registered", "updated"]


def test_what_an_operator_asks_for_stays_asked_for(engine):
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AREA)
        assert register(connection, HOKKAIDO, AREA, forced=True) == "updated"
        assert register(connection, HOKKAIDO, AREA, forced=True) == "unchanged"
        register(connection, replace(HOKKAIDO, magnitude=6.7), AREA)
        assert find_registered(connection, HOKKAIDO.id).forced


def test_a_new_area_of_interest_is_an_update(engine):
    wider = AreaOfInterest(MultiPolygon([box(141, 42, 143, 43)]), "Keefer 1984")
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AREA)
        assert register(connection, HOKKAIDO, wider) == "updated"
        assert find_aoi(connection, HOKKAIDO.id) == wider


def _tell(settings, process):
    """One process's share: every event, by one of two ids, in one of two versions."""
    engine = open_engine(settings)
    for number in sorted(range(EVENTS), key=lambda one: one * (7, 11, 13)[process] % EVENTS):
        role = (process - number) % PROCESSES
        mine, other = f"us{number:05d}", f"ci{number:05d}"
        told = replace(
            HOKKAIDO,
            id=other if role == 1 else mine,
            alternate_ids=(mine,) if role == 1 else (other,),
            magnitude=7.0 if role == 2 else 6.0,
        )
        with engine.begin() as connection:
            register(connection, told, AREA)
    engine.dispose()


def test_sixty_events_that_three_processes_tell_at_once_by_two_ids_are_sixty(settings, engine):
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.starmap(_tell, [(settings, process) for process in range(PROCESSES)], chunksize=1)
    with engine.connect() as connection:
        known = list_events(connection)
        changes = connection.execute(text("SELECT event_id, change FROM scarp.event_history")).all()
    names = {name for one in known for name in (one.event.id, *one.event.alternate_ids)}
    assert len(known) == EVENTS and len(names) == 2 * EVENTS
    assert {one.state for one in known} == {"registered"}
    registered = Counter(event_id for event_id, change in changes if change == "registered")
    assert len(registered) == EVENTS and set(registered.values()) == {1}


def test_ids_of_two_known_events_make_them_one_and_lose_nothing(engine):
    one = replace(HOKKAIDO, alternate_ids=("at1",))
    two = replace(HOKKAIDO, id="hokkaido", alternate_ids=("iscgem1",))
    with engine.begin() as connection:
        register(connection, one, AREA)
    with engine.begin() as connection:
        register(connection, two, AREA)
    with engine.begin() as connection:
        both = replace(HOKKAIDO, id="iscgem1", alternate_ids=("us2000h8ty",))
        register(connection, both, AREA)
        kept, gone = (find_registered(connection, name) for name in ("us2000h8ty", "hokkaido"))
        assert find_event(connection, "iscgem1").id == "us2000h8ty"
    assert kept.state == "registered"
    assert kept.event.alternate_ids == ("at1", "hokkaido", "iscgem1")
    assert gone.state == "cancelled" and gone.merged_into == "us2000h8ty"
    assert history(engine) == ["registered", "registered", "merged", "merged"]


def test_what_is_known_of_an_event_goes_over_to_the_one_it_turns_out_to_be(engine):
    now, one = HOKKAIDO.occurred_at, replace(HOKKAIDO, alternate_ids=())
    for event, forced in ((one, False), (replace(one, id="hokkaido"), True)):
        version = ShakeMapVersion("us", event.id, now)
        with engine.begin() as connection:
            register(connection, event, AREA, forced=forced)
            store_shakemaps(connection, event.id, [version], None)
            pin_shakemap(connection, event.id, version.identity)
            mark_in_use(connection, event.id, version.identity)
            request_response(connection, event.id, "1", "news", None, now, now)
            keep_page(connection, f"https://example.org/{event.id}", "usgs", event.id, now)
    with engine.begin() as connection:
        register(connection, replace(one, alternate_ids=("hokkaido",)), AREA)
        assert find_registered(connection, one.id).forced
        assert is_asked_for(connection, one.id) and not is_asked_for(connection, "hokkaido")
        assert [page.event_id for page in pages(connection, "usgs")] == [one.id] * 2
        assert pages(connection, "gdacs") == []
        flags = {s.version.code: (s.pinned, s.in_use) for s in known_shakemaps(connection, one.id)}
        assert flags == {one.id: (True, True), "hokkaido": (False, False)}
        near = around(connection, now, timedelta(seconds=1))
        assert [known.event.id for known in near] == [one.id]


def test_who_registers_what_happened_moments_before_waits(engine):
    moment = datetime(2018, 9, 5, 18, 10, tzinfo=UTC)
    with engine.begin() as first, engine.connect() as second:
        lock_moment(first, moment)
        second.execute(text("SET LOCAL lock_timeout = '20ms'"))
        lock_moment(second, moment - timedelta(hours=1))
        with pytest.raises(OperationalError, match="lock timeout"):
            lock_moment(second, moment - timedelta(seconds=10))


def test_an_earthquake_and_a_storm_are_never_one_event(engine):
    storm = Event("storm", "rainfall", "A storm", HOKKAIDO.occurred_at, 141.9, 42.7)
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AREA)
        register(connection, storm, AREA)
        with pytest.raises(EventError, match="cannot be one event"):
            register(connection, replace(storm, alternate_ids=("us2000h8ty",)), AREA)


def test_events_are_listed_newest_first(engine):
    older = replace(
        HOKKAIDO, id="older", occurred_at=datetime(2001, 1, 1, tzinfo=UTC), alternate_ids=()
    )
    with engine.begin() as connection:
        register(connection, older, AREA)
        register(connection, HOKKAIDO, AREA)
        listed = list_events(connection)
    assert [known.event.id for known in listed] == ["us2000h8ty", "older"]
    assert listed[0].published_version is None and listed[0].state == "registered"


def test_an_unknown_event_is_refused_with_the_nearest_known(engine):
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AREA)
        with pytest.raises(EventError, match=r"'us2000h8tz' .*did you mean us2000h8ty\?.*register"):
            find_event(connection, "us2000h8tz")


@pytest.mark.parametrize("event_id", ["", "nothing like it", "x'; DROP TABLE scarp.event;--", "\0"])
def test_any_text_may_be_asked_for(engine, event_id):
    with engine.connect() as connection, pytest.raises(EventError, match="is not registered"):
        find_event(connection, event_id)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"occurred_at": datetime(2018, 9, 5, 18, 7)}, "no time zone"),
        ({"id": "../../etc/passwd"}, "event_id_check"),
        ({"id": "a\0b"}, "NUL"),
        ({"title": "a\0b"}, "NUL"),
        ({"magnitude": 66.0}, "event_magnitude_check"),
        ({"rainfall_mm": float("nan")}, "event_rainfall_mm_check"),
        ({"kind": "volcano"}, "event_kind_check"),
    ],
)
def test_what_the_register_cannot_hold_is_refused_and_leaves_nothing(engine, change, complaint):
    with engine.begin() as connection:
        with pytest.raises(EventError, match=complaint):
            register(connection, replace(HOKKAIDO, **change), AREA)
        assert list_events(connection) == []
    assert history(engine) == []


def test_quotes_and_sql_in_a_title_are_only_text(engine):
    title = "O'Higgins \"; DROP SCHEMA scarp CASCADE; -- %s :x {}"
    with engine.begin() as connection:
        register(connection, replace(HOKKAIDO, title=title), AREA)
        assert find_event(connection, HOKKAIDO.id).title == title
