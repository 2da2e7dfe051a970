"""Measures of each landslide: size, shape, relief and volume, and the scene it was seen in."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from tasks.mapping.metric import metric_crs
from tasks.mapping.relief import RELIEF_COLUMNS, relief
from tasks.mapping.volume import VolumeRelation, relation_words, volume_m3
from tasks.types import Mosaic, geodesic_measures


def measure(
    landslides: gpd.GeoDataFrame,
    dem: Path | None = None,
    volume_relation: VolumeRelation = "guzzetti2009",
) -> gpd.GeoDataFrame:
    """Add size, shape and volume to landslides, and relief where the terrain is known.

    Args:
        landslides: polygons in EPSG:4326.
        dem: elevation raster in metres, any CRS, with or without gaps; or None.
        volume_relation: what volume_m3 is estimated from the area by.

    Returns:
        A copy with area_m2, perimeter_m, volume_m3, volume_relation, length_m and width_m along
        and across length_axis: `downslope` where the aspect is known, else `longest`, the sides of
        the smallest enclosing rectangle; `RELIEF_COLUMNS` as `tasks.mapping.relief.relief` gives
        them, and h_over_l, drop_m / length_m. Relief is NaN where it is not known, never 0.

    Raises:
        RasterError: the DEM is missing, unreadable or without CRS.
    """
    measured = landslides.copy()
    area, perimeter = geodesic_measures(measured.geometry.to_numpy())
    measured["area_m2"], measured["perimeter_m"] = area, perimeter
    measured["length_m"], measured["width_m"] = _rectangle_sides(measured.geometry)
    measured["length_axis"] = "longest"
    measured["volume_m3"] = volume_m3(area, volume_relation)
    measured["volume_relation"] = relation_words(volume_relation)
    measured[[*RELIEF_COLUMNS, "h_over_l"]] = np.nan
    if dem and len(measured):
        _add_relief(measured, dem)
    return measured


def with_scenes(landslides: gpd.GeoDataFrame, mosaic: Mosaic) -> gpd.GeoDataFrame:
    """Add scene_id and acquired_at: the scene a point inside the landslide was seen in."""
    attributed = landslides.copy()
    numbers = _values_at(mosaic.scene_index, landslides.geometry.representative_point())
    scenes = [mosaic.scenes[number - 1] if number else None for number in numbers]
    attributed["scene_id"] = [scene.id if scene else None for scene in scenes]
    attributed["acquired_at"] = [scene.acquired_at if scene else None for scene in scenes]
    return attributed


def _add_relief(measured: gpd.GeoDataFrame, dem: Path) -> None:
    known = relief(measured.geometry, dem)
    measured[list(RELIEF_COLUMNS)] = known[list(RELIEF_COLUMNS)]
    downslope = known["length_m"].notna()
    measured.loc[downslope, ["length_m", "width_m"]] = known.loc[downslope, ["length_m", "width_m"]]
    measured.loc[downslope, "length_axis"] = "downslope"
    measured["h_over_l"] = measured["drop_m"] / measured["length_m"].where(measured["length_m"] > 0)


def _rectangle_sides(
    outlines: gpd.GeoSeries,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Long and short sides in m of the smallest rectangle round each outline, of shape (n,)."""
    if not len(outlines):
        return np.zeros(0), np.zeros(0)
    metric = outlines.to_crs(metric_crs(outlines)).to_numpy()
    rings = shapely.get_exterior_ring(shapely.oriented_envelope(metric))
    corners = [shapely.get_point(rings, place) for place in range(3)]
    sides = np.array([shapely.distance(a, b) for a, b in zip(corners, corners[1:], strict=False)])
    return sides.max(axis=0), sides.min(axis=0)


def _values_at(raster: Path, points: gpd.GeoSeries) -> NDArray[np.int64]:
    """A single-band raster's values under points, 0 off the raster; each block is read once."""
    values = np.zeros(len(points), np.int64)
    with rasterio.open(raster) as source:
        inside = points.to_crs(source.crs)
        cols, rows = np.floor(~source.transform @ (inside.x.to_numpy(), inside.y.to_numpy()))
        cols, rows = cols.astype(int), rows.astype(int)
        on = (cols >= 0) & (cols < source.width) & (rows >= 0) & (rows < source.height)
        height, width = source.block_shapes[0]
        cells = pd.DataFrame({"row": rows, "col": cols})[on]
        for (down, right), mine in cells.groupby([cells["row"] // height, cells["col"] // width]):
            top, left = down * height, right * width
            block = source.read(1, window=Window(left, top, width, height))
            values[mine.index] = block[mine["row"] - top, mine["col"] - left]
    return values
