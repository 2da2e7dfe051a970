from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from shapely.affinity import translate

from tasks.errors import CatalogError
from tasks.imagery.protocol import Span
from tasks.imagery.sources import Access, open_source
from tasks.types import AreaOfInterest

EXAMPLE = Path(__file__).parents[2] / "examples" / "emilia_romagna_2023"
DAY = datetime(2023, 5, 23, tzinfo=UTC)
RGB = np.ones((3, 128, 128), np.uint8)


def find_scenes(source, aoi, start, end, access=None):
    return list(open_source(source, access or Access()).search(aoi, Span(start, end)).scenes)


def test_a_catalog_its_folder_and_its_address_are_one_source(aoi, serve):
    places = (EXAMPLE / "catalog.json", EXAMPLE, f"{serve(EXAMPLE).url}/catalog.json")
    found = [find_scenes(str(place), aoi, DAY, DAY + timedelta(days=60)) for place in places]
    assert [[scene.item_id for scene in scenes] for scenes in found] == [
        ["S2_L2A_4120_20230523", "S2_L2A_4120_20230617", "S2_L2A_4120_20230627"]
    ] * 3


def test_images_of_another_time_or_place_are_left_out_and_undated_ones_come_last(aoi, write_tif):
    folder = write_tif("images/a_undated.tif", RGB).parent
    write_tif("images/b_20230101.tif", RGB)
    write_tif("images/c_20230524.tif", RGB)
    found = find_scenes(str(folder), aoi, DAY, DAY + timedelta(days=60))
    assert [scene.id for scene in found] == ["c_20230524", "a_undated"]
    elsewhere = AreaOfInterest(translate(aoi.geometry, 1.0), "given")
    assert find_scenes(str(folder), elsewhere, DAY, DAY + timedelta(days=60)) == []


def test_one_image_is_a_source(aoi, write_tif):
    path = write_tif("x.tif", RGB)
    assert [scene.id for scene in find_scenes(str(path), aoi, DAY, DAY)] == ["x"]


def test_a_source_that_does_not_exist_is_named(aoi):
    with pytest.raises(CatalogError, match="nowhere does not exist"):
        find_scenes("nowhere", aoi, DAY, DAY)
