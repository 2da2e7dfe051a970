"""The service over a true server on loopback: read, tiled, cached, and never written to."""

import html
import re
import subprocess
import sys

import geopandas as gpd
import httpx
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from starlette.requests import Request

from tests.conftest import EXAMPLE, entered_world
from tests.console.serving import serving

EVENT = "emilia-romagna-2023"
LANDSLIDES = "/collections/scarp.v_landslides"
TILES = f"{LANDSLIDES}/tiles/WebMercatorQuad"
ORIGIN = "https://maps.example.org"


@pytest.fixture(scope="module")
def settings(cluster_home, tmp_path_factory):
    """A world with the example's reference inventory, published."""
    from flows.import_inventory import PolygonSource, import_inventory
    from flows.register import register_event
    from tasks.events.request import read_event

    with entered_world(cluster_home, tmp_path_factory.mktemp("serve")) as settings:
        register_event(read_event(EXAMPLE / "event.json"), EXAMPLE / "aoi.geojson")
        import_inventory(EVENT, PolygonSource(EXAMPLE / "landslides.gpkg"), publish=True)
        yield settings


@pytest.fixture(scope="module")
def service(settings):
    """A running service; gives a client of it."""
    from console.service.app import create_app
    from infra.roles import role_url

    app = create_app(
        role_url(settings, "reader"),
        lambda event_id: settings.home / "products" / event_id,
        origins=[ORIGIN],
    )
    with serving(app) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def decoded(answer):
    """The features of a vector tile, as GDAL reads them: coordinates of the tile, 0 to 4096."""
    import pyogrio

    answer.raise_for_status()
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    return pyogrio.read_dataframe(answer.content, layer="default")


def tile_of(service, zoom):
    from morecantile import tms

    box = service.get(f"{LANDSLIDES}/items", params={"limit": 1, "sortby": "-area_m2"})
    point = box.json()["features"][0]["properties"]
    tile = tms.get("WebMercatorQuad").tile(point["longitude"], point["latitude"], zoom)
    return f"{zoom}/{tile.x}/{tile.y}"


def test_the_views_are_collections_and_nothing_else_is(service):
    listed = service.get("/collections").json()["collections"]
    names = {collection["id"] for collection in listed}
    assert {"scarp.v_landslides", "scarp.v_events", "scarp.v_observed_area"} <= names
    assert all(name.startswith("scarp.v_") for name in names)
    (landslides,) = [one for one in listed if one["id"] == "scarp.v_landslides"]
    west, south, east, north = landslides["extent"]["spatial"]["bbox"][0]
    assert 11 < west < east < 13 and 43 < south < north < 45
    assert service.get("/collections/scarp.landslide/items").status_code == 404


