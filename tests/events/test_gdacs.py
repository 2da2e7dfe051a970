import json
from datetime import UTC, datetime

import pytest

from tasks.errors import FeedError
from tasks.events import gdacs
from tasks.events.reports import WatchState
from tests.conftest import DATA

FEEDS = DATA / "feeds" / "gdacs"
NOW = datetime(2019, 12, 30, 2, tzinfo=UTC)


def look(path, state=None):
    return gdacs.look(str(path), state or WatchState(str(path)), NOW)


def week():
    return look(FEEDS / "gdacs-rss-7d.xml")[0]


@pytest.fixture
def changed(tmp_path):
    """A real feed of four entries, written anew after a change of its text."""

    def write(old, new, name="gdacs-1.xml"):
        text = (FEEDS / name).read_text(encoding="utf-8-sig")
        assert old in text
        path = tmp_path / "feed.xml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return write


def feature(**changes):
    """An earthquake in the layout of GDACS's API, with the fields of `geteventlist`."""
    properties = {
        "eventtype": "EQ",
        "eventid": 1474477,
        "episodeid": 1631455,
        "glide": "EQ-2025-000043-MMR",
        "alertlevel": "Red",
        "country": "Myanmar",
        "fromdate": "2025-03-28T06:20:54",
        "datemodified": "2025-03-28T09:12:00",
        "source": "NEIC",
        "sourceid": "us7000pn9s",
        "severitydata": {
            "severity": 7.7,
            "severitytext": "Magnitude 7.7M, Depth:10km",
            "severityunit": "M",
        },
    }
    point = {"type": "Point", "coordinates": [95.9247, 22.0014]}
    return {"type": "Feature", "geometry": point, "properties": properties | changes}


def read(*features):
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    return gdacs.read_feed(content, "answer", NOW)[0]


def test_a_recorded_week_gives_every_earthquake_and_a_reason_for_all_else():
    reports = week()
    quakes = [report for report in reports if report.event]
    assert len(reports) == 115
    assert len(quakes) == 100
    assert all(report.problem == "" for report in quakes)
    others = [report for report in reports if not report.event]
    assert {report.event_id[:2] for report in others} == {"DR", "TC", "VO"}
    assert all("Scarp responds to earthquakes" in report.problem for report in others)


def test_an_entry_of_the_feed_becomes_the_event_it_describes():
    report = next(report for report in week() if report.id == "EQ1200014")
    assert report.event.occurred_at == datetime(2019, 12, 29, 13, 18, 6, tzinfo=UTC)
    assert (report.event.longitude, report.event.latitude) == (125.1504, 4.4091)
    assert (report.event.magnitude, report.event.depth_km) == (4.7, 65.42)
    assert report.event.title == "M 4.7 earthquake, Indonesia"
    assert report.alert == "green"
    assert report.alternate_ids == ("us70006s6j",)
    assert report.source_version == "gdacs:EQ1200014:1287934:1"


def test_the_ids_of_other_agencies_come_along():
    ids = {report.id: report.alternate_ids for report in week()}
    assert ids["EQ1199846"] == ("emsc:815077",)
    assert ids["EQ1199884"] == ("pr2019362003",)
    assert ids["TC1000641"] == ("TC-2019-000176-PHL",)


def test_three_feeds_of_one_night_name_the_same_versions():
    """`pubDate` of a drought moves with every run of the feed while nothing is new."""
    versions = {}
    for name in ("gdacs-rss-24h.xml", "gdacs-rss-7d.xml", "gdacs-1.xml"):
        for report in look(FEEDS / name)[0]:
            versions.setdefault(report.id, set()).add(report.source_version)
    assert all(len(names) == 1 for names in versions.values())


