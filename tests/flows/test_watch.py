"""Histories replayed through a true HTTP server in simulated time, into a true store."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

from flows.feeds import Watch
from flows.watch import look_once
from tasks.events.rules import read_rules
from tests.flows.conftest import rows
from tests.flows.feeds import as_of, at, moments, recorded

RULES = read_rules()


def replay(world, feed, page, times, kinds=("origin", "shakemap"), rules=RULES):
    """One look after each moment of a history; the decisions of all of them."""
    made = []
    for ms in times:
        url = feed.put("/detail.geojson", as_of(page, ms, kinds))
        looked = look_once(Watch(world, "usgs", url, rules), at(ms) + timedelta(seconds=18))
        assert looked.failure is None
        made += looked.decisions
    return made


def identities(page, *kinds):
    return {
        f"{one['source']}:{one['code']}:{one['updateTime']}"
        for kind in kinds
        for one in page["properties"]["products"][kind]
    }


def test_an_event_that_grows_over_the_rule_is_ignored_then_registered_once(world, feed):
    page = recorded("nc72852151")
    made = replay(world, feed, page, moments(page, "origin", "shakemap"))
    # The second look brings a word of another network, which ComCat does not prefer.
    assert [one.decision for one in made][:4] == ["ignored", "unchanged", "ignored", "registered"]
    assert Counter(one.decision for one in made)["registered"] == 1
    first = next(one for one in made if one.decision == "registered")
    assert first.source_version == "nc:nc72852151:1501286854330"
    asked = rows(world, "SELECT source_version FROM scarp.response_request ORDER BY id")
    responded = [one.source_version for one in made if one.decision in ("registered", "updated")]
    assert [version for (version,) in asked] == responded
    assert identities(page, "shakemap") < set(responded)
    assert len(set(responded)) == len(responded)
    assert [state for (state,) in rows(world, "SELECT state FROM scarp.event")] == ["registered"]


def test_magnitudes_of_shakemaps_alone_cross_the_rule_at_the_second(world, feed):
    page = recorded("nc72852151")
    made = []
    for shakemap in sorted(
        page["properties"]["products"]["shakemap"], key=lambda one: one["updateTime"]
    ):
        told = as_of(page, shakemap["updateTime"], ("shakemap",))
        told["properties"]["mag"] = float(shakemap["properties"]["magnitude"])
        url = feed.put("/detail.geojson", told)
        now = at(shakemap["updateTime"]) + timedelta(minutes=1)
        made += look_once(Watch(world, "usgs", url, RULES), now).decisions
    assert [one.decision for one in made] == ["ignored", "registered"] + 6 * ["updated"]
    assert {one.source_version for one in made} == identities(page, "shakemap")
    assert "M 4.9 is below M 5" in made[0].reason


def test_a_version_number_that_comes_again_is_another_version(world, feed):
    page = recorded("us10008e3k")
    made = replay(world, feed, page, moments(page, "shakemap"), ("shakemap",))
    assert [one.decision for one in made] == ["registered"] + 6 * ["updated"]
    assert {one.source_version for one in made} == identities(page, "shakemap")
    labels = rows(world, "SELECT version FROM scarp.shakemap ORDER BY updated_at")
    assert [label for (label,) in labels] == ["1", "2", "3", "4", "1", "1", "1"]


def test_what_was_sent_earlier_and_arrives_later_changes_nothing(world, feed):
    page = recorded("nc72852151")
    times = moments(page, "shakemap")
    newest = as_of(page, times[-1], ("shakemap",))
    oldest = json.loads(json.dumps(newest))
    products = newest["properties"]["products"]["shakemap"]
    newest["properties"]["products"]["shakemap"] = [
        one for one in products if one["updateTime"] == times[-1]
    ]
    oldest["properties"]["products"]["shakemap"] = [
        one for one in products if one["updateTime"] == times[0]
    ]
    made = []
    for told in (newest, oldest, newest):
        url = feed.put("/detail.geojson", told)
        made += look_once(Watch(world, "usgs", url, RULES), at(times[-1])).decisions
    assert [one.decision for one in made] == ["registered", "unchanged", "unchanged"]
    assert "sent before" in made[1].reason
    told = rows(world, "SELECT source_version FROM scarp.decision WHERE reason LIKE 'it was sent%'")
    assert (made[1].source_version,) in told
    assert len(rows(world, "SELECT * FROM scarp.response_request")) == 1


def test_a_look_at_what_did_not_change_costs_one_short_answer(world, feed):
    page = recorded("us10008e3k")
    times = moments(page, "shakemap")[:1] * 2
    made = replay(world, feed, page, times, ("shakemap",))
    assert [one.decision for one in made] == ["registered"]
    assert feed.asked == [("/detail.geojson", 200), ("/detail.geojson", 304)]
