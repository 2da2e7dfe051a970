import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import rasterio
from shapely.affinity import translate
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tasks.errors import AccessError, BadInputError, CatalogError, RasterError, TransientError
from tasks.imagery.items import (
    Reading,
    check_fields,
    item_footprint,
    item_scene,
    optical_scene,
)
from tasks.imagery.profiles import CollectionProfile
from tasks.imagery.protocol import Found, Span
from tasks.imagery.rasters import open_band
from tasks.imagery.sources import Access, open_source
from tasks.imagery.stac import StacSource
from tasks.types import AreaOfInterest, geodesic_area_m2
from tests.conftest import DATA, EXAMPLE

YEAR = (datetime(2022, 9, 1, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC))


MAY_23 = (datetime(2023, 5, 23, tzinfo=UTC), datetime(2023, 5, 24, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr("tasks.imagery.stac.RETRY_WAITS_S", (0.0, 0.0))


def search(source: object, aoi: AreaOfInterest, start: datetime, end: datetime, *collections: str):
    wanted = {name: CollectionProfile() for name in collections}
    return StacSource(str(source), collections=wanted).search(aoi, Span(start, end))


def search_stac(*asked):
    return list(search(*asked).scenes)


def test_the_example_gives_its_fifteen_scenes_in_order_of_time(aoi):
    scenes = search_stac(EXAMPLE / "catalog.json", aoi, *YEAR)
    assert len(scenes) == 15
    assert [scene.acquired_at for scene in scenes] == sorted(scene.acquired_at for scene in scenes)
    assert {scene.bands for scene in scenes} == {("red", "green", "blue", "nir", "scl")}
    assert {scene.crs for scene in scenes} == {"EPSG:32632"}
    assert len({scene.checksum for scene in scenes}) == 15


def test_time_bounds_hold(aoi):
    scenes = search_stac(EXAMPLE / "catalog.json", aoi, *MAY_23)
    assert [scene.item_id for scene in scenes] == ["S2_L2A_4120_20230523"]


def test_an_area_elsewhere_finds_nothing(aoi):
    elsewhere = AreaOfInterest(translate(aoi.geometry, 1.0), "given")
    assert search_stac(EXAMPLE / "catalog.json", elsewhere, *YEAR) == []


def test_a_band_opens_with_its_reflectance_scale(aoi):
    scene = search_stac(EXAMPLE / "catalog.json", aoi, *MAY_23)[0]
    with open_band(scene, "red") as red:
        assert (red.scales, red.offsets) == ((0.0001,), (0.0,))
        with rasterio.open(EXAMPLE / "scenes" / "2023-05-23" / "B04.tif") as plain:
            assert (red.read() == plain.read()).all()


def test_naive_times_are_refused(aoi):
    with pytest.raises(BadInputError, match="zone"):
        search_stac(EXAMPLE / "catalog.json", aoi, datetime(2023, 1, 1), YEAR[1])


def test_a_collection_that_is_not_there_is_named(aoi):
    with pytest.raises(CatalogError, match="has no collection landsat; it has .*emilia"):
        search(EXAMPLE / "catalog.json", aoi, *YEAR, "landsat")


def test_stac_1_0_items_with_eo_bands_and_epsg_read_the_same(aoi, catalog, edit_items):
    def downgrade(item):
        item["stac_version"] = "1.0.0"
        item["properties"]["proj:epsg"] = 32632
        del item["properties"]["proj:code"]
        for asset in item["assets"].values():
            name = asset["bands"][0].get("eo:common_name")
            asset["raster:bands"] = [{"scale": asset.pop("raster:scale", 1.0), "offset": 0}]
            asset.pop("raster:offset", None)
            del asset["bands"]
            if name:
                asset["eo:bands"] = [{"name": name, "common_name": name}]

    new = search_stac(catalog, aoi, *YEAR)
    edit_items(downgrade)
    assert search_stac(catalog, aoi, *YEAR) == new


def test_items_without_crs_and_gsd_take_them_from_the_raster(aoi, catalog, edit_items):
    def strip(item):
        del item["properties"]["proj:code"], item["properties"]["gsd"]
        for asset in item["assets"].values():
            del asset["gsd"]

    full = search_stac(catalog, aoi, *YEAR)
    edit_items(strip)
    assert search_stac(catalog, aoi, *YEAR) == full


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({}, 0.0),
        ({"s2:processing_baseline": "03.01"}, 0.0),
        ({"s2:processing_baseline": "05.09"}, -0.1),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, 0.0),
    ],
)
def test_the_sentinel_2_offset_of_2022_is_known(aoi, catalog, edit_items, properties, offset):
    def undeclared(item):
        item["properties"] |= properties
        for asset in item["assets"].values():
            asset.pop("raster:scale", None), asset.pop("raster:offset", None)

    edit_items(undeclared)
    scene = search_stac(catalog, aoi, *MAY_23)[0]
    with open_band(scene, "red") as red:
        assert red.offsets == (offset,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda item: item.update(assets={}), "assets are missing"),
        (lambda item: item.pop("assets"), "assets is missing"),
        (lambda item: item["assets"].update(B04="x"), r"assets\.B04\.href is missing"),
        (lambda item: item.update(id=None), r"_2022\d+\.json: id is missing"),
        (lambda item: item.update(geometry=None), "geometry is missing"),
        (lambda item: item["properties"].update(start_datetime=None), "datetime is missing"),
        (lambda item: item["properties"].update(datetime="soon"), "soon"),
        (lambda item: item.pop("properties"), "properties is missing"),
        (lambda item: item["assets"].pop("B04"), r"no red band"),
        (lambda item: item["assets"]["B04"].pop("href"), r"assets\.B04\.href is missing"),
    ],
)
def test_a_damaged_item_is_one_sentence(aoi, catalog, edit_items, change, reason):
    edit_items(change)
    with pytest.raises(CatalogError, match=reason):
        search_stac(catalog, aoi, *YEAR)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"type": "Catalog", "li',
        "<html></html>",
        "[]",
        "{}",
        pytest.param("[" * 9999, id="deep"),
    ],
)
def test_a_catalog_that_is_none_is_named(aoi, catalog, content):
    catalog.write_text(content)
    with pytest.raises(CatalogError, match=r"catalog\.json"):
        search_stac(catalog, aoi, *YEAR)


