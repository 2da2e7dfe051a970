"""The main job on the bundled example: real scenes, real PostGIS, the shipped weights."""

import hashlib
import json
import shutil
import zipfile
from datetime import UTC, datetime
from xml.etree import ElementTree as xml

import geopandas as gpd
import pystac
import pytest
import rasterio
from rio_cogeo import cog_validate

from flows.assess_susceptibility import assess_susceptibility
from flows.import_inventory import PolygonSource, import_inventory
from flows.map_landslides import map_landslides
from flows.options import ResponseOptions, SusceptibilityOptions
from flows.products import PRODUCTS, UNDER
from flows.publish_reviews import publish_reviews
from flows.respond import respond
from flows.susceptibility_products import RASTERS
from models.cards import DEFAULT, PRETRAINED, available
from tasks.errors import InventoryError, NoImageryError, RasterError, ScreenError
from tasks.inventory.review import Reviewer, reject
from tasks.inventory.store import read_screened
from tasks.susceptibility.sampling import draw_samples
from tests.conftest import EXAMPLE
from tests.flows.conftest import EVENT, rows

pytestmark = pytest.mark.usefixtures("prefect")

# Made only where somebody asked radar, or people made an inventory as well.
ASIDE = {"evidence.tif", "evidence.png", "match.png"}
COUNTS = """
    SELECT (SELECT count(*) FROM scarp.event), (SELECT count(*) FROM scarp.inventory),
           (SELECT count(*) FROM scarp.inventory WHERE status = 'published'),
           (SELECT count(*) FROM scarp.susceptibility), (SELECT count(*) FROM scarp.run)
"""


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_whole_job_leaves_an_inventory_a_map_and_a_report_and_again_changes_nothing(
    registered, options
):
    response = respond(EVENT, options)
    assert rows(registered, COUNTS) == [(1, 1, 1, 1, 2)]
    folder = response.folder
    assert {path.name for path in folder.iterdir()} == set(PRODUCTS) - ASIDE

    inventory = gpd.read_file(folder / "inventory.gpkg", layer="landslides")
    stored = rows(registered, "SELECT count(*), sum(area_m2) FROM scarp.v_landslides")[0]
    assert len(inventory) == stored[0] == response.mapped.inventory.landslide_count > 0
    assert inventory["area_m2"].sum() == pytest.approx(stored[1])
    assert len(gpd.read_parquet(folder / "inventory.parquet")) == len(inventory)
    assert inventory["elevation_mean_m"].between(0, 1000).all()
    assert set(inventory["scene_id"]) == {
        scene.id for scene in response.mapped.rasters.mosaic.scenes
    }

    for name in ("score.tif", "mask.tif", *RASTERS):
        assert cog_validate(folder / name, quiet=True)[0], name
    item = pystac.Item.from_file(folder / "item.json")
    item.validate()
    assets = {asset.href.removeprefix("./") for asset in item.assets.values()}
    assert assets == set(PRODUCTS) - ASIDE - {"item.json"}
    with zipfile.ZipFile(folder / "inventory.qgz") as archive:
        opened = xml.fromstring(archive.read("inventory.qgs")).iter("datasource")
    sources = [node.text.partition("|")[0].removeprefix("./") for node in opened]
    assert sources == ["inventory.gpkg"] * 3 + list(UNDER)
    report = (folder / "report.html").read_text()
    assert response.mapped.inventory.method in report
    assert "http://" not in report.replace("http://www.w3.org", "")

    before = digests(folder)
    again = respond(EVENT, options)
    assert rows(registered, COUNTS) == [(1, 1, 1, 1, 2)]
    assert digests(folder) == before
    assert again.mapped.inventory == response.mapped.inventory


def test_weights_that_do_not_know_the_ground_say_so_in_the_inventory_and_its_report(
    registered, options, tmp_path
):
    surer = tmp_path / "surer.safetensors"
    shutil.copy(available()[DEFAULT], surer)
    card = json.loads((PRETRAINED / f"{DEFAULT}.json").read_text())
    surer.with_suffix(".json").write_text(json.dumps(card | {"sureness": 0.9}))
    response = respond(EVENT, options.model_copy(update={"weights": str(surer)}))
    assert "are less sure of this ground" in (response.folder / "report.html").read_text()
    ((doubts,),) = rows(registered, "SELECT doubts FROM scarp.inventory")
    assert "weights-unsure" in [doubt["code"] for doubt in doubts]


def test_clouded_scenes_are_refused_by_their_pixels_and_the_first_clear_one_is_used(
    registered, options
):
    mapped = map_landslides(EVENT, options)
    by_date = {f"{j.scene.acquired_at:%m-%d}": j for j in mapped.judgements}
    for clouded in ("05-13", "05-18"):
        assert not by_date[clouded].used
        assert "cloud" in by_date[clouded].reason
        assert by_date[clouded].clear_fraction < 0.01
    assert by_date["05-23"].used
    reasons = rows(registered, "SELECT count(*), count(*) FILTER (WHERE used) FROM scarp.run_scene")
    assert reasons == [(15, 1)]


