import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from tasks.errors import RasterError, StorageError
from tasks.mapping.segment import segment_scene, threshold_level
from tasks.mapping.windows import WindowPlan
from tasks.publish.products import quantise


@pytest.fixture
def pixels():
    return np.random.default_rng(7).integers(0, 255, (3, 150, 210)).astype(np.uint8)


@pytest.fixture
def valid():
    seen = np.ones((150, 210), bool)
    seen[40:90, 100:160] = False
    seen[:, :7] = False
    return seen


def expected_levels(pixels, valid):
    values = pixels[:, valid].astype(np.float32)
    z = (pixels - values.mean(1)[:, None, None]) / values.std(1)[:, None, None]
    return quantise(np.where(valid, 1 / (1 + np.exp(-(z[0] - z[1]))), np.nan))


@pytest.mark.parametrize("plan", [WindowPlan(512, 64), WindowPlan(64, 16), WindowPlan(32, 0)])
def test_any_tiling_gives_the_score_of_the_whole_image(
    pixels, valid, plan, network, card, write_image, tmp_path
):
    image = write_image(pixels, valid)
    score = segment_scene(image, network, card, tmp_path / "score.tif", plan=plan)
    with rasterio.open(score) as result:
        levels = result.read(1)
    difference = levels.astype(int) - expected_levels(pixels, valid)
    assert np.abs(difference).max() <= 1


def test_ground_nobody_saw_is_nodata_and_ground_that_was_seen_never_is(
    pixels, valid, network, card, write_image, tmp_path
):
    score = segment_scene(
        write_image(pixels, valid), network, card, tmp_path / "score.tif", plan=WindowPlan(64, 16)
    )
    with rasterio.open(score) as result:
        assert result.nodata == 0
        np.testing.assert_array_equal(result.read(1) > 0, valid)


def test_the_score_is_a_valid_cog_that_tells_its_scale_and_origin(
    pixels, valid, network, card, write_image, tmp_path
):
    score = segment_scene(
        write_image(pixels, valid), network, card, tmp_path / "score.tif", tags={"SCARP_RUN": "r1"}
    )
    assert cog_validate(score, quiet=True)[0]
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", "score.tif"}
    with rasterio.open(score) as result:
        level_of_one, level_of_zero = 255, 1
        assert level_of_one * result.scales[0] + result.offsets[0] == pytest.approx(1)
        assert level_of_zero * result.scales[0] + result.offsets[0] == pytest.approx(0)
        assert result.tags()["SCARP_RUN"] == "r1"


def test_a_finer_image_is_read_at_the_resolution_the_network_knows(
    network, card, write_image, tmp_path
):
    fine = np.full((3, 100, 100), 50, np.uint8)
    fine[0, 20:60, 20:60] = 200
    valid = np.ones((100, 100), bool)
    valid[:, 90:] = False
    score = segment_scene(write_image(fine, valid, gsd=2.5), network, card, tmp_path / "score.tif")
    with rasterio.open(score) as result:
        assert result.transform.a == pytest.approx(5.0)
        levels = result.read(1)
        assert levels.shape == (50, 50)
    assert (levels[12:28, 12:28] > 128).all()
    assert (levels[35:, :44] < 128).all()
    assert (levels[:, 46:] == 0).all()


def test_not_a_number_is_unknown(network, card, write_image, tmp_path):
    pixels = np.random.default_rng(1).random((3, 64, 64), np.float32)
    pixels[1, 10:20, 10:20] = np.nan
    pixels[2, 30, 30] = np.inf
    score = segment_scene(
        write_image(pixels, np.ones((64, 64), bool)), network, card, tmp_path / "score.tif"
    )
    with rasterio.open(score) as result:
        unknown = result.read(1) == 0
    assert unknown[10:20, 10:20].all()
    assert unknown[30, 30]
    assert unknown.sum() == 101


def test_an_image_without_a_valid_pixel_is_refused(network, card, write_image, tmp_path):
    image = write_image(np.zeros((3, 64, 64), np.uint8), np.zeros((64, 64), bool))
    with pytest.raises(RasterError, match="no pixel is valid"):
        segment_scene(image, network, card, tmp_path / "score.tif")
    assert not (tmp_path / "score.tif").exists()


def test_a_missing_band_is_named(network, card, write_image, tmp_path):
    image = write_image(np.zeros((2, 64, 64), np.uint8), np.ones((64, 64), bool))
    with pytest.raises(RasterError, match="'blue' is missing"):
        segment_scene(image, network, card, tmp_path / "score.tif")


def test_a_geographic_image_is_refused(network, card, write_image, tmp_path):
    image = write_image(np.ones((3, 64, 64), np.uint8), np.ones((64, 64), bool), crs="EPSG:4326")
    with pytest.raises(RasterError, match="projected CRS"):
        segment_scene(image, network, card, tmp_path / "score.tif")


def test_a_truncated_image_is_named(pixels, valid, network, card, write_image, tmp_path):
    image = write_image(pixels, valid)
    image.write_bytes(image.read_bytes()[:20_000])
    with pytest.raises(RasterError, match=str(image)):
        segment_scene(image, network, card, tmp_path / "score.tif")
    assert not (tmp_path / "score.tif").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(
    pixels, valid, network, card, write_image, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        segment_scene(write_image(pixels, valid), network, card, tmp_path / "file" / "score.tif")


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.73, 0.9])
def test_a_threshold_selects_the_scores_at_or_above_it(threshold):
    score = np.arange(0, 255) / 254
    levels = quantise(score)
    np.testing.assert_array_equal(levels >= threshold_level(threshold), score >= threshold - 1e-9)
