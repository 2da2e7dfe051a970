from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from tasks.events.registry import register
from tasks.inventory.runs import start_run
from tasks.inventory.store import store_inventory
from tasks.susceptibility.store import find_susceptibility, store_susceptibility
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
            scenes=[],
            landslides=gpd.GeoDataFrame(geometry=[box(11.9, 44.2, 11.91, 44.21)], crs=4326),
            doubts=[],
            publish=True,
        )

        def store(digest, auc=0.8):
            return store_susceptibility(
                connection,
                event_id=RAIN.id,
                inventory_id=inventory.id,
                run_id=run_id,
                digest=digest,
                path=Path("products/susceptibility.tif"),
                factors=["slope", "twi"],
                sampling={"ratio": 1.0},
                model="random forest, 50 trees",
                auc_spatial=Interval(auc, auc - 0.05, auc + 0.05),
                auc_random=Interval(0.9, 0.88, 0.92),
                roc={"spatial": [[0, 0], [1, 1]]},
                importance={"slope": 0.7, "twi": 0.3},
                doubts=[Doubt("dem-partial", "the DEM covers half of the AOI")],
            )

        store.connection = connection
        yield store


def test_a_map_comes_back_as_it_was_stored(store):
    stored = store("one")
    assert find_susceptibility(store.connection, RAIN.id, "one") == stored
    assert find_susceptibility(store.connection, RAIN.id, "two") is None
    assert stored.auc_spatial == Interval(0.8, 0.75, 0.8500000000000001)
    assert stored.path == Path("products/susceptibility.tif")
    assert stored.doubts[0].code == "dem-partial" and stored.current


def test_the_same_digest_is_stored_once(store):
    assert store("one") == store("one", auc=0.7)


def test_one_map_of_an_inventory_is_current(store):
    store("one")
    store("two")
    rows = store.connection.execute(
        text("SELECT digest, current, version FROM scarp.v_susceptibility ORDER BY digest")
    )
    assert [tuple(row) for row in rows] == [("one", False, 1), ("two", True, 1)]
