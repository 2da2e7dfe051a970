"""How an image was taken: the sun's height and the angle of view, by whatever name they are given.

STAC's view extension and its elder, Planet's fields, and what the Planetary Computer has instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def sun_elevation_deg(properties: Mapping[str, Any]) -> float | None:
    """Height of the sun over the horizon, degrees; None where it is not given."""
    for name in ("view:sun_elevation", "eo:sun_elevation", "sun_elevation"):
        if (known := known_number(properties.get(name), -90, 90)) is not None:
            return known
    zenith = known_number(properties.get("s2:mean_solar_zenith"), 0, 180)
    return None if zenith is None else 90 - zenith


def off_nadir_deg(properties: Mapping[str, Any]) -> float | None:
    """Angle off nadir, degrees; None where it is not given.

    The incidence on the ground, which is a little more, serves too. Planet tells the side it looked
    to by the sign.
    """
    for name in ("view:off_nadir", "view_angle", "view:incidence_angle"):
        if (known := known_number(properties.get(name), -90, 90)) is not None:
            return abs(known)
    return None


def known_number(value: Any, low: float, high: float = math.inf) -> float | None:
    """A number in [low, high]; None for what is none, such as Landsat's -1 for unknown cloud."""
    known = isinstance(value, int | float) and low <= value <= high
    return float(value) if known else None
