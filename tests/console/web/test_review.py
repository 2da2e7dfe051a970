"""Reviewing over HTTP: acts, conflicts between two people, undo, and what comes of it."""

import re

import pytest
from shapely.geometry import Point, box, mapping, shape

from tests.console.machine import wait_for
from tests.console.web.conftest import EVENT, XSS, make_token

PATH = f"/events/{EVENT}/review"
POINT = mapping(Point(11, 44))


@pytest.fixture(scope="module")
def two(address, settings):
    """Two reviewers at once."""
    import httpx

    made = [
        httpx.Client(
            base_url=address,
            timeout=60,
            headers={"Authorization": f"Bearer {make_token(name, 'reviewer')}"},
        )
        for name in ("ann", "ben")
    ]
    yield made
    for client in made:
        client.close()


def act(client, **body):
    return client.post(PATH, params={"version": 1}, json=body)


def landslide(client, number):
    return client.get(f"{PATH}/landslides/{number}", params={"version": 1}).json()


def queue(client):
    return client.get(f"{PATH}/queue", params={"version": 1}).json()


def test_the_queue_begins_with_what_is_least_certain(two, mapped):
    found = queue(two[0])
    certain = [one["confidence"] for one in found["queue"]]
    assert certain == sorted(certain) and len(certain) == mapped
    assert found["progress"]["share"] == 0


def test_the_second_who_judges_a_landslide_is_told_of_the_first(two):
    ann, ben = two
    assert act(ann, action="confirm", number=3).status_code == 200
    answer = act(ben, action="reject", number=3, seen=0)
    assert answer.status_code == 409
    assert "ann confirmed" in answer.json()["detail"] or "confirmed" in answer.json()["detail"]
    assert "--seen" not in answer.json()["detail"], "what a command line has is no word of a page"
    assert landslide(ben, 3)["review_state"] == "confirmed"
    newest = landslide(ben, 3)["review_id"]
    assert act(ben, action="reject", number=3, seen=newest).status_code == 200
    assert landslide(ann, 3)["reviewed_by"] == "ben"


def test_two_reviewers_lose_nothing_of_each_other(two):
    ann, ben = two
    assert act(ann, action="confirm", number=4).status_code == 200
    assert act(ben, action="reject", number=5, comment="a quarry").status_code == 200
    assert landslide(ben, 4)["review_state"] == "confirmed"
    told = landslide(ann, 5)
    assert told["review_state"] == "rejected"
    assert told["log"][-1] | {"at": ""} == {
        "action": "reject",
        "reviewer": "ben",
        "comment": "a quarry",
        "at": "",
    }


def test_a_review_by_another_id_of_the_event_is_in_the_log_of_the_event(two):
    from flows.world import open_world
    from tasks.access.audit import list_acts

    by_alias = PATH.replace(EVENT, "EMSR664")
    said = {"action": "comment", "number": 4, "comment": "by another id"}
    assert two[0].post(by_alias, params={"version": 1}, json=said).status_code == 200
    (last, *_) = list_acts(open_world().engine, EVENT)
    assert (last.who, last.outcome) == ("ann", "done") and "by another id" in last.detail


def test_an_outline_is_drawn_anew(two):
    outline = shape(landslide(two[0], 1)["outline"])
    answer = act(two[0], action="edit", number=1, outline=mapping(outline.buffer(0.0001)))
    assert answer.status_code == 200
    assert landslide(two[0], 1)["review_state"] == "edited"


def test_a_landslide_is_split_along_a_line_and_put_together_again_by_undo(two):
    outline = shape(landslide(two[0], 2)["outline"])
    west, south, east, north = outline.bounds
    middle = (west + east) / 2
    line = {"type": "LineString", "coordinates": [[middle, south - 0.001], [middle, north + 0.001]]}
    short = {
        "type": "LineString",
        "coordinates": [[middle, south - 0.001], [middle, south - 0.0005]],
    }
    refused = act(two[0], action="split", number=2, outline=short)
    assert refused.status_code == 400 and "edge to edge" in refused.json()["detail"]
    made = act(two[0], action="split", number=2, outline=line).json()
    assert len(made["numbers"]) >= 3 and landslide(two[0], 2)["review_state"] == "replaced"
    assert act(two[0], action="undo", review=made["review"]).status_code == 200
    assert landslide(two[0], 2)["review_state"] == "unreviewed"


