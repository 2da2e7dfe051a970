"""Measures of each landslide: size, shape, relief and volume."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from tasks.susceptibility.factors import FactorStack
from tasks.types import Mosaic, geodesic_area_m2, geodesic_length_m

VOLUME_RELATION = "Guzzetti et al. 2009: V = 0.074 A^1.450"
RELIEF_COLUMNS = (
    "elevation_min_m",
    "elevation_mean_m",
    "elevation_max_m",
    "drop_m",
    "h_over_l",
    "slope_mean_deg",
    "aspect_deg",
)


def measure(landslides: gpd.GeoDataFrame, terrain: FactorStack | None) -> gpd.GeoDataFrame:
    """Add size, shape and volume to landslides, and relief where the terrain is known.

    Args:
        landslides: polygons in EPSG:4326.
        terrain: factors `elevation` (m), `slope` (degrees), `northness` and `eastness`, or None.

    Returns:
        A copy with area_m2, perimeter_m, length_m and width_m (sides of the smallest enclosing
        rectangle), volume_m3 and volume_relation, and `RELIEF_COLUMNS`: drop_m is the highest minus
        the lowest elevation, h_over_l is drop_m / length_m, aspect_deg points downslope, clockwise
        from north. Relief is NaN where the terrain is not known, never 0.
    """
    measured = landslides.copy()
    measured["area_m2"] = [geodesic_area_m2(outline) for outline in measured.geometry]
    measured["perimeter_m"] = [geodesic_length_m(outline) for outline in measured.geometry]
    metric = measured.to_crs(measured.estimate_utm_crs()) if len(measured) else measured
    sides = [_length_and_width(outline) for outline in metric.geometry]
    measured["length_m"] = [length for length, _ in sides]
    measured["width_m"] = [width for _, width in sides]
    measured["volume_m3"] = volume_m3(measured["area_m2"].to_numpy(dtype=float))
    measured["volume_relation"] = VOLUME_RELATION
    measured[list(RELIEF_COLUMNS)] = np.nan
    if terrain is not None and len(measured):
        _add_relief(measured, terrain)
    return measured


def with_scenes(landslides: gpd.GeoDataFrame, mosaic: Mosaic) -> gpd.GeoDataFrame:
    """Add scene_id and acquired_at: the scene a point inside the landslide was seen in."""
    attributed = landslides.copy()
    with rasterio.open(mosaic.scene_index) as index:
        inside = landslides.geometry.representative_point().to_crs(index.crs)
        numbers = [int(value[0]) for value in index.sample(zip(inside.x, inside.y, strict=True))]
    scenes = [mosaic.scenes[number - 1] if number else None for number in numbers]
    attributed["scene_id"] = [scene.id if scene else None for scene in scenes]
    attributed["acquired_at"] = [scene.acquired_at if scene else None for scene in scenes]
    return attributed


def volume_m3(area_m2: np.ndarray) -> np.ndarray:
    """Landslide volume from its area, SI units: V = 0.074 A^1.450 (Guzzetti et al. 2009, eq. 1)."""
    return np.asarray(0.074 * area_m2**1.450)


def _length_and_width(outline: BaseGeometry) -> tuple[float, float]:
    box = outline.minimum_rotated_rectangle
    if not isinstance(box, Polygon):
        return float(box.length), 0.0
    x, y = (np.asarray(values) for values in box.exterior.xy)
    sides = np.hypot(np.diff(x), np.diff(y))
    return float(sides.max()), float(sides[:2].min())


def _add_relief(measured: gpd.GeoDataFrame, terrain: FactorStack) -> None:
    elevation = _zonal(measured, terrain, "elevation", ["min", "mean", "max"])
    measured["elevation_min_m"] = elevation["min"]
    measured["elevation_mean_m"] = elevation["mean"]
    measured["elevation_max_m"] = elevation["max"]
    measured["drop_m"] = elevation["max"] - elevation["min"]
    measured["h_over_l"] = measured["drop_m"] / measured["length_m"].where(measured["length_m"] > 0)
    measured["slope_mean_deg"] = _zonal(measured, terrain, "slope", ["mean"])["mean"]
    east = _zonal(measured, terrain, "eastness", ["mean"])["mean"]
    north = _zonal(measured, terrain, "northness", ["mean"])["mean"]
    measured["aspect_deg"] = np.degrees(np.arctan2(east, north)) % 360


def _zonal(
    zones: gpd.GeoDataFrame, terrain: FactorStack, factor: str, statistics: list[str]
) -> pd.DataFrame:
    box, crs = terrain.geobox.boundingbox, terrain.geobox.crs
    assert crs is not None
    raster = NumPyRasterSource(
        terrain.values[terrain.names.index(factor)],
        xmin=box.left,
        ymin=box.bottom,
        xmax=box.right,
        ymax=box.top,
        nodata=np.nan,
        srs_wkt=crs.to_wkt(),
    )
    table = exact_extract(raster, zones[["geometry"]].to_crs(crs), statistics, output="pandas")
    return table.set_index(zones.index).astype(float)
