"""Run a network over a mosaic in overlapping windows and write its score raster.

Memory holds one band of window rows, never the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from models.weights import Card
from tasks.errors import RasterError
from tasks.mapping.windows import WindowPlan, blend_weights, window_starts
from tasks.publish.products import (
    SCORE_NODATA,
    SCORE_OFFSET,
    SCORE_SCALE,
    quantise,
    room_for,
    scratch_beside,
    write_cog,
)

_STATISTICS_PX = 1024

Progress = Callable[[int, int], None]


def segment_scene(
    image: Path,
    network: torch.nn.Module,
    card: Card,
    destination: Path,
    *,
    plan: WindowPlan = WindowPlan(),  # noqa: B008 - frozen
    tags: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Map landslides in `image` and write the score raster as a COG.

    The image is read at its own resolution if the network was trained for it, else resampled to the
    nearest end of the card's range; pixels its mask leaves out reach neither the network's
    statistics nor the output.

    Args:
        image: a raster with bands described by the common names in `card.bands`, projected, with a
            mask (internal, alpha or nodata) that is zero where nobody looked.
        network: (n, bands, h, w) float32 and a (n, 1, h, w) validity mask in, logits out.
        card: the bands, normalisation and resolution the weights were trained with.
        destination: the COG to make: uint8, 0 = nodata, 1-255 = score 0-1 by scale and offset tags.
        plan: how the scene is cut into windows.
        tags: provenance tags for the COG.
        progress: called with (windows done, windows in all).

    Returns:
        `destination`.

    Raises:
        RasterError: a band is missing, or the image is geographic, truncated or all invalid.
        StorageError: `destination` cannot be written.
    """
    with ExitStack() as stack:
        try:
            source = _on_working_grid(stack, stack.enter_context(rasterio.open(image)), card)
            indexes = _band_indexes(source, image, card)
            mean, std = _scene_statistics(source, indexes, image)
            scratch = stack.enter_context(scratch_beside(destination))
            partial = scratch / "windows.tif"
            with rasterio.open(partial, "w", **_score_profile(source)) as output:
                output.scales, output.offsets = (SCORE_SCALE,), (SCORE_OFFSET,)
                output.set_band_description(1, "landslide score")
                scores = _score_bands(source, indexes, network, card, mean, std, plan, progress)
                for row, band in scores:
                    with room_for(destination):
                        _write_rows(output, row, band)
            return write_cog(partial, destination, tags=tags or {}, overview_resampling="average")
        except RasterioError as error:
            raise RasterError(f"{image}: cannot be read as a raster ({error})") from error


def threshold_level(threshold: float) -> int:
    """The smallest stored uint8 level whose score is at least `threshold` (0-1)."""
    return int(np.ceil(threshold * 254 - 1e-9)) + 1


def _on_working_grid(stack: ExitStack, source: DatasetReader, card: Card) -> DatasetReader:
    if source.crs is None or not source.crs.is_projected:
        raise RasterError(
            f"{source.name}: the image must be in a projected CRS, it has {source.crs}; "
            "reproject it to UTM"
        )
    gsd = abs(source.transform.a)
    low, high = card.gsd_range_m
    factor = min(max(gsd, low), high) / gsd
    if abs(factor - 1) < 0.01:
        factor = 1.0
    width, height = (max(1, round(side / factor)) for side in (source.width, source.height))
    return stack.enter_context(
        WarpedVRT(
            source,
            crs=source.crs,
            transform=source.transform * Affine.scale(source.width / width, source.height / height),
            width=width,
            height=height,
            resampling=Resampling.average if factor > 1 else Resampling.bilinear,
            add_alpha=True,
        )
    )


def _band_indexes(source: DatasetReader, image: Path, card: Card) -> list[int]:
    names = list(source.descriptions)
    missing = [band for band in card.bands if band not in names]
    if missing:
        raise RasterError(
            f"{image}: band {missing[0]!r} is missing (it has {names}); weights {card.name!r} "
            f"need {list(card.bands)}"
        )
    return [names.index(band) + 1 for band in card.bands]


def _scene_statistics(
    source: DatasetReader, indexes: list[int], image: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each band over the valid pixels, float32, shape (bands,)."""
    shrink = max(1.0, max(source.height, source.width) / _STATISTICS_PX)
    shape = (max(1, int(source.height / shrink)), max(1, int(source.width / shrink)))
    pixels = source.read(indexes, out_shape=(len(indexes), *shape)).astype(np.float32)
    seen = source.read(source.count, out_shape=shape) > 0
    seen &= np.isfinite(pixels).all(axis=0)
    if not seen.any():
        raise RasterError(f"{image}: no pixel is valid, so there is nothing to map")
    values = pixels[:, seen]
    return values.mean(axis=1), np.maximum(values.std(axis=1), 1e-6)


def _score_bands(
    source: DatasetReader,
    indexes: list[int],
    network: torch.nn.Module,
    card: Card,
    mean: np.ndarray,
    std: np.ndarray,
    plan: WindowPlan,
    progress: Progress | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, finished uint8 rows) from top to bottom."""
    rows, columns = window_starts(source.height, plan), window_starts(source.width, plan)
    height = min(plan.size, source.height)
    total = np.zeros((height, source.width), np.float32)
    weight = np.zeros_like(total)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = Window(column, row, min(plan.size, source.width), height)
            pixels = source.read(indexes, window=window).astype(np.float32)
            valid = (source.read(source.count, window=window) > 0) & np.isfinite(pixels).all(axis=0)
            if valid.any():
                score = _score_window(network, card.normalisation.apply(pixels, mean, std), valid)
                share = valid * np.outer(
                    blend_weights(row, source.height, plan),
                    blend_weights(column, source.width, plan),
                )
                span = slice(column, column + valid.shape[1])
                total[:, span] += share * score
                weight[:, span] += share
            if progress:
                progress(i * len(columns) + j + 1, len(rows) * len(columns))
        finished = rows[i + 1] - row if i + 1 < len(rows) else height
        seen = weight[:finished] > 0
        nothing = np.full(seen.shape, np.nan, np.float32)
        yield row, quantise(np.divide(total[:finished], weight[:finished], where=seen, out=nothing))
        for buffer in (total, weight):
            buffer[: height - finished] = buffer[finished:]
            buffer[height - finished :] = 0


@torch.inference_mode()
def _score_window(network: torch.nn.Module, pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Score of one window: (bands, h, w) normalised float32 in, (h, w) float32 in 0-1 out."""
    pixels = np.where(valid, pixels, 0).astype(np.float32)
    logits = network(torch.from_numpy(pixels)[None], torch.from_numpy(valid)[None, None])
    return np.asarray(torch.sigmoid(logits.float())[0, 0].cpu().numpy())


def _score_profile(source: DatasetReader) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "nodata": SCORE_NODATA,
        "width": source.width,
        "height": source.height,
        "crs": source.crs,
        "transform": source.transform,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }


def _write_rows(output: DatasetWriter, row: int, band: np.ndarray) -> None:
    output.write(band, 1, window=Window(0, row, band.shape[1], band.shape[0]))
