"""Every factor that is made from the terrain alone, by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.susceptibility import terrain
from tasks.susceptibility.site import Grid, Ground

NEIGHBOURHOOD_M = 300.0


@dataclass(frozen=True)
class Measure:
    """A factor made from the terrain alone; `needs` names what of a `Site` it reads."""

    unit: str
    of: Callable[[Ground], Grid]
    needs: tuple[str, ...] = ()


def _relief(side_m: float) -> Measure:
    return Measure("m", lambda g: g.inner(terrain.local_relief(g.elevation, g.square(side_m))))


def _position(side_m: float) -> Measure:
    return Measure(
        "m", lambda g: g.inner(terrain.topographic_position(g.elevation, g.square(side_m)))
    )


def _of_water(unit: str, measure: Callable[[Grid, Grid, float], Grid]) -> Measure:
    return Measure(unit, lambda g: measure(g.accumulation_m2, g.slope_deg, g.cell_m), ("drainage",))


MEASURES = {
    "elevation": Measure("m", lambda g: g.inner(g.elevation)),
    "slope": Measure("degrees", lambda g: g.slope_deg),
    "northness": Measure("1", lambda g: g.derived(terrain.northness)),
    "eastness": Measure("1", lambda g: g.derived(terrain.eastness)),
    "plan_curvature": Measure("1/m", lambda g: g.derived(terrain.plan_curvature)),
    "profile_curvature": Measure("1/m", lambda g: g.derived(terrain.profile_curvature)),
    "relief": _relief(NEIGHBOURHOOD_M),
    "topographic_position": _position(NEIGHBOURHOOD_M),
    "flow_accumulation": Measure("log10 m2", lambda g: np.log10(g.accumulation_m2), ("drainage",)),
    "wetness": _of_water("ln m", terrain.wetness_index),
    "total_curvature": Measure("1/m2", lambda g: g.derived(terrain.total_curvature)),
    "roughness": Measure("1", lambda g: g.derived(terrain.ruggedness)),
    "relief_100": _relief(100.0),
    "relief_1000": _relief(1000.0),
    "topographic_position_100": _position(100.0),
    "topographic_position_1000": _position(1000.0),
    "stream_power": _of_water("ln m", terrain.stream_power_index),
    "channel_distance": Measure("m", lambda g: g.pulled(g.site.distance), ("distance",)),
    "channel_height": Measure("m", lambda g: g.height_above_channel, ("foot",)),
}
