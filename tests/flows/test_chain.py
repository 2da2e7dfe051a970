"""What follows an inventory shows that inventory, whatever has turned up since."""

import json
from datetime import UTC, datetime

import pytest
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely.geometry import box, mapping

from flows.chain import follow_up
from flows.map_landslides import map_landslides
from flows.options import ResponseOptions
from flows.publish_draft import publish_draft
from flows.register import register_event
from flows.respond import respond
from tasks.errors import InventoryError
from tasks.types import Event
from tests.conftest import DATA
from tests.flows.conftest import rows

pytestmark = pytest.mark.usefixtures("prefect")
SCENE = DATA / "hokkaido2018" / "scene_rgb_3m.tif"
IBURI = Event("iburi", "earthquake", "Iburi", datetime(2018, 9, 5, tzinfo=UTC), 141.93, 42.69, 6.6)
VERSIONS = "SELECT version, status, cardinality(scene_ids) FROM scarp.inventory ORDER BY version"


@pytest.fixture
def source(world, tmp_path):
    """A folder with a scene of most of the event's area."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    with rasterio.open(SCENE) as scene:
        corners = scene.window_bounds(Window(1000, 1000, 128, 128))
        area = box(*transform_bounds(scene.crs, "EPSG:4326", *corners))
    aoi = tmp_path / "aoi.geojson"
    aoi.write_text(json.dumps(mapping(area)))
    cut(folder / "a_20180910.tif", 112)
    register_event(IBURI, aoi, wishes={"source": str(folder)})
    return folder


def cut(path, width):
    with rasterio.open(SCENE) as scene:
        window = Window(1000, 1000, width, 128)
        profile = scene.profile | {"driver": "GTiff", "width": width, "height": 128}
        profile |= {"transform": scene.window_transform(window)}
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(scene.read(window=window))


def test_a_scene_that_turns_up_meanwhile_is_left_to_the_next_response(world, source):
    options = ResponseOptions(source=str(source))
    mosaic = map_landslides(IBURI.id, options).rasters.mosaic.path
    made = mosaic.stat().st_mtime_ns
    follow_up(IBURI.id, 1)
    assert mosaic.stat().st_mtime_ns == made
    report = world.products(IBURI.id) / "report.html"
    before = report.read_bytes()
    cut(source / "b_20180911.tif", 128)
    follow_up(IBURI.id, 1)
    assert rows(world, VERSIONS) == [(1, "published", 1)]
    assert report.read_bytes() == before
    map_landslides(IBURI.id, options)
    assert rows(world, VERSIONS) == [(1, "superseded", 1), (2, "published", 2)]


def test_a_version_that_saw_less_is_a_draft_until_somebody_publishes_it(world, source, tmp_path):
    cut(source / "a_20180910.tif", 128)
    whole = respond(IBURI.id, ResponseOptions(source=str(source)))
    less = tmp_path / "less"
    less.mkdir()
    cut(less / "b_20180911.tif", 64)
    answer = respond(IBURI.id, ResponseOptions(source=str(less)))
    assert answer.mapped.inventory.status == "draft"
    assert "50 % of what version 1 saw" in answer.mapped.inventory.doubts[-1].text
    assert answer.folder == whole.folder / "version-2"
    assert "version 1, published" in whole.report.read_text()
    assert respond(IBURI.id, ResponseOptions(source=str(less))).mapped.inventory.status == "draft"
    assert rows(world, VERSIONS) == [(1, "published", 1), (2, "draft", 1)]

    assert publish_draft(IBURI.id, 2).status == "published"
    assert rows(world, VERSIONS) == [(1, "superseded", 1), (2, "published", 1)]
    with pytest.raises(InventoryError, match=f"version 1 of {IBURI.id} was superseded"):
        publish_draft(IBURI.id, 1)
    assert publish_draft(IBURI.id, 2).status == "published"