def only_refusal(found: Found) -> str:
    """The reason of the one item refused; the fourteen others went on."""
    (refused,) = found.refused
    assert len(found.scenes) == 14
    assert not refused.used
    return refused.reason


@pytest.mark.parametrize(
    ("file", "kept_bytes", "reason"),
    [
        ("S2_L2A_4120_20230523.json", 500, r"S2_L2A_4120_20230523\.json is not whole JSON"),
        ("S2_L2A_4120_20230523.json", None, r"S2_L2A_4120_20230523\.json cannot be read: No such"),
        ("B04.tif", None, r"item S2_L2A_4120_20230523, band red: .*B04\.tif does not exist"),
        ("SCL.tif", 700, r"item S2_L2A_4120_20230523, band scl: .*SCL\.tif has 700 of 1023 bytes"),
    ],
)
def test_a_damaged_scene_is_refused_by_name_and_the_others_go_on(
    aoi, catalog, file, kept_bytes, reason
):
    path = catalog.parent / "scenes" / "2023-05-23" / file
    content = path.read_bytes()
    path.unlink()
    if kept_bytes:
        path.write_bytes(content[:kept_bytes])
    refusal = only_refusal(search(catalog, aoi, *YEAR))
    assert refusal.startswith(str(catalog))
    assert re.search(reason, refusal)


def one_changed(catalog: Path, change: Callable[[dict], None]) -> None:
    """Change one item of the copied catalog."""
    path = catalog.parent / "scenes" / "2023-05-23" / "S2_L2A_4120_20230523.json"
    item = json.loads(path.read_text())
    change(item)
    path.write_text(json.dumps(item))


