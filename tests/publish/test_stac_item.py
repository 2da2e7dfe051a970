from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pystac
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.publish.stac_item import ASSETS, version_of, write_stac_item
from tasks.types import AreaOfInterest

MADE = {"created_at": datetime(2026, 1, 2, tzinfo=UTC), "digest": "abc", "version": 3}


def test_the_item_is_valid_and_names_the_products_that_exist(tmp_path, event, aoi, scene):
    for name in ("score.tif", "inventory.gpkg", "report.html", "map.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a product")
    path = write_stac_item(tmp_path / "item.json", event, aoi, [scene], **MADE)
    item = pystac.Item.from_file(str(path))
    item.validate()
    assert {asset.href for asset in item.assets.values()} == {
        "./score.tif",
        "./inventory.gpkg",
        "./report.html",
        "./map.png",
    }
    assert item.assets["score_tif"].media_type == pystac.MediaType.COG
    assert item.properties["scarp:event_id"] == event.id
    assert version_of(path) == 3
    assert item.bbox == list(aoi.geometry.bounds)


def test_every_product_has_a_key_of_its_own(tmp_path, event, aoi, scene):
    for name in ASSETS:
        (tmp_path / name).write_bytes(b"")
    item = pystac.Item.from_file(
        str(write_stac_item(tmp_path / "item.json", event, aoi, [scene], **MADE))
    )
    item.validate()
    assert len(item.assets) == len(ASSETS)


def test_the_item_spans_the_time_of_the_scenes(tmp_path, event, aoi, scene):
    later = replace(scene, acquired_at=datetime(2023, 6, 17, 10, tzinfo=UTC))
    undated = replace(scene, acquired_at=None)
    path = write_stac_item(tmp_path / "item.json", event, aoi, [later, undated, scene], **MADE)
    times = pystac.Item.from_file(str(path)).common_metadata
    assert (times.start_datetime, times.end_datetime) == (scene.acquired_at, later.acquired_at)


@pytest.mark.parametrize("dated", [[], [None]])
def test_without_a_dated_scene_it_has_the_time_of_the_event(tmp_path, event, aoi, scene, dated):
    scenes = [replace(scene, acquired_at=time) for time in dated]
    path = write_stac_item(tmp_path / "item.json", event, aoi, scenes, **MADE)
    item = pystac.Item.from_file(str(path))
    item.validate()
    assert item.common_metadata.start_datetime == event.occurred_at


def test_an_area_across_the_antimeridian_has_a_narrow_box(tmp_path, event, scene):
    fiji = MultiPolygon([box(179, -17, 180, -16), box(-180, -17, -179.5, -16)])
    path = write_stac_item(
        tmp_path / "item.json", event, AreaOfInterest(fiji, "given"), [scene], **MADE
    )
    item = pystac.Item.from_file(str(path))
    item.validate()
    assert item.bbox == [179, -17, -179.5, -16]
