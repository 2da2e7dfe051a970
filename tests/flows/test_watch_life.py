"""What becomes of events while feeds go on about them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from flows.feeds import Watch
from flows.register import register_event, register_report
from flows.watch import keep_looking, look_once
from flows.world import open_world
from infra import postgres
from tasks.events import operator
from tasks.events.comcat import read_feature
from tasks.events.decisions import answer_requests, last_request, waiting_requests
from tasks.events.rules import read_rules
from tasks.events.states import history, move
from tests.conftest import DATA
from tests.flows.conftest import rows
from tests.flows.feeds import NOW, entry, ms
from tests.flows.looks import GRID, LOMA_PRIETA, RULES, decisions, known, look, shakemap


def test_a_shakemap_replaces_the_provisional_area_and_the_next_one_replaces_it(world, feed):
    feed.put("/grid_1.xml", GRID.read_bytes())
    feed.put("/grid_2.xml", GRID.read_bytes())
    early = entry(**LOMA_PRIETA)
    assert decisions(look(world, feed, early)) == ["registered"]
    assert known(world).aoi.how.startswith("provisional")
    for minutes in (1, 2):
        products = {"shakemap": [shakemap(feed, n) for n in range(1, minutes + 1)]}
        later = entry(**LOMA_PRIETA, products=products, updated=ms(NOW) + minutes)
        [made] = look(world, feed, later, now=NOW + timedelta(minutes=minutes))
        assert made.decision == "updated"
        assert made.source_version == f"us:ci38457511:{ms(NOW + timedelta(minutes=minutes))}"
        assert known(world).aoi.how.startswith("ShakeMap")
    kept = rows(world, "SELECT in_use, path IS NOT NULL FROM scarp.shakemap ORDER BY updated_at")
    assert kept == [(False, True), (True, True)]
    assert known(world).priority and known(world).priority == made.priority


def test_a_shakemap_that_cannot_be_fetched_is_fetched_later_and_asks_for_no_second_response(
    world, feed
):
    products = {"shakemap": [shakemap(feed, 1)]}
    told = entry(**LOMA_PRIETA, products=products)
    feed.statuses["/grid_1.xml"] = 503
    [made] = look(world, feed, told)
    assert made.decision == "registered" and "could not be fetched" in made.reason
    assert known(world).aoi.how.startswith("provisional")
    assert decisions(look(world, feed, told)) == ["unchanged"]
    del feed.statuses["/grid_1.xml"]
    feed.put("/grid_1.xml", GRID.read_bytes())
    [made] = look(world, feed, told)
    assert made.decision == "updated" and known(world).aoi.how.startswith("ShakeMap")
    assert look(world, feed, told) == []
    assert len(rows(world, "SELECT * FROM scarp.response_request")) == 1


def test_a_shakemap_on_a_host_nobody_named_is_not_asked_for(world, feed):
    elsewhere = shakemap(feed, 1)
    elsewhere["contents"]["download/grid.xml"]["url"] = "http://169.254.169.254/grid.xml"
    [made] = look(world, feed, entry(**LOMA_PRIETA, products={"shakemap": [elsewhere]}))
    assert made.decision == "registered" and "feed's own host" in made.reason


def test_a_broken_grid_leaves_the_provisional_area_and_is_fetched_again(world, feed):
    feed.put("/grid_1.xml", GRID.read_bytes()[:5000])
    told = entry(**LOMA_PRIETA, products={"shakemap": [shakemap(feed, 1)]})
    [made] = look(world, feed, told)
    assert made.decision == "registered" and "grid_1.xml" in made.reason
    feed.put("/grid_1.xml", GRID.read_bytes())
    assert decisions(look(world, feed, told)) == ["updated"]
    assert known(world).aoi.how.startswith("ShakeMap")


def test_a_withdrawn_shakemap_gives_way_to_the_one_before_or_to_none(world, feed):
    for minutes in (1, 2):
        feed.put(f"/grid_{minutes}.xml", GRID.read_bytes())
    listed = [shakemap(feed, 1)]
    look(world, feed, entry(**LOMA_PRIETA, products={"shakemap": listed}))
    listed.append(shakemap(feed, 2, status="DELETE", grid=False))
    [made] = look(world, feed, entry(**LOMA_PRIETA, products={"shakemap": listed}))
    assert made.decision == "updated" and made.source_version == f"us:ci38457511:{ms(NOW) + 120000}"
    assert known(world).aoi.how.startswith("provisional")
    assert rows(world, "SELECT 1 FROM scarp.shakemap WHERE in_use") == []


def test_a_pinned_shakemap_stays_when_newer_ones_come(world, feed):
    for minutes in (1, 2):
        feed.put(f"/grid_{minutes}.xml", GRID.read_bytes())
    look(world, feed, entry(**LOMA_PRIETA, products={"shakemap": [shakemap(feed, 1)]}))
    first = f"us:ci38457511:{ms(NOW) + 60000}"
    with world.engine.begin() as connection:
        operator.choose(connection, "ci38457511", first, "checked by hand", RULES.earthquake)
    both = {"shakemap": [shakemap(feed, 1), shakemap(feed, 2)]}
    [made] = look(world, feed, entry(**LOMA_PRIETA, products=both))
    assert made.decision == "updated" and f"{first} is pinned" in made.reason
    in_use = rows(world, "SELECT identity FROM scarp.shakemap WHERE in_use AND pinned")
    assert in_use == [(first,)]


def test_an_event_its_source_deletes_is_cancelled_once_and_stays_so_if_sent_again(world, feed):
    told = entry()
    look(world, feed, told)
    gone = entry(status="deleted", updated=ms(NOW) + 5)
    assert decisions(look(world, feed, gone)) == ["cancelled"]
    assert decisions(look(world, feed, gone, told)) == ["unchanged", "unchanged"]
    assert known(world).state == "cancelled"
    with world.engine.connect() as connection:
        assert waiting_requests(connection) == []
    back = entry(updated=ms(NOW) + 9)
    assert decisions(look(world, feed, back)) == ["registered"]
    assert known(world).state == "registered"


def test_what_turns_out_to_be_a_quarry_blast_is_cancelled(world, feed):
    look(world, feed, entry())
    [made] = look(world, feed, entry(type="quarry blast", updated=ms(NOW) + 5))
    assert made.decision == "cancelled" and "quarry blast" in made.reason


def test_a_forced_event_keeps_updating_and_is_held_when_its_source_deletes_it(world, feed):
    small = read_feature(entry(mag=4.2))
    registered = register_report(small)
    assert registered.change == "registered" and register_report(small).change == "unchanged"
    [made] = look(world, feed, entry(mag=4.4, updated=ms(NOW) + 5))
    assert made.decision == "updated" and "M 4.2 → 4.4" in made.reason and made.respond_at
    assert "no response is asked for" not in made.reason
    assert known(world).event.magnitude == 4.4
    [made] = look(world, feed, entry(status="deleted", updated=ms(NOW) + 9))
    assert made.decision == "held" and known(world).state == "held"


def test_an_event_an_operator_described_is_described_better_by_the_feed(world, feed):
    sketch = replace(
        read_feature(entry()).event,
        id="ridgecrest",
        source="operator",
        source_version="",
        magnitude=7.0,
        alternate_ids=(),
    )
    register_event(sketch)
    [made] = look(world, feed, entry())
    assert (made.event_id, made.decision) == ("ridgecrest", "updated")
    assert known(world, "ci38457511").event.id == "ridgecrest"
    assert known(world, "ridgecrest").event.magnitude == 7.1


def test_a_held_event_is_kept_up_to_date_and_asks_for_its_response_when_released(world, feed):
    rules = replace_rules(hold=("ci3845*",))
    assert decisions(look(world, feed, entry(), rules=rules)) == ["held"]
    [made] = look(world, feed, entry(mag=7.2, updated=ms(NOW) + 5), rules=rules)
    assert made.decision == "held" and known(world).event.magnitude == 7.2
    assert rows(world, "SELECT 1 FROM scarp.response_request") == []
    with world.engine.begin() as connection:
        operator.release(connection, "ci38457511", "checked", NOW)
        [waiting] = waiting_requests(connection)
    assert waiting.source_version == made.source_version
    assert decisions(look(world, feed, entry(mag=7.3, updated=ms(NOW) + 9), rules=rules)) == [
        "updated"
    ]


def test_an_event_released_with_nothing_missed_asks_for_nothing(world, feed):
    look(world, feed, entry())
    with world.engine.begin() as connection:
        answer_requests(connection, "ci38457511", last_request(connection, "ci38457511"))
        move(connection, "ci38457511", "held", "a moment")
        operator.release(connection, "ci38457511", "checked", NOW)
        assert waiting_requests(connection) == []


def replace_rules(**changes):
    return RULES.model_copy(update=changes)


def test_other_rules_do_not_respond_again_to_what_is_registered(world, feed):
    look(world, feed, entry())
    [made] = look(world, feed, entry(), rules=replace_rules(hold=("us*",)))
    assert made.decision == "unchanged"
    assert len(rows(world, "SELECT 1 FROM scarp.decision")) == 1


def test_what_other_rules_ignored_is_registered_by_the_version_of_its_shakemap(world, feed):
    told = entry(**LOMA_PRIETA, products={"shakemap": [shakemap(feed, 1, grid=False)]})
    greater = RULES.earthquake.model_copy(update={"min_magnitude": 8.0})
    for rules, decision in ((replace_rules(earthquake=greater), "ignored"), (RULES, "registered")):
        [made] = look(world, feed, told, rules=rules)
        assert made.decision == decision
        assert made.source_version == f"us:ci38457511:{ms(NOW) + 60_000}"


def test_an_event_an_operator_cancelled_is_left_alone(world, feed):
    look(world, feed, entry())
    with world.engine.begin() as connection:
        move(connection, "ci38457511", "cancelled", "a test of the alarm")
    [made] = look(world, feed, entry(mag=7.4, updated=ms(NOW) + 5))
    assert made.decision == "ignored" and "an operator cancelled it" in made.reason
    assert known(world).event.magnitude == 7.1


def test_what_is_too_small_by_one_source_is_known_all_the_same_by_another(world, feed):
    look(world, feed, entry(mag=5.2))
    [made] = look(world, feed, entry("us7zzzz", mag=4.8, updated=ms(NOW) + 5))
    assert (made.event_id, made.decision) == ("ci38457511", "updated")
    assert known(world, "us7zzzz").event.id == "ci38457511"


def test_a_registered_event_that_shrinks_below_the_rule_stays_and_asks_for_nothing(world, feed):
    look(world, feed, entry())
    earlier = ms(NOW - timedelta(minutes=62))
    [made] = look(world, feed, entry(mag=4.8, time=earlier, updated=ms(NOW) + 5))
    assert made.decision == "updated" and "M 4.8 is below M 5" in made.reason
    assert made.respond_at is None and known(world).event.magnitude == 4.8
    assert len(rows(world, "SELECT 1 FROM scarp.response_request")) == 1


def test_a_closed_event_is_kept_up_to_date_and_asks_for_nothing(world, feed):
    look(world, feed, entry())
    with world.engine.begin() as connection:
        move(connection, "ci38457511", "closed", "all is mapped")
    [made] = look(world, feed, entry(mag=7.4, updated=ms(NOW) + 5))
    assert (made.decision, made.respond_at) == ("updated", None)
    assert (known(world).state, known(world).event.magnitude) == ("closed", 7.4)


def test_a_magnitude_that_is_told_no_more_stays_known(world, feed):
    look(world, feed, entry())
    [made] = look(world, feed, entry(mag=None, title="M ?", updated=ms(NOW) + 5))
    assert made.decision == "updated" and "now called M ?" in made.reason
    event = known(world).event
    assert (event.title, event.magnitude, event.magnitude_type) == ("M ?", 7.1, "mw")


def test_the_rules_weigh_how_urgent_an_event_is(world, feed):
    twice = RULES.earthquake.model_copy(update={"priority_weight": 2.0})
    look(world, feed, entry(), rules=replace_rules(earthquake=twice))
    [(expected_km2,)] = rows(world, "SELECT expected_km2 FROM scarp.prior_map")
    assert known(world).priority == 2 * expected_km2 > 0


def test_ids_that_turn_out_to_be_one_event_make_it_one(world, feed):
    far = {"geometry": (-117.6, 38.9, 8.0), "time": ms(NOW - timedelta(minutes=30))}
    look(world, feed, entry("nn00000001"), entry("us70000001", **far))
    assert len(rows(world, "SELECT 1 FROM scarp.event")) == 2
    both = entry("us70000001", ids=",us70000001,nn00000001,", updated=ms(NOW) + 5)
    [made] = look(world, feed, both)
    assert (made.event_id, made.decision) == ("nn00000001", "updated")
    states = "SELECT id, state, merged_into FROM scarp.event ORDER BY 1"
    assert rows(world, states) == [
        ("nn00000001", "registered", None),
        ("us70000001", "cancelled", "nn00000001"),
    ]
    with world.engine.connect() as connection:
        assert [one.change for one in history(connection, "us70000001")] == ["registered", "merged"]


def test_the_page_of_an_event_that_passes_is_read_and_no_other(world, feed):
    small, large = entry("ci1", mag=3.0), entry("ci2")
    for told in (small, large):
        told["properties"]["detail"] = f"{feed.url}/{told['id']}.geojson"
    feed.put("/grid_1.xml", GRID.read_bytes())
    feed.put("/ci2.geojson", entry("ci2", products={"shakemap": [shakemap(feed, 1)]}))
    made = look(world, feed, small, large)
    assert decisions(made) == ["ignored", "registered"]
    assert made[1].source_version == f"us:ci38457511:{ms(NOW) + 60000}"
    assert "/ci1.geojson" not in {path for path, _ in feed.asked}
    assert decisions(look(world, feed, large, small)) == ["unchanged", "unchanged"]


def test_the_page_of_a_known_event_is_read_though_it_has_become_too_small(world, feed):
    told = entry()
    told["properties"]["detail"] = feed.put("/page.geojson", entry())
    look(world, feed, told)
    told["properties"] |= {"mag": 4.5, "updated": ms(NOW) + 5}
    products = {"shakemap": [shakemap(feed, 1, grid=False)]}
    feed.put("/page.geojson", entry(mag=4.5, updated=ms(NOW) + 5, products=products))
    [made] = look(world, feed, told)
    assert made.source_version == f"us:ci38457511:{ms(NOW) + 60_000}"


def test_events_that_left_the_feed_are_looked_at_again_by_schedule(world, feed):
    told = entry()
    told["properties"]["detail"] = feed.put("/page.geojson", entry())
    look(world, feed, told)
    feed.put("/page.geojson", entry(mag=7.4, updated=ms(NOW) + 5))
    half_an_hour, six_hours = timedelta(minutes=30), timedelta(hours=6)
    assert look(world, feed, now=NOW + half_an_hour) == []
    [made] = look(world, feed, now=NOW + six_hours)
    assert made.decision == "updated" and "M 7.1 → 7.4" in made.reason
    feed.statuses["/page.geojson"] = 409
    [made] = look(world, feed, now=NOW + timedelta(days=2))
    assert made.decision == "cancelled" and "HTTP 409" in made.reason
    feed.asked.clear()
    assert look(world, feed, now=NOW + timedelta(days=4)) == []
    assert "/page.geojson" not in {path for path, _ in feed.asked}


def test_the_page_of_an_event_that_the_feed_still_tells_of_is_left_to_the_feed(world, feed):
    told = entry()
    told["properties"]["detail"] = feed.put("/page.geojson", entry())
    look(world, feed, told)
    feed.asked.clear()
    other = entry("us7aaaa", geometry=(100.0, 30.0, 10.0))
    made = look(world, feed, told, other, now=NOW + timedelta(hours=6))
    assert decisions(made) == ["unchanged", "registered"]
    assert "/page.geojson" not in {path for path, _ in feed.asked}


def test_a_held_event_that_left_the_feed_is_looked_at_again_too(world, feed):
    rules = replace_rules(hold=("ci3845*",))
    told = entry()
    told["properties"]["detail"] = feed.put("/page.geojson", entry())
    assert decisions(look(world, feed, told, rules=rules)) == ["held"]
    feed.put("/page.geojson", entry(mag=7.4, updated=ms(NOW) + 5))
    [made] = look(world, feed, now=NOW + timedelta(hours=6), rules=rules)
    assert made.decision == "held" and known(world).event.magnitude == 7.4


def test_a_response_to_a_fresh_event_waits_for_the_next_change(world, feed):
    fresh = entry(time=ms(NOW - timedelta(minutes=3)))
    old = entry("us7aaaa", geometry=(100.0, 30.0, 10.0))
    made = look(world, feed, fresh, old)
    assert [one.respond_at for one in made] == [NOW + timedelta(minutes=5), NOW]


def test_the_most_urgent_response_comes_first(world, feed):
    look(
        world,
        feed,
        entry("us1", mag=5.5, geometry=(100.0, 30.0, 10.0)),
        entry("us2", mag=7.8, geometry=(85.0, 28.2, 10.0)),
        entry("us3", mag=6.5, geometry=(37.0, 37.2, 10.0)),
    )
    with world.engine.connect() as connection:
        assert [one.event_id for one in waiting_requests(connection)] == ["us2", "us3", "us1"]


def test_gdacs_and_comcat_speak_of_one_earthquake(world, feed):
    # The real feed's only strong earthquake, and the same one as ComCat would have it.
    rss = (DATA / "feeds" / "gdacs" / "gdacs-rss-7d.xml").read_bytes()
    url = feed.put("/rss.xml", rss)
    from tasks.events.gdacs import look as read_gdacs
    from tasks.events.reports import WatchState

    reports, _ = read_gdacs(url, WatchState(url), NOW)
    quakes = [one.event for one in reports if one.event and one.event.kind == "earthquake"]
    strong = max(quakes, key=lambda one: one.magnitude)
    head, *items = rss.split(b"<item>")
    some = [*items[:5], *(one for one in items[5:-1] if strong.id[2:].encode() in one), items[-1]]
    feed.put("/rss.xml", b"<item>".join([head, *some]))
    now = strong.occurred_at + timedelta(hours=2)
    limits = {"min_magnitude": strong.magnitude, "min_land_km2": 0, "coast_within_km": 1000}
    lenient = replace_rules(earthquake=RULES.earthquake.model_copy(update=limits))
    look_once(Watch(world, "gdacs", url, lenient), now)
    before = len(rows(world, "SELECT 1 FROM scarp.event WHERE merged_into IS NULL"))
    same = entry(
        "us7zzzz",
        geometry=(strong.longitude + 0.1, strong.latitude, strong.depth_km),
        mag=strong.magnitude + 0.1,
        time=ms(strong.occurred_at) + 1500,
        updated=ms(now),
    )
    [made] = look(world, feed, same, now=now, rules=lenient)
    assert (made.event_id, made.decision) == (strong.id, "updated")
    assert len(rows(world, "SELECT 1 FROM scarp.event WHERE merged_into IS NULL")) == before
    assert known(world, "us7zzzz").event.source == "usgs"
    looked = look_once(Watch(world, "gdacs", url, RULES), now + timedelta(hours=1))
    assert known(world, "us7zzzz").event.source == "usgs"
    mine = {one.decision for one in looked.decisions if one.event_id == strong.id}
    assert mine == {"unchanged"}


def test_words_of_comcat_count_by_its_own_times_whenever_gdacs_wrote(world, feed):
    alert = {
        "eventtype": "EQ",
        "eventid": 1474477,
        "episodeid": 1631455,
        "alertlevel": "Red",
        "fromdate": f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}",
        "datemodified": f"{NOW + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}",
        "severitydata": {"severity": 7.1, "severitytext": "", "severityunit": "M"},
    }
    point = {"type": "Point", "coordinates": [-117.6, 35.77]}
    gdacs = {"type": "Feature", "geometry": point, "properties": alert}
    url = feed.put("/gdacs.json", {"type": "FeatureCollection", "features": [gdacs]})
    now = NOW + timedelta(hours=3)
    assert decisions(look_once(Watch(world, "gdacs", url, RULES), now).decisions) == ["registered"]
    for told in (entry(), entry(mag=7.2, updated=ms(NOW)), entry(mag=7.3, updated=ms(NOW) + 5)):
        [made] = look(world, feed, told, now=now)
        assert (made.event_id, made.decision) == ("EQ1474477", "updated")
    assert known(world).event.magnitude == 7.3
    [made] = look(world, feed, entry(status="deleted", updated=ms(NOW) + 9), now=now)
    assert made.decision == "cancelled"
    alert["datemodified"] = f"{now:%Y-%m-%dT%H:%M:%S}"
    feed.put("/gdacs.json", {"type": "FeatureCollection", "features": [gdacs]})
    [made] = look_once(Watch(world, "gdacs", url, RULES), now).decisions
    assert made.decision == "ignored" and "it stays cancelled" in made.reason
    assert known(world).state == "cancelled"


def test_a_watcher_starts_its_private_cluster_again(monkeypatch, feed):
    home = Path(tempfile.mkdtemp(prefix="scarp-watch-"))
    home.chmod(0o755)
    monkeypatch.setenv("SCARP_HOME", str(home))
    monkeypatch.delenv("SCARP_DATABASE_URL", raising=False)
    url = feed.put("/summary.geojson", {"type": "FeatureCollection", "features": []})
    world = open_world()
    try:
        looks = keep_looking(Watch(world, "usgs", url, read_rules(feed={"interval": "1s"})))
        assert next(looks).failure is None
        os.kill(postgres.status(home).pid, signal.SIGKILL)
        assert "cannot reach the database" in str(next(looks).failure)
        assert next(looks).failure is None
    finally:
        world.engine.dispose()
        postgres.stop(home, force=True)
        shutil.rmtree(home)


def test_a_watcher_outlives_a_store_that_is_away_for_a_while(world, feed):
    soon = datetime.now(UTC) - timedelta(hours=1)
    told = entry(time=ms(soon), updated=ms(soon))
    url = feed.put("/summary.geojson", {"type": "FeatureCollection", "features": [told]})
    looks = keep_looking(Watch(world, "usgs", url, read_rules(feed={"interval": "1s"})))
    name = world.engine.url.database
    admin = create_engine(world.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    with admin.connect() as connection:
        connection.execute(text(end))
        connection.execute(text(f"ALTER DATABASE {name} RENAME TO {name}_away"))
        assert f"cannot reach the database {name}" in str(next(looks).failure)
        connection.execute(text(f"ALTER DATABASE {name}_away RENAME TO {name}"))
    admin.dispose()
    looked = next(looks)
    assert (looked.failure, decisions(looked.decisions)) == (None, ["registered"])
