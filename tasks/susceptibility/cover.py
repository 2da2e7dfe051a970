"""Which cells of a grid areas cover, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask, rasterize
from rasterio.windows import Window
from shapely import STRtree, box
from shapely.geometry import MultiPolygon

NOTHING = -1


def failing(landslides: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Whether each outline is ground that failed, (n,): not where its column `kind` says deposit.

    A deposit failed above where it lies, and tells neither failure nor stability of that ground.
    """
    if "kind" not in landslides:
        return np.ones(len(landslides), dtype=bool)
    return np.asarray(landslides["kind"] != "deposit")


@dataclass(frozen=True)
class Cover:
    """Areas on a grid; `areas` are in the grid's CRS and numbered from 0."""

    areas: gpd.GeoSeries
    grid: GeoBox

    @classmethod
    def of(cls, area: MultiPolygon, grid: GeoBox) -> Cover:
        """One area in EPSG:4326, by its parts."""
        whole = gpd.GeoSeries([area], crs="EPSG:4326").to_crs(str(grid.crs))
        return cls(whole[~whole.is_empty].explode(ignore_index=True), grid)

    def numbers(self, window: Window) -> NDArray[np.int32]:
        """Number of the area each cell's centre lies in, the last of several, else `NOTHING`."""
        numbers = np.full((window.height, window.width), NOTHING, np.int32)
        hit = self._near(window)
        if len(hit):
            shapes = zip(self.areas.to_numpy()[hit], hit.tolist(), strict=True)
            rasterize(shapes, out=numbers, transform=self._part(window).transform)
        return numbers

    def mask(self, window: Window, *, touched: bool = False) -> NDArray[np.bool_]:
        """Cells whose centre lies in an area, or that one touches."""
        part, hit = self._part(window), self._near(window)
        if not len(hit):
            return np.zeros(part.shape, dtype=bool)
        areas = self.areas.to_numpy()[hit]
        return np.asarray(
            geometry_mask(areas, part.shape, part.transform, all_touched=touched, invert=True)
        )

    def _part(self, window: Window) -> GeoBox:
        return self.grid[window.toslices()]

    def _near(self, window: Window) -> NDArray[np.int64]:
        bounds = self._part(window).extent.boundingbox
        return np.sort(self._tree.query(box(*bounds.bbox)))

    @cached_property
    def _tree(self) -> STRtree:
        return STRtree(self.areas.to_numpy())
