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
    south, north = ground.to_crs("EPSG:4326").total_bounds[[1, 3]]
    middle = (south + north) / 2
    if middle > _UTM_NORTH:
        return CRS(3413)
    return CRS(3031) if middle < _UTM_SOUTH else ground.estimate_utm_crs()
