"""Differences between versions on outlines whose answer is plain, and on a real inventory."""

from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, box

from tasks.errors import InventoryError
from tasks.events.registry import register
from tasks.inventory.compare import _project, _Side, difference, lineage, write_changes
from tasks.inventory.importing import read_inventory_file
from tasks.inventory.review import Reviewer, merge
from tasks.inventory.runs import start_run
from tasks.inventory.store import get_inventory, store_inventory
from tasks.types import AreaOfInterest, Event, Provenance, geodesic_area_m2
from tests.conftest import DATA

REFERENCE = DATA / "hokkaido2018" / "inventory.gpkg"
STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
GROUND = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])


def cell(x, y=0, width=1.0, height=1.0):
    """A rectangle on a grid of 1/1000 degree."""
    return box(
        11.9 + x / 1000, 44.2 + y / 1000, 11.9 + (x + width) / 1000, 44.2 + (y + height) / 1000
    )


def version(*outlines):
    numbers = np.arange(1, len(outlines) + 1)
    return gpd.GeoDataFrame({"number": numbers}, geometry=list(outlines), crs=4326)


def changes(before, after, ground=GROUND):
    found = difference(before, after, ground).changes
    return sorted(zip(found["change"], found["before"], found["after"], strict=True))


def test_what_goes_on_into_ground_seen_later_alone_did_not_vanish(tmp_path):
    ground = MultiPolygon([cell(0, width=5)])
    before, after = version(cell(4)), version(cell(4, width=9))
    there, back = difference(before, after, ground), difference(after, before, ground)
    assert len(there.changes) == len(back.changes) == 0
    for found in (there, back):
        assert (found.not_comparable.before, found.not_comparable.after) == (1, 1)
        assert sorted(found.left_out["side"]) == ["after", "before"]
    assert set(there.left_out.geometry.map(shapely.to_wkb)) == set(
        shapely.to_wkb([cell(4), cell(4, width=9)])
    )
    drawn = write_changes(there, tmp_path / "changes.gpkg")
    assert len(gpd.read_file(drawn, layer="not_comparable")) == 2
    both = version(cell(0), cell(4)), version(cell(0), cell(4, width=9))
    assert changes(*both, ground) == [("unchanged", (1,), (1,))]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ([cell(0)], [cell(0)], "unchanged"),
        ([cell(0)], [cell(0, width=1.05)], "unchanged"),
        ([cell(0)], [cell(0, width=1.2)], "grown"),
        ([cell(0)], [cell(0, width=0.8)], "shrunk"),
        ([cell(0, width=2)], [cell(0), cell(1.1, width=0.9)], "split"),
        ([cell(0), cell(1.1)], [cell(0, width=2.1)], "merged"),
        ([cell(0), cell(2)], [cell(0, width=0.7), cell(0.8, width=1.7), cell(2.6)], "regrouped"),
        ([cell(0), cell(0.5)], [cell(0), cell(0.5)], "unchanged"),
    ],
)
def test_a_group_is_named_by_how_many_became_how_many(before, after, change):
    (found,) = {name for name, *_ in changes(version(*before), version(*after))}
    assert found == change


def test_landslides_that_share_less_than_a_tenth_are_not_the_same():
    touching = version(cell(0.95))
    assert changes(version(cell(0)), touching) == [("appeared", (), (1,)), ("vanished", (1,), ())]
    assert changes(version(cell(0)), version(cell(0.85)))[0][0] == "unchanged"


def test_areas_are_geodesic_and_add_up():
    before, after = version(cell(0), cell(5)), version(cell(0, width=2), cell(9))
    found = difference(before, after, GROUND)
    assert found.tallies["grown"].before_m2 == pytest.approx(geodesic_area_m2(cell(0)), rel=1e-4)
    for side, landslides in (("before", before), ("after", after)):
        total = sum(map(geodesic_area_m2, landslides.geometry))
        tallies = [getattr(one, f"{side}_m2") for one in found.tallies.values()]
        assert sum(tallies) == pytest.approx(total, rel=1e-4)
        assert sum(getattr(one, side) for one in found.tallies.values()) == 2


def test_what_one_version_did_not_observe_is_not_comparable_and_counted_apart():
    half = box(11.8, 44.1, 11.9006, 44.3)
    before = version(cell(0), cell(-3), cell(8), cell(0.3, 5))
    found = difference(before, version(cell(-3)), half)
    assert found.tallies["vanished"].before == 1
    assert found.tallies["unchanged"].before == 1
    assert (found.not_comparable.before, found.not_comparable.after) == (2, 0)
    outside = geodesic_area_m2(cell(8)) * (0.4 + 1 + 1)
    assert found.not_comparable.before_m2 == pytest.approx(outside, rel=1e-3)
    assert found.ground_km2 == pytest.approx(geodesic_area_m2(half) / 1e6, rel=1e-3)


def test_versions_without_common_ground_say_so():
    for ground in (MultiPolygon(), Point(11.9, 44.2)):
        with pytest.raises(InventoryError, match="share no observed ground"):
            difference(version(cell(0)), version(cell(0)), ground)


def test_a_version_that_found_nothing_is_compared_too():
    nothing = version()
    assert changes(nothing, nothing) == []
    assert changes(version(cell(0)), nothing) == [("vanished", (1,), ())]
    assert changes(nothing, version(cell(0))) == [("appeared", (), (1,))]


