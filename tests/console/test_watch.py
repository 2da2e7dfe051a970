"""`scarp watch`, `register` by id and `events`, as a person types them."""

import json
import shutil

import pytest

from tests.flows.feeds import COMCAT, NOW, entry, ms, serving

DETAIL = COMCAT / "replay" / "us10008e3k" / "detail_includesuperseded.json"


@pytest.fixture
def feed(monkeypatch):
    with serving() as feed:
        monkeypatch.setenv("SCARP_COMCAT_URL", feed.url + "/{id}.geojson")
        yield feed


def watch(scarp, url, *more):
    code, out, error = scarp("watch", "--source", "usgs", "--url", str(url), "--once", *more)
    return code, out, error


def test_a_look_prints_one_array_of_decisions(scarp, feed):
    features = [entry(), entry("ci1", mag=3.0)]
    url = feed.put("/feed", {"type": "FeatureCollection", "features": features})
    code, out, _ = watch(scarp, url, "--json", "--now", NOW.isoformat())
    assert code == 0
    assert [(one["event_id"], one["decision"]) for one in json.loads(out)] == [
        ("ci38457511", "registered"),
        ("ci1", "ignored"),
    ]
    for one in json.loads(out):
        assert {"event_id", "source_version", "decision", "reason"} <= one.keys()
    assert json.loads(watch(scarp, url, "--json", "--now", NOW.isoformat())[1]) == []


def test_rules_of_ones_own_decide_and_others_decide_again(scarp, feed, tmp_path):
    url = feed.put("/feed", {"type": "FeatureCollection", "features": [entry(mag=5.5)]})
    rules = tmp_path / "rules.toml"
    rules.write_text("[earthquake]\nmin_magnitude = 6.0\n")
    now = ("--now", NOW.isoformat(), "--json")
    [made] = json.loads(watch(scarp, url, *now, "--rules", str(rules))[1])
    assert made["decision"] == "ignored" and "below M 6 of the rules" in made["reason"]
    [made] = json.loads(watch(scarp, url, *now)[1])
    assert made["decision"] == "registered"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--source", "emsc"), "'emsc' is not one of usgs, gdacs, rain"),
        (("--source", "rain"), "needs --url"),
        (("--now", "yesterday"), "is not a time"),
        (("--now", "2017-04-03T18:00:00"), "has no time zone"),
        (("--interval", "5"), 'feed.interval = "5" is not a time such as 90s'),
        (("--rules", "/nowhere.toml"), "/nowhere.toml cannot be read"),
    ],
)
def test_what_is_misspelt_is_said_in_a_sentence(scarp, words, complaint):
    code, _, error = scarp("watch", "--once", *words)
    assert code == 2 and complaint in error and "\n" not in error.strip()


def test_a_web_page_for_a_feed_is_told_on_both_channels(scarp, feed):
    url = feed.put("/feed", b"<html>maintenance</html>")
    code, out, error = watch(scarp, url, "--json")
    assert code == 2 and "is a web page" in error
    assert "is a web page" in json.loads(out)[0]["reason"]


def test_an_id_alone_is_asked_of_comcat(scarp, feed):
    feed.put("/ci38457511.geojson", entry())
    code, out, error = scarp("register", "ci38457511", "--json")
    assert code == 0, error
    assert json.loads(out)["event"]["magnitude"] == 7.1
    code, out, _ = scarp("register", "ci38457511")
    assert code == 0 and "unchanged" in out
    code, _, error = scarp("register", "nn1")
    assert code == 2 and "ComCat tells nothing of event 'nn1'" in error and "--file" in error
    feed.statuses["/nn1.geojson"] = 503
    assert scarp("register", "nn1")[0] == 1


def test_an_id_that_is_another_of_a_known_event_is_said_to_be(scarp, feed):
    # ComCat answers each of the ids of this event with the same page.
    for name in ("ci38457511", "us70006vkq"):
        feed.put(f"/{name}.geojson", entry(ids=",ci38457511,us70006vkq,"))
    assert "another id" not in scarp("register", "ci38457511")[1]
    code, out, error = scarp("register", "us70006vkq")
    assert code == 0, error
    assert "us70006vkq is another id of ci38457511" in out and "ci38457511 unchanged" in out
    said = scarp("register", "us70006vkq", "--dry-run")[1]
    assert "us70006vkq is another id of ci38457511" in said
    words = ["us70006vkq", "--kind", "earthquake", "--time", "2019-07-06T03:19:53Z"]
    words += ["--lon", "-117.6", "--lat", "35.77", "--magnitude", "7.2", "--json"]
    made = json.loads(scarp("register", *words)[1])
    assert (made["asked"], made["event"]["id"]) == ("us70006vkq", "ci38457511")


