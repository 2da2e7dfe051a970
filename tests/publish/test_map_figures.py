from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from matplotlib.image import imread
from pyproj import CRS
from shapely.geometry import MultiPolygon, Polygon, box

from tasks.errors import RasterError
from tasks.publish.charts import BLUE, YELLOW
from tasks.publish.class_legend import class_names
from tasks.publish.map_figures import map_figure, susceptibility_figure
from tasks.publish.map_pages import SEEN_COLOUR, furnish, map_page, round_length
from tests.publish.colours import share_of


@pytest.fixture
def classes(image: Path, tmp_path: Path) -> Path:
    path = tmp_path / "classes.tif"
    with rasterio.open(image) as source:
        profile = source.profile | {"count": 1, "dtype": "uint8", "nodata": 0}
        shape = source.shape
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.arange(np.prod(shape), dtype=np.int64).reshape(1, *shape) // 128 % 6)
        dataset.update_tags(CLASS_BOUNDS=json.dumps([0.2, 0.4, 0.6, 0.8, 1.0]))
    return path


def test_the_map_shows_the_landslides(tmp_path, image, landslides, aoi):
    with_them = map_figure(tmp_path / "map.png", image, landslides, aoi.geometry, aoi.geometry)
    without = map_figure(
        tmp_path / "empty.png", image, landslides.iloc[:0], aoi.geometry, aoi.geometry
    )
    assert share_of(YELLOW, with_them) > 5 * share_of(YELLOW, without) > 0, (
        "the legend keeps its key"
    )


