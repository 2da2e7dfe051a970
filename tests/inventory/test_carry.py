"""What people said of a landslide stands in the next automatic version, if it looks the same."""

from datetime import UTC, datetime

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from tasks.events.registry import register
from tasks.inventory.carry import carry_over, plan_carry_over
from tasks.inventory.origin import REVIEWED
from tasks.inventory.review import (
    Reviewer,
    add,
    confirm,
    edit,
    list_reviews,
    merge,
    reject,
    split,
    undo,
)
from tasks.inventory.runs import start_run
from tasks.inventory.store import read_reviewed, store_inventory
from tasks.types import AreaOfInterest, Event, Provenance

STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])
WEST = MultiPolygon([box(11.8, 44.1, 11.9015, 44.3)])
ANN = Reviewer("ann", "seen in the field")


def slide(place, width=0.0008):
    west = 11.9 + place / 1000
    return box(west, 44.2, west + width, 44.2005)


@pytest.fixture
def mapped(engine):
    """Map the storm: landslides at the places given become the next version, as a network's."""

    def map_again(places, observed=AREA, method="ldm-net@sha256:c0ffee", outlines=None):
        outlines = outlines or [slide(place) for place in places]
        found = gpd.GeoDataFrame(geometry=outlines, crs=4326)
        with engine.begin() as connection:
            register(connection, STORM, AreaOfInterest(AREA, "given"))
            run_id = start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee")
            plan = plan_carry_over(connection, STORM.id, found, observed)
            stored = store_inventory(
                connection,
                event_id=STORM.id,
                run_id=run_id,
                digest=str(run_id),
                method=method,
                threshold=0.5,
                minimum_mapping_unit_m2=0,
                observed=observed,
                landslides=found,
                doubts=plan.doubts,
                publish=True,
            )
            carry_over(connection, stored.id, plan)
        return stored

    return map_again


def states(engine, stored):
    query = (
        "SELECT number, review_state, reviewed_by FROM scarp.v_landslides_all "
        "WHERE inventory_id = :id AND review_state <> 'replaced' ORDER BY number"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query), {"id": stored.id})]


def test_a_landslide_rejected_once_stays_rejected_when_it_is_mapped_again(engine, mapped):
    first = mapped([0, 1, 2])
    with engine.begin() as connection:
        reject(connection, first.id, [1], ANN)
        confirm(connection, first.id, [2], Reviewer("bob"))
    second = mapped([5, 1, 0])
    assert states(engine, second) == [
        (1, "unreviewed", None),
        (2, "confirmed", "bob"),
        (3, "rejected", "ann"),
    ]
    with engine.connect() as connection:
        said = {one.reviewer: one.comment for one in list_reviews(connection, second.id)}
        assert list(read_reviewed(connection, second.id)["number"]) == [1, 2]
    assert said["ann"].startswith("seen in the field (as in version 1, ")
    assert not second.doubts


def test_what_looks_different_is_left_to_be_looked_at_again_and_told(engine, mapped):
    first = mapped([0, 1])
    with engine.begin() as connection:
        reject(connection, first.id, [1, 2], ANN)
    second = mapped([], outlines=[slide(0, width=0.0005)])
    assert states(engine, second) == [(1, "unreviewed", None)]
    (doubt,) = second.doubts
    assert doubt.code == "reviews-left"
    assert doubt.text.startswith("2 reviewed landslides")


def test_what_a_hand_drew_is_drawn_again(engine, mapped):
    first = mapped([0, 1, 2, 3])
    redrawn, forgotten = slide(0, width=0.0003), slide(8)
    halves = [slide(1, width=0.0003), slide(1.4, width=0.0003)]
    with engine.begin() as connection:
        edit(connection, first.id, 1, redrawn, ANN)
        split(connection, first.id, 2, halves, ANN)
        merge(connection, first.id, [3, 4], ANN)
        add(connection, first.id, [forgotten], ANN, "scar")
    second = mapped([3, 2, 1, 0])
    with engine.connect() as connection:
        before, after = (read_reviewed(connection, one.id) for one in (first, second))
    assert len(before) == len(after) == 5
    assert before.union_all().equals(after.union_all())
    assert sorted(after["area_m2"]) == pytest.approx(sorted(before["area_m2"]))
    assert list(after["kind"]).count("scar") == 1


def test_an_added_landslide_that_the_network_now_finds_is_not_doubled(engine, mapped):
    first = mapped([0])
    with engine.begin() as connection:
        add(connection, first.id, [slide(4)], ANN)
    second = mapped([0, 4])
    assert states(engine, second) == [(1, "unreviewed", None), (2, "unreviewed", None)]
    assert second.doubts


def test_ground_that_is_not_seen_now_carries_nothing_over(engine, mapped):
    first = mapped([0, 3])
    with engine.begin() as connection:
        confirm(connection, first.id, [1, 2], ANN)
    second = mapped([0], observed=WEST)
    assert states(engine, second) == [(1, "confirmed", "ann")]
    assert second.doubts[0].text.startswith("1 reviewed landslide")


def test_what_was_undone_is_not_said_again(engine, mapped):
    first = mapped([0])
    with engine.begin() as connection:
        act = reject(connection, first.id, [1], ANN)
        undo(connection, first.id, act.id, ANN)
    assert states(engine, mapped([0])) == [(1, "unreviewed", None)]


def test_reviews_go_from_version_to_version_and_through_one_published_from_reviews(engine, mapped):
    first = mapped([0, 1])
    with engine.begin() as connection:
        reject(connection, first.id, [1], ANN)
    reviewed = mapped([1], method=REVIEWED)
    with engine.begin() as connection:
        confirm(connection, reviewed.id, [1], Reviewer("bob"))
    third = mapped([0, 1])
    assert states(engine, third) == [(1, "rejected", "ann"), (2, "confirmed", "bob")]
    with engine.begin() as connection:
        confirm(connection, third.id, [1], Reviewer("cy", seen=2**62))
    assert states(engine, mapped([0, 1])) == [(1, "confirmed", "cy"), (2, "confirmed", "bob")]


def test_reviews_of_an_imported_inventory_say_nothing_of_a_mapped_one(engine, mapped):
    first = mapped([0], method="imported")
    with engine.begin() as connection:
        reject(connection, first.id, [1], ANN)
    assert states(engine, mapped([0])) == [(1, "unreviewed", None)]