def test_collections_and_columns_say_what_they_hold(service):
    listed = service.get("/collections").json()["collections"]
    assert all(one["description"].endswith(".") for one in listed)
    columns = service.get(f"{LANDSLIDES}/queryables").json()["properties"]
    assert columns["area_m2"]["description"] == "Geodesic area in m²."
    assert columns["geom"]["description"] == "Outline, EPSG:4326."


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("/?f=html", "/conformance"),
        ("/conformance", "ogcapi-features-1/1.0/conf/core"),
        ("/collections", "Ground seen by each inventory"),
        (LANDSLIDES, "Items (CSV)"),
        (f"{LANDSLIDES}/items", "Next page"),
        (f"{LANDSLIDES}/items?limit=30", "30 of 30"),
        (f"{LANDSLIDES}/items?number=0", "0 of 0"),
        (f"{LANDSLIDES}/items/1", "h_over_l"),
        (f"{LANDSLIDES}/queryables", "Geodesic area in m²."),
        (f"{LANDSLIDES}/tiles", "WebMercatorQuad"),
        (f"{TILES}", "tileMatrixSetLimits"),
        ("/tileMatrixSets", "WebMercatorQuad"),
        ("/tileMatrixSets/WebMercatorQuad", "pointOfOrigin"),
        ("/api.html", "datetime-column"),
    ],
)
def test_a_browser_gets_a_page_that_fetches_nothing_from_elsewhere(service, where, said):
    answer = service.get(where, headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html"), answer.text
    assert said in html.unescape(answer.text)
    fetched = re.findall(r'<(?:link|script|img|iframe)[^>]*(?:href|src)="([^"]*)"', answer.text)
    assert len(fetched) == 2
    assert all(one.startswith(f"{service.base_url}/static/") for one in fetched)
    (data,) = re.findall(r'href="([^"]*)">JSON<', answer.text)
    assert "json" in service.get(html.unescape(data)).headers["content-type"]


def test_a_page_links_nothing_that_runs():
    from console.service.pages import page_templates

    asked = Request({"type": "http", "path": "/", "query_string": b"", "headers": []})
    stored = {"title": "<b>", "source": {"href": "javascript:alert(1)", "title": "<i>"}}
    page = page_templates().get_template("items.html")
    said = page.render(
        request=asked, response=stored, crumbs=[{"part": "", "url": ""}], template={"api_root": ""}
    )
    assert "javascript:alert(1)" in said and 'href="javascript' not in said
    assert "<b>" not in said and "<i>" not in said


def test_a_page_larger_than_the_largest_is_the_largest(service):
    """OGC API Features 1.0.1, requirement 22 C."""
    for limit in ("10001", "9" * 30):
        answer = service.get(f"{LANDSLIDES}/items", params={"limit": limit, "sortby": "number"})
        assert answer.json()["numberReturned"] == 30


def test_it_says_what_it_conforms_to(service):
    said = service.get("/conformance").json()["conformsTo"]
    for part in ("features-1/1.0/conf/core", "features-1/1.0/conf/geojson", "tiles-1/1.0/conf/mvt"):
        assert any(one.endswith(part) for one in said), part
    links = {link["rel"] for link in service.get("/").json()["links"]}
    assert {"self", "conformance", "data", "service-desc"} <= links


def test_landslides_are_found_by_place_and_by_their_measures(service):
    every = service.get(f"{LANDSLIDES}/items", params={"limit": 100}).json()
    assert every["numberMatched"] == len(every["features"]) == 30
    largest = max(every["features"], key=lambda found: found["properties"]["area_m2"])
    place = largest["properties"]
    east, north = place["longitude"], place["latitude"]
    box = f"{east - 1e-5},{north - 1e-5},{east + 1e-5},{north + 1e-5}"
    found = service.get(f"{LANDSLIDES}/items", params={"bbox": box}).json()["features"]
    assert largest["id"] in {one["id"] for one in found}
    assert len(found) < 30
    question = {"filter": f"area_m2 >= {place['area_m2']}", "filter-lang": "cql2-text"}
    found = service.get(f"{LANDSLIDES}/items", params=question).json()["features"]
    assert [one["id"] for one in found] == [largest["id"]]
    alone = service.get(f"{LANDSLIDES}/items/{largest['id']}").json()
    assert alone["properties"]["number"] == place["number"]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ({"bbox": "170,-90,-170,90"}, 0),
        ({"bbox": "170,-90,12,90"}, 30),
        ({"bbox": "11,-90,-170,90"}, 30),
        ({"bbox": "170,-90,0,12,90,100", "filter": "area_m2 < 0"}, 0),
    ],
)
def test_a_box_across_the_antimeridian_is_the_ground_it_says(service, question, found):
    asked = service.get(f"{LANDSLIDES}/items", params=question | {"filter-lang": "cql2-text"})
    assert asked.json()["numberMatched"] == found


def test_an_interval_of_time_holds_both_its_ends(service):
    events = "/collections/scarp.v_events/items"
    at = service.get(events).json()["features"][0]["properties"]["occurred_at"]
    day = {"datetime-column": "occurred_at"}
    for interval, found in (
        (f"2023-01-01T00:00:00Z/{at}", 1),
        (f"{at}/2024-01-01T00:00:00Z", 1),
        ("2023-01-01T00:00:00Z/2023-05-15T23:59:59Z", 0),
        (f"../{at}", 1),
    ):
        answer = service.get(events, params=day | {"datetime": interval})
        assert answer.json()["numberMatched"] == found, interval
    assert (
        service.get(events, params=day | {"datetime": f"{at}/2023-01-01T00:00:00Z"}).status_code
        == 400
    )


