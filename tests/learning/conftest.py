import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning


@pytest.fixture
def write_picture():
    """Write a GeoTIFF, PNG or JPEG: pixels (h, w) or (bands, h, w); `bands` are descriptions."""

    def write(path, pixels, bands=(), **profile):
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        path.parent.mkdir(parents=True, exist_ok=True)
        drivers = {".png": "PNG", ".jpg": "JPEG", ".tif": "GTiff"}
        count, height, width = pixels.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", drivers[path.suffix], width, height, count,
                dtype=pixels.dtype, **profile,
            ) as file:  # fmt: skip
                file.write(pixels)
                for number, name in enumerate(bands, start=1):
                    file.set_band_description(number, name)
        return path

    return write


@pytest.fixture
def scene():
    """An image (3, h, w) uint8 of green ground with one bright scar, and its mask (h, w)."""

    def make(seed=0, size=64, scar=(20, 40, 10, 34)):
        dice = np.random.default_rng(seed)
        mask = np.zeros((size, size), np.uint8)
        mask[scar[0] : scar[1], scar[2] : scar[3]] = 1
        image = dice.normal(0, 6, (3, size, size)) + np.array([60, 90, 50])[:, None, None]
        image += mask * np.array([120, 70, 80])[:, None, None]
        return image.clip(0, 255).astype(np.uint8), mask

    return make
