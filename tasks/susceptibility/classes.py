"""Classes of a susceptibility map: where they are cut, and what lies in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon

from tasks.errors import AssessmentError
from tasks.publish.products import SCORE_NODATA, SCORE_SCALE
from tasks.susceptibility.cover import NOTHING, Cover, failing

CLASSES = 5
MOST_CLASSES = 9
BOUNDS_TAG = "CLASS_BOUNDS"
LEVELS = 256

Breaks = Literal["natural", "quantiles"] | tuple[float, ...]


@dataclass(frozen=True)
class ClassRow:
    """One class of a map, 1 the least susceptible.

    `low` and `high` bound its susceptibility, 0-1. `area_km2` is all its ground and `area_share`
    its part of the map; `observed_km2` what of it was seen. `landslides` counts those whose middle
    lies in it, `landslide_share` is their part of all, `failed_km2` the seen ground in the class
    that failed, `density` that as a share of the seen ground, and `frequency_ratio` the density as
    a multiple of the whole map's.
    """

    number: int
    low: float
    high: float
    area_km2: float
    area_share: float
    observed_km2: float
    landslides: int
    landslide_share: float
    failed_km2: float
    density: float
    frequency_ratio: float


def parse_breaks(text: str) -> Breaks:
    """Read how a map is classed: `natural`, `quantiles`, or breaks such as `0.2,0.5`.

    Raises:
        AssessmentError: it is neither, or the breaks do not rise between 0 and 1.
    """
    if text in ("natural", "quantiles"):
        return text  # type: ignore[return-value]
    try:
        breaks = tuple(float(part) for part in text.split(","))
    except ValueError:
        breaks = ()
    rising = all(low < high for low, high in zip((0.0, *breaks), (*breaks, 1.0), strict=True))
    if not breaks or not rising or len(breaks) >= MOST_CLASSES:
        raise AssessmentError(
            f"classes {text!r} are unknown; take natural, quantiles, or up to {MOST_CLASSES - 1} "
            "rising breaks between 0 and 1, such as 0.2,0.4,0.6,0.8"
        )
    return breaks


def class_bounds(breaks: Breaks, histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """The highest level of each class, ascending; the last is 255 or the highest that occurs.

    Bounds that fall on one level, as quantiles do where many cells share a value, are one bound, so
    that there are fewer classes.

    Args:
        breaks: natural (`natural_breaks`), quantiles (classes of equal area) or upper ends, 0-1.
        histogram: cells at each level of the map, shape (256,); level 0 is nodata and ignored.
    """
    if breaks == "natural":
        return natural_breaks(histogram)
    if breaks == "quantiles":
        below = np.cumsum(histogram[1:]) / max(1, histogram[1:].sum())
        wanted = np.linspace(0, 1, CLASSES + 1)[1:-1]
        levels = np.searchsorted(below, wanted - 1e-9) + 1
    else:
        levels = np.floor(np.array(breaks) / SCORE_SCALE + 1).astype(np.int64)
    return np.unique(np.append(levels, LEVELS - 1))


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
    from sklearn.cluster import KMeans  # slow to import, and those who only draw maps need it not

    means = KMeans(CLASSES, n_init=10, random_state=0).fit(
        present[:, None], sample_weight=histogram[present]
    )
    return np.sort([present[means.labels_ == label].max() for label in range(CLASSES)])


def as_shares(bounds: NDArray[np.int64]) -> list[float]:
    """Levels as susceptibility 0-1."""
    return [round((bound - 1) * SCORE_SCALE, 3) for bound in bounds.tolist()]


@dataclass(frozen=True)
class LevelCounts:
    """How many cells of a map lie at each of its levels, int64 (256,) each; level 0 is nodata.

    `cells` counts all, `observed` those on ground that was seen, under no deposit, `failed` those
    of the latter inside a landslide, and `landslides` the landslides, deposits apart, whose middle
    lies at that level.
    """

    cells: NDArray[np.int64]
    observed: NDArray[np.int64]
    failed: NDArray[np.int64]
    landslides: NDArray[np.int64]
    cell_km2: float


def count_levels(path: Path, landslides: gpd.GeoDataFrame, observed: MultiPolygon) -> LevelCounts:
    """Count what lies at each level of a map, window by window.

    Args:
        path: the raster `predict_map` writes.
        landslides: polygons, EPSG:4326; a column `kind` may call some deposits.
        observed: area that was seen clear, EPSG:4326.
    """
    fails = failing(landslides)
    counts = np.zeros((3, LEVELS), np.int64)
    with rasterio.open(path) as dataset:
        grid = GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())
        outlines = landslides.geometry.to_crs(str(grid.crs)).reset_index(drop=True)
        failed, seen = Cover(outlines, grid), Cover.of(observed, grid)
        for _, window in dataset.block_windows(1):
            levels, numbers = dataset.read(1, window=window), failed.numbers(window)
            here = seen.mask(window) & np.append(fails, True)[numbers]
            slid = here & (numbers != NOTHING)
            for row, part in zip(counts, (here | True, here, slid), strict=True):
                row += np.bincount(levels[part], minlength=LEVELS)
        middles = outlines[fails].representative_point()
        held = [int(value[0]) for value in dataset.sample(zip(middles.x, middles.y, strict=True))]
    counts[:, SCORE_NODATA] = 0
    points = np.bincount(np.array(held, np.int64), minlength=LEVELS)
    points[SCORE_NODATA] = 0
    cells, observed_cells, failed_cells = counts
    cell_km2 = abs(grid.resolution.x * grid.resolution.y) / 1e6
    return LevelCounts(cells, observed_cells, failed_cells, points, cell_km2)


def class_table(counts: LevelCounts, bounds: Sequence[float]) -> tuple[ClassRow, ...]:
    """What lies in each class.

    Args:
        counts: of the map.
        bounds: upper ends of its classes, 0-1, ascending.
    """
    uppers = [round(bound / SCORE_SCALE) + 1 for bound in bounds]
    starts = [0, *(upper + 1 for upper in uppers[:-1])]
    cells, observed, failed, landslides = (
        np.add.reduceat(each, starts)
        for each in (counts.cells, counts.observed, counts.failed, counts.landslides)
    )
    overall = _share(failed.sum(), observed.sum())
    return tuple(
        ClassRow(
            number=i + 1,
            low=low,
            high=high,
            area_km2=float(cells[i] * counts.cell_km2),
            area_share=_share(cells[i], cells.sum()),
            observed_km2=float(observed[i] * counts.cell_km2),
            landslides=int(landslides[i]),
            landslide_share=_share(landslides[i], landslides.sum()),
            failed_km2=float(failed[i] * counts.cell_km2),
            density=_share(failed[i], observed[i]),
            frequency_ratio=_share(_share(failed[i], observed[i]), overall),
        )
        for i, (low, high) in enumerate(zip([0.0, *bounds], bounds, strict=False))
    )


def success_rate(counts: LevelCounts) -> NDArray[np.float64]:
    """How much of the failed ground lies in how much of the ground, most susceptible first.

    Chung & Fabbri (2003), "Validation of spatial prediction models for landslide hazard mapping",
    Natural Hazards 30, 451-472: a success rate where the map was fitted to these landslides.

    Returns:
        Shares 0-1 of the ground that was seen and of the part of it that failed, (points, 2), from
        (0, 0) to (1, 1); (1, 2) and all zero without failed ground.
    """
    ground, failed = (each[::-1].cumsum() for each in (counts.observed, counts.failed))
    if not failed[-1]:
        return np.zeros((1, 2))
    curve = np.column_stack([ground / ground[-1], failed / failed[-1]])
    return np.unique(np.vstack([[0, 0], curve]), axis=0)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
