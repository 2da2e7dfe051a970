from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from shapely.geometry import MultiPolygon, box

from tasks.events import gdacs
from tasks.events.crosswalk import grown, names_one, same_event
from tasks.events.reports import EventReport, WatchState
from tasks.types import AreaOfInterest, Event
from tests.conftest import DATA

NOW = datetime(2019, 12, 30, 2, tzinfo=UTC)
MAIN = Event(
    id="us2000h8ty",
    kind="earthquake",
    title="M 6.6",
    occurred_at=datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC),
    longitude=141.93,
    latitude=42.69,
    magnitude=6.6,
)
# GDACS keeps two entries of one earthquake where it hears of it from NEIC and from EMSC.
PAIRS_IN_THE_FEED = [("EQ1199845", "EQ1199846"), ("EQ1199938", "EQ1199939")]


@dataclass(frozen=True)
class Known:
    event: Event
    aoi: AreaOfInterest | None = None


def week():
    path = str(DATA / "feeds" / "gdacs" / "gdacs-rss-7d.xml")
    return [report for report in gdacs.look(path, WatchState(path), NOW)[0] if report.event]


def report(event):
    return EventReport(event, "gdacs", "1", NOW, alternate_ids=event.alternate_ids)


def known(*events):
    return [Known(event) for event in events]


def moved(event=MAIN, name="EQ1150934", seconds=0, degrees_north=0.0, magnitude=0.0, ids=()):
    return replace(
        event,
        id=name,
        occurred_at=event.occurred_at + timedelta(seconds=seconds),
        latitude=event.latitude + degrees_north,
        magnitude=event.magnitude + magnitude,
        alternate_ids=ids,
    )


def test_in_a_recorded_week_only_the_entries_twice_in_it_are_one_earthquake():
    reports = week()
    pairs = {
        frozenset((one.id, same_event(one, known(other.event))))
        for one in reports
        for other in reports
        if one is not other and same_event(one, known(other.event))
    }
    assert pairs == set(map(frozenset, PAIRS_IN_THE_FEED))


def test_it_makes_no_difference_which_source_came_first():
    reports = {report.id: report for report in week()}
    for one, other in PAIRS_IN_THE_FEED:
        assert same_event(reports[one], known(reports[other].event)) == other
        assert same_event(reports[other], known(reports[one].event)) == one


def test_an_id_in_common_decides_however_far_the_rest_has_moved():
    late = moved(seconds=400, degrees_north=3, ids=("us2000h8ty",))
    assert same_event(report(late), known(MAIN)) == "us2000h8ty"
    assert same_event(report(MAIN), known(late)) == "EQ1150934"


@pytest.mark.parametrize(
    ("seconds", "degrees_north", "magnitude", "same"),
    [
        (4.2, 0.43, 0.4, True),  # as far as agencies differ in the recorded histories
        (29, 0.0, 0.0, True),
        (31, 0.0, 0.0, False),
        (0, 0.89, 0.0, True),
        (0, 0.91, 0.0, False),
        (0, 0.0, 1.01, False),
    ],
)
def test_time_place_and_magnitude_decide_where_no_id_does(seconds, degrees_north, magnitude, same):
    other = moved(seconds=seconds, degrees_north=degrees_north, magnitude=magnitude)
    assert (same_event(report(other), known(MAIN)) == "us2000h8ty") is same
    assert (same_event(report(MAIN), known(other)) == "EQ1150934") is same


def test_the_distance_is_on_the_ground_across_the_antimeridian():
    west = replace(MAIN, longitude=179.9)
    assert same_event(report(replace(moved(), longitude=-179.9)), known(west)) == "us2000h8ty"


def test_a_magnitude_that_is_missing_does_not_keep_two_apart():
    assert same_event(report(replace(moved(), magnitude=None)), known(MAIN)) == "us2000h8ty"


def test_an_aftershock_a_minute_later_is_another_earthquake():
    assert same_event(report(moved(seconds=55)), known(MAIN)) is None


def test_between_two_aftershocks_the_one_that_clearly_fits_is_taken():
    first, second = moved(name="us2000aaaa"), moved(name="us2000bbbb", seconds=25)
    assert same_event(report(moved(seconds=24.5)), known(first, second)) == "us2000bbbb"
    assert same_event(report(moved(seconds=0.5)), known(first, second)) == "us2000aaaa"


