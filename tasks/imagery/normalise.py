"""An image with the radiometry of another, or of what a network has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from tasks.errors import RasterError
from tasks.publish.products import room_for, written_aside

LEVELS = np.linspace(0, 1, 65)
# Quantiles are taken from a regular sample of so many pixels a side.
SAMPLE_PX = 1_000
LEAST_PX = 1_000


def like_image(image: Path, reference: Path, destination: Path) -> Path:
    """Match the histogram of each band to that of the band so described in another image.

    Quantiles are those of the ground that both show.

    Args:
        image: raster with described bands and a mask, as `prepare_mosaic` makes it.
        reference: another on the same grid.
        destination: the image to make: float32, same bands, mask and grid.

    Raises:
        RasterError: the grids or bands differ, or they share under 1,000 of the pixels sampled.
        StorageError: `destination` cannot be written.
    """
    with rasterio.open(image) as ours, rasterio.open(reference) as theirs:
        if (ours.shape, ours.transform) != (theirs.shape, theirs.transform):
            raise RasterError(f"{image} and {reference} are not on one grid; prepare them so")
        if missing := set(ours.descriptions) - set(theirs.descriptions):
            raise RasterError(f"{reference} has no band {', '.join(sorted(missing))}")
        both = _seen(ours) & _seen(theirs)
        names = ours.descriptions
        mine = _quantiles(ours, names, both)
        wanted = _quantiles(theirs, names, both)
    return _mapped(image, mine, wanted, destination)


def like_training(
    image: Path, bands: Sequence[str], quantiles: Sequence[Sequence[float]], destination: Path
) -> Path:
    """Match the histogram of each band to that of the tiles a network has learned from.

    Both are taken relative to their mean and standard deviation, as networks read them: the shape
    of the histogram changes, its place and width do not.

    Args:
        image: raster with described bands and a mask.
        bands: descriptions of the network's bands; others are copied.
        quantiles: (bands, levels) of standardised training pixels, at even steps of 0-1.
        destination: the image to make: float32, same bands, mask and grid.

    Raises:
        RasterError: a band is missing, or under 1,000 of the pixels sampled show anything.
        StorageError: `destination` cannot be written.
    """
    with rasterio.open(image) as ours:
        if missing := set(bands) - set(ours.descriptions):
            raise RasterError(f"{image} has no band {', '.join(sorted(missing))}")
        seen, names = _seen(ours), ours.descriptions
        mine = _quantiles(ours, names, seen)
        wanted = mine.copy()
        for band, shape in zip(bands, quantiles, strict=True):
            row = names.index(band)
            values = _sample(ours, row + 1)[seen]
            even = np.interp(LEVELS, np.linspace(0, 1, len(shape)), shape)
            wanted[row] = values.mean() + values.std() * even
    return _mapped(image, mine, wanted, destination)


def _seen(raster: rasterio.DatasetReader) -> NDArray[np.bool_]:
    """Where a sample of the image shows the ground."""
    seen: NDArray[np.bool_] = raster.dataset_mask(out_shape=_sampled(raster)) > 0
    return seen


def _sample(raster: rasterio.DatasetReader, number: int) -> NDArray[np.float64]:
    values: NDArray[np.float64] = raster.read(number, out_shape=_sampled(raster)).astype(np.float64)
    return values


def _sampled(raster: rasterio.DatasetReader) -> tuple[int, int]:
    rows, cols = raster.shape
    return min(rows, SAMPLE_PX), min(cols, SAMPLE_PX)


def _quantiles(
    raster: rasterio.DatasetReader, names: Sequence[str], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if (pixels := int(seen.sum())) < LEAST_PX:
        raise RasterError(
            f"{raster.name}: {pixels} pixels to take the histogram from, {LEAST_PX:,} are needed; "
            "respond with --normalise none"
        )
    numbers = [raster.descriptions.index(name) + 1 for name in names]
    return np.array([np.quantile(_sample(raster, number)[seen], LEVELS) for number in numbers])


def _mapped(
    image: Path, mine: NDArray[np.float64], wanted: NDArray[np.float64], destination: Path
) -> Path:
    """Write the image with each band's numbers put through the curve from its quantiles to others.

    Numbers beyond the quantiles become the outermost.
    """
    with rasterio.open(image) as source, written_aside(destination) as aside, room_for(destination):
        profile = source.profile | {"dtype": "float32", "predictor": 3}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(aside, "w", **profile) as made,
        ):
            made.descriptions, made.colorinterp = source.descriptions, source.colorinterp
            for _, window in source.block_windows(1):
                seen = source.dataset_mask(window=window)
                for number, (ours, theirs) in enumerate(zip(mine, wanted, strict=True), start=1):
                    values = np.interp(source.read(number, window=window), ours, theirs)
                    band = np.where(seen > 0, values, 0).astype(np.float32)
                    made.write(band, number, window=window)
                made.write_mask(seen, window=window)
    return destination
