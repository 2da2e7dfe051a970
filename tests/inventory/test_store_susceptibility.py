from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from tasks.events.registry import register
from tasks.inventory.runs import start_run
from tasks.inventory.store import store_inventory
from tasks.susceptibility.classes import ClassRow
from tasks.susceptibility.store import (
    Susceptibility,
    find_susceptibility,
    list_susceptibility,
    store_susceptibility,
)
from tasks.types import AreaOfInterest, Doubt, Event, Interval, Provenance

RAIN = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])


@pytest.fixture
def store(engine):
    with engine.begin() as connection:
        register(connection, RAIN, AreaOfInterest(AREA, "given"))
        run_id = start_run(connection, Provenance(RAIN.id, {}), "test", None, "c0ffee")
        inventory = store_inventory(
            connection,
            event_id=RAIN.id,
            run_id=run_id,
            digest="inventory",
            method="manual",
            threshold=None,
            minimum_mapping_unit_m2=0.0,
            observed=AREA,
            landslides=gpd.GeoDataFrame(geometry=[box(11.9, 44.2, 11.91, 44.21)], crs=4326),
            doubts=[],
            publish=True,
        )

        def store(digest, auc=0.8, **otherwise):
            made = Susceptibility(
                event_id=RAIN.id,
                inventory_id=inventory.id,
                run_id=run_id,
                digest=digest,
                path=Path("products/susceptibility.tif"),
                factors=("slope", "twi"),
                sampling={"ratio": 1.0},
                model="random forest, 50 trees",
                auc_spatial=Interval(auc, auc - 0.05, auc + 0.05),
                auc_random=Interval(0.9, 0.88, 0.92),
                roc={"spatial": [[0, 0], [1, 1]]},
                importance={
                    "elevation": Interval(0.1, 0.05, 0.2),
                    "twi": Interval(0.05, 0.0, 0.1),
                },
                doubts=(Doubt("dem-partial", "the DEM covers half of the AOI"),),
                metrics={"spatial": {"brier": 0.2}},
                classes=(ClassRow(1, 0.0, 0.2, 3.0, 0.4, 2.0, 7, 0.5, 0.1, 0.05, 2.0),),
                factor_table=({"name": "slope", "kind": "continuous"},),
                applicable_share=0.9,
                classes_path=Path("products/susceptibility_classes.tif"),
            )
            return store_susceptibility(connection, replace(made, **otherwise))

        store.connection = connection
        yield store


def test_a_map_comes_back_as_it_was_stored(store):
    stored = store("one")
    assert find_susceptibility(store.connection, RAIN.id, "one") == stored
    assert find_susceptibility(store.connection, RAIN.id, "two") is None
    assert list(stored.importance) == ["elevation", "twi"]
    assert stored.auc_spatial == Interval(0.8, 0.75, 0.8500000000000001)
    assert stored.path == Path("products/susceptibility.tif")
    assert stored.doubts[0].code == "dem-partial" and stored.current


def test_a_map_carried_over_stands_beside_those_of_inventories(store):
    own = store("own")
    store("old", inventory_id=None, kind="carried", learned_from=("other",))
    new = store("new", inventory_id=None, kind="carried", learned_from=("other", "third"))
    carried = list_susceptibility(store.connection, RAIN.id, "carried")
    assert {(one.digest, one.current) for one in carried} == {("old", False), ("new", True)}
    assert find_susceptibility(store.connection, RAIN.id, "own") == own
    mechanics = store("mechanics", settings={"model": "physical"})
    assert [one.learned_here for one in (own, new, mechanics)] == [True, False, False]
    assert new.learned_from == ("other", "third") and new.inventory_id is None
    assert len(list_susceptibility(store.connection, RAIN.id)) == 4


def test_the_gap_is_what_random_folds_flatter(store):
    stored = store("one")
    assert stored.gap == pytest.approx(0.1)
    gap = store.connection.scalar(text("SELECT auc_gap FROM scarp.v_susceptibility"))
    assert gap == pytest.approx(0.1)


def test_the_same_digest_is_stored_once(store):
    assert store("one") == store("one", auc=0.7)


def test_one_map_of_an_inventory_is_current(store):
    store("one")
    store("two")
    rows = store.connection.execute(
        text("SELECT digest, current, version FROM scarp.v_susceptibility ORDER BY digest")
    )
    assert [tuple(row) for row in rows] == [("one", False, 1), ("two", True, 1)]
