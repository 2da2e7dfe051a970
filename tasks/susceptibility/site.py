"""The terrain of a grid, on disk, and one tile of it with what its factors are made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from tasks.susceptibility import terrain
from tasks.susceptibility.drainage import Drainage, Pulled, drain
from tasks.susceptibility.planes import TILE, Plane, read_around, tiles
from tasks.susceptibility.slope_units import Channels

Grid = NDArray[np.floating]


@dataclass(frozen=True)
class Ground:
    """One tile of a site, with what its measures are made from, each when first asked for.

    Grids have the tile's shape unless they say otherwise, NaN where the terrain is unknown.
    """

    site: Site
    number: int

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres."""
        return self.site.cell_m

    @cached_property
    def elevation(self) -> NDArray[np.float32]:
        """Elevation in m with `site.margin` more cells on each side."""
        window = self.site.wide(self.site.tiles[self.number])
        return read_around(self.site.elevation, window, self.site.margin, np.nan)

    def inner(self, values: Grid, halo: int | None = None) -> Grid:
        """The tile's part of a grid that is wider, by default as much as `elevation`."""
        halo = self.site.margin if halo is None else halo
        return values[halo:-halo, halo:-halo]

    @cached_property
    def derivatives(self) -> terrain.Derivatives:
        """Derivatives of elevation, two more cells on each side."""
        around = self.elevation[self.site.margin - 3 : 3 - self.site.margin or None]
        around = around[:, self.site.margin - 3 : 3 - self.site.margin or None]
        return terrain.Derivatives(
            *(each[1:-1, 1:-1] for each in terrain.derivatives(around, self.cell_m))
        )

    def derived(self, measure: Callable[[terrain.Derivatives], Grid]) -> Grid:
        """A measure of the derivatives."""
        return self.inner(measure(self.derivatives), 2)

    @property
    def grid(self) -> GeoBox:
        """The tile's own grid."""
        return self.site.grid[self.site.tiles[self.number].toslices()]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Cells whose centre lies in the area."""
        return self.site.inside(self.site.tiles[self.number])

    @cached_property
    def slope_deg(self) -> Grid:
        """Slope in degrees."""
        return self.derived(terrain.slope_deg)

    @cached_property
    def accumulation_m2(self) -> Grid:
        """Area in m² that drains through each cell, itself included."""
        cells = self.site.drainage.cells.read(self.site.wide(self.site.tiles[self.number]))
        return np.asarray(cells * self.cell_m**2)

    def pulled(self, values: Pulled) -> Grid:
        """What water brings up to each cell."""
        return self.site.crop(values.of_tile(self.number), self.number)

    @property
    def height_above_channel(self) -> Grid:
        """Height in m above the channel each cell drains to, depressions filled."""
        window = self.site.wide(self.site.tiles[self.number])
        return self.site.drainage.filled.read(window) - self.pulled(self.site.foot)

    def square(self, side_m: float) -> int:
        """Cells (odd) of a square of `side_m`."""
        return math.ceil(side_m / self.cell_m) // 2 * 2 + 1


@dataclass(frozen=True)
class Site:
    """The terrain of a grid and of `margin` cells around it, on disk in `folder`.

    The grid's `tiles` and the wider drainage's windows correspond, so that neither is cut by the
    other.
    """

    grid: GeoBox
    area: BaseGeometry
    margin: int
    elevation: Plane
    folder: Path

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres."""
        return float(self.grid.resolution.x)

    @cached_property
    def tiles(self) -> list[Window]:
        """Windows that cover the grid, larger where the margin would outweigh them."""
        side = TILE if self.margin <= TILE // 8 else 2 * TILE
        return tiles((self.grid.height, self.grid.width), side)

    @cached_property
    def drainage(self) -> Drainage:
        """How the water runs, the margin included."""
        windows = [self._reaching_out(tile) for tile in self.tiles]
        return drain(self.elevation, windows, self.folder)

    @cached_property
    def channels(self) -> Channels:
        """Where the water gathers."""
        return Channels.of(self.drainage, self.cell_m)

    @cached_property
    def foot(self) -> Pulled:
        """Elevation of the channel each cell drains to."""
        return self.channels.foot()

    @cached_property
    def distance(self) -> Pulled:
        """Way to the channel each cell drains to."""
        return self.channels.distance()

    def wide(self, tile: Window) -> Window:
        """A window of the grid as one of the planes, which begin earlier."""
        return Window(
            tile.col_off + self.margin, tile.row_off + self.margin, tile.width, tile.height
        )

    def crop(self, values: NDArray[Any], number: int) -> NDArray[Any]:
        """The part of a drainage window that belongs to the tile."""
        tile, window = self.wide(self.tiles[number]), self.drainage.windows[number]
        top, left = tile.row_off - window.row_off, tile.col_off - window.col_off
        return values[top : top + tile.height, left : left + tile.width]

    def inside(self, tile: Window) -> NDArray[np.bool_]:
        """Cells of a tile whose centre lies in the area."""
        part = self.grid[tile.toslices()]
        mask: NDArray[np.bool_] = ~geometry_mask([self.area], part.shape, part.transform)
        return mask

    def _reaching_out(self, tile: Window) -> Window:
        """A tile as a window of the planes, with the margin where it lies at the grid's edge."""
        rows, cols = self.grid.shape
        top = tile.row_off + self.margin * (tile.row_off > 0)
        left = tile.col_off + self.margin * (tile.col_off > 0)
        last_row, last_col = tile.row_off + tile.height, tile.col_off + tile.width
        bottom = last_row + self.margin * (1 + (last_row == rows))
        right = last_col + self.margin * (1 + (last_col == cols))
        return Window(left, top, right - left, bottom - top)
