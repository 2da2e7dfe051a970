"""Events that their source deletes, however it says so, and those that live on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flows.feeds import Watch
from flows.watch import look_once
from tasks.events.states import history, move
from tests.flows.conftest import rows
from tests.flows.feeds import NOW, entry, ms
from tests.flows.looks import RULES, decisions, known, look

ELSEWHERE = {"geometry": (100.0, 30.0, 10.0)}
LATER = {"updated": ms(NOW) + 5}


def paged(feed, told, page=None):
    """The entry of a summary with a page of its own."""
    address = feed.put(f"/{told['id']}.geojson", page or told)
    return told | {"properties": told["properties"] | {"detail": address}}


def origin(status, minutes=0):
    return {
        "source": "ci",
        "code": "ci38457511",
        "updateTime": ms(NOW + timedelta(minutes=minutes)),
        "status": status,
    }


@pytest.mark.parametrize("status", [409, 410])
def test_an_event_whose_page_is_gone_is_cancelled_and_nothing_else_is_touched(world, feed, status):
    look(world, feed, paged(feed, entry()), entry("us7aaaa", **ELSEWHERE))
    with world.engine.begin() as connection:
        move(connection, "us7aaaa", "responding", "a test")
    before = known(world, "us7aaaa")
    gone = paged(feed, entry(**LATER))
    feed.statuses["/ci38457511.geojson"] = status
    made = look(world, feed, gone, entry("us7aaaa", **ELSEWHERE))
    assert decisions(made) == ["cancelled", "unchanged"]
    assert f"HTTP {status}" in made[0].reason and "deleted it" in made[0].reason
    assert known(world).state == "cancelled" and known(world, "us7aaaa") == before
    with world.engine.connect() as connection:
        assert [one.change for one in history(connection, "ci38457511")] == [
            "registered",
            "cancelled",
        ]
    again = look(world, feed, gone, now=NOW - timedelta(minutes=1))
    assert decisions(again) == ["unchanged"]


def test_a_page_that_is_gone_is_not_registered(world, feed):
    gone = paged(feed, entry())
    feed.statuses["/ci38457511.geojson"] = 409
    made = look(world, feed, gone, entry("us7aaaa", **ELSEWHERE))
    assert decisions(made) == ["ignored", "registered"]
    assert "deleted it" in made[0].reason


def test_a_page_that_is_watched_itself_and_goes_is_a_deletion(world, feed):
    url = feed.put("/detail.geojson", entry())
    watch = Watch(world, "usgs", url, RULES)
    assert decisions(look_once(watch, NOW).decisions) == ["registered"]
    feed.statuses["/detail.geojson"] = 409
    for expected in ("cancelled", "unchanged"):
        looked = look_once(watch, NOW + timedelta(hours=1))
        assert looked.failure is None and decisions(looked.decisions) == [expected]
    assert looked.decisions[0].event_id == "ci38457511" and known(world).state == "cancelled"


def test_a_summary_that_answers_409_is_no_deletion(world, feed):
    look(world, feed, entry())
    feed.statuses["/summary.geojson"] = 409
    looked = look_once(Watch(world, "usgs", feed.url + "/summary.geojson", RULES), NOW)
    assert "HTTP 409" in str(looked.failure) and known(world).state == "registered"


@pytest.mark.parametrize(
    "said",
    [
        {"status": "deleted"},
        {"status": "DELETED"},
        {"products": {"origin": [origin("UPDATE"), origin("DELETE", minutes=1)]}},
        {"products": {"origin": [origin("DELETE")], "phase-data": [origin("DELETE")]}},
    ],
)
def test_a_page_that_says_so_cancels_the_event(world, feed, said):
    look(world, feed, paged(feed, entry()))
    [made] = look(world, feed, paged(feed, entry(**LATER), entry(**LATER, **said)))
    assert made.decision == "cancelled" and known(world).state == "cancelled"


def test_an_origin_that_stands_keeps_the_event(world, feed):
    look(world, feed, paged(feed, entry()))
    for products in (
        {"origin": [origin("DELETE"), origin("UPDATE") | {"source": "us", "code": "us7bbbb"}]},
        {"origin": [origin("DELETE")], "phase-data": [origin("UPDATE")]},
        {"origin": [], "shakemap": []},
    ):
        updated = ms(NOW) + 5
        look(world, feed, entry(products=products, updated=updated))
        assert known(world).state == "registered"


def test_a_deletion_that_comes_with_no_new_time_counts_once(world, feed):
    look(world, feed, entry())
    assert decisions(look(world, feed, entry(status="deleted"))) == ["cancelled"]
    assert decisions(look(world, feed, entry())) == ["unchanged"]
    with world.engine.begin() as connection:
        move(connection, "ci38457511", "released", "a test")
    assert decisions(look(world, feed, entry(status="deleted"))) == ["unchanged"]
    assert known(world).state == "registered"


def test_what_was_sent_before_a_deletion_brings_nothing_back_and_a_late_deletion_ends_nothing(
    world, feed
):
    gone = entry(status="deleted", updated=ms(NOW) + 5)
    look(world, feed, entry(updated=ms(NOW) + 9))
    assert decisions(look(world, feed, gone)) == ["unchanged"]
    assert known(world).state == "registered"
    assert decisions(look(world, feed, entry(status="deleted", updated=ms(NOW) + 20))) == [
        "cancelled"
    ]
    assert decisions(look(world, feed, entry(mag=7.4, updated=ms(NOW) + 15))) == ["unchanged"]
    assert known(world).state == "cancelled"


def test_an_event_lives_on_under_another_id_of_the_same_look(world, feed):
    look(world, feed, entry("nn00000001"))
    gone = entry("nn00000001", status="deleted", updated=ms(NOW) + 9)
    other = entry("us70000001", ids=",us70000001,nn00000001,", updated=ms(NOW) + 5)
    made = look(world, feed, gone, other)
    assert decisions(made) == ["ignored", "updated"]
    assert {one.event_id for one in made} == {"nn00000001"}
    assert "it lives on as us70000001" in made[0].reason
    assert known(world, "us70000001").state == "registered"
    assert decisions(look(world, feed, gone)) == ["unchanged"]
    assert known(world, "nn00000001").state == "registered"


def test_an_entry_and_its_own_deletion_in_one_look_are_a_deletion(world, feed):
    look(world, feed, entry())
    gone = entry(status="deleted", **LATER)
    assert decisions(look(world, feed, gone, entry())) == ["cancelled", "unchanged"]


def test_of_two_pages_of_one_event_the_one_that_lives_keeps_it(world, feed):
    # Far enough apart to be two, until a page says that they are one.
    nearby = {"geometry": (-117.6, 38.9, 8.0), "time": ms(NOW - timedelta(minutes=30))}
    look(world, feed, paged(feed, entry("nn1")), paged(feed, entry("us2", **nearby)))
    feed.put("/us2.geojson", entry("us2", ids=",us2,nn1,", updated=ms(NOW) + 5))
    feed.statuses["/nn1.geojson"] = 409
    made = look(world, feed, now=NOW + timedelta(days=2))
    assert sorted(decisions(made)) == ["ignored", "updated"]
    assert known(world, "nn1").state == "registered"
    assert rows(world, "SELECT merged_into FROM scarp.event WHERE id = 'us2'") == [("nn1",)]
