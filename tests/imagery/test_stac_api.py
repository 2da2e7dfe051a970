"""Scenes from a true STAC API (stac-fastapi-pgstac on PostGIS), their files over HTTP."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import rasterio

import tasks.imagery.stac as stac
from tasks.errors import CatalogError
from tasks.imagery.clouds import judge
from tasks.imagery.mosaic import prepare_mosaic
from tasks.imagery.protocol import Span
from tasks.imagery.select import choose_scenes
from tasks.imagery.sources import Access, open_source
from tests.imagery.conftest import EXAMPLE

SPAN = Span(datetime(2022, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
ENDS = ("start_datetime", "end_datetime")
EVERYWHERE = {
    "spatial": {"bbox": [[-180, -90, 180, 90]]},
    "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
}


@pytest.fixture
def offered(stac_api, request):
    """Offer items in a collection of the test's own; they may be offered again, changed."""
    name = request.node.name.replace("_", "-")[:60]
    collection = {"type": "Collection", "id": name, "stac_version": "1.0.0", "links": []}
    collection |= {"description": "test", "license": "other", "extent": EVERYWHERE}
    stac_api.load("collections", [json.dumps(collection)])

    def offer(items):
        stac_api.load("items", [json.dumps(item | {"collection": name}) for item in items])
        return open_source(stac_api.url, Access(collections=(name,)))

    return offer


@pytest.fixture
def example_items(serve):
    """The example's items, the files they name behind a web server."""
    url = serve(EXAMPLE).url
    items = []
    for path in sorted(EXAMPLE.glob("scenes/*/*.json")):
        item = json.loads(path.read_text()) | {"links": []}
        for asset in item["assets"].values():
            asset["href"] = f"{url}/{path.parent.relative_to(EXAMPLE)}/{asset['href']}"
        items.append(item)
    return items


def one_of_many(item, number):
    taken = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    properties = item["properties"] | dict.fromkeys(("datetime", *ENDS), taken.isoformat())
    return item | {"id": f"item-{number:04d}", "properties": properties}


def test_the_example_from_an_api_is_the_example_from_disk(
    offered, example_items, aoi, event, tmp_path
):
    def mosaic_from(source, folder):
        views = [judge(scene, aoi) for scene in source.search(aoi, SPAN).scenes]
        judged = choose_scenes(views, aoi, event.occurred_at)
        used = [one.scene for one in judged if one.used]
        with rasterio.open(prepare_mosaic(used, aoi, tmp_path / folder).path) as image:
            return [one.reason for one in judged], image.read(masked=True)

    reasons, pixels = mosaic_from(offered(example_items), "api")
    local = open_source(str(EXAMPLE / "catalog.json"), Access())
    expected_reasons, expected = mosaic_from(local, "disk")
    assert len(reasons) == 15 and reasons == expected_reasons
    assert (pixels.mask == expected.mask).all() and (pixels == expected).all()


def test_every_page_is_read_each_item_is_taken_once_and_as_it_was_last(
    offered, example_items, aoi, monkeypatch
):
    monkeypatch.setattr(stac, "PAGE_ITEMS", 40)
    many = [one_of_many(example_items[0], number) for number in range(130)]
    source, taken = offered(many), []

    def while_pages_come(self, item, take=stac._Gathered.take):
        take(self, item)
        taken.append(item["id"])
        if len(taken) == 40:
            # The newest come first: one was on this page, one is on a page to come, one is gone.
            changed = [one_of_many(example_items[0], n) for n in (129, 5)]
            for one in changed:
                red, nir = (one["assets"][name] for name in ("B04", "B08"))
                one["assets"] = one["assets"] | {"B04": red | {"href": nir["href"]}}
            offered(changed)

    monkeypatch.setattr(stac._Gathered, "take", while_pages_come)
    scenes = source.search(aoi, SPAN).scenes
    assert [scene.item_id for scene in scenes] == [f"item-{number:04d}" for number in range(130)]
    assert len(taken) == 130
    assert "B08" in scenes[5].hrefs["red"] and "B04" in scenes[6].hrefs["red"]


def test_a_result_too_large_is_refused_before_all_of_it_is_read(
    offered, example_items, aoi, monkeypatch
):
    monkeypatch.setattr(stac, "PAGE_ITEMS", 20)
    monkeypatch.setattr(stac, "MAX_ITEMS", 50)
    source = offered([one_of_many(example_items[0], number) for number in range(90)])
    with pytest.raises(CatalogError, match=r"items, over 50; name collections \(--collection\)"):
        source.search(aoi, SPAN)


def test_a_collection_or_time_that_holds_nothing_is_told_from_one_that_is_not_there(
    offered, example_items, stac_api, aoi
):
    long_ago = Span(datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 2, 1, tzinfo=UTC))
    assert offered(example_items[:1]).search(aoi, long_ago).scenes == ()
    with pytest.raises(CatalogError, match=f"{stac_api.url} has no collection sentinel-9"):
        open_source(stac_api.url, Access(collections=("sentinel-9",))).search(aoi, SPAN)


def test_items_an_api_should_not_offer_are_refused_and_the_others_go_on(
    offered, example_items, aoi
):
    elsewhere, local, without_red, good = (one_of_many(example_items[0], n) for n in range(4))
    for item, change in (
        (
            elsewhere,
            {"B04": example_items[0]["assets"]["B04"] | {"href": "https://evil.example/a.tif"}},
        ),
        (local, {"B04": example_items[0]["assets"]["B04"] | {"href": "file:///etc/passwd"}}),
    ):
        item["assets"] = item["assets"] | change
    without_red["assets"] = {k: v for k, v in without_red["assets"].items() if k != "B04"}
    found = offered([elsewhere, local, without_red, good]).search(aoi, SPAN)
    assert [scene.item_id for scene in found.scenes] == ["item-0003"]
    reasons = {one.scene.item_id: one.reason for one in found.refused}
    assert "lies on evil.example" in reasons["item-0000"]
    assert "is not http(s)" in reasons["item-0001"]
    assert "hold no red band" in reasons["item-0002"]
