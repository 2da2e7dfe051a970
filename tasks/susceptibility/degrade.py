"""A manual inventory as an automatic map would have drawn it: some false, some merged, some missed.

The LDM-Net paper ("Application in recent landslide events") says why models learned from automatic
inventories rank slopes worse: "The main discrepancies occurred in non-mountainous areas such as
riverbeds and bare soil [...] These commission errors introduced additional positive samples in
low-relief or depositional settings and thereby weakened the geomorphic contrast between landslide
and non-landslide conditions". `degrade` does that on purpose, so that the reason can be tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from tasks.errors import SamplingError
from tasks.susceptibility.stack import FactorStack

_TRIES = 200


@dataclass(frozen=True)
class Degradation:
    """What an automatic map does to an inventory.

    Attributes:
        false_share: false outlines for each landslide. In Table 6 of the LDM-Net paper automatic
            inventories have 16 and 17 % more presence points and 14 and 15 % more area.
        channel_share: part of the false outlines that lie in channels, the others in low relief.
        channel_m: channels are ground from which water has no longer a way to one.
        level_deg: low relief is ground of a lower slope.
        missed_below_m2: smaller landslides are missed; Scarp's own minimum mapping unit.
        merged_within_m: neighbours with a narrower gap become one outline: a Sentinel-2 pixel.
    """

    false_share: float = 0.15
    channel_share: float = 0.5
    channel_m: float = 60.0
    level_deg: float = 15.0
    missed_below_m2: float = 300.0
    merged_within_m: float = 10.0


DEFAULT = Degradation()


def degrade(
    landslides: gpd.GeoDataFrame,
    observed: MultiPolygon,
    stack: FactorStack,
    how: Degradation = DEFAULT,
    *,
    seed: int = 0,
) -> gpd.GeoDataFrame:
    """Miss, merge and invent landslides.

    A false outline is the outline of one of the landslides, turned and moved to where the ground is
    a channel or of low relief, touches no landslide and was observed.

    Args:
        landslides: polygons, EPSG:4326.
        observed: area that was seen, EPSG:4326.
        stack: factors, with slope (degrees) and channel_distance (m).
        how: what to do to them.
        seed: equal seeds degrade equally.

    Returns:
        Outlines, EPSG:4326, with `origin`: `mapped` (perhaps of several landslides) or `false`.

    Raises:
        SamplingError: there is no room for the false outlines.
    """
    crs = str(stack.geobox.crs)
    true = landslides.geometry.to_crs(crs).to_numpy()
    seen = true[shapely.area(true) >= how.missed_below_m2]
    mapped = _merged(seen, how.merged_within_m)
    ground = gpd.GeoSeries([observed], crs=4326).to_crs(crs).iloc[0]
    count = round(how.false_share * len(true))
    in_channels = round(how.channel_share * count)
    channel = stack.read("channel_distance") <= how.channel_m
    level = stack.read("slope") < how.level_deg
    random = np.random.default_rng(seed)
    false: list[BaseGeometry] = []
    for places, wanted in ((channel, in_channels), (level, count)):
        found = _misplaced(seen, np.argwhere(places), stack, random)
        _take(found, wanted, false, ground, shapely.STRtree(true))
    outlines = gpd.GeoSeries([*mapped, *false], crs=crs).to_crs(4326)
    origin = ["mapped"] * len(mapped) + ["false"] * len(false)
    return gpd.GeoDataFrame({"origin": origin}, geometry=outlines.to_numpy(), crs=4326)


def _merged(outlines: NDArray[np.object_], within_m: float) -> NDArray[np.object_]:
    """Outlines with the gaps that are narrower than `within_m` closed, in metres."""
    wide = shapely.union_all(shapely.buffer(outlines, within_m / 2))
    return np.asarray(shapely.get_parts(shapely.buffer(wide, -within_m / 2)))


def _misplaced(
    outlines: NDArray[np.object_],
    cells: NDArray[np.int64],
    stack: FactorStack,
    random: np.random.Generator,
) -> Iterator[BaseGeometry]:
    """Outlines drawn at random, turned, each with its centre somewhere in a random cell."""
    while len(cells) and len(outlines):
        row, col = cells[random.integers(len(cells))] + random.random(2)
        x, y = stack.geobox.transform @ (col, row)
        outline = outlines[random.integers(len(outlines))]
        centre = outline.centroid
        moved = affinity.translate(outline, x - centre.x, y - centre.y)
        yield affinity.rotate(moved, random.uniform(0, 360), origin="centroid")


def _take(
    found: Iterator[BaseGeometry],
    wanted: int,
    taken: list[BaseGeometry],
    ground: BaseGeometry,
    landslides: shapely.STRtree,
) -> None:
    """Add outlines that lie on the ground and touch nothing until there are `wanted`."""
    shapely.prepare(ground)
    tries = _TRIES * wanted
    while len(taken) < wanted:
        outline = next(found, None) if tries else None
        tries -= 1
        if outline is None:
            raise SamplingError(
                f"the observed area has room for only {len(taken)} of {wanted} false outlines in "
                "channels and low relief; lower the share of false outlines"
            )
        touches = len(landslides.query(outline, predicate="intersects"))
        if ground.covers(outline) and not touches and not shapely.intersects(taken, outline).any():
            taken.append(outline)
