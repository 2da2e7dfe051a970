"""The susceptibility map: a model applied to every cell of a factor stack, window by window."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from tasks.publish.class_legend import class_colours
from tasks.publish.products import (
    SCORE_NODATA,
    SCORE_OFFSET,
    SCORE_SCALE,
    quantise,
    room_for,
    scratch_beside,
    write_cog,
)
from tasks.susceptibility.applicability import Applicability
from tasks.susceptibility.classes import BOUNDS_TAG, LEVELS, Breaks, as_shares, class_bounds
from tasks.susceptibility.planes import side_by_side
from tasks.susceptibility.stack import BLOCK_PX, GDAL_CACHE_BYTES, FactorStack
from tasks.susceptibility.window_cells import WindowCells

THRESHOLD_TAG = "APPLICABILITY_THRESHOLD"
_BLOCK_CELLS = 1 << 19

Progress = Callable[[int, int], None]


class Predictor(Protocol):
    """What a map is made with."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.floating]:
        """Susceptibility 0-1, (n,), of rows of factors without NaN, (n, factors)."""


@runtime_checkable
class SpreadPredictor(Predictor, Protocol):
    """A model of several members, which can say how far they differ."""

    def predict_with_spread(
        self, x: NDArray[np.float32]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Susceptibility and the standard deviation of the members about it, each (n,)."""


@dataclass(frozen=True)
class MapSummary:
    """What a map's cells came to.

    `bounds` are the upper ends of its classes, 0-1; `applicable_share` is the part of its cells
    inside the area of applicability, or None where that was not asked.
    """

    path: Path
    bounds: tuple[float, ...]
    cells: int
    applicable_share: float | None


@dataclass(frozen=True)
class _Layer:
    """How one kind of map is stored; `bands` describes them."""

    dtype: Literal["uint8", "float32"]
    nodata: float
    bands: tuple[str, ...]
    overviews: Literal["average", "nearest", "mode"]
    scaled: bool = False

    def open(self, path: Path, grid: GeoBox) -> DatasetWriter:
        """A new tiled GeoTIFF over a grid."""
        dataset = rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=len(self.bands),
            dtype=self.dtype,
            nodata=self.nodata,
            crs=str(grid.crs),
            transform=grid.transform,
            tiled=True,
            blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX,
            bigtiff="IF_SAFER",
        )
        dataset.descriptions = self.bands
        if self.scaled:
            dataset.scales, dataset.offsets = (SCORE_SCALE,), (SCORE_OFFSET,)
        return dataset


_LAYERS = {
    "": _Layer("uint8", SCORE_NODATA, ("susceptibility",), "average", scaled=True),
    "classes": _Layer("uint8", SCORE_NODATA, ("susceptibility class",), "mode"),
    "uncertainty": _Layer(
        "uint8", SCORE_NODATA, ("standard deviation of the members",), "average", scaled=True
    ),
    "applicability": _Layer(
        "float32", np.nan, ("dissimilarity index", "inside the area of applicability"), "nearest"
    ),
}


def predict_map(
    model: Predictor,
    stack: FactorStack,
    path: Path,
    tags: dict[str, str],
    *,
    breaks: Breaks = "natural",
    applicability: Applicability | None = None,
    halo: int = 0,
    progress: Progress | None = None,
) -> MapSummary:
    """Write the susceptibility map and what belongs to it as COGs; every file has its cells.

    `path` gets the probability of failure, uint8 1-255 with scale and offset tags for 0-1,
    0 = nodata where a factor is missing. `classes_path` gets its classes, uint8 from 1 (least),
    0 = nodata, with their colours; the tag `CLASS_BOUNDS` lists their upper ends.
    `uncertainty_path`, if the model has members, gets their standard deviation as `path` holds
    the probability. `applicability_path`, if asked for, gets the dissimilarity index and, in a
    second band, 1 where the model applies and 0 where it does not; float32, NaN = nodata.

    Args:
        model: fitted on factors in the order of `stack.names`.
        stack: the factors.
        path: COG to make or replace.
        tags: provenance tags for all.
        breaks: how the map is classed.
        applicability: where the model applies.
        halo: how far around each cell the model looks, in cells.
        progress: told how many cells of how many are done.

    Raises:
        StorageError: `path` cannot be written.
    """
    names = ["", *(["uncertainty"] if isinstance(model, SpreadPredictor) else [])]
    names += ["applicability"] if applicability else []
    grid, histogram, inside, done = stack.geobox, np.zeros(LEVELS, np.int64), 0, 0
    with scratch_beside(path) as folder, rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        parts = {name: folder / f"{name or 'map'}.tif" for name in (*names, "classes")}
        with room_for(path), ExitStack() as opened:
            files = {
                name: opened.enter_context(_LAYERS[name].open(parts[name], grid)) for name in names
            }
            tile = partial(_tile, model, applicability, halo)
            for window, tiles in side_by_side(tile, stack.blocks(_BLOCK_CELLS, halo)):
                for name, file in files.items():
                    file.write(tiles[name], window=window)
                histogram += np.bincount(tiles[""].ravel(), minlength=LEVELS)
                if applicability:
                    inside += int(np.nansum(tiles["applicability"][1]))
                done += window.width * window.height
                if progress:
                    progress(done, grid.width * grid.height)
        bounds = class_bounds(breaks, histogram)
        with room_for(path):
            _cut(parts[""], parts["classes"], bounds, grid)
        shares = as_shares(bounds)
        for name, part in parts.items():
            more = {BOUNDS_TAG: json.dumps(shares)} if name == "classes" else {}
            if applicability and name == "applicability":
                more = {THRESHOLD_TAG: f"{applicability.threshold:.6g}"}
            write_cog(
                part,
                _beside(path, name),
                tags=tags | more,
                overview_resampling=_LAYERS[name].overviews,
            )
    cells = int(histogram[1:].sum())
    share = inside / max(cells, 1) if applicability else None
    return MapSummary(path, tuple(shares), cells, share)


def classes_path(path: Path) -> Path:
    """Where the classes of the map at `path` lie: `<name>_classes.tif` beside it."""
    return _beside(path, "classes")


def uncertainty_path(path: Path) -> Path:
    """Where the spread of the members lies: `<name>_uncertainty.tif` beside the map."""
    return _beside(path, "uncertainty")


def applicability_path(path: Path) -> Path:
    """Where the area of applicability lies: `<name>_applicability.tif` beside the map."""
    return _beside(path, "applicability")


def _beside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}_{name}.tif") if name else path


def _tile(
    model: Predictor,
    applicability: Applicability | None,
    halo: int,
    block: tuple[Window, NDArray[np.float32]],
) -> tuple[Window, dict[str, Any]]:
    """Every layer of one block, (bands, rows, cols); its factors reach `halo` cells further."""
    window, factors = block
    cells = WindowCells.of(factors, halo)
    nothing, any_known = np.zeros(0, np.float32), len(cells.own) > 0
    tiles: dict[str, Any] = {}
    if isinstance(model, SpreadPredictor):
        probability, spread = (
            model.predict_with_spread(cells.x) if any_known else (nothing, nothing)
        )
        tiles["uncertainty"] = quantise(cells.placed(spread))[None]
    else:
        probability = model.predict(cells.x) if any_known else nothing
    tiles[""] = quantise(cells.placed(probability))[None]
    if applicability:
        index = applicability.dissimilarity(cells.own) if any_known else nothing
        applies = applicability.applies(cells.own, index).astype(np.float32)
        tiles["applicability"] = np.stack([cells.placed(index), cells.placed(applies)])
    return window, tiles


def _cut(levels: Path, classes: Path, bounds: NDArray[np.int64], grid: GeoBox) -> None:
    """Write the class of each cell of a map, in the colours of its legend."""
    numbers = np.searchsorted(bounds, np.arange(LEVELS)).astype(np.uint8) + np.uint8(1)
    numbers[SCORE_NODATA] = 0
    shades = [tuple(bytes.fromhex(shade[1:])) for shade in class_colours(len(bounds))]
    with rasterio.open(levels) as source, _LAYERS["classes"].open(classes, grid) as target:
        target.write_colormap(1, dict(enumerate(shades, start=1)))
        for _, window in source.block_windows(1):
            target.write(numbers[source.read(window=window)], window=window)
