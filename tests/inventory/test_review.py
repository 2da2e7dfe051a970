"""Reviews in a true PostGIS: what people see, what stays, and two reviewers at once."""

import threading
from datetime import UTC, datetime

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, Polygon, box
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from tasks.errors import InventoryError, ReviewConflictError
from tasks.events.registry import register
from tasks.inventory.review import (
    Reviewer,
    add,
    confirm,
    edit,
    list_reviews,
    merge,
    progress,
    reject,
    remark,
    split,
    undo,
)
from tasks.inventory.runs import start_run
from tasks.inventory.store import (
    count_reviewed,
    read_landslides,
    read_reviewed,
    read_screened,
    store_inventory,
)
from tasks.types import AreaOfInterest, Event, Provenance, geodesic_area_m2

STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])
ANN, BOB = Reviewer("ann"), Reviewer("bob")


def slide(x, width=0.0008):
    return box(11.9 + x / 1000, 44.2, 11.9 + x / 1000 + width, 44.2005)


@pytest.fixture
def store(engine):
    """Store a version of the storm's inventory: landslides 1 to 4, of which a screen took 4."""

    def store_version(digest="one", publish=True):
        slides = gpd.GeoDataFrame(
            {
                "score_mean": 0.8,
                "scene_id": "s1",
                "screened_by": [None] * 3 + ["slope"],
                "screen_reason": [None] * 3 + ["too flat"],
            },
            geometry=[slide(x) for x in range(4)],
            crs=4326,
        )
        with engine.begin() as connection:
            register(connection, STORM, AreaOfInterest(AREA, "given"))
            run_id = start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee")
            return store_inventory(
                connection,
                event_id=STORM.id,
                run_id=run_id,
                digest=digest,
                method="ldm-net@sha256:01",
                threshold=0.5,
                minimum_mapping_unit_m2=0,
                observed=AREA,
                landslides=slides,
                doubts=[],
                publish=publish,
            ).id

    return store_version


@pytest.fixture
def inventory(store):
    return store()


@pytest.fixture
def connection(engine, inventory):
    with engine.begin() as connection:
        yield connection


def truth(connection):
    """What an analyst sees: number -> state."""
    query = "SELECT number, review_state FROM scarp.v_landslides ORDER BY number"
    return {number: state for number, state in connection.execute(text(query))}


def test_every_place_counts_landslides_as_reviewed(connection, inventory):
    counts = text(
        "SELECT events.landslide_count, kept.landslide_count, standing_count, standing_area_m2 "
        "FROM scarp.v_events AS events JOIN scarp.v_inventories AS kept USING (event_id)"
    )
    before = connection.execute(counts).one()
    assert before[:3] == (3, 3, 3)
    reject(connection, inventory, [1, 2], ANN)
    add(connection, inventory, [slide(6)], ANN)
    stands = read_reviewed(connection, inventory)
    known = connection.execute(counts).one()
    assert known[:3] == (2, 3, 2) and len(stands) == 2
    assert known.standing_area_m2 == pytest.approx(stands["area_m2"].sum())
    assert count_reviewed(connection, inventory) == (2, known.standing_area_m2)
    reject(connection, inventory, stands["number"].tolist(), ANN)
    assert connection.execute(counts).one()[:3] == (0, 3, 0)


def test_unreviewed_landslides_stand(connection, inventory):
    assert truth(connection) == dict.fromkeys((1, 2, 3), "unreviewed")
    assert progress(connection, inventory).share == 0


def test_confirming_and_rejecting_change_what_analysts_see_and_say_who_did(connection, inventory):
    confirm(connection, inventory, [1, 1, 3], ANN)
    reject(connection, inventory, [2], Reviewer("bob", "a ploughed field"))
    assert truth(connection) == {1: "confirmed", 3: "confirmed"}
    row = connection.execute(
        text("SELECT * FROM scarp.v_landslides_all WHERE number = 2 AND NOT stands")
    ).one()
    assert (row.review_state, row.reviewed_by) == ("rejected", "bob")
    said = connection.execute(text("SELECT * FROM scarp.v_reviews ORDER BY review_id")).all()
    assert [(one.action, one.numbers, one.comment) for one in said] == [
        ("confirm", [1, 3], ""),
        ("reject", [2], "a ploughed field"),
    ]


