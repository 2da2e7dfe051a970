"""Where and when rain passed a threshold, gathered into storms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import geopandas
import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from scipy import ndimage
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, shape
from shapely.geometry.base import BaseGeometry

from tasks.events.aoi import (
    as_multipolygon,
    continuous_longitudes,
    geodesic_disc,
    split_at_antimeridian,
)
from tasks.events.rain.series import Grid, RainSeries, strips
from tasks.events.thresholds import ON_THE_THRESHOLD, Threshold, compare
from tasks.types import geodesic_area_m2

# Rain over the threshold within some 100 km and two days is one storm; a day without any divides.
LINK_KM = 50.0
LINK_H = 24
# A gauge speaks for its surroundings about as far as one valley's rain resembles the next one's.
GAUGE_RADIUS_M = 10_000.0
# A straight line of a projected grid bends in longitude and latitude.
_SEGMENT_M = 1_000.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class Storm:
    """Rain over the threshold that hangs together in space and time.

    Attributes:
        area: the cells over the threshold, EPSG:4326, sea included; empty for a gauge whose place
            is not known.
        onset: when the first cell's critical rain began, UTC.
        end: when the last cell's critical rain ended, UTC.
        longitude: of the cell farthest over the threshold, degrees; NaN for such a gauge.
        latitude: likewise.
        rain_mm: its critical rain, mm.
        hours: how long that took.
        ratio: how many times the threshold it is.
        at_least: whether rain before it is missing, so that all of these are the least there was.
    """

    area: MultiPolygon
    onset: datetime
    end: datetime
    longitude: float
    latitude: float
    rain_mm: float
    hours: float
    ratio: float
    at_least: bool


@dataclass(frozen=True)
class Unknown:
    """Cells of a series in which missing rain leaves open whether the threshold was passed."""

    series: RainSeries
    cells: int
    of_cells: int


@dataclass(frozen=True)
class _Peaks:
    """The highest excess of each cell over the threshold on each day; arrays of one length.

    Attributes:
        day: days since 1970.
        row: of the cell.
        column: of the cell.
        ratio: rain over threshold.
        rain_mm: the critical rain.
        start_h: when it began, hours since 1970.
        end_h: when it ended.
        missing: whether any rain up to there is missing.
    """

    day: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    ratio: NDArray[np.float32]
    rain_mm: NDArray[np.float32]
    start_h: NDArray[np.float64]
    end_h: NDArray[np.float64]
    missing: NDArray[np.bool_]


def find_storms(
    all_series: Sequence[RainSeries], threshold: Threshold, region: MultiPolygon | None = None
) -> tuple[list[Storm], list[Unknown]]:
    """Compare rain to a threshold in every cell and gather what passes it into storms.

    Args:
        all_series: as files hold them.
        threshold: intensity over duration.
        region: cells that do not touch it are not looked at; EPSG:4326. A gauge stands for all of
            it where its own place is not known, and for the part near it where it is.

    Returns:
        Storms, the widest first, and for each series where it cannot be told.
    """
    peaks: dict[Grid, list[_Peaks]] = defaultdict(list)
    unknown: list[Unknown] = []
    for series in all_series:
        inside = _inside(series.grid, region)
        for first, last in strips(series.grid, len(series.steps) * 4):
            if not inside[first:last].any():
                continue
            part, open_cells = _peaks(series, first, last, inside[first:last], threshold)
            peaks[series.grid].append(part)
            unknown.append(Unknown(series, open_cells, int(inside[first:last].sum())))
    storms = [
        storm
        for grid, parts in peaks.items()
        for storm in _gathered(grid, _together(parts), region)
    ]
    storms.sort(key=lambda storm: geodesic_area_m2(storm.area), reverse=True)
    return storms, _totals(unknown)


def _peaks(
    series: RainSeries, first: int, last: int, inside: NDArray[np.bool_], threshold: Threshold
) -> tuple[_Peaks, int]:
    """Peaks of some rows, and in how many of their cells it cannot be told."""
    rain = series.read(first, last)[:, inside]
    missing = np.asarray(np.isnan(rain).any(axis=0))
    # Most of the world is dry: only where enough fell in all are durations worth comparing.
    least = threshold.amount_mm(max(series.step_h, threshold.shortest_h)) * ON_THE_THRESHOLD
    enough = np.flatnonzero(np.nansum(rain, axis=0, dtype=np.float64) >= least)
    row, column = (axis[enough] for axis in np.nonzero(inside))
    found = compare(rain[:, enough], series.step_h, threshold)
    over = found.ratio >= ON_THE_THRESHOLD
    open_cells = int(missing.sum() - (missing[enough] & over.any(axis=0)).sum())
    start_h = (series.start - _EPOCH) / timedelta(hours=1)
    end_h = start_h + series.step_h * np.arange(1, len(series.steps) + 1)
    days = ((end_h - 1e-6) // LINK_H).astype(np.int64)
    parts = []
    for day in np.unique(days):
        steps = np.flatnonzero(days == day)
        best = steps[found.ratio[steps].argmax(axis=0)]
        cells = np.flatnonzero(over[best, np.arange(len(row))])
        step = best[cells]
        parts.append(
            _Peaks(
                day=np.full(len(cells), day),
                row=row[cells] + first,
                column=column[cells],
                ratio=found.ratio[step, cells],
                rain_mm=found.amount_mm[step, cells],
                start_h=end_h[step] - found.steps[step, cells] * series.step_h,
                end_h=end_h[step],
                missing=found.missing[step, cells],
            )
        )
    return _together(parts), open_cells


def _together(parts: Sequence[_Peaks]) -> _Peaks:
    names = _Peaks.__dataclass_fields__
    return _Peaks(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _gathered(grid: Grid, peaks: _Peaks, region: MultiPolygon | None) -> Iterator[Storm]:
    """Storms: peaks of neighbouring blocks of cells on the same or the next day."""
    if not len(peaks.day):
        return
    height, width = _cells_a_link(grid)
    block = (peaks.day - peaks.day.min(), peaks.row // height, peaks.column // width)
    coarse = np.zeros([int(axis.max()) + 1 for axis in block], bool)
    coarse[block] = True
    labels, count = ndimage.label(coarse, np.ones((3, 3, 3)))
    label = labels[block]
    for number in range(1, count + 1):
        members = np.flatnonzero(label == number)
        # One peak a cell, its highest: lexsort keeps the last of each.
        order = members[
            np.lexsort((peaks.ratio[members], peaks.column[members], peaks.row[members]))
        ]
        cells = peaks.row[order] * grid.columns + peaks.column[order]
        yield _storm(grid, peaks, order[np.append(cells[1:] != cells[:-1], True)], region)


def _storm(
    grid: Grid, peaks: _Peaks, members: NDArray[np.int64], region: MultiPolygon | None
) -> Storm:
    worst = members[peaks.ratio[members].argmax()]
    longitude, latitude = _centre(grid, int(peaks.row[worst]), int(peaks.column[worst]))
    area = _ground(grid, peaks.row[members], peaks.column[members])
    if region is not None:
        area = as_multipolygon(shapely.intersection(area, region)) if area else region
    return Storm(
        area=area,
        onset=_EPOCH + timedelta(hours=float(peaks.start_h[members].min())),
        end=_EPOCH + timedelta(hours=float(peaks.end_h[members].max())),
        longitude=longitude,
        latitude=latitude,
        rain_mm=float(peaks.rain_mm[worst]),
        hours=float(peaks.end_h[worst] - peaks.start_h[worst]),
        ratio=float(peaks.ratio[worst]),
        at_least=bool(peaks.missing[members].any()),
    )


def _totals(parts: Iterable[Unknown]) -> list[Unknown]:
    """One count a series of what was counted strip by strip; only where something is open."""
    totals: dict[int, Unknown] = {}
    for part in parts:
        before = totals.get(id(part.series), Unknown(part.series, 0, 0))
        totals[id(part.series)] = Unknown(
            part.series, before.cells + part.cells, before.of_cells + part.of_cells
        )
    return [total for total in totals.values() if total.cells]


# Geometry of a grid


def _inside(grid: Grid, region: MultiPolygon | None) -> NDArray[np.bool_]:
    """Cells that touch the region, in whichever turn round the earth the grid counts longitude."""
    everywhere = np.ones((grid.rows, grid.columns), bool)
    if region is None or grid.gauge is not None:
        return everywhere
    turns = [translate(region, turn) for turn in (-360, 0, 360)]
    if not rasterio.CRS.from_user_input(grid.crs).is_geographic:
        turns = [geopandas.GeoSeries([region], crs="EPSG:4326").to_crs(grid.crs).iloc[0]]
    outside: NDArray[np.bool_] = rasterio.features.geometry_mask(
        turns, (grid.rows, grid.columns), grid.transform, all_touched=True
    )
    return ~outside


def _ground(grid: Grid, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> MultiPolygon:
    """The cells' outline in EPSG:4326, split at the antimeridian."""
    if grid.gauge is not None:
        if not grid.gauge:
            return MultiPolygon()
        return geodesic_disc(grid.gauge[0], grid.gauge[1], GAUGE_RADIUS_M)
    top, left = int(rows.min()), int(columns.min())
    cells = np.zeros((rows.max() - top + 1, columns.max() - left + 1), np.uint8)
    cells[rows - top, columns - left] = 1
    corner = grid.transform @ Affine.translation(left, top)
    outlines: list[BaseGeometry] = [
        shape(outline)
        for outline, _ in rasterio.features.shapes(
            cells, cells.astype(bool), connectivity=4, transform=corner
        )
    ]
    if not rasterio.CRS.from_user_input(grid.crs).is_geographic:
        straight = geopandas.GeoSeries(outlines, crs=grid.crs).segmentize(_SEGMENT_M)
        outlines = [continuous_longitudes(one) for one in straight.to_crs("EPSG:4326")]
    return split_at_antimeridian(shapely.union_all(outlines))


def _centre(grid: Grid, row: int, column: int) -> tuple[float, float]:
    """Longitude from -180 to 180 and latitude of a cell's centre."""
    if grid.gauge is not None:
        return (grid.gauge[0], grid.gauge[1]) if grid.gauge else (np.nan, np.nan)
    x, y = grid.transform @ (column + 0.5, row + 0.5)
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    return (float(lon) + 180) % 360 - 180, float(lat)


def _cells_a_link(grid: Grid) -> tuple[int, int]:
    """How many cells, down and across, make up the distance that links rain to a storm."""
    if grid.gauge is not None:
        return 1, 1
    row, column = grid.rows // 2, grid.columns // 2
    here = _centre(grid, row, column)
    sizes_m = [
        _WGS84.inv(*here, *_centre(grid, *other))[2]
        for other in ((row + 1, column), (row, column + 1))
    ]
    height, width = (max(1, round(LINK_KM * 1000 / max(size, 1.0))) for size in sizes_m)
    return height, width