def test_ground_that_was_not_seen_is_veiled(tmp_path, image, landslides, aoi, half_seen):
    whole = map_figure(tmp_path / "whole.png", image, landslides, aoi.geometry, aoi.geometry)
    half = map_figure(tmp_path / "half.png", image, landslides, aoi.geometry, half_seen)
    seen, veiled = imread(whole)[..., :3], imread(half)[..., :3]
    height, width = seen.shape[:2]
    right = np.s_[height // 4 : height // 2, 2 * width // 3 : 3 * width // 4]
    left = np.s_[height // 4 : height // 2, width // 4 : width // 3]
    assert veiled[right].mean() > seen[right].mean() + 0.2
    assert veiled[left].mean() == pytest.approx(seen[left].mean(), abs=0.05)


def test_an_area_far_larger_than_the_image_leaves_the_landslides_to_be_seen(
    tmp_path, image, landslides, aoi
):
    whole = map_figure(tmp_path / "whole.png", image, landslides, aoi.geometry, aoi.geometry)
    county = aoi.geometry.buffer(1.0)
    assert isinstance(county, Polygon)
    small = map_figure(
        tmp_path / "small.png", image, landslides, MultiPolygon([county]), aoi.geometry
    )
    assert share_of(YELLOW, small) > share_of(YELLOW, whole) / 9


def test_one_pixel_that_was_not_seen_is_marked_on_the_map(
    tmp_path, image, landslides, aoi, half_seen
):
    area = aoi.geometry
    pixel = area.centroid.buffer(0.0001, cap_style="square")
    whole = map_figure(tmp_path / "whole.png", image, landslides, area, area)
    almost = map_figure(tmp_path / "almost.png", image, landslides, area, area - pixel)
    assert whole.read_bytes() != almost.read_bytes()


def test_unseen_ground_of_the_area_beyond_the_image_is_shown_beside_the_map(
    tmp_path, image, landslides, aoi
):
    west, south, east, north = aoi.geometry.bounds
    wider = MultiPolygon([box(2 * west - east, south, east, north)])
    one, two = (
        map_figure(tmp_path / f"{area.area}.png", image, landslides, area, aoi.geometry)
        for area in (aoi.geometry, wider)
    )
    alone, beside = imread(one), imread(two)
    assert beside.shape[1] > alone.shape[1]
    # The grey of ground that was seen stands beside the map alone.
    assert share_of(SEEN_COLOUR, two) > share_of(SEEN_COLOUR, one) + 0.005
    all_seen = map_figure(tmp_path / "all.png", image, landslides, wider, wider)
    assert share_of(SEEN_COLOUR, all_seen) > share_of(SEEN_COLOUR, two) + 0.005


def test_a_map_that_lacks_but_a_seen_rim_of_the_area_stands_alone(tmp_path, image, landslides, aoi):
    area = aoi.geometry
    rim = MultiPolygon([area.geoms[0].buffer(0.00001)])
    drawn = [
        imread(map_figure(tmp_path / f"{number}.png", image, landslides, rim, seen)).shape[1]
        for number, seen in enumerate((rim, area))
    ]
    assert drawn[0] < drawn[1], "a rim that nobody saw is shown"


def test_a_score_band_can_be_the_backdrop(tmp_path, classes, landslides, aoi):
    path = map_figure(tmp_path / "map.png", classes, landslides, aoi.geometry, aoi.geometry)
    assert share_of(YELLOW, path) > 0.002


def test_susceptibility_shows_classes_and_landslides(tmp_path, classes, landslides, aoi, half_seen):
    path = susceptibility_figure(
        tmp_path / "susceptibility.png", classes, landslides, aoi.geometry, half_seen, "credit"
    )
    assert share_of(BLUE, path) > 0.002
    assert share_of("#ec7014", path) > 0.03


def test_a_susceptibility_map_without_landslides_has_no_key_for_them(
    tmp_path, classes, landslides, aoi
):
    nothing = landslides.iloc[:0]
    path = susceptibility_figure(tmp_path / "map.png", classes, nothing, aoi.geometry, aoi.geometry)
    assert share_of(BLUE, path) == 0


def test_ground_unlike_the_training_ground_is_dotted(tmp_path, classes, landslides, aoi):
    with rasterio.open(classes) as source:
        profile = source.profile | {"count": 2, "dtype": "float32", "nodata": np.nan}
        inside = np.ones((2, *source.shape), np.float32)
    drawn = []
    for share in (0, 0.5):
        inside[1, : int(share * inside.shape[1])] = 0
        with rasterio.open(tmp_path / "applies.tif", "w", **profile) as dataset:
            dataset.write(inside)
        path = susceptibility_figure(
            tmp_path / f"{share}.png",
            classes,
            landslides,
            aoi.geometry,
            aoi.geometry,
            applicability=tmp_path / "applies.tif",
        )
        drawn.append(share_of("#000000", path))
    assert drawn[1] > 2 * drawn[0]


def test_classes_of_any_number_have_names():
    assert class_names(5)[-1] == "very high"
    assert class_names(3) == ("1, least susceptible", "2", "3, most susceptible")


def test_a_credit_in_letters_the_font_lacks_points_to_the_report(tmp_path, image, landslides, aoi):
    path = map_figure(
        tmp_path / "map.png", image, landslides, aoi.geometry, aoi.geometry, "地理院地図"
    )
    assert path.stat().st_size > 50_000


def test_the_same_figure_is_the_same_bytes(tmp_path, image, landslides, aoi, half_seen):
    first, again = (
        map_figure(tmp_path / name, image, landslides, aoi.geometry, half_seen).read_bytes()
        for name in ("first.png", "again.png")
    )
    assert first == again


def test_scale_and_north_hide_no_ground(aoi):
    extent, crs = (0.0, 1280.0, 0.0, 1280.0), CRS.from_epsg(32632)
    figure, axes = map_page(extent, crs)
    furnish(figure, axes, extent, crs, [], aoi.geometry, aoi.geometry, "")
    figure.draw_without_rendering()
    bar, length = axes.lines[0].get_window_extent(), axes.texts[0].get_window_extent()
    assert axes.texts[0].get_text() == "200 m"
    assert bar.width == pytest.approx(axes.bbox.width * 200 / 1280)
    assert not bar.overlaps(axes.bbox)
    assert not length.overlaps(axes.bbox)
    assert not axes.patches, "north is in the title, above the map"
    assert axes.get_title(loc="left") == "▲ N"


@pytest.mark.parametrize(("about", "length"), [(340, 200), (1000, 1000), (9_999, 5000), (3, 2)])
def test_the_scale_bar_has_a_round_length(about, length):
    assert round_length(about) == length


def test_an_image_that_is_missing_is_named(tmp_path, landslides, aoi):
    with pytest.raises(RasterError, match=r"gone\.tif"):
        map_figure(
            tmp_path / "m.png", tmp_path / "gone.tif", landslides, aoi.geometry, aoi.geometry
        )