def test_the_automatic_result_stays_as_it_was(connection, inventory):
    before = read_landslides(connection, inventory)
    edit(connection, inventory, 1, slide(0, 0.0009), ANN)
    merge(connection, inventory, [2, 3], ANN)
    assert read_landslides(connection, inventory).equals(before)


def test_a_confirmed_landslide_stands_whatever_a_screen_said(connection, inventory):
    assert list(read_screened(connection, inventory)["number"]) == [4]
    confirm(connection, inventory, [4], ANN)
    assert truth(connection)[4] == "confirmed"
    assert not len(read_screened(connection, inventory))
    assert connection.scalar(text("SELECT count(*) FROM scarp.v_screened")) == 0


def test_an_edited_landslide_keeps_its_number_and_is_measured_anew(connection, inventory):
    outline = slide(0, 0.0006)
    edit(connection, inventory, 1, outline, ANN)
    edited = read_reviewed(connection, inventory).set_index("number").loc[1]
    assert edited.geometry.equals(outline)
    assert edited.area_m2 == pytest.approx(geodesic_area_m2(outline))
    assert edited.scene_id == "s1" and edited.review_state == "edited"
    assert edited[["score_mean", "slope_mean_deg"]].isna().all()
    confirm(connection, inventory, [1], ANN)
    again = read_reviewed(connection, inventory).set_index("number").loc[1]
    assert again.geometry.equals(outline) and again.review_state == "confirmed"


def test_an_added_landslide_gets_the_next_number(connection, inventory):
    made = add(connection, inventory, [slide(6), slide(8)], ANN, kind="scar")
    assert made.numbers == (5, 6)
    added = read_reviewed(connection, inventory).set_index("number").loc[[5, 6]]
    assert added["kind"].tolist() == ["scar", "scar"]
    ids = text("SELECT landslide_id FROM scarp.v_landslides WHERE number > 4")
    assert all(landslide_id < 0 for landslide_id in connection.scalars(ids))


def test_split_parts_and_a_merged_whole_replace_what_they_came_from(connection, inventory):
    halves = [slide(0, 0.0004), box(11.9004, 44.2, 11.9008, 44.2005)]
    assert split(connection, inventory, 1, halves, ANN).numbers == (1, 5, 6)
    assert merge(connection, inventory, [3, 2], ANN).numbers == (2, 3, 7)
    assert truth(connection) == {5: "edited", 6: "edited", 7: "edited"}
    came_from = text("SELECT number, made_from FROM scarp.v_landslides ORDER BY number")
    assert [tuple(row) for row in connection.execute(came_from)] == [
        (5, [1]),
        (6, [1]),
        (7, [2, 3]),
    ]
    merged = read_reviewed(connection, inventory).set_index("number").loc[7]
    assert merged.area_m2 == pytest.approx(sum(geodesic_area_m2(slide(x)) for x in (1, 2)))
    with pytest.raises(InventoryError, match=r"landslide 1 was split by ann at 20.*review that"):
        confirm(connection, inventory, [1], ANN)


def test_a_scar_and_its_deposit_merged_are_a_landslide(connection, inventory):
    scars = add(connection, inventory, [slide(6), slide(7)], ANN, kind="scar").numbers
    deposits = add(connection, inventory, [slide(8)], ANN, kind="deposit").numbers
    (*_, scar) = merge(connection, inventory, scars, ANN).numbers
    (*_, whole) = merge(connection, inventory, [scar, *deposits], ANN).numbers
    kinds = text("SELECT number, kind FROM scarp.v_landslides_all WHERE number IN (:scar, :whole)")
    asked = {"scar": scar, "whole": whole}
    assert dict(connection.execute(kinds, asked).all()) == {scar: "scar", whole: "landslide"}


def test_a_reviewer_is_the_same_with_a_blank_behind_the_name(connection, inventory):
    confirm(connection, inventory, [1], Reviewer("ann "))
    assert reject(connection, inventory, [1], Reviewer("ann ")).reviewer == "ann"


