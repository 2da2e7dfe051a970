"""Radar when clouds stay, through the flows and the command, on Emilia-Romagna."""

from datetime import UTC, datetime

import pytest
import rasterio
from shapely import box, to_geojson
from sqlalchemy import text

from flows.evidence import look_by_radar, newest_evidence
from flows.import_inventory import PolygonSource, import_inventory
from flows.map_landslides import map_landslides
from flows.options import ResponseOptions
from flows.register import register_event
from flows.respond import respond
from tasks.errors import NoImageryError
from tasks.events.registry import find_aoi, find_event
from tasks.imagery.evidence import find_evidence
from tests.conftest import EXAMPLE
from tests.flows.conftest import EVENT, rows

pytestmark = pytest.mark.usefixtures("prefect")

RADAR = str(EXAMPLE / "radar")


def may(day):
    return datetime(2023, 5, day, tzinfo=UTC)


def test_evidence_is_stored_once_beside_the_inventories_and_never_in_them(registered):
    first = look_by_radar(EVENT, RADAR)
    assert look_by_radar(EVENT, RADAR) == first
    assert first.path.exists() and first.changed_km2 < first.looked_km2
    assert rows(registered, "SELECT count(*) FROM scarp.inventory") == [(0,)]
    ((event, changed, compared, words),) = rows(
        registered,
        "SELECT event_id, changed_km2, jsonb_array_length(comparisons), "
        "obj_description('scarp.v_change_evidence'::regclass) FROM scarp.v_change_evidence",
    )
    assert (event, compared) == (EVENT, 2)
    assert changed == pytest.approx(first.changed_km2)
    assert "not landslides" in words
    earlier = look_by_radar(EVENT, RADAR, may(23))
    assert [one["orbit"] for one in earlier.comparisons] == ["ascending", "descending"]
    assert earlier.digest != first.digest


def test_when_the_deadline_passes_in_cloud_radar_is_looked_at_and_the_reason_stays(registered):
    options = ResponseOptions(
        source=str(EXAMPLE / "catalog.json"), wait_days=6.5, radar=RADAR, until=may(19)
    )
    respond(EVENT, options, may(19))
    with registered.engine.connect() as connection:
        assert find_evidence(connection, EVENT) is None
    with pytest.raises(NoImageryError, match="best clear coverage 0 %"):
        respond(EVENT, options, may(23))
    with registered.engine.connect() as connection:
        seen = find_evidence(connection, EVENT)
    assert "descending VV+VH: 2023-04-16, 2023-05-03, 2023-05-15 against 2023-05-22" in seen.passes
    assert rows(registered, "SELECT count(*) FROM scarp.inventory") == [(0,)]


def test_without_a_pass_after_the_event_the_event_fails_for_its_own_reason(registered):
    options = ResponseOptions(source=str(EXAMPLE / "catalog.json"), wait_days=4, radar=RADAR)
    with pytest.raises(NoImageryError, match="best clear coverage 0 %"):
        map_landslides(EVENT, options, may(21))
    with pytest.raises(NoImageryError, match="look again later"):
        look_by_radar(EVENT, RADAR, may(21))


def test_the_report_shows_evidence_as_such_and_people_s_inventory_beside_ours(registered):
    import_inventory(EVENT, PolygonSource(EXAMPLE / "landslides.gpkg"))
    look_by_radar(EVENT, RADAR)
    response = respond(EVENT, ResponseOptions(source=str(EXAMPLE / "catalog.json")))
    page = response.report.read_text()
    assert "Evidence of change, not landslides." in page
    assert (response.folder / "evidence.png").exists()
    with rasterio.open(response.folder / "evidence.tif") as raster:
        assert raster.descriptions[-1] == "change"
    with registered.engine.connect() as connection:
        held = connection.execute(text("SELECT sum(area_m2) FROM scarp.v_landslides")).scalar()
    assert "Against people's inventory" in page and (response.folder / "match.png").exists()
    assert held == pytest.approx(response.mapped.inventory.area_m2)


def test_evidence_of_an_area_that_was_redrawn_is_not_shown_for_the_new_one(registered, tmp_path):
    seen = look_by_radar(EVENT, RADAR)
    with registered.engine.connect() as connection:
        event, whole = find_event(connection, EVENT), find_aoi(connection, EVENT)
    west, south, east, north = whole.geometry.bounds
    half = box(west, south, (west + east) / 2, north) & whole.geometry
    (tmp_path / "half.geojson").write_text(to_geojson(half))
    assert newest_evidence(registered, EVENT, whole) == seen
    now = register_event(event, tmp_path / "half.geojson").aoi
    assert newest_evidence(registered, EVENT, now) is None
    again = look_by_radar(EVENT, RADAR)
    assert newest_evidence(registered, EVENT, now) == again
    assert again.looked_km2 < 0.6 * seen.looked_km2
