"""A small real image on disk, and a network whose answer is known in advance."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from models.cards import Card


class RedMinusGreen(torch.nn.Module):
    """Logit = red - green, pixel by pixel, so that any tiling must give the same score."""

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        return x[:, :1] - x[:, 1:2]


@pytest.fixture
def network() -> torch.nn.Module:
    return RedMinusGreen()


@pytest.fixture
def card() -> Card:
    return Card(
        name="red-minus-green",
        architecture="none",
        options={},
        bands=("red", "green", "blue"),
        gsd_range_m=(5.0, 20.0),
        training_data="none",
        licence="none",
        regions=(),
    )


@pytest.fixture
def write_image(tmp_path):
    def write(pixels: np.ndarray, valid: np.ndarray, gsd: float = 10.0, **profile) -> Path:
        path = tmp_path / "image.tif"
        settings = {
            "driver": "GTiff",
            "count": len(pixels),
            "height": pixels.shape[1],
            "width": pixels.shape[2],
            "dtype": pixels.dtype,
            "crs": "EPSG:32632",
            "transform": from_origin(700000, 4912000, gsd, gsd),
        } | profile
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **settings) as image,
        ):
            image.write(pixels)
            image.write_mask(valid)
            for number, name in enumerate(("red", "green", "blue", "nir")[: len(pixels)], start=1):
                image.set_band_description(number, name)
        return path

    return write