def test_the_second_of_two_reviewers_is_told_who_changed_it_and_when(connection, inventory):
    made = confirm(connection, inventory, [1], ANN)
    with pytest.raises(
        ReviewConflictError, match=rf"1 was confirmed by ann at 20.* UTC; .*--seen {made.id}"
    ):
        reject(connection, inventory, [1, 2], BOB)
    assert truth(connection) == {1: "confirmed", 2: "unreviewed", 3: "unreviewed"}
    reject(connection, inventory, [1, 2], Reviewer("bob", seen=made.id))
    assert truth(connection) == {3: "unreviewed"}


def test_a_reviewer_who_comes_while_another_is_at_it_waits_and_is_told(engine, inventory):
    told = []

    def review():
        try:
            with engine.begin() as connection:
                reject(connection, inventory, [1], BOB)
        except Exception as error:
            told.append(error)

    second = threading.Thread(target=review)
    with engine.begin() as connection:
        confirm(connection, inventory, [1], ANN)
        second.start()
        second.join(0.5)
        assert second.is_alive()
    second.join()
    with engine.connect() as connection:
        assert truth(connection)[1] == "confirmed"
    assert [type(error) for error in told] == [ReviewConflictError]


def test_every_act_can_be_undone_and_the_undoing_too(connection, inventory):
    before = read_reviewed(connection, inventory)
    acts = [
        confirm(connection, inventory, [1], ANN),
        edit(connection, inventory, 1, slide(0, 0.0009), ANN),
        merge(connection, inventory, [2, 3], ANN),
        add(connection, inventory, [slide(6)], ANN),
    ]
    after = read_reviewed(connection, inventory)
    undone = [undo(connection, inventory, act.id, BOB) for act in reversed(acts)]
    assert read_reviewed(connection, inventory).equals(before)
    for act in reversed(undone):
        undo(connection, inventory, act.id, ANN)
    assert (
        read_reviewed(connection, inventory)
        .drop(columns=["reviewed_at", "reviewed_by"])
        .equals(after.drop(columns=["reviewed_at", "reviewed_by"]))
    )
    assert len(list_reviews(connection, inventory)) == 12


def test_what_was_reviewed_since_cannot_be_undone_underneath(connection, inventory):
    first = confirm(connection, inventory, [1, 2], ANN)
    second = reject(connection, inventory, [2], ANN)
    with pytest.raises(
        InventoryError, match=rf"landslide 2 was rejected .*undo review {second.id}"
    ):
        undo(connection, inventory, first.id, ANN)
    with pytest.raises(InventoryError, match="is none that can be undone"):
        undo(connection, inventory, 999, ANN)


def test_a_review_is_undone_once(connection, inventory):
    first = confirm(connection, inventory, [1], ANN)
    undone = undo(connection, inventory, first.id, ANN)
    again = undo(connection, inventory, undone.id, ANN)
    with pytest.raises(InventoryError, match=f"undone already, by review {undone.id}"):
        undo(connection, inventory, first.id, ANN)
    undo(connection, inventory, again.id, ANN)
    assert truth(connection)[1] == "unreviewed"


def test_a_new_version_waits_for_a_review_under_way(engine, store, inventory):
    with engine.begin() as reviewing:
        confirm(reviewing, inventory, [1], ANN)
        with engine.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            supersede = "UPDATE scarp.inventory SET status = 'superseded', superseded_at = now()"
            with pytest.raises(OperationalError, match="lock timeout"):
                other.execute(text(supersede))


def test_a_comment_changes_nothing_and_never_conflicts(connection, inventory):
    confirm(connection, inventory, [1], ANN)
    said = 'rob\'s "note"; DROP TABLE scarp.review; -- \\'
    remark(connection, inventory, [1], Reviewer("bob', NULL); --", said))
    assert truth(connection)[1] == "confirmed"
    last = list_reviews(connection, inventory, 1)[-1]
    assert (last.action, last.comment, last.reviewer) == ("comment", said, "bob', NULL); --")
    with pytest.raises(InventoryError, match="needs words"):
        remark(connection, inventory, [1], ANN)