def test_three_days_after_the_event_there_is_nothing_to_see_and_the_run_says_so(
    registered, options
):
    early = options.model_copy(update={"until": datetime(2023, 5, 19, tzinfo=UTC)})
    with pytest.raises(NoImageryError, match="clear"):
        respond(EVENT, early)
    assert rows(registered, "SELECT count(*) FROM scarp.inventory") == [(0,)]
    ((outcome, error),) = rows(registered, "SELECT outcome, error FROM scarp.run")
    assert outcome == "failed"
    assert "look again later" in error
    assert not registered.products(EVENT).exists()


def test_a_run_killed_before_the_store_goes_on_from_its_rasters(registered, options, monkeypatch):
    import flows.map_landslides as module

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "outline", die)
        with pytest.raises(KeyboardInterrupt):
            map_landslides.fn(EVENT, options)
    assert rows(registered, "SELECT outcome FROM scarp.run") == [("cancelled",)]
    assert rows(registered, "SELECT count(*) FROM scarp.inventory") == [(0,)]
    (score,) = registered.home.glob("work/*/*/score.tif")
    made = score.stat().st_mtime_ns
    mapped = map_landslides(EVENT, options)
    assert score.stat().st_mtime_ns == made
    assert mapped.inventory.version == 1


def test_without_a_dem_susceptibility_is_skipped_with_the_reason(registered, options):
    response = respond(EVENT, options.model_copy(update={"dem": None}))
    assert response.assessed.susceptibility is None
    assert "--dem" in response.assessed.skipped
    assert "--dem" in response.report.read_text()
    assert not (response.folder / "susceptibility.tif").exists()
    nulls = rows(registered, "SELECT count(elevation_mean_m), count(*) FROM scarp.v_landslides")
    assert nulls[0][0] == 0 < nulls[0][1]


def test_finding_nothing_is_a_success_that_says_so(registered, options):
    strict = options.model_copy(update={"minimum_mapping_unit_m2": 1e9})
    response = respond(EVENT, strict)
    assert response.mapped.inventory.landslide_count == 0
    assert rows(registered, "SELECT outcome FROM scarp.run") == [("succeeded_empty",)]
    assert "no landslide" in response.assessed.skipped
    assert len(gpd.read_file(response.folder / "inventory.gpkg", layer="landslides")) == 0


def test_a_new_threshold_makes_a_new_version_and_supersedes_the_old(registered, options):
    map_landslides(EVENT, options)
    map_landslides(EVENT, options.model_copy(update={"threshold": 0.8}))
    versions = rows(registered, "SELECT version, status FROM scarp.inventory ORDER BY 1")
    assert versions == [(1, "superseded"), (2, "published")]
    again = respond(EVENT, options)
    assert again.mapped.inventory.status == "superseded"
    assert "version 1, superseded" in again.report.read_text()


def test_what_reviewers_published_is_what_products_show_when_asked_for_again(registered, options):
    first = respond(EVENT, options)
    with registered.engine.begin() as connection:
        reject(connection, first.mapped.inventory.id, [1], Reviewer("ann"))
    published = publish_reviews(EVENT)
    again = respond(EVENT, options)
    assert again.mapped.inventory == published and published.status == "published"
    assert "version 2, published" in again.report.read_text()
    shown = gpd.read_file(again.folder / "inventory.gpkg", layer="landslides")
    assert len(shown) == published.landslide_count == first.mapped.inventory.landslide_count - 1


def test_reviews_of_a_version_that_another_replaced_do_not_bring_it_back(registered, options):
    first = map_landslides(EVENT, options).inventory
    with registered.engine.begin() as connection:
        reject(connection, first.id, [1], Reviewer("ann"))
    map_landslides(EVENT, options.model_copy(update={"threshold": 0.8}))
    with pytest.raises(InventoryError, match=f"version 1 of {EVENT} was superseded on 20"):
        publish_reviews(EVENT, 1)
    versions = rows(registered, "SELECT version, status FROM scarp.inventory ORDER BY 1")
    assert versions == [(1, "superseded"), (2, "published")]


def test_a_dem_of_half_the_area_gives_half_a_map_and_a_doubt(registered, options, tmp_path):
    with rasterio.open(EXAMPLE / "dem.tif") as whole:
        half = whole.read(1)[:, :70]
        profile = whole.profile | {"driver": "GTiff", "width": 70}
    with rasterio.open(tmp_path / "half.tif", "w", **profile) as raster:
        raster.write(half, 1)
    import_inventory(EVENT, PolygonSource(EXAMPLE / "landslides.gpkg"), publish=True)
    assessed = assess_susceptibility(EVENT, SusceptibilityOptions(dem=tmp_path / "half.tif"))
    assert "dem-partial" in [doubt.code for doubt in assessed.susceptibility.doubts]
    with rasterio.open(assessed.susceptibility.path) as raster:
        known = raster.read(1) > 0
    assert known.mean() == pytest.approx(1, abs=0.05)
    assert known.shape[1] == pytest.approx(70, abs=1)


