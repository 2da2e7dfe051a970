"""Statistics of a grid's cells inside outlines, each cell by the part of it that lies inside."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from exactextract.writer import Writer
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window, from_bounds

BLOCK_CELLS = 1024

Grid = NDArray[Any]
Statistic = NDArray[np.float64]


@dataclass(frozen=True)
class Zones:
    """The cells of a grid that outlines cover: parallel arrays, those of one outline together.

    `zone` is the outline's place, ascending, `cell` the flat index of the cell, `share` the part
    of the cell inside, 0-1. `size` is each outline's area in cells, on the grid or off it, shape
    (n,). Values given to the methods are (rows, cols), NaN where unknown; statistics are (n,), NaN
    where all of an outline's cells are unknown.
    """

    size: Statistic
    zone: NDArray[np.intp]
    cell: NDArray[np.intp]
    share: NDArray[np.float64]

    def share_of(self, wanted: Grid) -> Statistic:
        """The part of each outline, 0-1, whose cells are `wanted`, a boolean grid.

        Whatever of the outline lies off the grid is not wanted.
        """
        cells = self._sum(self.share * wanted.ravel()[self.cell])
        return np.asarray((cells / self.size).clip(max=1))

    def mean(self, values: Grid) -> Statistic:
        """Mean of the known cells."""
        known, inside = self._known(values)
        weight = known._sum(known.share)
        return np.divide(known._sum(known.share * inside), weight, where=weight > 0, out=_nan(self))

    def spread(self, values: Grid) -> Statistic:
        """Standard deviation of the known cells."""
        mean = self.mean(values)
        known, inside = self._known(values)
        squares = known._sum(known.share * (inside - mean[known.zone]) ** 2)
        weight = known._sum(known.share)
        return np.sqrt(np.divide(squares, weight, where=weight > 0, out=_nan(self)))

    def least(self, values: Grid) -> Statistic:
        """Least value of the known cells touched."""
        known, inside = self._known(values)
        least = np.full(len(self.size), np.inf)
        np.minimum.at(least, known.zone, inside)
        return np.where(np.isinf(least), np.nan, least)

    def greatest(self, values: Grid) -> Statistic:
        """Greatest value of the known cells touched."""
        return -self.least(-values)

    def _sum(self, parts: Statistic) -> Statistic:
        return np.bincount(self.zone, parts, minlength=len(self.size)).astype(np.float64)

    def _known(self, values: Grid) -> tuple[Zones, Statistic]:
        inside = values.ravel()[self.cell].astype(np.float64)
        known = np.isfinite(inside)
        zones = Zones(self.size, self.zone[known], self.cell[known], self.share[known])
        return zones, inside[known]


def zones_on(grid: GeoBox, outlines: gpd.GeoSeries) -> Zones:
    """Find the cells of a north-up grid that outlines, in the grid's CRS, cover; exactly."""
    box = grid.boundingbox
    raster = NumPyRasterSource(
        np.zeros(grid.shape, np.uint8),
        xmin=box.left,
        ymin=box.bottom,
        xmax=box.right,
        ymax=box.top,
    )
    source = _Outlines(shapely.to_wkb(outlines.to_numpy()))
    found = exact_extract(raster, source, ["cell_id", "coverage"], output=_Found())
    zone = np.repeat(np.arange(len(outlines)), [len(cells["cell_id"]) for cells in found])
    cell = np.concatenate([cells["cell_id"] for cells in found]).astype(np.intp)
    share = np.concatenate([cells["coverage"] for cells in found]).astype(np.float64)
    inside = share > 0
    size = shapely.area(outlines.to_numpy()) / abs(grid.transform.determinant)
    return Zones(size, zone[inside], cell[inside], share[inside])


def by_block(outlines: gpd.GeoSeries, side: float) -> list[gpd.GeoSeries]:
    """Outlines that lie together: by the square, of `side` in their CRS, of their lower left end.

    A raster read over the bounds of one group is no larger than a square and the largest outline.
    """
    corners = (outlines.bounds[["minx", "miny"]] // side).astype(int)
    return [block for _, block in outlines.groupby([corners["minx"], corners["miny"]])]


@contextmanager
def open_north_up(raster: Path) -> Iterator[DatasetReader]:
    """Open a raster, warped to a north-up grid of its CRS if its own is turned or mirrored."""
    with rasterio.open(raster) as source:
        if source.transform.is_rectilinear and source.transform.e < 0 < source.transform.a:
            yield source
        else:
            with WarpedVRT(source) as straight:
                yield straight


def windows_under(
    source: DatasetReader, outlines: gpd.GeoSeries
) -> Iterator[tuple[gpd.GeoSeries, Window, GeoBox]]:
    """Groups of outlines, in the raster's CRS, with the window and grid of the pixels under them.

    Outlines that meet no pixel are left out. Memory is that of `by_block`.
    """
    for block in by_block(outlines, BLOCK_CELLS * source.transform.a):
        near = from_bounds(*block.total_bounds, source.transform)
        top, left = max(math.floor(near.row_off), 0), max(math.floor(near.col_off), 0)
        bottom = min(math.ceil(near.row_off + near.height), source.height)
        right = min(math.ceil(near.col_off + near.width), source.width)
        if top < bottom and left < right:
            window = Window(left, top, right - left, bottom - top)
            corner = source.window_transform(window)
            yield block, window, GeoBox((bottom - top, right - left), corner, source.crs.to_wkt())


def _nan(zones: Zones) -> Statistic:
    return np.full(len(zones.size), np.nan)


# exactextract's own source for GeoDataFrames hands each outline over as JSON, which costs more than
# all the rest.


class _Outline(Feature):  # type: ignore[misc]
    def __init__(self, wkb: bytes = b"") -> None:
        super().__init__()
        self.wkb = wkb
        self.values: dict[str, Any] = {}

    def geometry(self) -> bytes:
        return self.wkb

    def fields(self) -> list[str]:
        return list(self.values)

    def get(self, name: str) -> Any:
        return self.values[name]

    def set(self, name: str, value: Any) -> None:
        self.values[name] = value

    def set_geometry(self, wkb: bytes | None) -> None:
        """Results come without their outlines."""


class _Outlines(FeatureSource):  # type: ignore[misc]
    def __init__(self, wkb: NDArray[np.object_]) -> None:
        super().__init__()
        self.wkb = wkb

    def __iter__(self) -> Iterator[_Outline]:
        return map(_Outline, self.wkb)

    def count(self) -> int:
        return len(self.wkb)

    def srs_wkt(self) -> None:
        """None: raster and outlines are in one CRS."""


class _Found(Writer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[dict[str, Any]] = []

    def write(self, feature: Feature) -> None:
        outline = _Outline()
        feature.copy_to(outline)
        self.cells.append(outline.values)

    def features(self) -> list[dict[str, Any]]:
        return self.cells

    def add_operation(self, operation: Any) -> None:
        """Nothing to prepare for."""