def test_a_landslide_that_lacks_is_added(two):
    drawn = mapping(Point(11.583, 44.331).buffer(0.0003))
    numbers = act(two[0], action="add", outline=drawn).json()["numbers"]
    assert landslide(two[0], numbers[0])["review_state"] == "edited"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"action": "confirm"}, "name the landslide"),
        ({"action": "confirm", "number": 999}, "999"),
        ({"action": "undo"}, "name the review"),
        ({"action": "undo", "review": 10**9}, "none that can be undone"),
        ({"action": "comment", "number": 6}, "needs words"),
        ({"action": "edit", "number": 6, "outline": {}}, "cannot be read"),
        ({"action": "edit", "number": 6, "outline": POINT}, "is not a polygon"),
        ({"action": "split", "number": 6, "outline": POINT}, "line"),
        ({"action": "add", "outline": mapping(box(50, 1, 51, 2))}, "outside the ground"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(two, body, why):
    before = queue(two[0])
    answer = act(two[0], **body)
    assert answer.status_code == 400
    assert why in answer.json()["detail"]
    assert queue(two[0]) == before


def test_comments_are_texts(two):
    assert act(two[0], action="comment", number=7, comment=XSS).status_code == 200
    assert landslide(two[0], 7)["log"][-1]["comment"] == XSS  # the page sets it as text
    page = two[0].get(f"/events/{EVENT}/review", headers={"Accept": "text/html"}).text
    assert "<script>window" not in page


def test_the_pages_count_as_the_files_do(two, mapped):
    rows = two[0].get(f"/events/{EVENT}/versions/1/geojson").json()["features"]
    assert len(rows) == mapped - 1, "two rejected, one added"
    area_km2 = sum(row["properties"]["area_m2"] for row in rows) / 1e6
    for path in (f"/events/{EVENT}", "/events"):
        page = two[0].get(path, headers={"Accept": "text/html"}).text
        assert f">{len(rows)}<" in page and f">{area_km2:.3g} km²<" in page, path
    versions = two[0].get(f"/events/{EVENT}", headers={"Accept": "text/html"}).text
    assert f">{len(rows)}<small>{mapped} stored</small>" in versions


def test_what_stands_becomes_the_next_version_and_the_old_one_stays(two, mapped):
    answer = two[0].post(f"{PATH}/publish", params={"version": 1})
    assert answer.status_code == 303
    page = two[0].get(f"/events/{EVENT}", headers={"Accept": "text/html"}).text
    before = two[0].get(f"/events/{EVENT}?version=1", headers={"Accept": "text/html"}).text
    assert "Review landslides" in page and "Review landslides" not in before
    assert "inventory version 2, reviewed" in page
    assert "Compare 1 → 2" in page.replace("\n", "")
    assert "These files show version 1, not version 2." in page
    assert "S2_L2A_4120_20230523" in page, "it was reviewed from what was mapped from this scene"
    assert "Only 0 % of what it covers of the area is clear" in page
    assert re.search(r"ldm-net-tiny; reviewed: \d+ confirmed, \d+ drawn or edited, \d+ not", page)
    first, second = (
        two[0].get(f"/events/{EVENT}/versions/{n}/geojson").json()["features"] for n in (1, 2)
    )
    assert len(second) == mapped - 1, "two rejected, one added"
    assert len(first) >= mapped - 1

    def is_assessed():
        query = {"question": f"SELECT version FROM v_susceptibility WHERE event_id = '{EVENT}'"}
        maps = two[0].get("/ask/answer.json", params=query).json()
        return {"version": 2} in maps

    wait_for(is_assessed)