def with_asset(catalog: Path, **asset):
    """Change the red band of one item of the copied catalog."""
    one_changed(catalog, lambda item: item["assets"]["B04"].update(asset))


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item.update(links=None),
        lambda item: item.update(properties=None),
        lambda item: item["properties"].update(start_datetime="0001-01-01T00:00:00+14:00"),
        lambda item: item["assets"]["B04"].update({"raster:scale": "much"}),
        lambda item: item["assets"]["B04"].update({"raster:bands": {"scale": 1}}),
        lambda item: item["assets"]["B04"].update(nodata="none", roles=5),
    ],
)
def test_a_field_of_the_wrong_kind_refuses_its_item(aoi, catalog, change):
    one_changed(catalog, change)
    assert re.search(r"20230523\S* .*mend the item", only_refusal(search(catalog, aoi, *YEAR)))


def test_a_signed_address_whose_scale_gdal_cannot_apply_refuses_its_item(aoi, catalog, serve):
    with_asset(catalog, href="./B04.tif?signature=secret")
    refusal = only_refusal(search(f"{serve(catalog.parent).url}/catalog.json", aoi, *YEAR))
    assert re.search(r"B04\.tif\?… is an address with a query", refusal)
    assert "secret" not in refusal


@pytest.mark.parametrize("gsd", ["10 m", -10, float("nan"), 0])
def test_a_pixel_size_that_is_none_is_not_believed(aoi, catalog, gsd):
    with_asset(catalog, gsd=gsd)
    (scene,) = search_stac(catalog, aoi, *MAY_23)
    assert scene.gsd_m == 10


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        ("file:///etc/passwd", r"not http\(s\)"),
        ("/vsizip//etc/passwd", r"not http\(s\)"),
        ("../../../etc/passwd", "climbs out of its folder"),
        ("%2e%2e/B04.tif", "climbs out of its folder"),
        ("http://127.0.0.1/../B04.tif", "climbs out of its folder"),
        ("http://169.254.169.254/latest/meta-data", "lies on 169.254.169.254, which is no host"),
        ("s3://bucket/x.tif", "lies on bucket, which is no host"),
    ],
)
def test_an_asset_that_a_remote_catalog_may_not_name_refuses_its_item(
    aoi, catalog, serve, href, reason
):
    with_asset(catalog, href=href)
    refusal = only_refusal(search(f"{serve(catalog.parent).url}/catalog.json", aoi, *YEAR))
    assert re.search(rf"item S2_L2A_4120_20230523: assets\.B04\.href .*{reason}", refusal)


def test_a_catalog_on_disk_names_files_on_hosts_that_are_allowed(aoi, catalog):
    with_asset(catalog, href="http://tiles.example.org/B04.tif")
    assert "--allow-host tiles.example.org" in only_refusal(search(catalog, aoi, *YEAR))
    allowed = StacSource(str(catalog), hosts=("*.example.org",)).search(aoi, Span(*YEAR))
    assert len(allowed.scenes) == 15


def test_a_naive_time_refuses_its_item(aoi, catalog):
    path = catalog.parent / "scenes" / "2023-05-23" / "S2_L2A_4120_20230523.json"
    path.write_text(path.read_text().replace('Z"', '"'))
    assert re.search(
        r"item S2_L2A_4120_20230523: properties\.datetime '2023-05-23T[\d:]+' says no time zone",
        only_refusal(search(catalog, aoi, *YEAR)),
    )


def test_a_profile_names_the_assets_of_a_collection(aoi, catalog):
    name = json.loads(catalog.read_text())["id"]
    colours = {"red": "B04", "green": "B03", "blue": "B02"}

    def found(**bands: str) -> Found:
        known = {name: CollectionProfile(bands=colours | bands)}
        return StacSource(str(catalog), collections=known).search(aoi, Span(*YEAR))

    assert {scene.bands for scene in found().scenes} == {("red", "green", "blue")}
    with pytest.raises(CatalogError, match=r"item S2_\S+: assets\.B99 \(nir\) is missing; it has"):
        found(nir="B99")


def test_a_path_may_hold_any_character(aoi, catalog):
    odd = catalog.parent.rename(catalog.parent.with_name("été %41 & #1"))
    (scene,) = search_stac(odd / "catalog.json", aoi, *MAY_23)
    with open_band(scene, "red") as red:
        assert red.read().any()


def test_a_catalog_that_links_to_itself_ends(aoi, catalog):
    content = json.loads(catalog.read_text())
    content["links"].append({"rel": "child", "href": "./catalog.json"})
    catalog.write_text(json.dumps(content))
    assert len(search_stac(catalog, aoi, *YEAR)) == 15


