"""Co-registration and normalisation, on the real scenes of Emilia-Romagna."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from tasks.errors import RasterError
from tasks.imagery.before import prepare_before, shift_doubt
from tasks.imagery.coregister import measure_shift
from tasks.imagery.mosaic import prepare_mosaic
from tasks.imagery.normalise import LEVELS, like_image, like_training
from tasks.imagery.protocol import Span
from tasks.imagery.rasters import source_path
from tasks.imagery.stac import StacSource
from tests.conftest import EXAMPLE

SPAN = Span(datetime(2022, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
FOUR = ("red", "green", "blue", "nir")


@pytest.fixture(scope="module")
def scenes(aoi):
    found = StacSource(str(EXAMPLE / "catalog.json")).search(aoi, SPAN).scenes
    return {f"{scene.acquired_at:%m-%d}": scene for scene in found}


@pytest.fixture
def after(scenes, aoi, tmp_path):
    return prepare_mosaic([scenes["05-23"]], aoi, tmp_path / "after").path


def displaced(scene, folder, east_px, south_px):
    """The scene with its ground moved; its mask stays, since it is clear."""
    hrefs = dict(scene.hrefs)
    folder.mkdir()
    for band in FOUR:
        with rasterio.open(source_path(scene.hrefs[band])) as source:
            values, profile = source.read(1).astype(float), source.profile
            scales, offsets = source.scales, source.offsets
        moved = ndimage.shift(values, (south_px, east_px), order=3, mode="nearest")
        path = folder / f"{band}.tif"
        with rasterio.open(path, "w", **profile | {"driver": "GTiff"}) as made:
            made.write(np.clip(moved, 1, 65535).astype(profile["dtype"]), 1)
            made.scales, made.offsets = scales, offsets
        hrefs[band] = scene.hrefs[band].replace(source_path(scene.hrefs[band]), str(path))
    return replace(scene, id=f"{scene.id} moved", hrefs=hrefs)


def read(path):
    with rasterio.open(path) as raster:
        return raster.read().astype(float), raster.dataset_mask() > 0


def test_images_of_two_dates_lie_on_each_other(scenes, aoi, after, tmp_path):
    before = prepare_before([scenes["04-28"]], aoi, after, tmp_path / "before")
    assert before.shift.is_sure and not before.shift.is_worth_moving
    assert before.shift.length_px < 0.3
    assert shift_doubt(before) is None


@pytest.mark.parametrize(("east", "south"), [(0.7, -0.4), (-1.5, 2.2)])
def test_a_displaced_image_is_measured_moved_back_and_told(
    scenes, aoi, after, tmp_path, east, south
):
    true = prepare_before([scenes["04-28"]], aoi, after, tmp_path / "true")
    moved = displaced(scenes["04-28"], tmp_path / "files", east, south)
    before = prepare_before([moved], aoi, after, tmp_path / "before")
    assert before.shift.east_px - true.shift.east_px == pytest.approx(-east, abs=0.15)
    assert before.shift.south_px - true.shift.south_px == pytest.approx(-south, abs=0.15)
    left = measure_shift(before.path, after)
    assert left.length_px < 0.2
    text = shift_doubt(before).text
    assert f"lay {before.shift.length_px:.1f} px ({before.shift.length_px * 10:.1f} m) off" in text


def test_an_image_that_shows_too_little_says_that_nothing_is_known(aoi, after, scenes, tmp_path):
    before = prepare_before([scenes["12-29"]], aoi, after, tmp_path / "before")
    with rasterio.open(before.path, "r+") as image:
        image.write_mask(np.zeros(image.shape, np.uint8))
    assert measure_shift(before.path, after) is None
    assert "cannot be told" in shift_doubt(replace(before, shift=None)).text


def test_a_histogram_becomes_that_of_the_other_image(scenes, aoi, after, tmp_path):
    before = prepare_before([scenes["02-12"]], aoi, after, tmp_path / "before").path
    made, seen = read(like_image(after, before, tmp_path / "made.tif"))
    wanted, also_seen = read(before)
    was, _ = read(after)
    both = seen & also_seen
    for ours, theirs, old in zip(made, wanted, was, strict=True):
        ours, theirs, old = (np.quantile(one[both], LEVELS) for one in (ours, theirs, old))
        assert np.abs(ours - theirs).max() < 0.02 * np.ptp(theirs)
        assert np.abs(old - theirs).max() > 0.05 * np.ptp(theirs)
    with rasterio.open(tmp_path / "made.tif") as image:
        assert image.descriptions == FOUR and image.dtypes[0] == "float32"


def test_a_histogram_becomes_that_of_the_training_pixels_at_its_own_place(after, tmp_path):
    shape = np.linspace(-1.7, 1.7, 33)
    made = like_training(after, FOUR[:3], [shape] * 3, tmp_path / "made.tif")
    values, seen = read(made)
    was, _ = read(after)
    for ours, old in zip(values[:3], was[:3], strict=True):
        z = (ours[seen] - old[seen].mean()) / old[seen].std()
        assert np.quantile(z, [0.1, 0.5, 0.9]) == pytest.approx([-1.36, 0, 1.36], abs=0.05)
    assert values[3][seen] == pytest.approx(was[3][seen])


def test_other_grids_other_bands_and_empty_images_are_refused(after, scenes, aoi, tmp_path):
    other = prepare_mosaic([scenes["04-28"]], aoi, tmp_path / "other").path
    with rasterio.open(other, "r+") as image:
        image.transform = image.transform * rasterio.Affine.translation(1, 0)
    with pytest.raises(RasterError, match="not on one grid"):
        like_image(after, other, tmp_path / "x.tif")
    with pytest.raises(RasterError, match="not on one grid"):
        measure_shift(other, after)
    with pytest.raises(RasterError, match="has no band thermal"):
        like_training(after, ["thermal"], [[0, 1]], tmp_path / "x.tif")
    with rasterio.open(after, "r+") as image:
        image.write_mask(np.zeros(image.shape, np.uint8))
    with pytest.raises(RasterError, match="0 pixels to take the histogram from"):
        like_training(after, ["red"], [[0, 1]], tmp_path / "x.tif")
