"""What the pages show and say, and what they do when something is missing or down."""

import json
import re
from datetime import UTC, datetime

import geopandas as gpd
import httpx
import numpy as np
import pyogrio
import pytest
import rasterio
from morecantile import tms
from rasterio.io import MemoryFile
from shapely.geometry import MultiPolygon, Point, box, shape
from sqlalchemy import text

from tests.conftest import EXAMPLE
from tests.console.web.conftest import EVENT, make_token

PAGE = {"Accept": "text/html"}


def words_of(answer):
    """What a page says."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_a_browser_gets_the_events_and_a_program_the_landing_page(clients):
    to_browser = clients["viewer"].get("/", headers=PAGE)
    assert to_browser.status_code == 303 and to_browser.headers["location"] == "/events"
    links = {link["rel"] for link in clients["viewer"].get("/").json()["links"]}
    assert {"service-desc", "conformance", "data"} <= links


def stored(clients, question):
    """The one row that a question has for an answer."""
    return clients["viewer"].get("/ask/answer.json", params={"question": question}).json()[0]


def test_the_list_says_what_is_known_of_an_event(clients, mapped):
    said = words_of(clients["viewer"].get("/events", headers=PAGE))
    with_event = re.search(r"Rainstorm of 16-17 May 2023.*", said)[0]
    both = "v_inventories JOIN v_susceptibility USING (event_id)"
    row = stored(clients, f"SELECT area_m2, auc_spatial FROM {both} WHERE event_id = '{EVENT}'")
    assert "published" in with_event and "99.9 %" in with_event
    assert f"{row['area_m2'] / 1e6:.3g} km²" in with_event
    assert re.search(rf"\b{mapped}\b", with_event)
    assert f"{row['auc_spatial']:.2f}" in with_event


def test_an_event_nobody_mapped_is_never_shown_as_free_of_landslides(clients, settings):
    from datetime import UTC, datetime

    from flows.register import register_event
    from tasks.types import Event

    moment = datetime(2026, 1, 1, tzinfo=UTC)
    register_event(Event("quake-unseen", "earthquake", "A quake", moment, 142, 43, 6.0), ask=False)
    page = clients["viewer"].get("/events", headers=PAGE).text
    row = re.search(r'<a href="/events/quake-unseen">.*?</tr>', page, re.DOTALL)[0]
    assert "not looked" in row
    assert row.count("–") == 3  # landslides, area and AUC: not 0
    said = words_of(clients["viewer"].get("/events/quake-unseen", headers=PAGE))
    assert "Nothing is mapped yet: nobody looked." in said
    assert "Nothing was looked at yet." in said
    ground = clients["viewer"].get("/events/quake-unseen/ground.geojson").json()
    layers = {one["properties"]["layer"]: one["geometry"] for one in ground["features"]}
    assert shape(layers["unseen"]).equals(shape(layers["aoi"])) and "seen" not in layers


def test_an_event_that_waits_shows_why_no_scene_could_be_used(clients, settings):
    from flows.options import ResponseOptions
    from flows.register import register_event
    from flows.respond import respond
    from tasks.types import Event

    moment = datetime(2023, 5, 16, tzinfo=UTC)
    storm = Event("storm-waiting", "rainfall", "A storm under clouds", moment, 11.583, 44.332)
    register_event(storm, EXAMPLE / "aoi.geojson", ask=False)
    options = ResponseOptions(source=str(EXAMPLE / "catalog.json"))
    respond("storm-waiting", options, datetime(2023, 5, 19, tzinfo=UTC))
    said = words_of(clients["viewer"].get("/events/storm-waiting", headers=PAGE))
    assert "Nothing is mapped yet: no scene could be used." in said
    assert "nobody looked" not in said and "Nothing was looked at yet." not in said
    assert re.search(r"S2_L2A_4120_20230518 refused .*cloud 100 %", said)


def test_an_event_is_responded_to_with_the_source_named_on_its_page(clients, settings, tmp_path):
    from flows.register import register_event
    from flows.standing import options_of
    from flows.world import open_world
    from tasks.events.decisions import is_asked_for
    from tasks.types import Event

    moment = datetime(2026, 1, 3, tzinfo=UTC)
    sourceless = Event("quake-sourceless", "earthquake", "A quake", moment, 142, 43, 6.0)
    register_event(sourceless, ask=False)
    world, path = open_world(), "/events/quake-sourceless"

    def asked_for():
        with world.engine.connect() as connection:
            return is_asked_for(connection, "quake-sourceless")

    def respond(**form):
        return clients["operator"].post(f"{path}/respond", data=form, headers=PAGE)

    for form, why in (
        ({}, "no source of imagery is known for quake-sourceless"),
        ({"source": "earth-serach"}, "earth-serach does not exist and is no profile"),
        ({"source": "planet"}, "source planet needs PL_API_KEY"),
    ):
        answer = respond(**form)
        assert answer.status_code == 400 and why in words_of(answer)
        assert not asked_for()
    register_event(sourceless, wishes={"source": "cmr", "dem": str(EXAMPLE / "dem.tif")}, ask=False)
    assert 'name="source" value="cmr"' in clients["operator"].get(path, headers=PAGE).text
    assert respond(source=f" {EXAMPLE / 'catalog.json'} ").status_code == 303
    assert asked_for()
    options = options_of(world, "quake-sourceless")
    assert (options.source, options.dem) == (str(EXAMPLE / "catalog.json"), EXAMPLE / "dem.tif")
    assert respond().status_code == 303 and options_of(world, "quake-sourceless") == options
    log = words_of(clients["operator"].get("/log", headers=PAGE))
    assert f"respond quake-sourceless imagery of {EXAMPLE / 'catalog.json'} done" in log
    assert 'name="source"' not in clients["viewer"].get(path, headers=PAGE).text


def test_an_area_that_nobody_looked_at_is_not_seen_because_another_was(clients, settings):
    from flows.register import register_event
    from flows.world import open_world
    from tasks.inventory.runs import start_run
    from tasks.inventory.store import store_inventory
    from tasks.types import Event, Provenance

    moment = datetime(2026, 1, 4, tzinfo=UTC)
    event = Event("quake-moved", "earthquake", "A quake that moved", moment, 142, 43, 5.0)
    register_event(event, ask=False)
    nothing = gpd.GeoDataFrame(geometry=[], crs="EPSG:4326")
    with open_world().engine.begin() as connection:
        run_id = start_run(connection, Provenance("quake-moved", {}), "by-hand", None, "")
        store_inventory(
            connection,
            event_id="quake-moved",
            run_id=run_id,
            digest="0" * 64,
            method="ldm-net-tiny@sha256:0",
            threshold=None,
            minimum_mapping_unit_m2=0,
            observed=MultiPolygon([box(10, 44, 10.1, 44.1)]),
            landslides=nothing,
            doubts=(),
            publish=True,
        )
    page = clients["viewer"].get("/events", headers=PAGE).text
    row = re.search(r'<a href="/events/quake-moved">.*?</tr>', page, re.DOTALL)[0]
    assert '<td class="number">0 %</td>' in row
    said = words_of(clients["viewer"].get("/events/quake-moved", headers=PAGE))
    assert "Seen clear 0 %" in said
    assert "No scene was judged for this version." in said
    assert "first image date not recorded" in said
    assert "first image date not recorded" in said


def test_the_event_page_tells_why_each_scene_was_refused(clients):
    said = words_of(clients["viewer"].get(f"/events/{EVENT}", headers=PAGE))
    assert "S2_L2A_4120_20230523 used" in said
    assert "S2_L2A_4120_20230518 refused" in said
    assert "Only 0 % of what it covers of the area is clear" in said
    assert said.count("its pixels were not looked at") > 3
    assert "first image 7 days after the event" in said


def test_what_may_be_done_is_offered_to_who_may(clients):
    for role, offered in (("viewer", False), ("operator", True)):
        page = clients[role].get(f"/events/{EVENT}", headers=PAGE).text
        assert (f'formaction="/events/{EVENT}/hold"' in page) is offered
    assert "Review landslides" not in clients["viewer"].get(f"/events/{EVENT}", headers=PAGE).text
    assert "Review landslides" in clients["reviewer"].get(f"/events/{EVENT}", headers=PAGE).text


@pytest.mark.parametrize("form", ["gpkg", "geojson", "fgb", "csv", "kml", "zip", "parquet"])
def test_an_inventory_is_downloaded_in_every_form(clients, mapped, tmp_path, form):
    answer = clients["viewer"].get(f"/events/{EVENT}/versions/1/{form}")
    assert f'filename="{EVENT}_v1.{form}"' in answer.headers["content-disposition"]
    path = tmp_path / f"taken.{form}"
    path.write_bytes(answer.content)
    if form == "parquet":
        rows = gpd.read_parquet(path)
    elif form == "zip":
        rows = pyogrio.read_dataframe(path, layer="landslides")
    else:
        layers = [name for name, _ in pyogrio.list_layers(path)]
        rows = pyogrio.read_dataframe(path, layer="landslides" if len(layers) > 1 else layers[0])
    assert len(rows) == mapped


def test_tiles_of_a_version_hold_every_landslide_at_every_zoom(clients, mapped):
    grid = tms.get("WebMercatorQuad")
    for zoom in range(3, 12):
        tile = grid.tile(11.583, 44.332, zoom)
        path = f"/events/{EVENT}/versions/1/tiles/{zoom}/{tile.x}/{tile.y}"
        rows = pyogrio.read_dataframe(clients["viewer"].get(path).content, layer="default")
        assert rows["landslides"].sum() == mapped
    tile = grid.tile(11.583, 44.332, 13)
    path = f"/events/{EVENT}/versions/1/tiles/13/{tile.x}/{tile.y}"
    rows = pyogrio.read_dataframe(clients["viewer"].get(path).content, layer="default")
    assert set(rows["number"]) == set(range(1, mapped + 1))
    assert rows["confidence"].between(0, 1).all()
    assert clients["viewer"].get(f"/events/{EVENT}/versions/1/tiles/3/0/0").content == b""


@pytest.mark.parametrize("product", ["before", "after", "hillshade"])
def test_the_pictures_cover_the_area_and_are_no_black_squares(settings, product):
    with rasterio.open(settings.home / "products" / EVENT / f"{product}.tif") as picture:
        assert picture.dtypes[0] == "uint8"
        alpha = picture.read(picture.count) > 0
        grey = picture.read(1)[alpha]
    assert alpha.mean() > 0.5
    assert np.ptp(np.percentile(grey, [5, 95])) > 40


@pytest.mark.parametrize("product", ["score", "susceptibility"])
def test_a_tile_of_values_from_0_to_1_has_many_colours(clients, product):
    from console.web.event import RASTERS

    tile = tms.get("WebMercatorQuad").tile(11.583, 44.332, 14)
    path = f"/products/{EVENT}/{product}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    answer = clients["viewer"].get(f"{path}?{RASTERS[product]}")
    with MemoryFile(answer.content) as file, file.open() as picture:
        seen = picture.read()[:3, picture.read(4) > 0]
    assert len(np.unique(seen, axis=1).T) > 20


def test_a_tile_of_a_raster_that_is_not_there_is_not_found(clients, settings):
    path = f"/products/{EVENT}/evidence/tiles/WebMercatorQuad/12/2180/1484.png"
    assert clients["viewer"].get(path).status_code in (404, 400)
    path = "/products/quake-nowhere/score/tiles/WebMercatorQuad/12/2180/1484.png"
    assert clients["viewer"].get(path).status_code == 404


def test_remembered_tiles_follow_their_raster(clients, settings):
    tile = tms.get("WebMercatorQuad").tile(11.583, 44.332, 14)
    path = f"/products/{EVENT}/after/tiles/WebMercatorQuad/14/{tile.x}/{tile.y}.webp"
    first = clients["viewer"].get(path)
    assert first.status_code == 200 and clients["viewer"].get(path).content == first.content
    raster = settings.home / "products" / EVENT / "after.tif"
    kept = raster.read_bytes()
    try:
        raster.write_bytes((settings.home / "products" / EVENT / "before.tif").read_bytes())
        assert clients["viewer"].get(path).content != first.content
    finally:
        raster.write_bytes(kept)


def test_the_difference_of_versions_is_a_page_and_a_picture(clients):
    query = "?before=1&after=1"
    assert "unchanged" in words_of(
        clients["viewer"].get(f"/events/{EVENT}/diff{query}", headers=PAGE)
    )
    picture = clients["viewer"].get(f"/events/{EVENT}/diff.png{query}")
    assert picture.content.startswith(b"\x89PNG")
    missing = clients["viewer"].get(f"/events/{EVENT}/diff?before=1&after=9", headers=PAGE)
    assert missing.status_code == 400 and "no inventory version 9" in words_of(missing)


def test_a_slope_is_explained_by_what_adds_up_to_the_map(clients):
    path = f"/events/{EVENT}/susceptibility/why"
    why = clients["viewer"].get(path, params={"lon": 11.585, "lat": 44.33}).json()
    assert why["average"] + sum(part["added"] for part in why["parts"]) == pytest.approx(
        why["fitted"]
    )
    assert why["fitted"] == pytest.approx(why["mapped"], abs=1 / 127)  # the map has 254 levels
    assert {part["factor"] for part in why["parts"]} >= {"slope", "elevation"}
    outside = clients["viewer"].get(path, params={"lon": 12.9, "lat": 44.33})
    assert outside.status_code == 400 and "outside the map" in outside.json()["detail"]


def test_the_susceptibility_page_sets_both_validations_side_by_side(clients, mapped):
    row = stored(clients, "SELECT auc_spatial, auc_random FROM v_susceptibility")
    said = words_of(clients["viewer"].get(f"/events/{EVENT}/susceptibility", headers=PAGE))
    in_space, random = (re.escape(f"{row[name]:.2f}") for name in row)
    assert re.search(rf"Held out in space {in_space}.*Random folds {random}", said)
    assert f"only {mapped} landslides were there to learn from" in said
    assert "the table describes the map and proves nothing" in said
    assert (
        clients["viewer"].get(f"/events/{EVENT}/susceptibility/roc.png").content[:4] == b"\x89PNG"
    )


def test_the_intervals_of_the_factors_are_drawn_whole(clients):
    page = clients["viewer"].get(f"/events/{EVENT}/susceptibility", headers=PAGE).text
    told = re.findall(r"([-\d.]+) to ([-\d.]+)</small>", page)
    drawn = re.findall(r'<line x1="([-\d.]+)" x2="([-\d.]+)" y1="7"', page)
    assert len(drawn) == len(told) > 5
    widths = [float(high) - float(low) for low, high in drawn]
    spans = [float(high) - float(low) for low, high in told]
    scale = max(widths) / max(spans)
    assert widths == pytest.approx([scale * span for span in spans], abs=scale * 0.002)


def test_the_shore_is_truer_near_the_ground_and_only_there_is_any(clients):
    world = clients["viewer"].get("/land.geojson").json()
    near = clients["viewer"].get("/land.geojson?bounds=141,42,143,43").json()
    assert world["type"] == near["type"] == "MultiPolygon"
    for wrong, status in (("143,42,141,43", 400), ("1,2,3", 422), ("0,-99,1,99", 400)):
        assert clients["viewer"].get(f"/land.geojson?bounds={wrong}").status_code == status


def test_news_come_as_they_happen(address, tokens, clients):
    headers = {"Authorization": f"Bearer {tokens['viewer']}"}
    url = f"{address}/events/{EVENT}/live"
    with httpx.stream("GET", url, headers=headers, timeout=30) as news:
        lines = news.iter_lines()
        assert next(lines) == "retry: 2000"
        clients["operator"].post(f"/events/{EVENT}/hold")
        assert next(line for line in lines if line.startswith("event:")) == "event: changed"
    clients["operator"].post(f"/events/{EVENT}/release")


def test_news_end_with_the_token(address, settings, monkeypatch):
    from console.web import live
    from flows.world import open_world
    from tasks.access.tokens import revoke_token

    monkeypatch.setattr(live, "BEAT_S", 0.1)
    headers = {"Authorization": f"Bearer {make_token('passer-by', 'viewer')}"}
    with httpx.stream("GET", f"{address}/events/{EVENT}/live", headers=headers, timeout=30) as news:
        lines = news.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": still here"
        with open_world().engine.begin() as connection:
            revoke_token(connection, "passer-by", datetime.now(UTC))
        assert set(lines) <= {"", ": still here"}


def test_an_event_deleted_while_it_is_open_is_said_to_be_gone(address, tokens, settings):
    from flows.register import register_event
    from flows.world import open_world
    from tasks.types import Event

    moment = datetime(2026, 1, 2, tzinfo=UTC)
    register_event(Event("quake-deleted", "earthquake", "Gone", moment, 142, 43, 6.0), ask=False)
    headers = {"Authorization": f"Bearer {tokens['viewer']}"}
    url = f"{address}/events/quake-deleted"
    with httpx.stream("GET", f"{url}/live", headers=headers, timeout=30) as news:
        lines = news.iter_lines()
        next(lines)
        with open_world().engine.begin() as connection:
            connection.execute(text("SET session_replication_role = replica"))
            for table in ("event_history", "aoi", "prior_map"):
                connection.execute(
                    text(f"DELETE FROM scarp.{table} WHERE event_id = 'quake-deleted'")
                )
            connection.execute(text("DELETE FROM scarp.event WHERE id = 'quake-deleted'"))
        assert next(line for line in lines if line.startswith("event:")) == "event: gone"
    answer = httpx.get(url, headers=headers | PAGE)
    assert answer.status_code == 404 and "not registered" in words_of(answer)


def test_an_unknown_event_is_not_found_everywhere(clients):
    for path in ("", "/status", "/ground.geojson", "/review", "/susceptibility", "/live"):
        answer = clients["operator"].get(f"/events/nowhere{path}")
        assert answer.status_code == 404, path
        assert "nowhere" in answer.json()["detail"]


def test_what_is_no_event_id_gets_a_page_with_a_sentence(clients):
    answer = clients["viewer"].get("/events/a%20b", headers=PAGE)
    assert answer.status_code == 422 and answer.headers["content-type"].startswith("text/html")
    assert "letters, digits" in words_of(answer) and "pattern" not in words_of(answer)


def test_the_land_is_that_of_the_earth(clients):
    land = shape(clients["viewer"].get("/land.geojson").json())
    assert land.contains(Point(11.58, 44.33)) and land.contains(Point(142.5, 43))
    assert not land.contains(Point(-30, 30))


def test_the_map_is_that_of_the_numbers_beside_it(clients, settings):
    from console.web.event import RASTERS
    from flows.assess_susceptibility import assess_susceptibility
    from flows.options import SusceptibilityOptions
    from flows.susceptibility_products import publish_assessment

    options = SusceptibilityOptions(dem=str(EXAMPLE / "dem.tif"), model="logistic")
    newest = assess_susceptibility(EVENT, options)
    publish_assessment(EVENT, newest)
    page = clients["viewer"].get(f"/events/{EVENT}/susceptibility", headers=PAGE).text
    assert "logistic" in page
    told = json.loads(re.search(r'id="for-the-map">(.*?)</script>', page)[1])
    tile = tms.get("WebMercatorQuad").tile(11.583, 44.332, 14)
    path = f"/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png?{RASTERS['susceptibility']}"
    shown = clients["viewer"].get(told["rasters"]["susceptibility"] + path)
    assert shown.headers["content-type"] == "image/png"
    first = clients["viewer"].get(f"/products/{EVENT}/susceptibility{path}")
    assert first.status_code == 200 and shown.content != first.content
    elsewhere = told["rasters"]["susceptibility"].replace(told["event"], "nowhere")
    assert clients["viewer"].get(elsewhere + path).status_code == 404
    assert httpx.get(str(shown.url)).status_code == 401
    place = {"lon": 11.585, "lat": 44.33}
    why = clients["viewer"].get(f"/events/{EVENT}/susceptibility/why", params=place).json()
    assert why["fitted"] == pytest.approx(why["mapped"], abs=1 / 127)


def test_a_map_carried_over_counts_no_landslides_of_an_event_nobody_mapped(clients, settings):
    from datetime import UTC, datetime

    from flows.carry_susceptibility import carry_susceptibility
    from flows.options import SusceptibilityOptions
    from flows.register import register_event
    from tasks.types import Event

    moment = datetime(2026, 1, 1, tzinfo=UTC)
    storm = Event("storm-next", "rainfall", "The next storm", moment, 11.583, 44.332)
    register_event(storm, EXAMPLE / "aoi.geojson", ask=False)
    options = SusceptibilityOptions(dem=str(EXAMPLE / "dem.tif"), learn_from=(EVENT,))
    carry_susceptibility("storm-next", options)
    said = words_of(clients["viewer"].get("/events/storm-next/susceptibility", headers=PAGE))
    assert f"it learned nothing from this event, but from {EVENT}" in said
    assert "Of the area" in said and "Of the landslides" not in said
    assert f"it learned nothing from this event, but from {EVENT}" in words_of(
        clients["viewer"].get("/events/storm-next", headers=PAGE)
    )
