from datetime import UTC, datetime

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.events.registry import register
from tasks.inventory.runs import start_run
from tasks.inventory.store import (
    get_inventory,
    read_landslides,
    store_inventory,
)
from tasks.types import AreaOfInterest, Doubt, Event, Provenance

HOKKAIDO = Event(
    id="us2000h8ty",
    kind="earthquake",
    title="M 6.6 - Hokkaido Eastern Iburi",
    occurred_at=datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC),
    longitude=142.01,
    latitude=42.69,
    magnitude=6.6,
    magnitude_type="mww",
    depth_km=35.0,
)
AREA = MultiPolygon([box(141.9, 42.6, 142.1, 42.8)])


def slides(count=3):
    outlines = [box(142 + i / 1000, 42.7, 142 + i / 1000 + 0.0005, 42.7005) for i in range(count)]
    return gpd.GeoDataFrame(
        {"score_mean": [0.9, 0.8, float("nan")][:count]}, geometry=outlines, crs=4326
    )


@pytest.fixture
def run_id(engine):
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AreaOfInterest(AREA, "given"))
        return start_run(connection, Provenance(HOKKAIDO.id, {"scene": "sha"}), "test", None, "abc")


def store(connection, run_id, *, digest="one", landslides=None, publish=True, **changes):
    arguments = {
        "event_id": HOKKAIDO.id,
        "run_id": run_id,
        "digest": digest,
        "method": "manual",
        "threshold": 0.5,
        "minimum_mapping_unit_m2": 100.0,
        "observed": AREA,
        "scenes": [],
        "landslides": slides() if landslides is None else landslides,
        "doubts": [Doubt("old-scene", "taken 40 days after the event")],
        "publish": publish,
    }
    return store_inventory(connection, **(arguments | changes))


def test_what_is_stored_comes_back(engine, run_id):
    with engine.begin() as connection:
        stored = store(connection, run_id)
    with engine.connect() as connection:
        assert get_inventory(connection, HOKKAIDO.id) == stored
        back = read_landslides(connection, stored.id)
    assert back.geometry.geom_equals(slides().geometry).all()
    assert back.crs.to_epsg() == 4326
    assert list(back["score_mean"][:2]) == [0.9, 0.8] and back["score_mean"].isna()[2]
    assert stored.landslide_count == 3
    assert stored.area_m2 == pytest.approx(back["area_m2"].sum())
    assert stored.doubts[0].code == "old-scene"
    assert stored.observed.equals(AREA)