BOWTIE = Polygon([(11.9, 44.2), (11.91, 44.21), (11.91, 44.2), (11.9, 44.21)])


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (lambda c, i: confirm(c, i, [99], ANN), "no landslide 99"),
        (lambda c, i: confirm(c, i, [1, 10**20], ANN), "no landslide 100000000000000000000"),
        (lambda c, i: undo(c, i, 10**20, ANN), "review 100000000000000000000 is none"),
        (lambda c, i: confirm(c, i, [], ANN), "name a landslide"),
        (lambda c, i: confirm(c, i, [1], Reviewer("  ")), "who reviews: --by"),
        (lambda c, i: confirm(c, i, [1], Reviewer("a\0b")), "name has a NUL byte"),
        (lambda c, i: reject(c, i, [1], Reviewer("ann", "a\0b")), "comment has a NUL byte"),
        (lambda c, i: edit(c, i, 1, BOWTIE, ANN), "landslide 1 of 1 .*itself"),
        (lambda c, i: edit(c, i, 1, Polygon(), ANN), "is not a polygon"),
        (lambda c, i: edit(c, i, 1, box(44.2, 11.9, 44.3, 12), ANN), "outside the ground"),
        (lambda c, i: add(c, i, [box(10, 40, 10.1, 40.1)], ANN), "outside the ground"),
        (lambda c, i: edit(c, i, 1, box(11, 43, 12.5, 45), ANN), "% of outline 1 of 1 lies out"),
        (lambda c, i: add(c, i, [], ANN), "no outline"),
        (lambda c, i: add(c, i, [slide(6)], ANN, kind="mud"), "landslide, scar or deposit"),
        (lambda c, i: add(c, i, [slide(6), slide(1.1)], ANN), "2 of 2 and landslide 2 share 88 %"),
        (lambda c, i: edit(c, i, 1, slide(0, width=0.003), ANN), "landslide 2 share 100 %"),
        (lambda c, i: add(c, i, [slide(6), slide(6.2)], ANN), "1 of 2 and outline 2 share 75 %"),
        (
            lambda c, i: split(c, i, 1, [slide(0, 0.0004), slide(0.5, 0.0015)], ANN),
            "2 of 2 and landslide 2",
        ),
        (lambda c, i: split(c, i, 1, [slide(0)], ANN), "two outlines or more"),
        (lambda c, i: split(c, i, 1, [slide(0), slide(0)], ANN), "overlaps another part"),
        (lambda c, i: split(c, i, 1, [slide(0), slide(9)], ANN), "part 2 does not meet"),
        (lambda c, i: merge(c, i, [1, 1], ANN), "two landslides or more"),
    ],
)
def test_a_review_that_makes_no_sense_says_why_and_leaves_nothing(
    engine, inventory, act, complaint
):
    with pytest.raises(InventoryError, match=complaint), engine.begin() as connection:
        act(connection, inventory)
    with engine.connect() as connection:
        assert list_reviews(connection, inventory) == []
        assert truth(connection) == dict.fromkeys((1, 2, 3), "unreviewed")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scarp.review SET reviewer = 'eve'",
        "DELETE FROM scarp.review",
        "TRUNCATE scarp.review CASCADE",
        "UPDATE scarp.review_outcome SET state = 'rejected'",
        "UPDATE scarp.review_outcome SET current = NOT current, number = 2",
        "DELETE FROM scarp.review_outcome",
    ],
)
def test_what_reviewers_did_cannot_be_changed(engine, inventory, statement):
    with engine.begin() as connection:
        confirm(connection, inventory, [1], ANN)
    with pytest.raises(IntegrityError, match="evidence"), engine.begin() as connection:
        connection.execute(text(statement))


def test_a_superseded_version_is_not_reviewed_any_more(engine, store, inventory):
    store("two")
    with (
        pytest.raises(InventoryError, match="version 1 of storm was superseded on 20"),
        engine.begin() as connection,
    ):
        confirm(connection, inventory, [1], ANN)


def test_a_draft_thrown_away_takes_its_reviews_with_it(engine, store):
    draft = store("draft", publish=False)
    with engine.begin() as connection:
        made = merge(connection, draft, [1, 2], ANN)
        undo(connection, draft, made.id, ANN)
        connection.execute(text("DELETE FROM scarp.inventory"))
        assert connection.scalar(text("SELECT count(*) FROM scarp.review")) == 0


def test_progress_counts_what_was_looked_at(connection, inventory):
    confirm(connection, inventory, [1], ANN)
    newest = reject(connection, inventory, [2], ANN)
    seen = progress(connection, inventory)
    assert (seen.unreviewed, seen.confirmed, seen.rejected) == (1, 1, 1)
    assert seen.newest == newest.id and seen.share == pytest.approx(2 / 3)
