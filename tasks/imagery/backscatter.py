"""Change of radar backscatter across an event: log-ratios, and how unlikely they are.

Ground that slid loses its vegetation and its shape: backscatter changes by some dB. So it does
where fields are ploughed or soil is wet, and speckle changes it everywhere. What comes of this is
evidence of change, never a landslide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.features import shapes, sieve
from rasterio.windows import Window
from scipy import ndimage, stats
from shapely.geometry import MultiPolygon, shape

from tasks.errors import NoImageryError
from tasks.imagery.mosaic import BLOCK_PX, event_grid, part_of_area, tiled_profile
from tasks.imagery.radar import POLARISATIONS
from tasks.imagery.rasters import (
    BandOnGrid,
    area_on,
    grid_wkt,
    inside,
    on_grid,
    open_band,
    read_errors,
)
from tasks.publish.products import room_for, write_cog, written_aside
from tasks.types import AreaOfInterest, Scene

# Passes averaged on either side: three nearly halve the speckle, more reach into another season.
PASSES = 3
BEFORE, AFTER = timedelta(days=90), timedelta(days=60)
# The means are smoothed over 3 × 3 pixels, in power.
LOOKS_PX = 3
SAMPLE_PX = 1_000
# log10 of how unlikely a pixel's change is on ground that did not change.
THRESHOLD = 3.0
LEAST_PX = 5
CHANGE = "change"
IN_DECIBELS = 0.01
_LARGEST = 30.0


@dataclass(frozen=True)
class Comparison:
    """The passes of one orbit that are compared, as days, the latest first before, first after."""

    orbit: str
    before: tuple[date, ...]
    after: tuple[date, ...]
    scenes_before: tuple[Scene, ...]
    scenes_after: tuple[Scene, ...]

    @property
    def polarisations(self) -> tuple[str, ...]:
        """Those that every scene has."""
        scenes = (*self.scenes_before, *self.scenes_after)
        return tuple(p for p in POLARISATIONS if all(p in scene.bands for scene in scenes))


@dataclass(frozen=True)
class RadarChange:
    """What radar saw change; ground in EPSG:4326.

    `path` is a COG, float32, NaN where radar saw nothing: bands `<orbit> <polarisation>` are
    log-ratios after/before in dB, and `change` is -log10 of their probability on unchanged ground.
    """

    path: Path
    comparisons: tuple[Comparison, ...]
    looked: MultiPolygon
    changed: MultiPolygon


def compare_passes(scenes: Sequence[Scene], occurred_at: datetime) -> list[Comparison]:
    """For each orbit the last passes before an event and the first after it, at most three each.

    Raises:
        NoImageryError: no orbit was flown both within 90 days before and 60 days after the event.
    """
    found = []
    for orbit in sorted({scene.orbit for scene in scenes}):
        dated = [(s.acquired_at, s) for s in scenes if s.orbit == orbit and s.acquired_at]
        before = [(t, s) for t, s in dated if occurred_at - BEFORE <= t < occurred_at]
        after = [(t, s) for t, s in dated if occurred_at <= t <= occurred_at + AFTER]
        days_before = sorted({t.date() for t, _ in before}, reverse=True)[:PASSES]
        days_after = sorted({t.date() for t, _ in after})[:PASSES]
        one = Comparison(
            orbit,
            tuple(days_before),
            tuple(days_after),
            tuple(s for t, s in before if t.date() in days_before),
            tuple(s for t, s in after if t.date() in days_after),
        )
        if days_before and days_after and one.polarisations:
            found.append(one)
    if not found:
        raise NoImageryError(
            f"{len(scenes)} radar scenes, but of no orbit one within {BEFORE.days} days before and "
            f"one within {AFTER.days} days after {occurred_at:%Y-%m-%d}; look again later"
        )
    return found


def map_change(comparisons: Sequence[Comparison], aoi: AreaOfInterest, path: Path) -> RadarChange:
    """Map how backscatter changed.

    Backscatter is averaged in power over the passes of either side and 3 × 3 pixels; the log-ratio
    is 10 log10(after / before) dB. Each layer is centred by its median and scaled by its median
    absolute deviation over the area, so that what changed everywhere, as wet soil does, is no
    change. The sum of squares over a pixel's n layers is compared with chi-squared of n degrees of
    freedom, as in MAD change detection (Nielsen 2007): -log10 of the probability is `change`.

    Args:
        comparisons: what `compare_passes` chose.
        aoi: the area.
        path: the COG to make or replace.

    Returns:
        The change, and the ground where it is over 3 (one in a thousand) on at least 5 pixels.

    Raises:
        NoImageryError: radar saw nothing of the area.
        RasterError, TransientError: a scene cannot be read.
        StorageError: `path` cannot be written.
    """
    scenes = [s for one in comparisons for s in (*one.scenes_before, *one.scenes_after)]
    grid = event_grid(scenes, aoi, band=comparisons[0].polarisations[0])
    layers = [(one, p) for one in comparisons for p in one.polarisations]
    area = area_on(aoi.geometry, grid_wkt(grid))
    with written_aside(path) as aside, room_for(path):
        ratios = aside.with_name("ratios.tif")
        with rasterio.open(ratios, "w", **_profile(grid, len(layers))) as made:
            for number, (one, polarisation) in enumerate(layers, start=1):
                made.set_band_description(number, f"{one.orbit} {polarisation}")
                for window, values in _log_ratios(one, polarisation, grid, area):
                    made.write(values, number, window=window)
        whole = aside.with_name("change.tif")
        with (
            rasterio.open(ratios) as source,
            rasterio.open(whole, "w", **_profile(grid, len(layers) + 1)) as made,
        ):
            made.descriptions = (*source.descriptions, CHANGE)
            centre, scale = _spread(source)
            for _, window in source.block_windows(1):
                values = source.read(window=window)
                change = _improbability(values, centre, scale)
                made.write(np.concatenate([values, change[None]]), window=window)
        write_cog(whole, aside, tags={}, overview_resampling="average")
        looked, changed = _ground(whole, aoi)
    return RadarChange(path, tuple(comparisons), looked, changed)


def _log_ratios(
    one: Comparison, polarisation: str, grid: GeoBox, area: Any
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Log-ratio in dB, block by block; NaN outside the area and where a side has no data."""
    rows, cols = grid.shape
    with ExitStack() as stack:
        sides = [
            [
                (
                    stack.enter_context(on_grid(scene, polarisation, grid, Resampling.average)),
                    _in_decibels(scene, polarisation),
                )
                for scene in scenes
            ]
            for scenes in (one.scenes_before, one.scenes_after)
        ]
        for row in range(0, rows, BLOCK_PX):
            for col in range(0, cols, BLOCK_PX):
                height, width = min(BLOCK_PX, rows - row), min(BLOCK_PX, cols - col)
                top, left = min(row, LOOKS_PX), min(col, LOOKS_PX)
                bottom = min(row + height + LOOKS_PX, rows)
                right = min(col + width + LOOKS_PX, cols)
                wide = Window(col - left, row - top, right - col + left, bottom - row + top)
                before, after = (_smoothed(_mean_power(side, wide)) for side in sides)
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio = 10 * np.log10(after / before)
                ratio = ratio[top : top + height, left : left + width]
                here = inside(area, grid[row : row + height, col : col + width])
                window = Window(col, row, width, height)
                yield window, np.where(here & np.isfinite(ratio), ratio, np.nan).astype(np.float32)


