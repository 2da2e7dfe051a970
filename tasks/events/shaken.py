"""Where an earthquake may have set off landslides: the ground it shook hard enough.

From a ShakeMap where there is one; until then from the magnitude, which is provisional.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from contourpy import FillType, contour_generator
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from tasks.errors import AreaError
from tasks.events.aoi import geodesic_buffer, geodesic_disc, split_at_antimeridian
from tasks.events.land import on_land
from tasks.events.shakemap import ShakeMap
from tasks.types import AreaOfInterest, Event

LEAST_PGA_G = 0.1

# Two published points of Keefer's (1984) upper bound of the area affected by landslides.
_KEEFER_M58_KM2 = 1_500.0
_KEEFER_M92_KM2 = 500_000.0
KEEFER_SMALLEST_M = 4.0


def shakemap_aoi(
    shakemap: ShakeMap,
    *,
    pga_g: float = LEAST_PGA_G,
    mmi: float | None = None,
    buffer_m: float = 0.0,
    land: Path | None = None,
) -> AreaOfInterest:
    """The land that a ShakeMap says was shaken at least so hard.

    The contour is drawn between the points of the map, which carry its values, and not round
    blocks of cells. Where the shaking still exceeds the threshold at the edge of the map, the area
    ends there, and `how` says so.

    Args:
        shakemap: the shaking.
        pga_g: least peak ground acceleration in g; 0.1 g is where the USGS begins to count.
        mmi: least intensity, instead of `pga_g`.
        buffer_m: geodesic distance in m to add all round, before the sea is cut out.
        land: polygons of land; None for the shoreline of `tasks.events.land`.

    Returns:
        The area in EPSG:4326, islands kept, split at the antimeridian; `how` names the ShakeMap.

    Raises:
        AreaError: nothing was shaken so hard, the map lacks the layer, or no land was.
    """
    layer, least, asked = (
        (shakemap.pga_g, pga_g, f"a PGA of at least {pga_g:g} g")
        if mmi is None
        else (shakemap.mmi, mmi, f"an intensity of at least {mmi:g}")
    )
    name = " ".join(
        ["ShakeMap", ":".join(filter(None, (shakemap.network, shakemap.code)))]
        + ([f"v{shakemap.version}"] if shakemap.version else [])
    ).strip()
    if np.isnan(layer).all():
        raise AreaError(f"{name} ({shakemap.path}) has no layer to draw {asked} from")
    area = _at_least(shakemap, layer, least)
    if area.is_empty:
        raise AreaError(f"{name}: no ground has {asked}, the most is {np.nanmax(layer):.3g}")
    if buffer_m:
        area = geodesic_buffer(area, buffer_m)
    border = np.concatenate([layer[0], layer[-1], layer[:, 0], layer[:, -1]])
    how = f"{name}: {asked.partition(' ')[2]}"
    how += f", and {buffer_m:g} m round it" if buffer_m else ""
    how += ", cut off at the edge of the map" if (border >= least).any() else ""
    return AreaOfInterest(on_land(area, f"the ground with {asked} in {name}", land), how)


def _at_least(shakemap: ShakeMap, layer: NDArray[np.float32], least: float) -> MultiPolygon:
    """The ground where a layer, linear between its points, is no less than a value."""
    lines = contour_generator(
        shakemap.longitudes,
        shakemap.latitudes,
        np.ma.masked_invalid(layer),
        fill_type=FillType.OuterOffset,
        corner_mask=True,
    )
    filled: Any = lines.filled(least, np.inf)
    polygons = []
    for points, ends in zip(*filled, strict=True):
        outer, *holes = np.split(points, ends[1:-1])
        polygons.append(Polygon(outer, holes))
    return split_at_antimeridian(shapely.make_valid(MultiPolygon(polygons)))


def magnitude_distance_aoi(event: Event, land: Path | None = None) -> AreaOfInterest:
    """A provisional area for an earthquake without a ShakeMap: a disc round the epicentre.

    The disc's area is the largest area known to be affected by landslides at that magnitude,
    Keefer (1984, GSA Bulletin 95, 406-421): about 500,000 km² at M 9.2 (abstract), 1,500 km² at
    M 5.8 (Keefer's bound as read by Jibson and Harp 2012, BSSA 102, 2368-2377). Between and below
    them log10(area) is taken as linear in magnitude, so with A in km²

        log10 A = 3.176 + 0.742 (M - 5.8),    r = sqrt(A / pi)

    which gives 22 km at M 5.8, 43 km at M 6.6 and 121 km at M 7.8. Single slides occur farther
    away (245 km in Virginia in 2011, M 5.8), and a long rupture is not a disc: the area is where
    to look first and is replaced when a ShakeMap comes. The bound comes from shallow earthquakes;
    deeper ones shake less ground hard, so it holds for them too, and is wider than need be.

    Args:
        event: an earthquake with a magnitude.
        land: polygons of land; None for the shoreline of `tasks.events.land`.

    Returns:
        The land in the disc in EPSG:4326, split at the antimeridian, a pole inside if need be;
        `how` names the relation, the magnitude and the radius.

    Raises:
        AreaError: the event is no earthquake, has no magnitude, is below M 4.0, the smallest
            earthquake for which Keefer found landslides, or there is no land in the disc.
    """
    if event.kind != "earthquake" or event.magnitude is None:
        raise AreaError(
            f"event {event.id}: an area can be derived only from an earthquake's magnitude; "
            "give an area of interest file"
        )
    if event.magnitude < KEEFER_SMALLEST_M:
        raise AreaError(
            f"event {event.id}: M {event.magnitude:g} is below M 4.0, the smallest known to set "
            "off landslides (Keefer 1984); give an area of interest file to map it all the same"
        )
    radius_km = keefer_radius_km(event.magnitude)
    disc = geodesic_disc(event.longitude, event.latitude, radius_km * 1000)
    return AreaOfInterest(
        on_land(disc, f"the ground within {radius_km:.0f} km of event {event.id}", land),
        how=f"provisional: land within {radius_km:.0f} km of the epicentre, a disc as large as the "
        f"upper bound of the area affected by landslides at M {event.magnitude:g} (Keefer 1984)",
    )


def keefer_radius_km(magnitude: float) -> float:
    """Radius of a disc as large as `keefer_upper_area_km2`."""
    return math.sqrt(keefer_upper_area_km2(magnitude) / math.pi)


def keefer_upper_area_km2(magnitude: float) -> float:
    """Upper bound of the area affected by landslides, km² (see `magnitude_distance_aoi`)."""
    low, high = math.log10(_KEEFER_M58_KM2), math.log10(_KEEFER_M92_KM2)
    return float(10 ** (low + (high - low) / (9.2 - 5.8) * (magnitude - 5.8)))
