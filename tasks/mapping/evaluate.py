"""How well one inventory agrees with another on ground that both looked at."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely import get_parts
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from models.metrics import Confusion, confusion
from models.objects import FOUND_OVERLAP
from tasks.errors import InventoryError
from tasks.mapping.metric import metric_crs
from tasks.types import geodesic_area_m2


@dataclass(frozen=True)
class Agreement:
    """Pixel and object scores of a prediction against a reference, and the ground they cover."""

    pixels: Confusion
    resolution_m: float
    compared_km2: float
    reference_count: int
    found_count: int
    predicted_count: int

    @property
    def object_recall(self) -> float:
        """Share of reference landslides of which at least 30 % of the area was mapped."""
        return self.found_count / self.reference_count if self.reference_count else float("nan")


def compare_inventories(
    predicted: gpd.GeoDataFrame,
    reference: gpd.GeoDataFrame,
    ground: BaseGeometry,
    resolution_m: float,
) -> Agreement:
    """Compare two inventories pixel by pixel and landslide by landslide inside `ground`.

    Args:
        predicted: polygons to judge, EPSG:4326.
        reference: polygons taken as true, EPSG:4326.
        ground: where both looked (observed by one, interpreted by the other), EPSG:4326.
        resolution_m: pixel size of the comparison, on the UTM grid of `ground`.

    Raises:
        InventoryError: `ground` is empty.
    """
    ground = MultiPolygon([part for part in get_parts(ground) if part.geom_type == "Polygon"])
    if ground.is_empty:
        raise InventoryError(
            "the two inventories share no observed ground, so they cannot be compared; "
            "check that both belong to the same event"
        )
    area = gpd.GeoSeries([ground], crs="EPSG:4326")
    area = area.to_crs(metric_crs(area))
    grid = GeoBox.from_bbox(tuple(area.total_bounds), str(area.crs), resolution=resolution_m)
    inside = _burn(area, grid) > 0
    mapped = _burn(predicted.geometry, grid) > 0
    labels = np.where(inside, _burn(reference.geometry, grid), 0)
    sizes = np.bincount(labels.ravel(), minlength=len(reference) + 1)[1:]
    hits = np.bincount(labels[mapped], minlength=len(reference) + 1)[1:]
    return Agreement(
        pixels=confusion(labels > 0, mapped, inside),
        resolution_m=resolution_m,
        compared_km2=geodesic_area_m2(ground) / 1e6,
        reference_count=int(np.count_nonzero(sizes)),
        found_count=int(np.count_nonzero((sizes > 0) & (hits >= FOUND_OVERLAP * sizes))),
        predicted_count=int(predicted.intersects(ground).sum()),
    )


def _burn(shapes: gpd.GeoSeries, grid: GeoBox) -> np.ndarray:
    """Number each shape from 1 where it covers a pixel's centre; int32, 0 elsewhere."""
    projected = shapes.to_crs(grid.crs)
    numbered = [(outline, number) for number, outline in enumerate(projected, start=1)]
    if not numbered:
        return np.zeros(grid.shape, np.int32)
    return np.asarray(rasterize(numbered, grid.shape, transform=grid.transform, dtype="int32"))
