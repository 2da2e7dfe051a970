"""The susceptibility map: a forest applied to every cell of a factor stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier

from tasks.publish.products import (
    SCORE_NODATA,
    SCORE_OFFSET,
    SCORE_SCALE,
    quantise,
    scratch_beside,
    write_cog,
)
from tasks.susceptibility.stack import FactorStack

CLASSES = 5
_BAND_CELLS = 1 << 19


def predict_map(
    forest: RandomForestClassifier, stack: FactorStack, path: Path, tags: dict[str, str]
) -> Path:
    """Write the susceptibility map and its classes as COGs.

    `path` gets the forest's probability of failure, uint8 1-255 with scale and offset tags for 0-1,
    0 = nodata where a factor is missing. `classes_path(path)` gets `CLASSES` classes by natural
    breaks, uint8 1 (least) to 5 (most), 0 = nodata; its tag `CLASS_BOUNDS` lists their upper ends.

    Args:
        forest: fitted on factors in the order of `stack.names`.
        stack: the factors.
        path: COG to make or replace.
        tags: provenance tags for both.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    levels = _levels(forest, stack)
    bounds = natural_breaks(np.bincount(levels.ravel(), minlength=256))
    classes = np.where(levels == SCORE_NODATA, 0, np.searchsorted(bounds, levels) + 1)
    shares = [round((bound - 1) * SCORE_SCALE, 3) for bound in bounds.tolist()]
    class_tags = {**tags, "CLASS_BOUNDS": json.dumps(shares)}
    _write(levels, stack.geobox, path, tags, "susceptibility", "average", scaled=True)
    _write(
        classes.astype(np.uint8),
        stack.geobox,
        classes_path(path),
        class_tags,
        "susceptibility class",
        "mode",
    )
    return path


def classes_path(path: Path) -> Path:
    """Where the classes of the map at `path` lie: `<name>_classes.tif` beside it."""
    return path.with_name(f"{path.stem}_classes.tif")


def natural_breaks(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Upper bounds of at most `CLASSES` classes of least variance (Jenks 1967, by k-means).

    Args:
        histogram: cells at each level, shape (256,); level 0 is nodata and ignored.

    Returns:
        The highest level of each class, ascending; the last is the highest level that occurs.
    """
    present = np.flatnonzero(histogram[1:]) + 1
    if len(present) <= CLASSES:
        return present
    means = KMeans(CLASSES, n_init=10, random_state=0).fit(
        present[:, None], sample_weight=histogram[present]
    )
    return np.sort([present[means.labels_ == label].max() for label in range(CLASSES)])


def _levels(forest: RandomForestClassifier, stack: FactorStack) -> NDArray[np.uint8]:
    """Quantised probability of every cell, (rows, cols)."""
    levels = np.empty(stack.geobox.shape, np.uint8)
    for window, factors in stack.blocks(_BAND_CELLS):
        levels[window.toslices()] = quantise(_probability(forest, factors))
    return levels


def _probability(forest: RandomForestClassifier, band: NDArray[np.float32]) -> NDArray[np.floating]:
    known = np.isfinite(band).all(axis=0)
    probability = np.full(known.shape, np.nan)
    if known.any():
        probability[known] = forest.predict_proba(band[:, known].T)[:, 1]
    return probability


def _write(
    levels: NDArray[np.uint8],
    grid: GeoBox,
    path: Path,
    tags: dict[str, str],
    description: str,
    overview_resampling: Any,
    *,
    scaled: bool = False,
) -> None:
    with scratch_beside(path) as folder:
        partial = folder / "grid.tif"
        with rasterio.open(
            partial,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=1,
            dtype="uint8",
            nodata=SCORE_NODATA,
            crs=str(grid.crs),
            transform=grid.transform,
            tiled=True,
        ) as dataset:
            dataset.write(levels, 1)
            dataset.set_band_description(1, description)
            if scaled:
                dataset.scales, dataset.offsets = (SCORE_SCALE,), (SCORE_OFFSET,)
        write_cog(partial, path, tags=tags, overview_resampling=overview_resampling)
