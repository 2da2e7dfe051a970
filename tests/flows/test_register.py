"""An operator describes an event again: what is known of it is corrected, and never lost unsaid."""

import json
from dataclasses import replace

import pytest

from flows.register import register_event, register_report
from tasks.errors import AreaError
from tasks.events.comcat import read_feature
from tasks.events.operator import choose
from tasks.events.registry import find_registered
from tasks.events.request import event_from_fields
from tasks.events.states import history
from tests.flows.conftest import rows
from tests.flows.feeds import entry, ms
from tests.flows.looks import GRID, RULES, look, shakemap

AREA = {
    "type": "Polygon",
    "coordinates": [
        [[141.9, 42.65], [142.0, 42.65], [142.0, 42.75], [141.9, 42.75], [141.9, 42.65]]
    ],
}


@pytest.fixture
def iburi():
    return event_from_fields(
        {
            "id": "iburi",
            "kind": "earthquake",
            "occurred_at": "2018-09-05T18:07:59Z",
            "longitude": 141.93,
            "latitude": 42.69,
            "magnitude": 6.6,
        }
    )


@pytest.fixture
def area(tmp_path):
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(AREA))
    return path


def known(world, name="iburi"):
    with world.engine.connect() as connection:
        return find_registered(connection, name)


def test_a_correction_keeps_the_area_that_was_given(world, iburi, area):
    register_event(iburi, area)
    given = known(world).aoi
    made = register_event(replace(iburi, magnitude=6.7))
    assert (made.change, made.differs) == ("updated", "M 6.6 → 6.7")
    assert known(world).aoi == made.aoi == given


def test_no_feed_replaces_the_area_that_was_given(world, feed, iburi, area):
    register_event(iburi, area)
    given = known(world).aoi
    feed.put("/grid_1.xml", GRID.read_bytes())
    said = {"geometry": (iburi.longitude, iburi.latitude, 35.0), "time": ms(iburi.occurred_at)}
    products = {"shakemap": [shakemap(feed, 1)]}
    told = entry("us2000h8ty", ids=",us2000h8ty,iburi,", products=products, **said)
    [made] = look(world, feed, told)
    assert made.decision == "updated" and known(world).event.source == "usgs"
    assert known(world).aoi == given
    assert rows(world, "SELECT in_use, path IS NOT NULL FROM scarp.shakemap") == [(False, True)]
    with world.engine.begin() as connection:
        choose(connection, "iburi", made.source_version, "checked by hand", RULES.earthquake)
    assert known(world).aoi == given


def test_an_area_that_an_operator_gives_later_takes_the_place_of_the_one_drawn(world, area):
    report = read_feature(entry(geometry=(141.93, 42.69, 35.0)))
    changes = [register_report(report, where).change for where in (None, area, area)]
    assert changes == ["registered", "updated", "unchanged"]
    assert known(world, report.id).aoi.how == "given"


def test_an_operators_word_goes_over_every_rule(world, tmp_path, monkeypatch):
    rules = tmp_path / "rules.toml"
    limits = "min_magnitude = 9\nmax_age = '1s'\nmin_land_km2 = 1e9\n"
    rules.write_text(f"hold = ['*']\n[earthquake]\n{limits}")
    monkeypatch.setenv("SCARP_RULES", str(rules))
    assert register_report(read_feature(entry())).change == "registered"
    assert known(world, "ci38457511").state == "registered"


def test_a_provisional_area_is_drawn_anew_and_both_sizes_are_said(world, iburi):
    before = register_event(iburi).aoi
    made = register_event(replace(iburi, magnitude=7.0))
    sizes = f"area {before.area_km2:,.1f} → {made.aoi.area_km2:,.1f} km²"
    assert made.differs == f"M 6.6 → 7, {sizes}"
    assert made.aoi.area_km2 > before.area_km2
    with world.engine.connect() as connection:
        last = history(connection, "iburi")[-1]
    assert last.reason == f"an operator registered it; {made.differs}"


def test_what_is_expected_follows_the_epicentre_and_so_does_the_priority(world, iburi, area):
    right = register_event(replace(iburi, id="right"), area).expected
    mistyped = register_event(replace(iburi, latitude=38.5), area).expected
    assert mistyped.expected_km2 == known(world).priority == 0
    mended = register_event(iburi).expected
    assert mended.expected_km2 == right.expected_km2 > 0
    assert known(world).priority == mended.expected_km2


def test_an_event_is_corrected_by_another_of_its_ids(world, iburi, area):
    register_event(replace(iburi, alternate_ids=("us2000h8ty",)), area)
    made = register_event(replace(iburi, id="us2000h8ty", magnitude=7.0))
    assert made.change == "updated"
    assert known(world).priority == made.expected.expected_km2


def test_an_event_that_moves_away_from_its_area_is_refused_and_stays(world, iburi, area):
    register_event(iburi, area)
    with pytest.raises(AreaError, match=r"its area \(given\), which --aoi FILE replaces, lies"):
        register_event(replace(iburi, longitude=-70.0))
    assert known(world).event == iburi


def test_rain_keeps_its_area_too(world, area):
    fields = {
        "id": "rain",
        "kind": "rainfall",
        "occurred_at": "2023-05-16T00:00Z",
        "longitude": 141.95,
        "latitude": 42.7,
    }
    with pytest.raises(AreaError, match="has no area of interest"):
        register_event(event_from_fields(fields))
    register_event(event_from_fields(fields), area)
    made = register_event(event_from_fields(fields | {"title": "Rain"}))
    assert (made.change, made.differs) == ("updated", "now called Rain")