def test_between_two_that_fit_about_equally_none_is_taken():
    first, second = moved(name="us2000aaaa"), moved(name="us2000bbbb", seconds=25)
    assert same_event(report(moved(seconds=12)), known(first, second)) is None


def test_a_network_that_gave_two_ids_saw_two_earthquakes_unless_they_hardly_differ():
    other = moved(name="us2000h8tz", seconds=8)
    assert same_event(report(other), known(MAIN)) is None
    assert same_event(report(replace(other, id="nc72852151")), known(MAIN)) == "us2000h8ty"
    located_anew = moved(name="us2000h8tz", seconds=2, degrees_north=0.1, magnitude=0.1)
    assert same_event(report(located_anew), known(MAIN)) == "us2000h8ty"


def test_a_glide_number_only_widens_the_gates():
    glide = ("EQ-2018-000156-JPN",)
    known_by_glide = replace(MAIN, alternate_ids=glide)
    for seconds, expected in ((200, "us2000h8ty"), (400, None)):
        other = moved(seconds=seconds, ids=glide)
        assert same_event(report(other), known(known_by_glide)) == expected


STORM = Event(
    id="rain-1",
    kind="rainfall",
    title="storm",
    occurred_at=datetime(2023, 5, 16, tzinfo=UTC),
    longitude=11.5,
    latitude=44.3,
    rainfall_mm=150,
    duration_h=24,
)


def area(west, south, east, north):
    return AreaOfInterest(MultiPolygon([box(west, south, east, north)]), "rain")


def storm(name="rain-2", hours=0):
    return replace(STORM, id=name, occurred_at=STORM.occurred_at + timedelta(hours=hours))


def test_a_storm_seen_again_later_and_wider_is_the_same():
    known = [Known(STORM, area(11, 44, 12, 45))]
    again = replace(report(storm(hours=1)), aoi=area(11.9, 44, 13, 45))
    assert same_event(again, known) == "rain-1"


@pytest.mark.parametrize(
    ("hours", "west", "same"),
    [(47, 11, True), (49, 11, False), (-47, 11, True), (-49, 11, False), (1, 12.1, False)],
)
def test_storms_a_day_or_a_valley_apart_are_two(hours, west, same):
    known = [Known(STORM, area(11, 44, 12, 45))]
    other = replace(report(storm(hours=hours)), aoi=area(west, 44, west + 1, 45))
    assert (same_event(other, known) == "rain-1") is same


def test_a_storm_that_has_grown_together_is_the_one_it_shares_most_ground_with():
    known = [Known(STORM, area(11, 44, 11.2, 45)), Known(storm("rain-0"), area(12, 44, 13, 45))]
    both = replace(report(storm("rain-3", hours=2)), aoi=area(11, 44, 13, 45))
    assert same_event(both, known) == "rain-0"


def test_a_storm_only_grows():
    known = Known(STORM, area(11, 44, 12, 45))
    wider = replace(storm(hours=3), source_version="2")
    event, aoi = grown(wider, area(11.5, 44, 13, 45), known)
    assert aoi.geometry.equals(box(11, 44, 13, 45))
    assert event == replace(STORM, id="rain-2", source_version="2")
    wetter, _ = grown(replace(wider, rainfall_mm=180), area(11, 44, 12, 45), known)
    assert (wetter.rainfall_mm, wetter.occurred_at) == (180, STORM.occurred_at)


def test_a_look_that_sees_less_of_a_storm_changes_nothing():
    known = Known(STORM, area(11, 44, 12, 45))
    less = replace(storm(hours=3), rainfall_mm=90, source_version="2")
    assert grown(less, area(11, 44, 11.5, 45), known) == (known.event, known.aoi)


def test_a_glide_number_is_of_a_disaster_not_of_one_earthquake():
    assert names_one("us2000h8ty")
    assert not names_one("EQ-2018-000156-JPN")


def test_rain_is_no_earthquake():
    rain = replace(MAIN, kind="rainfall", magnitude=None, id="storm")
    assert same_event(report(moved()), known(rain)) is None
    assert same_event(report(rain), known(MAIN)) is None