def test_cutting_to_a_ground_full_of_clouds_equals_cutting_to_all_of_it_at_once():
    random = np.random.default_rng(7)
    where = random.uniform([141.8, 42.6], [142.1, 42.9], (600, 2))
    clouds = shapely.union_all(shapely.buffer(shapely.points(where), 0.004))
    ground = _project(np.array([shapely.difference(box(141.8, 42.6, 142.1, 42.9), clouds)]))[0]
    assert shapely.get_num_coordinates(ground) > 5000
    scars = read_inventory_file(REFERENCE, "scars").landslides.iloc[:1500].copy()
    scars["number"] = np.arange(1, len(scars) + 1)
    side = _Side.of(scars, ground)
    at_once = shapely.area(shapely.intersection(_project(scars.geometry.to_numpy()), ground))
    assert side.inside_m2 == pytest.approx(at_once, abs=1e-3)
    assert 0 < (side.inside_m2 < side.whole_m2 * 0.999).sum() < len(scars)


def test_a_real_inventory_has_not_changed_from_itself():
    scars = read_inventory_file(REFERENCE, "scars").landslides
    scars["number"] = np.arange(1, len(scars) + 1)
    found = difference(scars, scars, box(141, 42, 143, 43.5))
    assert found.tallies["unchanged"].before == found.tallies["unchanged"].after == 6116
    assert not found.not_comparable.before


@pytest.mark.parametrize("name", ["map.gpkg", "map.geojson"])
def test_the_map_shows_every_change(tmp_path, name):
    found = difference(version(cell(0), cell(5)), version(cell(0), cell(0.5), cell(9)), GROUND)
    back = gpd.read_file(write_changes(found, tmp_path / name), layer="changes")
    assert sorted(back["change"]) == ["appeared", "split", "vanished"]
    assert back.set_index("change").loc["split", "after"] == "1, 2"
    if name.endswith("gpkg"):
        assert gpd.read_file(tmp_path / name, layer="ground_compared").geometry[0].equals(GROUND)


def test_a_map_in_an_unknown_format_is_refused(tmp_path):
    found = difference(version(cell(0)), version(cell(0)), GROUND)
    with pytest.raises(InventoryError, match=r"\.gpkg, \.geojson"):
        write_changes(found, tmp_path / "map.dwg")


def store(connection, run_id, digest, outlines, ground, publish):
    store_inventory(
        connection,
        event_id=STORM.id,
        run_id=run_id,
        digest=digest,
        method="manual",
        threshold=None,
        minimum_mapping_unit_m2=0,
        observed=ground,
        landslides=gpd.GeoDataFrame(geometry=outlines, crs=4326),
        doubts=[],
        publish=publish,
    )


@pytest.fixture
def stored(engine):
    """Four versions: one landslide that grows, is split by the network, and is gone in the last."""
    observed = [GROUND, GROUND, GROUND, MultiPolygon([box(11.95, 44.1, 12.0, 44.3)])]
    outlines = [
        [cell(0), cell(9)],
        [cell(9), cell(0, width=2)],
        [cell(0), cell(1.1, width=0.9), cell(9)],
        [cell(60)],
    ]
    with engine.begin() as connection:
        register(connection, STORM, AreaOfInterest(GROUND, "given"))
        run_id = start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee")
        for number, (shapes, ground) in enumerate(zip(outlines, observed, strict=True)):
            store(connection, run_id, str(number), shapes, ground, publish=number < 3)
    with engine.begin() as connection:
        yield connection


@pytest.mark.parametrize(("number", "at"), [(1, 1), (2, 2), (2, 3)])
def test_a_landslide_is_followed_through_all_versions_from_any_of_them(stored, number, at):
    steps = lineage(stored, STORM.id, at, number)
    assert [(step.version, step.change) for step in steps] == [
        (1, None),
        (2, "grown"),
        (3, "split"),
        (4, "not comparable"),
    ]
    assert [step.numbers for step in steps[:2]] == [(1,), (2,)]
    assert steps[2].numbers == ((2,) if at == 3 else (1, 2))
    assert (steps[3].numbers, steps[3].area_m2) == ((), None)
    assert all(step.area_m2 for step in steps[:3])


def test_a_landslide_of_no_version_cannot_be_followed(stored):
    with pytest.raises(InventoryError, match="no landslide 7 in version 1"):
        lineage(stored, STORM.id, 1, 7)
    with pytest.raises(InventoryError, match="no landslide 1 in version 9"):
        lineage(stored, STORM.id, 9, 1)


@pytest.mark.parametrize("start", [1, 5])
def test_a_version_that_did_not_look_does_not_end_the_trail(stored, start):
    run_id = get_inventory(stored, STORM.id, 1).run_id
    store(stored, run_id, "once more", [cell(60), cell(9)], GROUND, publish=False)
    steps = lineage(stored, STORM.id, start, 2)
    assert [(step.version, step.numbers, step.change) for step in steps] == [
        (1, (2,), None),
        (2, (1,), "unchanged"),
        (3, (3,), "unchanged"),
        (4, (), "not comparable"),
        (5, (2,), "unchanged"),
    ]


def test_the_lineage_is_that_of_the_reviewed_landslides(stored):
    third = get_inventory(stored, STORM.id, 3)
    (*_, whole) = merge(stored, third.id, [1, 2], Reviewer("ann")).numbers
    steps = lineage(stored, STORM.id, 3, whole)
    assert [step.numbers for step in steps[:3]] == [(1,), (2,), (whole,)]
    assert steps[2].change == "unchanged"