@pytest.mark.parametrize(
    "question",
    [
        {"filter": "area_m2 > 0; DROP VIEW scarp.v_landslides", "filter-lang": "cql2-text"},
        {"filter": "kind = 'x'' OR pg_sleep(9) IS NULL --'", "filter-lang": "cql2-text"},
        {"kind": "'; DROP VIEW scarp.v_landslides; --"},
        {"sortby": "area_m2; DROP VIEW scarp.v_landslides"},
        {"bbox": "1,2,3,x"},
        {"bbox": "1,2,3,x", "limit": "null"},
        {"filter": "nonsense(", "filter-lang": "cql2-text"},
        {"datetime": "yesterday"},
        {"datetime": "2018-09-05/2018-09-06"},
        {"ids": "99999999999999999999"},
        {"number": "99999999999999999999"},
        {"kind": "a\0b"},
        {"filter": "kind = 'a\0b'"},
    ],
)
def test_a_question_that_is_none_does_no_harm(service, question):
    answer = service.get(f"{LANDSLIDES}/items", params=question)
    assert answer.status_code < 500
    assert answer.status_code >= 400 or answer.json()["numberMatched"] == 0
    assert service.get(f"{LANDSLIDES}/items").json()["numberMatched"] == 30


@pytest.mark.parametrize("slip", [{"evnt_id": EVENT}, {"crs": "EPSG:3857"}, {"bbox": "1,2,3"}])
@pytest.mark.parametrize("where", [f"{LANDSLIDES}/items", f"{TILES}/9/1/1"])
def test_a_slip_of_the_pen_is_refused_and_does_not_find_everything(service, where, slip):
    answer = service.get(where, params=slip)
    assert answer.status_code == 400
    assert next(iter(slip)) in answer.json()["detail"]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("limit", value) for value in ("0", "-1", "ten", "2.5", "")),
        *(("offset", value) for value in ("-1", "ten", "99999999999999999999")),
        ("sortby", "-area"),
        ("properties", "number,area"),
        ("f", "xml"),
        ("geom-column", "aoi"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence_that_names_the_parameter(service, parameter, value):
    answer = service.get(f"{LANDSLIDES}/items", params={parameter: value})
    assert answer.status_code == 400
    said = answer.json()["detail"]
    assert parameter.split("-")[0] in said.casefold().replace("geometry", "geom")
    assert said.count(f"{parameter}:") <= 1


def test_the_description_says_that_a_page_holds_one_feature_at_least(service):
    described = service.get("/api").json()["paths"]["/collections/{collectionId}/items"]["get"]
    (limit,) = [one for one in described["parameters"] if one["name"] == "limit"]
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 10_000)
    assert service.get("/collections", params={"limit": 0}).status_code == 400
    assert service.get(f"{TILES}/9/1/1", params={"limit": 0}).status_code == 400


@pytest.mark.parametrize("rest", ["", "/items", "/items/1", "/queryables", "/tiles"])
def test_a_collection_that_is_none_is_not_found(service, rest):
    answer = service.get(f"/collections/nothing{rest}")
    assert answer.status_code == 404
    assert "there is no collection nothing" in answer.json()["detail"]


