from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import RulesError
from tasks.events.rules import (
    DEFAULTS,
    judge_ground,
    judge_size,
    judge_time,
    re_look_due,
    read_rules,
    respond_at,
)
from tasks.types import AreaOfInterest, Event

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
QUAKE = Event("us1", "earthquake", "A quake", NOW - timedelta(hours=2), 10.0, 46.0, 5.2)
ALPS = """
[[region]]
name = "Alps"
bbox = [5.0, 43.5, 16.5, 48.5]
min_magnitude = 5.5
"""


def rules_of(folder: Path, text: str):
    path = folder / "rules.toml"
    path.write_text(text)
    return read_rules(path)


def test_what_a_file_does_not_say_is_as_in_the_defaults(tmp_path):
    rules = rules_of(tmp_path, "[earthquake]\nmin_magnitude = 6.0\n")
    assert rules.earthquake.min_magnitude == 6.0
    assert rules.earthquake.debounce == timedelta(minutes=5)
    assert rules.rainfall == read_rules().rainfall


def test_the_defaults_watch_from_magnitude_five_for_thirty_days():
    limits = read_rules().earthquake
    assert (limits.min_magnitude, limits.max_age) == (5.0, timedelta(days=30))
    assert limits.re_looks == tuple(timedelta(hours=h) for h in (1, 6, 24, 72, 168))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[earthquake]\nmin_magnitud = 5",
            "earthquake.min_magnitud is no rule; did you mean min_m",
        ),
        ("[earthquake]\nmin_magnitude = 'large'", 'earthquake.min_magnitude = "large"'),
        ("[earthquake]\nmax_age = 30", "is not a time such as 90s"),
        ("[earthquake]\nmin_alert = 'purple'", "min_alert"),
        ("[earthquake]\nmax_age = '99999999999d'", "is longer than a century"),
        ("[feed]\ninterval = '0s'", 'feed.interval = "0s" is less than 1s'),
        ("[earthquake]\nmask = 'nowhere.gpkg'", "nowhere.gpkg is not a file"),
        ("[rainfall]\nland = 'nowhere.gpkg'", "nowhere.gpkg cannot be read as polygons of land"),
        ("[earthquake]\nland = 'rules.toml'", "rules.toml cannot be read as polygons of land"),
        (ALPS + "mask = 'nowhere.gpkg'", "region Alps: mask "),
        (ALPS + "land = 'nowhere.gpkg'", "region Alps: land "),
        ("[rain]\nthreshold = 'caine'", 'rain: threshold = "caine"'),
        ("[rain]\nregion = 'nowhere.gpkg'", "nowhere.gpkg is not a file"),
        ("[rain]\na = -1\nb = 0.4", "give a above 0"),
        ("earthquake = 5", "earthquake = 5 is not a table"),
        ("[[region]]\nname = 'x'\nbbox = [0, 10, 1]", "bbox.3 is missing"),
        ("[[region]]\nname = 'x'\nbbox = [0, 10, 1, 5]", "bbox is west, south, east, north"),
        ("[[region]]\nname = 'x'\nbbox = [0, 1, 1, 5]\nmagnitude = 4", "magnitude is no rule"),
        ("hold = 'us1'", 'hold = "us1" is not a list'),
        ("min_magnitude = 5\n[", "is not TOML"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(tmp_path, text, complaint):
    with pytest.raises(RulesError) as refusal:
        rules_of(tmp_path, text)
    assert complaint in str(refusal.value) and "rules.toml" in str(refusal.value)


def test_two_rules_files_that_say_the_same_have_one_digest(tmp_path):
    assert rules_of(tmp_path, DEFAULTS.read_text()).digest == read_rules().digest
    with_mark = "\ufeff" + DEFAULTS.read_text()  # as editors on Windows write it
    assert rules_of(tmp_path, with_mark).digest == read_rules().digest
    assert rules_of(tmp_path, ALPS).digest != read_rules().digest


def test_the_first_region_that_holds_the_point_decides(tmp_path):
    rules = rules_of(tmp_path, ALPS + ALPS.replace("Alps", "again").replace("5.5", "4.0"))
    assert not judge_size(QUAKE, None, rules).wanted
    for change in ({"longitude": 20.0}, {"latitude": 49.0}):
        assert judge_size(replace(QUAKE, **change), None, rules).wanted
    assert rules.limits(replace(QUAKE, kind="rainfall")) == rules.rainfall


def test_a_region_may_lie_across_the_antimeridian(tmp_path):
    text = "[[region]]\nname = 'Fiji'\nbbox = [175, -25, -175, -10]\nwatch = false\n"
    rules = rules_of(tmp_path, text)
    for longitude, watched in ((179.5, False), (-179.5, False), (0.0, True)):
        event = replace(QUAKE, longitude=longitude, latitude=-17.0)
        assert judge_size(event, None, rules).wanted == watched


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"magnitude": 5.0}, True),
        ({"magnitude": 4.99}, False),
        ({"depth_km": 150.0}, True),
        ({"depth_km": 150.1}, False),
    ],
)
def test_what_stands_on_a_limit_is_wanted(change, wanted):
    assert judge_size(replace(QUAKE, **change), None, read_rules()).wanted == wanted


