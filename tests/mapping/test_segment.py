import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from rio_cogeo import cog_validate

from models.normalisation import Statistics
from tasks.errors import BadInputError, RasterError, StorageError
from tasks.mapping.scoring import mean_score
from tasks.mapping.segment import segment_scene, threshold_level
from tasks.mapping.source import Normaliser
from tasks.mapping.windows import WindowPlan
from tasks.publish.products import quantise
from tests.imagery.conftest import serve  # noqa: F401 - a fixture


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


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_any_kind_of_number_gives_the_same_score(
    pixels, valid, dtype, network, card, write_image, tmp_path
):
    image = write_image(pixels.astype(dtype) * 4, valid)
    score = segment_scene(image, network, card, tmp_path / "score.tif", plan=WindowPlan(64, 16))
    with rasterio.open(score) as result:
        difference = result.read(1).astype(int) - expected_levels(pixels, valid)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_short_integers_are_normalised_by_a_table_as_the_formula_says(card, dtype):
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(2).integers(limits.min, limits.max, (3, 40, 50), dtype)
    statistics = Statistics((10.0, 100.0, 1000.0), (5.0, 50.0, 500.0))
    seen = pixels[0] % 2 == 0
    made = np.empty(pixels.shape, np.float32)
    Normaliser(card, statistics, dtype)(pixels, seen, made)
    formula = card.normalisation.apply(pixels, statistics)
    np.testing.assert_allclose(made, formula * seen, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("plan", [WindowPlan(64, 16), WindowPlan(64, 16, views=8, batch=3)])
def test_views_and_batches_of_a_network_that_looks_at_one_pixel_change_nothing(
    pixels, valid, plan, network, card, write_image, tmp_path
):
    score = segment_scene(
        write_image(pixels, valid), network, card, tmp_path / "score.tif", plan=plan
    )
    with rasterio.open(score) as result:
        difference = result.read(1).astype(int) - expected_levels(pixels, valid)
    assert np.abs(difference).max() <= 1


class Blur(torch.nn.Module):
    """Looks east and south more than west and north."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = torch.nn.Conv2d(3, 1, 5, padding=2)

    def forward(self, x, valid):
        return self.net(x * valid)


@torch.inference_mode()
def test_the_mean_over_eight_views_turns_with_the_picture():
    x, seen = torch.randn(2, 3, 32, 48), torch.rand(2, 1, 32, 48) > 0.1
    network = Blur()
    score = mean_score(network, x, seen, 8)
    turned = mean_score(network, torch.rot90(x, 1, (2, 3)), torch.rot90(seen, 1, (2, 3)), 8)
    torch.testing.assert_close(turned, torch.rot90(score, 1, (1, 2)))
    flipped = mean_score(network, x.flip(-1), seen.flip(-1), 4)
    torch.testing.assert_close(flipped, mean_score(network, x, seen, 4).flip(-1))
    assert (mean_score(network, x, seen, 1) - score).abs().max() > 0.01


def test_a_network_that_looks_around_leaves_no_seam(pixels, card, write_image, tmp_path):
    image = write_image(pixels, np.ones((150, 210), bool))
    whole, windowed = (
        segment_scene(image, Blur(), card, tmp_path / f"{plan.size}.tif", plan=plan)
        for plan in (WindowPlan(512, 64), WindowPlan(64, 16))
    )
    with rasterio.open(whole) as a, rasterio.open(windowed) as b:
        assert np.abs(a.read(1).astype(int) - b.read(1)).max() <= 1


def test_windows_without_ground_are_not_scored(pixels, card, write_image, tmp_path):
    valid = np.zeros((150, 210), bool)
    valid[60:70, 60:70] = True
    calls = []

    class Counting(Blur):
        def forward(self, x, valid):
            calls.append(len(x))
            return super().forward(x, valid)

    score = segment_scene(
        write_image(pixels, valid),
        Counting(),
        card,
        tmp_path / "score.tif",
        plan=WindowPlan(32, 0, batch=2),
    )
    assert sum(calls) == 4
    with rasterio.open(score) as result:
        np.testing.assert_array_equal(result.read(1) > 0, valid)


def test_disagreement_is_a_valid_cog_that_knows_only_what_two_windows_saw(
    pixels, valid, card, write_image, tmp_path
):
    image, unsure = write_image(pixels, valid), tmp_path / "disagreement.tif"
    alone = segment_scene(image, Blur(), card, tmp_path / "alone.tif", plan=WindowPlan(64, 24))
    score = segment_scene(
        image, Blur(), card, tmp_path / "score.tif", plan=WindowPlan(64, 24), disagreement=unsure
    )
    assert score.read_bytes() == alone.read_bytes()
    assert cog_validate(unsure, quiet=True)[0]
    with rasterio.open(unsure) as result, rasterio.open(score) as beside:
        assert result.profile == beside.profile
        assert result.descriptions == ("landslide disagreement",)
        known = result.read(1) > 0
    assert (known <= valid).all()
    assert 0 < known.sum() < valid.sum()


def test_an_image_behind_a_web_server_is_read_in_place(
    serve,  # noqa: F811
    pixels,
    valid,
    network,
    card,
    write_image,
    tmp_path,
):
    image = write_image(pixels, valid)
    server = serve(image.parent)
    here = segment_scene(image, network, card, tmp_path / "here.tif")
    for address in (f"{server.url}/{image.name}", f"/vsicurl/{server.url}/{image.name}"):
        there = segment_scene(address, network, card, tmp_path / "there.tif")
        assert there.read_bytes() == here.read_bytes()


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
        # QGIS takes what scales to the number of nodata for nodata.
        assert level_of_zero * result.scales[0] + result.offsets[0] > result.nodata
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


def test_an_image_without_a_crs_is_refused(network, card, write_image, tmp_path):
    image = write_image(np.ones((3, 64, 64), np.uint8), np.ones((64, 64), bool), crs=None)
    with pytest.raises(RasterError, match="no CRS"):
        segment_scene(image, network, card, tmp_path / "score.tif")


def test_a_rotated_image_is_refused(network, card, write_image, tmp_path):
    turned = Affine.translation(700000, 4912000) @ Affine.rotation(20) @ Affine.scale(10, -10)
    image = write_image(np.ones((3, 64, 64), np.uint8), np.ones((64, 64), bool), transform=turned)
    with pytest.raises(RasterError, match="rotated"):
        segment_scene(image, network, card, tmp_path / "score.tif")


def test_a_device_that_is_not_there_is_refused(pixels, valid, network, card, write_image, tmp_path):
    image = write_image(pixels, valid)
    for device in ("abacus", "cuda:99"):
        with pytest.raises(BadInputError, match=device):
            segment_scene(image, network, card, tmp_path / "score.tif", device=device)


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