def test_pages_follow_one_another_until_every_feature_was_shown_once(service):
    address, shown = f"{LANDSLIDES}/items?limit=7&sortby=number&filter=number>3", []
    while address:
        page = service.get(address).json()
        assert page["numberMatched"] == 27 and page["numberReturned"] == len(page["features"])
        shown += [one["properties"]["number"] for one in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        address = following[0] if following else None
    assert shown == list(range(4, 31))


def test_gdal_reads_it_as_any_wfs_3(service, tmp_path):
    address = f"OAPIF:{str(service.base_url).rstrip('/')}"
    # A process of its own: this one could not answer while GDAL waits in it.
    read = "import sys, pyogrio; pyogrio.read_dataframe(sys.argv[1], layer='scarp.v_landslides')"
    words = [sys.executable, "-c", f"{read}.to_file(sys.argv[2])", address, tmp_path / "all.gpkg"]
    subprocess.run(words, check=True, timeout=120)
    every = gpd.read_file(tmp_path / "all.gpkg")
    assert (len(every), every.crs.to_epsg()) == (30, 4326)
    assert every.geometry.is_valid.all() and every["event_id"].eq(EVENT).all()


def test_a_near_tile_holds_outlines(service):
    outlines = decoded(service.get(f"{TILES}/{tile_of(service, 14)}"))
    assert {"landslide_id", "area_m2", "kind", "review_state"} <= set(outlines.columns)
    assert outlines.geometry.area.max() > 100
    assert outlines["event_id"].eq(EVENT).all()


def test_a_far_tile_holds_squares_that_count_every_landslide_once(service):
    cells = decoded(service.get(f"{TILES}/{tile_of(service, 9)}"))
    assert cells["landslides"].sum() == 30
    listed = service.get(f"{LANDSLIDES}/items", params={"limit": 100}).json()["features"]
    total = sum(one["properties"]["area_m2"] for one in listed)
    assert cells["area_m2"].sum() == pytest.approx(total, rel=1e-3)
    assert cells.geometry.area.eq(64 * 64).all()


def test_a_far_tile_that_was_asked_for_in_part_holds_that_part(service):
    params = {"filter": "number <= 12", "filter-lang": "cql2-text"}
    outlines = decoded(service.get(f"{TILES}/{tile_of(service, 9)}", params=params))
    assert sorted(outlines["number"]) == list(range(1, 13))


def test_the_world_holds_a_box_for_each_inventory(service):
    boxes = decoded(service.get(f"{TILES}/4/8/5"))
    assert list(boxes["landslides"]) == [30]
    assert list(boxes["event_id"]) == [EVENT]


def test_what_is_known_already_is_not_sent_again(service):
    first = service.get(f"{TILES}/{tile_of(service, 14)}")
    again = service.get(first.url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = service.get(first.url, headers={"If-None-Match": 'W/"other"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_pages_named_may_ask_and_no_others(service):
    allowed = service.get("/collections", headers={"Origin": ORIGIN})
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    other = service.get("/collections", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.fixture(scope="module")
def score(settings):
    """A score raster where the service looks for one."""
    with rasterio.open(EXAMPLE / "dem.tif") as dem:
        profile = dem.profile | {"dtype": "uint8", "nodata": 0, "count": 1, "driver": "GTiff"}
        pixels = np.full(dem.shape, 200, np.uint8)
    folder = settings.home / "products" / EVENT
    folder.mkdir(parents=True)
    with rasterio.open(folder / "score.tif", "w", **profile) as raster:
        raster.write(pixels, 1)
    (settings.home / "products" / "secret.tif").write_bytes((folder / "score.tif").read_bytes())
    return folder / "score.tif"


def test_a_product_is_tiled(service, score):
    described = service.get(f"/products/{EVENT}/score/WebMercatorQuad/tilejson.json").json()
    assert described["tiles"][0].startswith(str(service.base_url))
    tile = service.get(f"/products/{EVENT}/score/tiles/WebMercatorQuad/{tile_of(service, 13)}.png")
    with (
        pytest.warns(NotGeoreferencedWarning),
        MemoryFile(tile.raise_for_status().content) as file,
        file.open() as picture,
    ):
        assert picture.read(1).max() == 200
        assert picture.read(2).max() == 255


@pytest.mark.parametrize(
    "path",
    [
        f"/products/{EVENT}/mask/info",
        "/products/nothing/score/info",
        "/products/..%2F/secret/info",
        f"/products/{EVENT}/..%2F..%2Fsecret/info",
        f"/products/{EVENT}/score/info?url=/etc/passwd&src_path=/etc/passwd&tilesize=4",
        f"/products/{EVENT}/score/tiles/WebMercatorQuad/13/0/0?tilesize=100000",
    ],
)
def test_no_other_file_is_read(service, score, path):
    answer = service.get(path)
    expected = 200 if "url=" in path else range(400, 500)
    assert answer.status_code in (expected if isinstance(expected, range) else [expected])
    assert b"root:" not in answer.content


@pytest.mark.parametrize(
    "question",
    [
        "set_config('role', 'scarp_owner', false) = 'x'",
        "number > 0 AND (kind = 'x' OR NOT pg_sleep(60) IS NULL)",
        "S_INTERSECTS(pg_read_file('/etc/passwd'), POINT(1 2))",
        '{"op": "=", "args": [{"op": "pg_sleep", "args": [60]}, 1]}',
    ],
)
@pytest.mark.parametrize("where", [f"{LANDSLIDES}/items", f"{TILES}/9/1/1"])
def test_a_filter_calls_no_function_of_the_database(service, question, where):
    language = "cql2-json" if question.startswith("{") else "cql2-text"
    answer = service.get(where, params={"filter": question, "filter-lang": language})
    assert answer.status_code == 400
    assert "may not use" in answer.json()["detail"]


def test_a_filter_may_compare_and_look_at_the_ground(service):
    box = "S_INTERSECTS(geom, POLYGON((11 44, 12 44, 12 45, 11 45, 11 44)))"
    question = f"{box} AND CASEI(kind) = CASEI('LANDSLIDE') AND number BETWEEN 1 AND 5"
    answer = service.get(f"{LANDSLIDES}/items", params={"filter": question})
    assert answer.json()["numberMatched"] == 5


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_written_through_it(service, verb):
    for path in ("/collections", f"{LANDSLIDES}/items", f"{LANDSLIDES}/items/1"):
        assert service.request(verb, path).status_code in (404, 405)


def test_its_connections_could_not_write_if_they_would(settings):
    import asyncio

    import asyncpg

    from console.service.app import SESSION
    from infra.roles import role_url

    async def tried(statement):
        connection = await asyncpg.connect(role_url(settings, "reader"), server_settings=SESSION)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    assert asyncio.run(tried("SELECT current_user")) == "scarp_reader"
    for statement in ("DELETE FROM scarp.landslide", "SELECT id FROM scarp.landslide LIMIT 1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            asyncio.run(tried(statement))


def test_a_port_that_is_taken_is_one_sentence(service, scarp):
    code, _, error = scarp("serve", "--port", str(service.base_url.port))
    assert code == 2
    assert "choose another --host or --port" in " ".join(error.replace("│", " ").split())


def test_far_tiles_show_a_new_version_at_once(service, tmp_path):
    from flows.import_inventory import PolygonSource, import_inventory

    where = tile_of(service, 9)
    assert decoded(service.get(f"{TILES}/{where}"))["landslides"].sum() == 30
    fewer = tmp_path / "fewer.gpkg"
    gpd.read_file(EXAMPLE / "landslides.gpkg").head(7).to_file(fewer)
    import_inventory(EVENT, PolygonSource(fewer), publish=True)
    assert decoded(service.get(f"{TILES}/{where}"))["landslides"].sum() == 7


def test_tiles_of_every_zoom_count_what_stands_after_a_review(service):
    from flows.world import open_world
    from tasks.inventory.review import Reviewer, reject
    from tasks.inventory.store import find_published

    def standing():
        tiles = (service.get(f"{TILES}/{where}") for where in ("4/8/5", tile_of(service, 9)))
        return [decoded(tile)["landslides"].sum() for tile in tiles]

    before = standing()
    with open_world().engine.begin() as connection:
        reject(connection, find_published(connection, EVENT).id, [1, 2], Reviewer("ann"))
    assert standing() == [count - 2 for count in before]


def test_head_gives_the_headers_of_get_and_no_body(service):
    for path in ("/", "/collections", f"{LANDSLIDES}/items?limit=3"):
        whole, head = service.get(path), service.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert head.headers["etag"] == whole.headers["etag"]
    nothing = "/collections/nothing"
    assert service.head(nothing).status_code == service.get(nothing).status_code >= 400