def _mean_power(bands: Sequence[tuple[BandOnGrid, bool]], window: Window) -> NDArray[np.float64]:
    """Mean backscatter in power of scenes, those in dB marked; NaN where none has data."""
    stack = []
    for band, in_decibels in bands:
        values, valid = band.read(window)
        numbers = values * band.scale + band.offset
        power = 10 ** (numbers / 10) if in_decibels else numbers
        stack.append(np.where(valid & (power > 0), power, np.nan))
    seen = np.isfinite(stack)
    total = np.where(seen, stack, 0).sum(axis=0)
    return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), np.nan)


def _in_decibels(scene: Scene, band: str) -> bool:
    """Whether a scene's backscatter is in dB: power is never negative, dB nearly always are."""
    with open_band(scene, band) as dataset:
        shape_px = (min(dataset.height, SAMPLE_PX), min(dataset.width, SAMPLE_PX))
        with read_errors(f"scene {scene.id}, band {band}", dataset.name):
            sample = dataset.read(1, out_shape=shape_px, masked=True)
    return bool((sample.compressed() < 0).mean() > IN_DECIBELS) if sample.count() else False


def _smoothed(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of 3 × 3 pixels, of those that have data; NaN stays."""
    seen = np.isfinite(power)
    weight = ndimage.uniform_filter(seen.astype(float), LOOKS_PX, mode="nearest")
    total = ndimage.uniform_filter(np.where(seen, power, 0), LOOKS_PX, mode="nearest")
    return np.where(seen, total / np.maximum(weight, 1e-9), np.nan)


def _spread(source: rasterio.DatasetReader) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median of each layer, and the deviation its median absolute deviation stands for."""
    shape_px = (source.count, min(source.height, SAMPLE_PX), min(source.width, SAMPLE_PX))
    sample = source.read(out_shape=shape_px).reshape(source.count, -1).astype(np.float64)
    if not np.isfinite(sample).any():
        raise NoImageryError("the radar scenes show nothing of the area; check the area")
    centre = np.nanmedian(sample, axis=1)
    deviation = np.nanmedian(np.abs(sample - centre[:, None]), axis=1)
    return centre, np.maximum(deviation * stats.norm.ppf(0.75) ** -1, 1e-6)


def _improbability(
    ratios: NDArray[np.float32], centre: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float32]:
    """-log10 of the chance of such a change on unchanged ground; NaN where no layer has data."""
    z = (ratios - centre[:, None, None]) / scale[:, None, None]
    seen = np.isfinite(z).sum(axis=0)
    chance = stats.chi2.logsf(np.nansum(z**2, axis=0), np.maximum(seen, 1)) / np.log(10)
    return np.where(seen > 0, np.minimum(-chance, _LARGEST), np.nan).astype(np.float32)


def _ground(path: Path, aoi: AreaOfInterest) -> tuple[MultiPolygon, MultiPolygon]:
    """The ground radar saw, and that of it which changed, in EPSG:4326 cut to the area."""
    with rasterio.open(path) as raster:
        change = raster.read(raster.count)
        crs, transform = raster.crs.to_wkt(), raster.transform

    def outlined(mask: NDArray[np.bool_]) -> MultiPolygon:
        parts = shapes(mask.astype(np.uint8), mask, connectivity=4, transform=transform)
        return part_of_area([shape(outline) for outline, _ in parts], crs, aoi)

    over = np.nan_to_num(change) >= THRESHOLD
    large = over & (sieve(over.astype(np.uint8), LEAST_PX) > 0)
    return outlined(np.isfinite(change)), outlined(large) if large.any() else MultiPolygon()


def _profile(grid: GeoBox, count: int) -> dict[str, Any]:
    return tiled_profile(grid, count, "float32") | {"nodata": np.nan}