@pytest.mark.parametrize(
    ("alert", "wanted"), [(None, False), ("green", False), ("orange", True), ("red", True)]
)
def test_an_alert_level_is_asked_for_where_the_rules_say(tmp_path, alert, wanted):
    rules = rules_of(tmp_path, "[earthquake]\nmin_alert = 'orange'\n")
    assert judge_size(QUAKE, alert, rules).wanted == wanted


def test_age_counts_from_the_watchers_clock():
    rules = read_rules()
    for after, wanted in (
        (timedelta(minutes=-10), True),
        (timedelta(minutes=-11), False),
        (timedelta(days=30), True),
        (timedelta(days=30, seconds=1), False),
    ):
        assert judge_time(QUAKE, rules, QUAKE.occurred_at + after).wanted == wanted
    assert "it is 36 hours old" in judge_time(QUAKE, rules, NOW + timedelta(hours=34)).reason
    assert "after the watcher's clock" in judge_time(QUAKE, rules, NOW - timedelta(days=1)).reason


def test_too_little_land_is_refused_with_how_much_there_is():
    area = AreaOfInterest(MultiPolygon([box(10, 46, 10.1, 46.1)]), "given")
    for land_km2 in (1.0, 85.0):
        assert judge_ground(QUAKE, area, land_km2, read_rules()).wanted
    verdict = judge_ground(QUAKE, area, 0.4, read_rules())
    assert not verdict.wanted and "0.4 km² of its area of interest is land" in verdict.reason


def test_an_area_outside_the_mask_is_refused(tmp_path):
    mask = tmp_path / "mask.geojson"
    mask.write_text(
        '{"type": "Polygon", "coordinates": [[[20, 40], [21, 40], [21, 41], [20, 40]]]}'
    )
    rules = rules_of(tmp_path, f"[earthquake]\nmask = '{mask}'\n")
    area = AreaOfInterest(MultiPolygon([box(10, 46, 10.1, 46.1)]), "given")
    assert "meets nothing of" in judge_ground(QUAKE, area, 85.0, rules).reason
    near = AreaOfInterest(MultiPolygon([box(20.5, 40.1, 20.9, 40.4)]), "given")
    assert judge_ground(QUAKE, near, 85.0, rules).wanted


def test_the_files_of_the_rules_lie_beside_them_wherever_scarp_runs(tmp_path, monkeypatch):
    square = '{"type": "Polygon", "coordinates": [[[20, 40], [21, 40], [21, 41], [20, 40]]]}'
    (tmp_path / "mask.geojson").write_text(square)
    (tmp_path / "land.geojson").write_text(square)
    text = "[earthquake]\nland = 'land.geojson'\n[rain]\nregion = 'mask.geojson'\n"
    rules = rules_of(tmp_path, text + ALPS + "mask = 'mask.geojson'\n")
    assert rules.earthquake.land == tmp_path / "land.geojson"
    assert rules.rain["region"] == str(tmp_path / "mask.geojson")
    assert rules.limits(QUAKE).mask == tmp_path / "mask.geojson"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read_rules(Path("../rules.toml")).earthquake.masked is None
    assert read_rules(Path("../rules.toml")).earthquake.land.exists()


def test_points_are_no_land(tmp_path):
    (tmp_path / "towns.geojson").write_text('{"type": "Point", "coordinates": [20, 40]}')
    with pytest.raises(RulesError, match="has no polygons with a CRS"):
        rules_of(tmp_path, "[earthquake]\nland = 'towns.geojson'\n")


def test_responses_wait_while_an_event_is_fresh():
    rules = read_rules()
    assert respond_at(QUAKE, rules, NOW) == NOW
    early = QUAKE.occurred_at + timedelta(minutes=30)
    assert respond_at(QUAKE, rules, early) == early + timedelta(minutes=5)


def test_each_scheduled_age_is_due_once():
    rules, begin = read_rules(), QUAKE.occurred_at
    looked, due = begin, []
    for hours in range(1, 200):
        now = begin + timedelta(hours=hours)
        if re_look_due(QUAKE, rules, looked, now):
            due.append(hours)
            looked = now
    assert due == [1, 6, 24, 72, 168]
