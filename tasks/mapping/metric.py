"""A CRS in which lengths near some ground are metres on it."""

from __future__ import annotations

import geopandas as gpd
from pyproj import CRS

# Degrees of latitude between which UTM is defined.
_UTM_SOUTH, _UTM_NORTH = -80.0, 84.0


def metric_crs(ground: gpd.GeoSeries) -> CRS:
    """The UTM zone of the ground's middle; nearer the poles than UTM goes, polar stereographic.

    Args:
        ground: at least one geometry, any CRS.
    """
    degrees = ground.to_crs("EPSG:4326")
    west, south, east, north = degrees.total_bounds
    middle = (south + north) / 2
    if middle > _UTM_NORTH:
        return CRS(3413)
    if middle < _UTM_SOUTH:
        return CRS(3031)
    if east - west > 180:
        # Cut at the antimeridian: its middle is there, not halfway round the earth.
        ends = degrees.bounds[["minx", "maxx"]].to_numpy() % 360
        there = (ends.min() + ends.max()) / 2
        degrees = gpd.GeoSeries.from_xy([there - 360 * (there > 180)], [middle], crs="EPSG:4326")
    utm: CRS = degrees.estimate_utm_crs()
    return utm