def test_a_feed_says_when_it_was_made_and_its_file_is_read_every_time():
    path = FEEDS / "gdacs-rss-24h.xml"
    reports, state = look(path)
    assert len(reports) == 21
    assert state.feed_time == datetime(2019, 12, 30, 0, 22, 19, tzinfo=UTC)
    assert look(path, state)[0] == reports


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('value="5.5"', 'value="7.5"', "severity 7.5 contradicts its text 'Magnitude 5.5M"),
        ('value="5.5"', 'value="5.6"', "severity 5.6 contradicts its text 'Magnitude 5.5M"),
        ('unit="M" value="5.5"', 'unit="km" value="5.5"', "severity is in 'km'"),
        ("-44.5653 37.087<", "37.087 -44.5653<", "lies outside its bbox"),
        ("<gdacs:fromdate>Sat, 28 Dec", "<gdacs:fromdate>Some, day", "is not a time"),
        ("Depth:10km", "Depth:-70km", "depth_km -70.0 should be greater"),
        ("<georss:point>-44.5653 37.087", "<georss:point>-44.5653 east", "not made of numbers"),
    ],
)
def test_an_entry_with_a_bad_field_is_a_problem_and_the_others_are_read(changed, old, new, problem):
    reports, _ = look(changed(old, new))
    bad = next(report for report in reports if report.id == "EQ1199929")
    assert bad.event is None
    assert problem in bad.problem
    assert len(reports) == 4


def test_an_entry_without_an_id_is_a_problem(changed):
    reports, _ = look(changed("<gdacs:eventid>1199929</gdacs:eventid>", ""))
    assert sum("eventtype 'EQ' and eventid ''" in report.problem for report in reports) == 1


@pytest.mark.parametrize("given", [" />", ' unit="" value="0">Magnitude 0 </gdacs:severity>'])
def test_a_magnitude_that_is_not_given_is_none(changed, given):
    severity = '<gdacs:severity unit="M" value="5.5">Magnitude 5.5M, Depth:10km</gdacs:severity>'
    path = changed(severity, f"<gdacs:severity{given}")
    event = next(report.event for report in look(path)[0] if report.event)
    assert (event.magnitude, event.depth_km) == (None, None)
    assert event.title == "earthquake at -44.57, 37.09"


def test_a_box_over_the_antimeridian_holds_its_point(changed):
    path = changed("33.087 41.087 -48.5653", "176.087 -175.913 -48.5653")
    text = path.read_text().replace("-44.5653 37.087<", "-44.5653 -179.5<")
    path.write_text(text)
    assert any(report.event and report.event.longitude == -179.5 for report in look(path)[0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html><body>Sorry</body></html>", "is a web page"),
        ((FEEDS / "gdacs-1.xml").read_bytes()[:9000], "was cut short"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><rss><channel/></rss>', "defines XML entities"),
        (b"<feed/>", "without an RSS channel"),
        (b'{"type": "FeatureCollection", "features": [', "was cut short"),
        (b'{"features": 3}', "holds no GeoJSON features"),
        (b"", "is not XML, or was cut short"),
    ],
)
def test_what_is_no_feed_is_refused(tmp_path, content, reason):
    path = tmp_path / "feed"
    path.write_bytes(content)
    with pytest.raises(FeedError, match=reason):
        look(path)


def test_the_api_tells_the_same_as_the_feed():
    (report,) = read(feature())
    assert report.id == "EQ1474477"
    assert report.event.occurred_at == datetime(2025, 3, 28, 6, 20, 54, tzinfo=UTC)
    assert (report.event.longitude, report.event.latitude) == (95.9247, 22.0014)
    assert (report.event.magnitude, report.event.depth_km) == (7.7, 10)
    assert report.alternate_ids == ("us7000pn9s", "EQ-2025-000043-MMR")
    assert report.alert == "red"
    assert report.reported_at == datetime(2025, 3, 28, 9, 12, tzinfo=UTC)
    assert report.source_version == "gdacs:EQ1474477:1631455:20250328T091200Z"


def test_one_event_of_the_api_is_a_feed_of_one():
    reports, made_at = gdacs.read_feed(json.dumps(feature()).encode(), "answer", NOW)
    assert [report.id for report in reports] == ["EQ1474477"]
    assert made_at == reports[0].reported_at


def test_bad_features_are_problems_and_the_next_is_read():
    no_severity = {"severity": 0, "severitytext": "Magnitude 0 ", "severityunit": ""}
    reports = read(
        feature() | {"geometry": None},
        "nothing",
        feature(eventid="a"),
        feature(severitydata=no_severity),
    )
    assert [bool(report.problem) for report in reports] == [True, True, True, False]
    assert reports[3].event.magnitude is None
