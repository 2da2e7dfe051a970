"""How good an inventory is: its totals with their uncertainty, and how well it matches another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from tasks.errors import InventoryError
from tasks.inventory.sizes import Sizes, describe_sizes
from tasks.mapping.volume import VolumeRelation, volume_m3
from tasks.types import Interval, geodesic_area_m2, geodesic_rims

# One slide seldom fills less than this part of its convex hull; branching unions of slides do.
LEAST_SOLIDITY = 0.6


@dataclass(frozen=True)
class Quality:
    """What an inventory holds and how far to trust it.

    Attributes:
        count: number of landslides.
        area_m2: their total area.
        area_error_m2: its error if every outline is `outline_error_m` too wide or too narrow.
        outline_error_m: half a pixel of the finest scene, or as given; None if not known.
        volume_m3: total volume as stored; its ends are the smallest and largest total that the
            relations of `tasks.mapping.volume` and the error of the outlines give.
        amalgamated_share: share of the area in outlines that are flagged as several landslides, or
            fill less than `LEAST_SOLIDITY` of their convex hull (the branching outlines that Marc
            & Hovius 2015 warn of).
        amalgamated_count: number of such outlines.
        sizes: distribution of areas, magnitude and completeness.
    """

    count: int
    area_m2: float
    area_error_m2: float | None
    outline_error_m: float | None
    volume_m3: Interval
    amalgamated_share: float
    amalgamated_count: int
    sizes: Sizes


@dataclass(frozen=True)
class AreaMatch:
    """How two inventories overlap on ground both looked at, in m²."""

    ground_m2: float
    first_m2: float
    second_m2: float
    both_m2: float

    @property
    def either_m2(self) -> float:
        """Area that is landslide in one or both."""
        return self.first_m2 + self.second_m2 - self.both_m2

    @property
    def error(self) -> float:
        """Mapping error E = (A∪B - A∩B) / A∪B, 0-1 (Carrara et al. 1992; Galli et al. 2008)."""
        return 1 - self.match

    @property
    def match(self) -> float:
        """Mapping match M = 1 - E."""
        return self.both_m2 / self.either_m2


def describe(
    landslides: gpd.GeoDataFrame, minimum_m2: float = 0.0, outline_error_m: float | None = None
) -> Quality:
    """Describe an inventory.

    Args:
        landslides: EPSG:4326, with area_m2, volume_m3 and amalgamated; may be empty.
        minimum_m2: smallest landslide that was mapped.
        outline_error_m: how far outlines may lie from the true ones.
    """
    areas = landslides["area_m2"].to_numpy(dtype=float)
    # An outline is as unsure at the rim of a hole, which the stored perimeter leaves out.
    rims = geodesic_rims(landslides.geometry.to_numpy()) * (outline_error_m or 0.0)
    suspect = landslides["amalgamated"].fillna(False).to_numpy(dtype=bool)
    suspect |= _solidity(landslides) < LEAST_SOLIDITY
    return Quality(
        count=len(landslides),
        area_m2=float(areas.sum()),
        area_error_m2=None if outline_error_m is None else float(rims.sum()),
        outline_error_m=outline_error_m,
        volume_m3=_total_volume(float(landslides["volume_m3"].sum()), areas, rims),
        amalgamated_share=float(areas[suspect].sum() / areas.sum()) if len(areas) else 0.0,
        amalgamated_count=int(suspect.sum()),
        sizes=describe_sizes(areas, minimum_m2),
    )


def match_areas(
    first: gpd.GeoDataFrame, second: gpd.GeoDataFrame, ground: BaseGeometry
) -> AreaMatch:
    """Compare two inventories, EPSG:4326, on the ground both looked at.

    Raises:
        InventoryError: they share no ground, or neither has a landslide on it.
    """
    if ground.area == 0:
        raise InventoryError("the two inventories looked at no ground in common")
    one, other = (_merged_on(frame, ground) for frame in (first, second))
    match = AreaMatch(
        geodesic_area_m2(ground),
        geodesic_area_m2(one),
        geodesic_area_m2(other),
        geodesic_area_m2(shapely.intersection(one, other)),
    )
    if match.either_m2 == 0:
        raise InventoryError("neither inventory has a landslide on the ground both looked at")
    return match


def _merged_on(landslides: gpd.GeoDataFrame, ground: BaseGeometry) -> BaseGeometry:
    shapely.prepare(ground)
    merged = shapely.union_all(shapely.intersection(landslides.geometry.to_numpy(), ground))
    return MultiPolygon([part for part in shapely.get_parts(merged) if part.area > 0])


def _solidity(landslides: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Area over the area of the convex hull, both in degrees: their ratio is the ground's."""
    outlines = landslides.geometry.to_numpy()
    return np.asarray(shapely.area(outlines) / shapely.area(shapely.convex_hull(outlines)))


def _total_volume(
    stored_m3: float, areas: NDArray[np.float64], rims: NDArray[np.float64]
) -> Interval:
    sizes = (areas, np.maximum(areas - rims, 0), areas + rims)
    totals = [
        float(volume_m3(size, relation).sum())
        for relation in get_args(VolumeRelation)
        for size in sizes
    ]
    return Interval(stored_m3, min(totals), max(totals))