def test_a_static_catalog_over_http_gives_the_same_scenes_and_pixels(aoi, serve):
    remote = search_stac(f"{serve(EXAMPLE).url}/catalog.json", aoi, *MAY_23)[0]
    local = search_stac(EXAMPLE / "catalog.json", aoi, *MAY_23)[0]
    assert (remote.id, remote.checksum) == (local.id, local.checksum)
    assert remote.provider == "127.0.0.1"
    with open_band(remote, "red") as far, open_band(local, "red") as near:
        assert (far.read() == near.read()).all()


def test_a_catalog_on_disk_links_to_hosts_that_are_allowed(aoi, catalog, serve):
    elsewhere = serve(EXAMPLE)
    content = json.loads(catalog.read_text())
    content["links"].insert(0, {"rel": "child", "href": f"{elsewhere.url}/catalog.json"})
    catalog.write_text(json.dumps(content))
    (refused,) = search(catalog, aoi, *YEAR).refused
    assert f"refers to {elsewhere.url}/catalog.json, which is on no host" in refused.reason
    assert elsewhere.requested == []


@pytest.mark.parametrize("href", [f"file://{EXAMPLE}/event.json", "http://169.254.169.254/x.json"])
def test_a_remote_catalog_cannot_link_to_local_files_or_other_hosts(aoi, catalog, serve, href):
    content = json.loads(catalog.read_text())
    content["links"].insert(0, {"rel": "item", "href": href})
    catalog.write_text(json.dumps(content))
    found = search(f"{serve(catalog.parent).url}/catalog.json", aoi, *YEAR)
    assert len(found.scenes) == 15
    (refused,) = found.refused
    assert href in refused.reason


ITEM = "S2_L2A_4120_20230523.json"


@pytest.mark.parametrize(
    ("where", "status", "body", "error"),
    [
        ("catalog.json", 503, "busy", TransientError),
        ("catalog.json", 429, "slow down", TransientError),
        ("catalog.json", 404, "gone", CatalogError),
        ("catalog.json", 401, "who?", AccessError),
        ("catalog.json", 200, "<html>sign in</html>", CatalogError),
        (ITEM, 503, "busy", TransientError),
        (ITEM, 429, "slow down", TransientError),
    ],
)
def test_answers_worth_another_try_are_told_from_the_others(aoi, serve, where, status, body, error):
    server = serve(EXAMPLE)
    server.faults[where] = (status, body)
    with pytest.raises(error, match=where):
        search_stac(f"{server.url}/catalog.json", aoi, *YEAR)


@pytest.mark.parametrize(
    ("status", "body"), [(404, "gone"), (401, "who?"), (200, "<html>sign in</html>")]
)
def test_an_item_that_cannot_be_had_is_refused(aoi, serve, status, body):
    server = serve(EXAMPLE)
    server.faults[ITEM] = (status, body)
    assert ITEM in only_refusal(search(f"{server.url}/catalog.json", aoi, *YEAR))


def test_a_server_that_drops_half_way_is_asked_again_for_that_page_only(aoi, serve):
    server = serve(EXAMPLE)
    server.drops[ITEM] = 2
    assert len(search_stac(f"{server.url}/catalog.json", aoi, *YEAR)) == 15
    assert server.requested.count(f"/scenes/2023-05-23/{ITEM}") == 3
    assert server.requested.count("/catalog.json") == 1


def test_a_server_that_is_down_is_worth_another_try(aoi):
    with pytest.raises(TransientError, match="out of reach"):
        search_stac("http://127.0.0.1:9/catalog.json", aoi, *YEAR)


@pytest.mark.parametrize(
    ("status", "error"),
    [(503, TransientError), (404, RasterError), (403, AccessError), (401, AccessError)],
)
def test_a_remote_raster_that_fails_is_named(aoi, serve, status, error):
    server = serve(EXAMPLE)
    scene = search_stac(f"{server.url}/catalog.json", aoi, *MAY_23)[0]
    server.faults["B04.tif"] = (status, "")
    with pytest.raises(error, match=r"20230523, band red: .*B04\.tif"), open_band(scene, "red"):
        pass


