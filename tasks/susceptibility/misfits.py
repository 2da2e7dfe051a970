"""Where an automatic inventory errs: the ground of its false outlines and of those it missed.

The LDM-Net paper says that commission errors lie "in low-relief or depositional settings", such as
riverbeds. Here that is tested: each factor's mean under false outlines is compared with that under
true ones by the rank-sum test (Mann & Whitney 1947, Annals of Mathematical Statistics 18, 50), and
likewise missed landslides with found ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, mannwhitneyu

from models.objects import FOUND_OVERLAP
from tasks.mapping.zonal import open_north_up, windows_under, zones_on
from tasks.susceptibility.stack import FactorStack

GROUND = ("slope", "relief", "channel_distance", "elevation")
LEAST = 5

Kind = Literal["commission", "omission"]


@dataclass(frozen=True)
class Contrast:
    """How the ground of errors differs from that of outlines both inventories have, in one factor.

    `median` is of the errors, `median_other` of the others. `lower` is the chance that an error
    lies lower than another (0.5: no difference; the U statistic over the number of pairs, McGraw &
    Wong 1992). `p` is two-sided, of the rank-sum test, adjusted for the number of tests (Benjamini
    & Hochberg 1995). Neighbouring landslides are not independent, so it flatters.
    """

    kind: Kind
    factor: str
    errors: int
    others: int
    median: float
    median_other: float
    lower: float
    p: float


def misfits(outlines: gpd.GeoSeries, others: gpd.GeoSeries) -> NDArray[np.bool_]:
    """Whether less than `FOUND_OVERLAP` of each outline's area lies in the other inventory, (n,).

    Args:
        outlines: polygons to judge, EPSG:4326.
        others: polygons of the other inventory, EPSG:4326.
    """
    judged, known = outlines.to_numpy(), others.to_numpy()
    mine, theirs = shapely.STRtree(known).query(judged, predicate="intersects")
    area = np.zeros(len(judged))
    for place in np.unique(mine):
        near = shapely.union_all(known[theirs[mine == place]])
        area[place] = shapely.area(shapely.intersection(judged[place], near))
    return np.asarray(area < FOUND_OVERLAP * shapely.area(judged))


def ground_of(outlines: gpd.GeoSeries, stack: FactorStack) -> pd.DataFrame:
    """Mean of each factor of `GROUND` that the stack has under each outline, EPSG:4326.

    One row an outline, by its index, NaN where the factor is unknown. Memory is that of a block.
    """
    names = [name for name in GROUND if name in stack.names]
    means = pd.DataFrame(np.nan, index=outlines.index, columns=names)
    with open_north_up(stack.path) as source:
        bands = [source.descriptions.index(name) + 1 for name in names]
        for block, window, grid in windows_under(source, outlines.to_crs(source.crs)):
            zones = zones_on(grid, block)
            for name, values in zip(names, source.read(bands, window=window), strict=True):
                means.loc[block.index, name] = zones.mean(values)
    return means


def contrasts(kind: Kind, ground: pd.DataFrame, wrong: NDArray[np.bool_]) -> tuple[Contrast, ...]:
    """Compare the ground of errors with that of the others, factor by factor.

    Args:
        kind: what the errors are.
        ground: one column a factor, one row an outline, from `ground_of`.
        wrong: whether each outline is an error.

    Returns:
        One contrast a factor of which at least `LEAST` errors and `LEAST` others are known; its p
        is of that test alone, until `adjusted`.
    """
    found = []
    for factor in ground:
        known = ground[factor].notna().to_numpy()
        errors = ground.loc[known & wrong, factor].to_numpy()
        others = ground.loc[known & ~wrong, factor].to_numpy()
        if min(len(errors), len(others)) < LEAST:
            continue
        higher, p = mannwhitneyu(errors, others)
        found.append(
            Contrast(
                kind=kind,
                factor=str(factor),
                errors=len(errors),
                others=len(others),
                median=float(np.median(errors)),
                median_other=float(np.median(others)),
                lower=1 - float(higher) / (len(errors) * len(others)),
                p=float(p),
            )
        )
    return tuple(found)


def adjusted(found: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Contrasts that are told together, with p adjusted for how many there are of both kinds."""
    if not found:
        return ()
    p = false_discovery_control([contrast.p for contrast in found])
    return tuple(replace(one, p=float(each)) for one, each in zip(found, p, strict=True))
