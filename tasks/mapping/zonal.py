"""Statistics of a grid's cells inside outlines, each cell by the part of it that lies inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from exactextract.writer import Writer
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

Grid = NDArray[Any]
Statistic = NDArray[np.float64]


@dataclass(frozen=True)
class Zones:
    """The cells of a grid that outlines cover: parallel arrays, those of one outline together.

    `zone` is the outline's place, ascending, `cell` the flat index of the cell, `share` the part
    of the cell inside, 0-1. Values given to the methods are (rows, cols), NaN where unknown;
    statistics are (count,), NaN where all of an outline's cells are unknown.
    """

    count: int
    zone: NDArray[np.intp]
    cell: NDArray[np.intp]
    share: NDArray[np.float64]

    def cells(self, wanted: Grid) -> Statistic:
        """How many cells of each outline are `wanted`, a boolean grid, counting parts as parts."""
        return self._sum(self.share * wanted.ravel()[self.cell])

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
        least = np.full(self.count, np.inf)
        np.minimum.at(least, known.zone, inside)
        return np.where(np.isinf(least), np.nan, least)

    def greatest(self, values: Grid) -> Statistic:
        """Greatest value of the known cells touched."""
        return -self.least(-values)

    def _sum(self, parts: Statistic) -> Statistic:
        return np.bincount(self.zone, parts, minlength=self.count).astype(np.float64)

    def _known(self, values: Grid) -> tuple[Zones, Statistic]:
        inside = values.ravel()[self.cell].astype(np.float64)
        known = np.isfinite(inside)
        zones = Zones(self.count, self.zone[known], self.cell[known], self.share[known])
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
    return Zones(len(outlines), zone[inside], cell[inside], share[inside])


def _nan(zones: Zones) -> Statistic:
    return np.full(zones.count, np.nan)


# exactextract's own source for GeoDataFrames hands each outline over as JSON, five times as slowly.


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
