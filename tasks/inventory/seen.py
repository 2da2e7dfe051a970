"""What part of an area of interest was seen, and what was not."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from tasks.events.aoi import as_multipolygon
from tasks.types import geodesic_area_m2

# Cutting areas leaves slivers of rounding: a tenth of a metre is narrower than any pixel.
SLIVER_DEG = 1e-6


def unseen_of(aoi: BaseGeometry, observed: BaseGeometry) -> MultiPolygon:
    """The part of an area that nobody saw, EPSG:4326, without slivers narrower than `SLIVER_DEG`.

    What was observed outside the area says nothing of it.
    """
    parts = np.asarray(as_multipolygon(aoi.difference(observed)).geoms, dtype=object)
    radius = SLIVER_DEG / 2
    # What is larger than a radius times its rim holds such a disc: few parts have to be eroded.
    wide = shapely.area(parts) > radius * shapely.length(parts)
    wide[~wide] = ~shapely.is_empty(shapely.buffer(parts[~wide], -radius, quad_segs=1))
    return MultiPolygon(list(parts[wide]))


def seen_share(aoi: BaseGeometry, observed: BaseGeometry) -> float:
    """Part of an area that was seen, 0-1; 1 only where nothing wider than a sliver is missing."""
    return 1 - min(1.0, geodesic_area_m2(unseen_of(aoi, observed)) / geodesic_area_m2(aoi))