def test_a_dem_that_is_no_raster_fails_before_any_work(registered, options, tmp_path):
    (tmp_path / "dem.tif").write_text("<html>not found</html>")
    with pytest.raises(RasterError, match=r"dem\.tif"):
        respond(EVENT, options.model_copy(update={"dem": tmp_path / "dem.tif"}))
    assert rows(registered, "SELECT count(*) FROM scarp.inventory") == [(0,)]
    assert not (registered.home / "work").exists()


def test_what_a_screen_sets_aside_is_counted_apart_and_the_score_is_not_made_again(
    registered, options
):
    plain = map_landslides(EVENT, options)
    made = plain.rasters.score.stat().st_mtime_ns
    asked = ("slope=5", "bare-before=0.4", f"water={EXAMPLE / 'landslides.gpkg'}")
    mapped = map_landslides(EVENT, options.model_copy(update={"screens": asked}))
    assert mapped.rasters.score.stat().st_mtime_ns == made
    slope, bare, water = mapped.inventory.screens
    assert slope.set_aside > 0 and bare.set_aside > 0 and not (slope.not_run or bare.not_run)
    aside = slope.set_aside + bare.set_aside + water.set_aside
    assert mapped.inventory.landslide_count == plain.inventory.landslide_count - aside
    apart = rows(registered, "SELECT screened_by, count(*) FROM scarp.v_screened GROUP BY 1")
    assert dict(apart) == {
        one.screen: one.set_aside for one in (slope, bare, water) if one.set_aside
    }
    ((inputs, parameters),) = rows(
        registered,
        "SELECT inputs, parameters FROM scarp.v_runs JOIN scarp.v_inventories USING (run_id) "
        "WHERE version = 2",
    )
    assert any(name.startswith("before 1") for name in inputs)
    assert any("landslides.gpkg" in name for name in inputs)
    assert parameters["screens"][0] == "slope: mean slope below 5°"


def test_what_a_screen_set_aside_teaches_susceptibility_nothing(registered, options, monkeypatch):
    import tasks.susceptibility.study as module

    screened = options.model_copy(update={"screens": ("bare-before=0.4",)})
    inventory = map_landslides(EVENT, screened).inventory
    drawn_from = []

    def draw(landslides, observed, *rest, **options):
        drawn_from.append(observed)
        return draw_samples(landslides, observed, *rest, **options)

    monkeypatch.setattr(module, "draw_samples", draw)
    assert assess_susceptibility(EVENT, screened.susceptibility).susceptibility
    with registered.engine.connect() as connection:
        aside = read_screened(connection, inventory.id).union_all()
    (ground,) = drawn_from
    assert aside.area > 0 and ground.intersection(aside).area < 1e-9 * aside.area
    assert ground.area == pytest.approx(inventory.observed.area - aside.area)


def test_a_screen_that_needs_an_earlier_scene_is_not_run_without_one_and_says_so(
    registered, options, tmp_path
):
    after = json.loads((EXAMPLE / "catalog.json").read_text())
    after["links"] = [
        link | {"href": str((EXAMPLE / link["href"]).resolve())}
        for link in after["links"]
        if link["rel"] == "item" and "20230523" in link["href"]
    ]
    (tmp_path / "catalog.json").write_text(json.dumps(after))
    update = {"source": str(tmp_path / "catalog.json"), "screens": ("bare-before=0.4",)}
    inventory = map_landslides(EVENT, options.model_copy(update=update)).inventory
    assert inventory.screens[0].set_aside == 0 and inventory.screens[0].not_run
    assert "screen-not-run" in [doubt.code for doubt in inventory.doubts]
    assert inventory.landslide_count > 0


def test_a_screen_whose_layer_is_missing_fails_before_any_work(registered, options):
    screens = ("water=nowhere.gpkg",)
    with pytest.raises(ScreenError, match=r"nowhere\.gpkg does not exist"):
        respond(EVENT, options.model_copy(update={"screens": screens}))
    assert not (registered.home / "work").exists()
    with pytest.raises(ScreenError, match="needs the elevation: add --dem"):
        ResponseOptions(source="x", screens=("slope=5",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 1.5),
        ("until", "2023-05-19T00:00:00"),
        ("wait_days", 1e12),
        ("look_hours", 1e300),
    ],
)
def test_options_are_checked_before_any_work(name, value):
    with pytest.raises(ValueError, match=name):
        ResponseOptions(source="x", **{name: value})


def test_provenance_of_an_inventory_can_be_traced_to_bytes(registered, options):
    mapped = map_landslides(EVENT, options)
    ((inputs, weights, code),) = rows(
        registered, "SELECT inputs, weights_digest, code_commit FROM scarp.run"
    )
    dem = hashlib.sha256((EXAMPLE / "dem.tif").read_bytes()).hexdigest()
    assert inputs["dem"] == dem
    assert weights == mapped.card.digest
    assert json.dumps(inputs).count("scene 1") == 1
    assert code