def test_a_saved_page_registers_its_event_and_a_dry_run_stores_nothing(scarp, feed, tmp_path):
    page = tmp_path / "page.json"
    shutil.copy(DETAIL, page)
    code, out, error = scarp("register", "--file", str(page), "--dry-run", "--json")
    assert code == 0, error
    planned = json.loads(out)
    assert planned["would_be"] == "registered" and planned["expected_km2"] > 0
    assert planned["aoi_km2"] == pytest.approx(4960, rel=0.01)
    assert json.loads(scarp("events", "list", "--json")[1]) == []
    assert scarp("register", "--file", str(page))[0] == 0
    [known] = json.loads(scarp("events", "list", "--json")[1])
    assert known["event"]["id"] == "us10008e3k" and known["forced"]


def test_a_held_event_is_refused_by_respond_until_it_is_released(scarp, feed):
    feed.put("/ci38457511.geojson", entry())
    scarp("register", "ci38457511")
    assert "is held" in scarp("events", "hold", "ci38457511", "--reason", "wait for us")[1]
    code, _, error = scarp("respond", "ci38457511", "--source", "nowhere")
    assert code == 2 and "is held; `scarp events release ci38457511`" in error
    assert "is registered" in scarp("events", "release", "ci38457511")[1]
    assert "is cancelled" in scarp("events", "cancel", "ci38457511")[1]
    assert scarp("respond", "ci38457511", "--source", "nowhere")[0] == 2
    shown = json.loads(scarp("events", "show", "ci38457511", "--json")[1])
    assert [one["change"] for one in shown["history"]] == [
        "registered",
        "held",
        "released",
        "cancelled",
    ]
    assert shown["history"][1]["reason"] == "wait for us" and shown["state"] == "cancelled"


def test_show_tells_why_an_event_was_ignored(scarp, feed):
    url = feed.put("/feed", {"type": "FeatureCollection", "features": [entry("ci1", mag=3.0)]})
    watch(scarp, url, "--now", NOW.isoformat())
    code, out, _ = scarp("events", "show", "ci1")
    assert code == 0 and "is not registered" in out and "M 3 is below M 5" in out
    assert scarp("events", "show", "ci2")[0] == 2


def test_shakemaps_are_pinned_by_identity(scarp, feed):
    page = json.loads(DETAIL.read_text())
    for product in page["properties"]["products"]["shakemap"]:
        product["contents"] = {}
    feed.put("/us10008e3k.geojson", page)
    assert scarp("register", "us10008e3k")[0] == 0
    first = "us:us10008e3k:1491243167477"
    assert scarp("events", "pin-shakemap", "us10008e3k", first)[0] == 0
    shown = json.loads(scarp("events", "show", "us10008e3k", "--json")[1])
    assert [one["identity"] for one in shown["shakemaps"] if "pinned" in one["use"]] == [first]
    code, _, error = scarp("events", "pin-shakemap", "us10008e3k", "us:us10008e3k:4")
    assert code == 2 and "has no ShakeMap" in error and first in error


def test_what_is_due_is_listed_most_urgent_first(scarp, feed):
    strong = entry("us2", mag=7.8, geometry=(85.0, 28.2, 10.0), updated=ms(NOW))
    features = [entry(mag=6.0), strong]
    url = feed.put("/feed", {"type": "FeatureCollection", "features": features})
    watch(scarp, url, "--now", NOW.isoformat())
    due = json.loads(scarp("events", "due", "--json")[1])
    assert [one["event_id"] for one in due] == ["us2", "ci38457511"]
    assert scarp("runs", "cancel", "us2")[0] == 0
    due = json.loads(scarp("events", "due", "--json")[1])
    assert [one["given_up"] for one in due] == ["it was cancelled by an operator", None]
    assert "given up" in scarp("events", "due")[1]
