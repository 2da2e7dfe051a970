"""Pictures to look at on a map: images and terrain as COGs of 8 bits, as they lie on the ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from matplotlib.colors import LightSource
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from tasks.publish.products import scratch_beside, write_cog

BLOCK_PX = 512
THUMBNAIL_PX = 1024
# Eyes, unlike sensors, want the dark half of the range spread out.
GAMMA = 0.8
SUN_AZIMUTH_DEG, SUN_ALTITUDE_DEG = 315, 45
# Cells read round a block, so that slopes at its edge are those of the whole.
_MARGIN_PX = 1


def picture_of(image: Path, destination: Path, like: Path | None = None) -> Path:
    """An image as RGB of 8 bits, stretched between percentiles, transparent where it has no data.

    Args:
        image: raster whose first three bands are red, green and blue, or that has one band.
        destination: COG to make or replace; uint8, three bands and alpha.
        like: the image whose range it is stretched by, so that both look alike; itself if None.

    Returns:
        `destination`.

    Raises:
        RasterError: it cannot be published.
        StorageError: `destination` cannot be written.
    """
    with rasterio.open(like or image) as source:
        low, high = _range(source)
    with scratch_beside(destination) as folder, rasterio.open(image) as source:
        bands = _bands(source)
        with rasterio.open(folder / "picture.tif", "w", **_profile(source, 4)) as made:
            made.colorinterp = (
                ColorInterp.red,
                ColorInterp.green,
                ColorInterp.blue,
                ColorInterp.alpha,
            )
            for _, window in made.block_windows(1):
                read = source.read(bands, window=window, masked=True).astype(np.float32)
                stretched = (read.filled(np.nan) - low) / np.maximum(high - low, 1e-6)
                grey = 255 * np.nan_to_num(stretched).clip(0, 1) ** GAMMA
                seen = np.isfinite(stretched).all(axis=0)
                made.write(
                    np.concatenate([grey.round(), 255 * seen[None]]).astype(np.uint8), window=window
                )
        return write_cog(
            folder / "picture.tif", destination, tags={}, overview_resampling="average"
        )


def hillshade_of(elevation: Path, destination: Path, band: int = 1) -> Path:
    """Terrain lit from the north-west, transparent where it is not known.

    Args:
        elevation: raster in metres on a grid in metres.
        destination: COG to make or replace; uint8, grey and alpha.
        band: of the elevation.

    Returns:
        `destination`.

    Raises:
        RasterError: it cannot be published.
        StorageError: `destination` cannot be written.
    """
    sun = LightSource(SUN_AZIMUTH_DEG, SUN_ALTITUDE_DEG)
    with scratch_beside(destination) as folder, rasterio.open(elevation) as source:
        across, down = source.res
        with rasterio.open(folder / "hillshade.tif", "w", **_profile(source, 2)) as made:
            made.colorinterp = (ColorInterp.grey, ColorInterp.alpha)
            for _, window in made.block_windows(1):
                heights = _read_around(source, band, window)
                known = np.isfinite(heights)
                filled = np.where(known, heights, np.nanmean(heights) if known.any() else 0)
                lit = sun.hillshade(filled, dx=across, dy=down, vert_exag=1.5)
                inner = slice(_MARGIN_PX, -_MARGIN_PX)
                grey = np.stack([60 + 195 * lit, 255 * known])[:, inner, inner]
                made.write(grey.round().astype(np.uint8), window=window)
        return write_cog(
            folder / "hillshade.tif", destination, tags={}, overview_resampling="average"
        )


def _bands(source: DatasetReader) -> list[int]:
    return [1, 2, 3] if source.count >= 3 else [1, 1, 1]


def _range(source: DatasetReader) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The 1st and 99th percentile of each band, (3, 1, 1), of a thumbnail."""
    shrink = max(1.0, max(source.shape) / THUMBNAIL_PX)
    shape = (3, *(max(1, round(side / shrink)) for side in source.shape))
    read = source.read(_bands(source), out_shape=shape, masked=True, resampling=Resampling.average)
    values = [band.compressed() for band in read]
    ends = [np.percentile(band, [1, 99]) if band.size else (0, 1) for band in values]
    low, high = np.asarray(ends, np.float32).T
    return low[:, None, None], high[:, None, None]


def _profile(source: DatasetReader, count: int) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": count,
        "width": source.width,
        "height": source.height,
        "crs": source.crs,
        "transform": source.transform,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "DEFLATE",
    }


def _read_around(source: DatasetReader, band: int, window: Window) -> NDArray[np.float64]:
    """A window with a margin, its edge repeated beyond the raster; NaN where nothing is known."""
    wide = Window(
        window.col_off - _MARGIN_PX,
        window.row_off - _MARGIN_PX,
        window.width + 2 * _MARGIN_PX,
        window.height + 2 * _MARGIN_PX,
    )
    inside = wide.intersection(Window(0, 0, source.width, source.height))
    read = source.read(band, window=inside, masked=True).astype(np.float64).filled(np.nan)
    top, left = inside.row_off - wide.row_off, inside.col_off - wide.col_off
    bottom = wide.height - inside.height - top
    right = wide.width - inside.width - left
    return np.pad(read, ((int(top), int(bottom)), (int(left), int(right))), mode="edge")
