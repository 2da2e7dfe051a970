"""Susceptibility on its own, again after a review, and of an event that nobody has mapped yet."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import pytest
import rasterio
from rio_cogeo import cog_validate
from shapely.geometry import MultiPolygon, box

from flows.assess_susceptibility import assess_susceptibility
from flows.carry_susceptibility import carry_susceptibility
from flows.import_inventory import PolygonSource, import_inventory
from flows.options import ResponseOptions, SusceptibilityOptions
from flows.overview import list_lines
from flows.publish_reviews import publish_reviews
from flows.susceptibility_products import PRODUCTS, RASTERS, publish_assessment
from tasks.errors import AssessmentError, EventError, RasterError
from tasks.events.registry import register
from tasks.inventory.review import Reviewer, reject
from tasks.susceptibility.store import list_susceptibility
from tasks.types import AreaOfInterest, Event
from tests.conftest import DATA, EXAMPLE
from tests.flows.conftest import EVENT, rows

pytestmark = pytest.mark.usefixtures("prefect")

HILLS = DATA / "emilia_romagna2023" / "romagna_dem_10m.tif"
NEXT = Event("next-storm", "rainfall", "The next", datetime(2024, 9, 19, tzinfo=UTC), 11.6, 44.2)
MAPS = "SELECT count(*), count(*) FILTER (WHERE current) FROM scarp.v_susceptibility"


@pytest.fixture
def asked() -> SusceptibilityOptions:
    return SusceptibilityOptions(dem=str(EXAMPLE / "dem.tif"), model="logistic", classes="0.3,0.6")


@pytest.fixture
def mapped(registered):
    """A world in which the landslides of the bundled event are published, mapped by hand."""
    import_inventory(EVENT, PolygonSource(EXAMPLE / "landslides.gpkg"), publish=True)
    return registered


def test_a_map_asked_for_on_its_own_leaves_every_number_and_again_changes_nothing(mapped, asked):
    assessed = assess_susceptibility(EVENT, asked)
    folder = publish_assessment(EVENT, assessed)
    assert {path.name for path in folder.iterdir()} == set(PRODUCTS)
    for name in RASTERS:
        assert cog_validate(folder / name, quiet=True)[0], name
    record = json.loads((folder / "susceptibility.json").read_text())
    assert record["model"] == "logistic regression (logistic)"
    assert [one["high"] for one in record["classes"]] == pytest.approx([0.3, 0.6, 1.0], abs=0.005)
    assert 25 < sum(one["landslides"] for one in record["classes"]) <= 30
    assert record["metrics"]["spatial"]["brier"] > 0
    for told in (record["auc"]["spatial"], record["auc"]["random"]):
        assert told["mean"] == pytest.approx(sum(told["folds"]) / len(told["folds"]))
    (mechanics,) = record["compared"]
    assert mechanics["what"] == "infinite slope" and mechanics["auc"]["low"] < 0.6
    ((gap, share, settings),) = rows(
        mapped, "SELECT auc_gap, applicable_share, settings FROM scarp.v_susceptibility"
    )
    assert gap == pytest.approx(record["auc"]["gap"]) and 0.5 < share <= 1
    assert SusceptibilityOptions.model_validate(settings) == asked

    again = assess_susceptibility(EVENT, asked)
    assert again.susceptibility == assessed.susceptibility
    assert rows(mapped, MAPS) == [(1, 1)]


def test_a_report_says_where_absences_were_asked_to_lie(mapped, asked, tmp_path):
    steep = asked.model_copy(update={"least_slope_deg": 5, "strata": "slope", "buffer_m": 0})
    publish_assessment(EVENT, assess_susceptibility(EVENT, steep), tmp_path)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "unfailed cells on slopes of at least 5°, spread evenly over slope; seed 0; " in report


def test_after_a_review_the_map_is_made_anew_of_what_stands(mapped, asked):
    first = assess_susceptibility(EVENT, asked).susceptibility
    with mapped.engine.begin() as connection:
        reject(connection, first.inventory_id, [1, 2], Reviewer("ann"))
    published = publish_reviews(EVENT)
    with mapped.engine.connect() as connection:
        latest = list_susceptibility(connection, EVENT)[0]
    assert latest.inventory_id == published.id != first.inventory_id
    assert latest.sampling["landslides"] < first.sampling["landslides"]
    publish_reviews(EVENT, 1)
    assert rows(mapped, MAPS) == [(2, 2)]


def test_an_import_published_in_its_place_makes_the_map_anew(mapped, asked, tmp_path):
    assess_susceptibility(EVENT, asked)
    gpd.read_file(EXAMPLE / "landslides.gpkg").iloc[1:].to_file(tmp_path / "fewer.gpkg")
    source = PolygonSource(tmp_path / "fewer.gpkg")
    for _ in range(2):
        assert import_inventory(EVENT, source, publish=True).inventory.status == "published"
    assert rows(mapped, MAPS) == [(2, 2)]


def test_a_list_tells_the_auc_of_the_version_it_shows_not_of_a_later_drafts_map(
    mapped, asked, tmp_path
):
    published = assess_susceptibility(EVENT, asked).susceptibility
    gpd.read_file(EXAMPLE / "landslides.gpkg").iloc[1:].to_file(tmp_path / "fewer.gpkg")
    import_inventory(EVENT, PolygonSource(tmp_path / "fewer.gpkg"))
    draft = assess_susceptibility(EVENT, asked, 2).susceptibility
    assert draft.inventory_id != published.inventory_id
    with mapped.engine.connect() as connection:
        (line,) = list_lines(connection, EVENT)
    assert (line.version, line.status) == (1, "published")
    assert line.auc_spatial == pytest.approx(published.auc_spatial.value)
    assert line.auc_spatial != pytest.approx(draft.auc_spatial.value)
    maps = "SELECT version, status, current FROM scarp.v_susceptibility ORDER BY version"
    assert rows(mapped, maps) == [(1, "published", True), (2, "draft", True)]


def test_a_review_whose_map_cannot_be_made_is_published_and_says_so(mapped, asked, tmp_path):
    dem = tmp_path / "dem.tif"
    dem.write_bytes((EXAMPLE / "dem.tif").read_bytes())
    first = assess_susceptibility(EVENT, asked.model_copy(update={"dem": str(dem)})).susceptibility
    dem.unlink()
    with mapped.engine.begin() as connection:
        reject(connection, first.inventory_id, [1], Reviewer("ann"))
    with pytest.raises(AssessmentError, match=r"version 2 .* is published, but .*dem\.tif"):
        publish_reviews(EVENT)
    assert rows(mapped, "SELECT max(version) FROM scarp.v_inventories") == [(2,)]


def test_a_map_asked_for_by_paths_from_here_is_made_anew_from_anywhere(
    mapped, asked, tmp_path, monkeypatch
):
    """Who publishes reviews, or asks why a slope is susceptible, stands elsewhere."""
    (aoi,) = gpd.read_file(EXAMPLE / "aoi.geojson").geometry
    west, south, east, north = aoi.bounds
    middle = (west + east) / 2
    halves = [box(west, south, middle, north), box(middle, south, east, north)]
    gpd.GeoDataFrame(geometry=halves, crs=4326).to_file(tmp_path / "halves.gpkg")
    (tmp_path / "dem.tif").write_bytes((EXAMPLE / "dem.tif").read_bytes())
    monkeypatch.chdir(tmp_path)
    here = {"dem": "dem.tif", "hold_out": "halves.gpkg"}
    first = assess_susceptibility(EVENT, SusceptibilityOptions(**here)).susceptibility
    monkeypatch.chdir("/")
    with mapped.engine.begin() as connection:
        reject(connection, first.inventory_id, [1], Reviewer("ann"))
    publish_reviews(EVENT)
    maps = "SELECT version, sampling ->> 'folds' FROM scarp.v_susceptibility WHERE current"
    assert (2, "each of 2 areas in turn") in rows(mapped, maps)


def test_an_event_is_mapped_before_it_is_mapped_and_the_map_scored_after(mapped, asked):
    with rasterio.open(HILLS) as dem:
        left, top, crs = dem.bounds.left, dem.bounds.top, dem.crs
    area = gpd.GeoSeries([box(left, top - 1500, left + 1500, top)], crs=crs).to_crs(4326)
    with mapped.engine.begin() as connection:
        register(connection, NEXT, AreaOfInterest(MultiPolygon(list(area)), "given"))
    there = asked.model_copy(update={"dem": str(HILLS), "learn_from": (EVENT,)})
    with pytest.raises(AssessmentError, match=f"{EVENT} has no susceptibility map to carry over"):
        carry_susceptibility(NEXT.id, there)
    assess_susceptibility(EVENT, asked)
    carried = carry_susceptibility(NEXT.id, there).susceptibility
    assert carried.kind == "carried" and carried.inventory_id is None
    assert carried.learned_from == (EVENT,)
    assert "carried-over" in [doubt.code for doubt in carried.doubts]
    assert 0 <= carried.applicable_share <= 1
    folder = publish_assessment(NEXT.id, carry_susceptibility(NEXT.id, there))
    assert (folder / "susceptibility.png").exists() and not (folder / "report.html").exists()

    with pytest.raises(AssessmentError, match="cannot be learned from itself"):
        carry_susceptibility(EVENT, there)
    twice = there.model_copy(update={"learn_from": (EVENT, EVENT)})
    with pytest.raises(AssessmentError, match=f"names event {EVENT} twice"):
        carry_susceptibility(NEXT.id, twice)


def test_what_cannot_be_assessed_is_said_in_a_sentence(registered, asked):
    assert "no elevation model" in assess_susceptibility(EVENT, SusceptibilityOptions()).skipped
    with pytest.raises(EventError, match="'nowhere' is not registered"):
        assess_susceptibility("nowhere", asked)
    import_inventory(EVENT, PolygonSource(EXAMPLE / "landslides.gpkg"), publish=True)
    with pytest.raises(RasterError, match=r"nowhere\.tif"):
        assess_susceptibility(EVENT, asked.model_copy(update={"dem": "nowhere.tif"}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "oracle"}, "no model 'oracle'"),
        ({"sampling": "mine"}, "no sampling scheme is called 'mine'"),
        ({"classes": "many"}, "classes 'many' are unknown"),
        ({"presence": "best"}, "'best' says not which cells"),
    ],
)
def test_choices_are_checked_before_any_work(wrong, said):
    with pytest.raises(AssessmentError, match=said):
        SusceptibilityOptions(**wrong)
    if "model" in wrong:
        with pytest.raises(AssessmentError, match=said):
            ResponseOptions(source="x", **wrong)
