"""Where to look for the slides of a reported event: the best area that can be had just now."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from pyproj import Geod

from tasks.errors import AreaError, RasterError
from tasks.events.aoi import geodesic_disc
from tasks.events.land import on_land
from tasks.events.priors import Expectation
from tasks.events.rules import Limits
from tasks.events.shakemap import ShakeMap, read_shakemap
from tasks.events.shakemaps import KnownShakeMap
from tasks.events.shaken import (
    KEEFER_SMALLEST_M,
    keefer_upper_area_km2,
    magnitude_distance_aoi,
    shakemap_aoi,
)
from tasks.types import AreaOfInterest, Event

_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class Ground:
    """An area of interest and what it was drawn from.

    Attributes:
        aoi: where to look; None where there is no such place, and `problem` says why.
        shakemap: the ShakeMap that should be used, if there is one.
        shaking: it, where the area was drawn from it.
        problem: why there is no area.
        remark: why the ShakeMap is not used, or nothing is expected.
        expected: the landslides to expect there.
    """

    aoi: AreaOfInterest | None
    shakemap: KnownShakeMap | None = None
    shaking: ShakeMap | None = None
    problem: str = ""
    remark: str = ""
    expected: Expectation | None = None


def find_ground(
    event: Event,
    given: AreaOfInterest | None,
    chosen: KnownShakeMap | None,
    limits: Limits,
) -> Ground:
    """The area a source gives, else the land its ShakeMap shows shaken, else a provisional one.

    Args:
        event: as reported.
        given: an area the source itself gives.
        chosen: the ShakeMap to use, fetched or with the reason why it is not.
        limits: the operator's, which say how areas are drawn.
    """
    if given is not None:
        return Ground(given)
    remark = chosen.problem if chosen else ""
    if chosen and chosen.path:
        try:
            shaking = read_shakemap(chosen.path)
            aoi = shakemap_aoi(
                shaking,
                pga_g=limits.aoi_pga_g,
                mmi=limits.aoi_mmi,
                buffer_m=limits.aoi_buffer_m,
                land=limits.land,
            )
            return Ground(aoi, chosen, shaking)
        except RasterError as error:
            # What arrived damaged has not been fetched.
            remark = str(error)
            chosen = replace(chosen, path=None, sha256=None, problem=remark)
        except AreaError as error:
            remark = str(error)
    try:
        return Ground(provisional_aoi(event, limits), chosen, remark=remark)
    except AreaError as error:
        return Ground(None, chosen, problem=str(error), remark=remark)


def land_km2(aoi: AreaOfInterest, land: Path | None) -> float:
    """How much of an area is land, km²; see `on_land`."""
    try:
        return AreaOfInterest(on_land(aoi.geometry, "the area of interest", land), "").area_km2
    except AreaError:
        return 0.0


def provisional_aoi(event: Event, limits: Limits) -> AreaOfInterest:
    """The land near an epicentre; of one at sea, the coast nearest to it.

    An epicentre at sea is often kilometres off at first, and its disc may just miss a coast that
    was shaken: the disc then takes as much of the nearest coast as it would have taken on land.

    Args:
        event: an earthquake with a magnitude.
        limits: how far away the coast may be, 0 never looks beyond the disc; and what is land.

    Raises:
        AreaError: as `magnitude_distance_aoi`, or there is no land within the distance either.
    """
    land, coast_within_km = limits.land, limits.coast_within_km
    try:
        return magnitude_distance_aoi(event, land)
    except AreaError:
        magnitude = event.magnitude
        if magnitude is None or magnitude < KEEFER_SMALLEST_M or not coast_within_km:
            raise
    where = f"the ground within {coast_within_km:g} km of event {event.id}"
    wide = geodesic_disc(event.longitude, event.latitude, coast_within_km * 1000)
    coast = shapely.get_coordinates(on_land(wide, where, land))
    start = np.ones(len(coast))
    _, _, metres = _WGS84.inv(event.longitude * start, event.latitude * start, *coast.T)
    shore_km = float(metres.min()) / 1000
    reach_km = shore_km + math.sqrt(keefer_upper_area_km2(magnitude) / math.pi)
    near = geodesic_disc(event.longitude, event.latitude, reach_km * 1000)
    return AreaOfInterest(
        on_land(near, where, land),
        f"provisional: coast {shore_km:.0f} to {reach_km:.0f} km from the epicentre, which lies at "
        "sea; the reach beyond the shore is the radius of the upper bound of the area affected by "
        f"landslides at M {magnitude:g} (Keefer 1984)",
    )
