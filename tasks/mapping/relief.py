"""What the terrain says of each landslide: height, slope, aspect, and its extent down the slope."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Proj

from tasks.mapping.zonal import BLOCK_CELLS, by_block, zones_on
from tasks.susceptibility import terrain
from tasks.susceptibility.dem import Dem, open_dem
from tasks.types import Doubt

RELIEF_COLUMNS = (
    "elevation_min_m",
    "elevation_mean_m",
    "elevation_max_m",
    "drop_m",
    "slope_mean_deg",
    "slope_min_deg",
    "slope_max_deg",
    "slope_std_deg",
    "aspect_deg",
    "aspect_concentration",
    "relief_share",
)
# Directions that cancel each other to less than this leave rounding errors for an aspect.
_LEAST_CONCENTRATION = 1e-3
_WHOLE = 0.99


def relief(outlines: gpd.GeoSeries, dem: Path) -> pd.DataFrame:
    """Measure landslides on a DEM, block by block at its own resolution.

    Cells count by the part of them inside the outline; least and greatest values are those of any
    cell touched. Memory is that of a block of `BLOCK_CELLS` or of the largest landslide.

    Args:
        outlines: polygons in EPSG:4326.
        dem: elevation raster in metres, any CRS.

    Returns:
        One row an outline, by its index: `RELIEF_COLUMNS`, and `length_m` and `width_m`, the
        horizontal extents of the outline along and across its aspect. drop_m is the highest minus
        the lowest elevation, aspect_deg the mean downslope direction clockwise from true north,
        aspect_concentration the mean resultant length of the cells' aspects (Mardia & Jupp 2000,
        Directional Statistics, ch. 2), relief_share the part of the outline whose elevation is
        known. All is NaN where the DEM knows nothing, but relief_share, which is 0; aspect and
        extents are NaN on level ground.

    Raises:
        RasterError: the DEM is missing, unreadable or without CRS.
    """
    place = outlines.iloc[0].representative_point()
    with open_dem(dem, place) as opened:
        metric = outlines.to_crs(opened.crs)
        blocks = by_block(metric, BLOCK_CELLS * opened.cell_m)
        tables = [_of_block(block, opened) for block in blocks]
    return pd.concat(tables).reindex(outlines.index)


def relief_doubts(measured: gpd.GeoDataFrame) -> list[Doubt]:
    """The reservation that goes with landslides of which a DEM knows only some ground."""
    share = measured["relief_share"]
    unknown, partial = int((share == 0).sum()), int(((share > 0) & (share < _WHOLE)).sum())
    if not unknown and not partial:
        return []
    text = (
        f"of {len(measured)} landslides the elevation model knows nothing of {unknown}, whose "
        f"relief is left out, and only a part of {partial}, whose relief is that of the part"
    )
    return [Doubt("dem-partial", text)]


def _of_block(block: gpd.GeoSeries, dem: Dem) -> pd.DataFrame:
    grid = dem.grid(tuple(block.total_bounds), dem.cell_m)
    # Derivatives need the cells around.
    elevation = dem.read(grid.pad(1))
    d = terrain.derivatives(elevation, dem.cell_m)
    slope, zones = terrain.slope_deg(d), zones_on(grid.pad(1), block)
    east, north = zones.mean(terrain.eastness(d)), zones.mean(terrain.northness(d))
    concentration = np.hypot(east, north).clip(max=1)
    facing = concentration > _LEAST_CONCENTRATION
    east, north = (
        np.divide(part, concentration, out=np.full(len(block), np.nan), where=facing)
        for part in (east, north)
    )
    length, width = _extents(block, east, north)
    lowest, highest = zones.least(elevation), zones.greatest(elevation)
    return pd.DataFrame(
        {
            "elevation_min_m": lowest,
            "elevation_mean_m": zones.mean(elevation),
            "elevation_max_m": highest,
            "drop_m": highest - lowest,
            "slope_mean_deg": zones.mean(slope),
            "slope_min_deg": zones.least(slope),
            "slope_max_deg": zones.greatest(slope),
            "slope_std_deg": zones.spread(slope),
            "aspect_deg": _from_true_north(block, east, north, dem.crs),
            "aspect_concentration": concentration,
            "relief_share": zones.share_of(np.isfinite(elevation)),
            "length_m": length,
            "width_m": width,
        },
        index=block.index,
    )


def _extents(
    outlines: gpd.GeoSeries, east: NDArray[np.float64], north: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Extents in m along and across the directions (east, north), each of shape (n,)."""
    corners, owner = shapely.get_coordinates(outlines.to_numpy(), return_index=True)
    x, y = (corners - corners.mean(axis=0)).T
    first = np.searchsorted(owner, np.arange(len(outlines)))
    along = x * east[owner] + y * north[owner]
    across = x * north[owner] - y * east[owner]
    length, width = (
        np.maximum.reduceat(places, first) - np.minimum.reduceat(places, first)
        for places in (along, across)
    )
    return length, width


def _from_true_north(
    outlines: gpd.GeoSeries, east: NDArray[np.float64], north: NDArray[np.float64], crs: CRS
) -> NDArray[np.float64]:
    """Grid directions as degrees clockwise from true north, 0-360."""
    where = outlines.centroid.to_crs("EPSG:4326")
    convergence = Proj(crs).get_factors(where.x, where.y).meridian_convergence
    return np.asarray((np.degrees(np.arctan2(east, north)) + convergence) % 360)
