from dataclasses import replace

import numpy as np
import pytest
from rasterio.windows import Window

from tasks.mapping.source import open_source


@pytest.mark.parametrize("shape", [(300, 200), (1500, 1200)])
def test_statistics_are_the_scenes_own(shape, card, write_image):
    pixels = np.random.default_rng(1).integers(0, 255, (3, *shape)).astype(np.uint8)
    pixels[0, : shape[0] // 2] //= 4
    valid = np.ones(shape, bool)
    valid[:, :50] = False
    with open_source(write_image(pixels, valid), card) as source:
        found = source.statistics()
    values = pixels[:, valid].astype(float)
    tolerance = 1e-5 if max(shape) <= 1024 else 0.01
    np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=tolerance)
    np.testing.assert_allclose(found.std, values.std(axis=1), rtol=tolerance)


def test_a_little_ground_in_a_large_scene_is_found(card, write_image):
    pixels = np.full((3, 2100, 1700), 7, np.uint8)
    valid = np.zeros((2100, 1700), bool)
    valid[1000:1010, 1690:] = True
    with open_source(write_image(pixels, valid), card) as source:
        assert source.statistics().mean == (7, 7, 7)


@pytest.mark.parametrize("gsd", [5.0, 10.0, 40.0])
@pytest.mark.parametrize(("bands", "dtype"), [(3, "uint8"), (4, "uint16"), (3, "float32")])
def test_ground_nobody_looked_at_stays_so_whatever_the_image_is_resampled_to(
    bands, dtype, gsd, card, write_image
):
    pixels = np.random.default_rng(1).integers(1, 255, (bands, 160, 160)).astype(dtype)
    valid = np.zeros((160, 160), bool)
    valid[:, :40] = True
    own = replace(card, gsd_range_m=(10.0, 10.0))
    with open_source(write_image(pixels, valid, gsd), own) as source:
        height, width = source.dataset.shape
        _, seen = source.read(Window(0, 0, width, height))
    assert height == pytest.approx(160 * gsd / 10)
    assert seen[:, : width // 4 - 1].all() and not seen[:, width // 4 + 1 :].any()


@pytest.mark.parametrize(("crs", "unit_m"), [("EPSG:32632", 1.0), ("EPSG:2229", 0.3048)])
def test_pixels_are_measured_in_metres_whatever_the_crs_counts_in(crs, unit_m, card, write_image):
    pixels, seen = np.full((3, 90, 120), 9, np.uint8), np.ones((90, 120), bool)
    path = write_image(pixels, seen, 3.0 / unit_m, crs=crs)
    with open_source(path, replace(card, gsd_range_m=(3.0, 3.0))) as source:
        assert source.dataset.shape == (90, 120)