@dataclass
class Api:
    """A stand-in that follows STAC API 1.0 item search; its pages overlap as a live API's do.

    `matched` is what it says to have; `breaks` pages, by number, whose answer breaks off once;
    `empty` those that hold no items though others follow. `following` is where the next page lies,
    which begins `step` items later.
    """

    items: list[dict]
    matched: int | None = None
    breaks: set[int] = field(default_factory=set)
    empty: set[int] = field(default_factory=set)
    following: str | None = None
    step: int = 5
    asked: list[dict] = field(default_factory=list)

    @property
    def routes(self) -> tuple[Route, ...]:
        return (
            Route("/", self.root),
            Route("/search", self.search, methods=["POST"]),
            Route("/collections/{name}", self.collection),
        )

    def root(self, request: Request) -> JSONResponse:
        search = {"rel": "search", "href": f"{request.base_url}search", "method": "POST"}
        conforms = ["core", "item-search"]
        return JSONResponse(
            {
                "type": "Catalog",
                "stac_version": "1.0.0",
                "id": "api",
                "description": "stand-in",
                "conformsTo": [f"https://api.stacspec.org/v1.0.0/{part}" for part in conforms],
                "links": [search | {"type": "application/geo+json"}],
            }
        )

    def collection(self, request: Request) -> JSONResponse:
        known = request.path_params["name"] == "s2"
        return JSONResponse({"id": "s2"} if known else {"code": "NotFound"}, 200 if known else 404)

    async def search(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        first = body.get("token", 0)
        if first // 5 in self.breaks:
            self.breaks.remove(first // 5)
            return Response(b"{", headers={"Content-Length": "1000"})
        page = [served(item, request) for item in self.items[first : first + 6]]
        page = [] if first // 5 in self.empty else page
        href = self.following or str(request.url)
        link = {"rel": "next", "href": href, "method": "POST", "merge": True}
        more = first + 6 < len(self.items)
        following = [link | {"body": body | {"token": first + self.step}}] if more else []
        count = {} if self.matched is None else {"numberMatched": self.matched}
        return JSONResponse(
            {"type": "FeatureCollection", "features": page, "links": following} | count
        )


@pytest.fixture
def api() -> Api:
    return Api([_with_absolute_self(path) for path in sorted(EXAMPLE.glob("scenes/*/*.json"))])


def test_a_stac_api_is_paged_through_and_doubled_items_count_once(aoi, serve, api):
    server = serve(EXAMPLE, api.routes)
    scenes = search_stac(f"{server.url}/", aoi, *YEAR)
    assert [scene.item_id for scene in scenes] == [item["id"] for item in api.items]
    assert len(api.asked) == 3
    assert api.asked[0]["intersects"]["type"] == "MultiPolygon"
    with open_band(scenes[0], "blue") as band:
        assert band.read().any()


@pytest.mark.parametrize("newest_last", [True, False])
def test_an_item_updated_between_pages_is_taken_as_it_was_last(aoi, serve, api, newest_last):
    old, new = (json.loads(json.dumps(api.items[0])) for _ in "on")
    old["properties"] |= {"updated": "2023-06-01T00:00:00Z", "eo:cloud_cover": 1}
    new["properties"] |= {"updated": "2023-06-01T00:00:00.5Z", "eo:cloud_cover": 2}
    pair = (old, new) if newest_last else (new, old)
    api.items[0] = pair[0]
    api.items.append(pair[1])
    scenes = search_stac(f"{serve(EXAMPLE, api.routes).url}/", aoi, *YEAR)
    assert len(scenes) == 15
    assert scenes[0].cloud_cover == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_api_that_breaks_off_half_way_is_asked_again_for_that_page_only(aoi, serve, api):
    api.breaks = {1}
    assert len(search_stac(f"{serve(EXAMPLE, api.routes).url}/", aoi, *YEAR)) == 15
    assert [body.get("token", 0) for body in api.asked] == [0, 5, 5, 10]


def test_pages_are_followed_to_the_last_whatever_they_hold(aoi, serve, api):
    api.empty, api.following = {1}, "search"
    assert len(search_stac(f"{serve(EXAMPLE, api.routes).url}/", aoi, *YEAR)) == 11


def test_pages_in_a_circle_end(aoi, serve, api):
    api.step = 0
    with pytest.raises(CatalogError, match="gives its pages in a circle"):
        search(f"{serve(EXAMPLE, api.routes).url}/", aoi, *YEAR)
    assert len(api.asked) == 2


def test_a_result_too_large_is_refused_at_its_first_page(aoi, serve, api):
    api.matched = 50_000
    with pytest.raises(CatalogError, match=r"offers 50,000 items, over 20,000; name collections"):
        search(f"{serve(EXAMPLE, api.routes).url}/", aoi, *YEAR)
    assert len(api.asked) == 1


def test_a_collection_that_an_api_does_not_know_is_named(aoi, serve, api):
    url = f"{serve(EXAMPLE, api.routes).url}/"
    api.items = []
    assert search_stac(url, aoi, *YEAR, "s2") == []
    with pytest.raises(CatalogError, match="has no collection sentinel-9"):
        search(url, aoi, *YEAR, "sentinel-9")


# A DEM, fractional cover, and Landsat bands that are numbered and nowhere named.
OTHER_KINDS = {
    "lidar_id",
    "3af1acae-0255-4762-b2b2-f26034cf3ce8",
    "LC08_L2SR_081119_20200101_20200823_02_T2",
}


def real_items() -> list[Any]:
    """Every item of other projects' test data, as ESA, USGS, Earth Search, Planetary Computer and
    Digital Earth Australia publish them."""
    found = []
    for path in sorted(DATA.glob("stac_items_*/**/*.*json")):
        content = json.loads(path.read_text())
        items = content.get("features", [content])
        found += [pytest.param(item, id=item["id"]) for item in items if item["type"] == "Feature"]
    return found


@pytest.mark.parametrize("item", real_items())
def test_every_real_item_is_understood_or_known_not_to_be_optical(item):
    """No raster is opened: what is read is what the items say."""
    item = {**item, "self_href": "https://example.org/items/x.json", "catalog": "real"}
    reading = Reading("https://example.org", ("*",))
    check_fields(item)
    assert geodesic_area_m2(item_footprint(item)) < 2e11
    if item["id"] in OTHER_KINDS:
        assert optical_scene(item, reading) is None
        return
    scene = item_scene(item, reading)
    assert {"red", "green", "blue", "nir"} <= set(scene.bands)
    assert ("scl" in scene.bands) == ("L2A" in item["id"] and "L1C" not in item["id"])
    assert scene.gsd_m in (10, 30)
    assert scene.crs.startswith("EPSG:32")
    assert not any("visual" in href or "preview" in href for href in scene.hrefs.values())


def _with_absolute_self(path: Path):
    item = json.loads(path.read_text())
    item["folder"] = path.parent.relative_to(EXAMPLE).as_posix()
    item["name"] = path.name
    return item


def served(item, request: Request):
    self_href = f"{request.base_url}{item['folder']}/{item['name']}"
    return item | {"links": [{"rel": "self", "href": self_href}]}


def test_a_folder_of_items_needs_no_catalog_and_a_damaged_one_is_refused(tmp_path, aoi):
    for path in EXAMPLE.glob("scenes/2023-0[56]-*/*.json"):
        item = json.loads(path.read_text())
        for asset in item["assets"].values():
            asset["href"] = str((path.parent / asset["href"]).resolve())
        (tmp_path / path.name).write_text(json.dumps(item))
    (tmp_path / "broken.json").write_text('{"type": "Feature", "stac_v')
    (tmp_path / "notes.json").write_text('{"acquired": "2023-05-23"}')
    span = Span(datetime(2023, 5, 1, tzinfo=UTC), datetime(2023, 6, 30, tzinfo=UTC))
    found = open_source(str(tmp_path), Access()).search(aoi, span)
    assert [scene.item_id[-8:] for scene in found.scenes] == [
        "20230513", "20230518", "20230523", "20230617", "20230627",
    ]  # fmt: skip
    (refused,) = found.refused
    assert "broken.json is not whole JSON" in refused.reason
    one = open_source(str(tmp_path / "S2_L2A_4120_20230523.json"), Access()).search(aoi, span)
    assert [scene.item_id for scene in one.scenes] == ["S2_L2A_4120_20230523"]
