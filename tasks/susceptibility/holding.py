"""What an operator wants held out in space: districts, blocks, or areas of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np

from tasks.datasets import dataset_sha256
from tasks.errors import AssessmentError, SamplingError
from tasks.inventory.polygon_files import read_features
from tasks.susceptibility.folds import (
    FOLDS,
    REPEATS,
    Folds,
    block_folds,
    district_folds,
    units,
)
from tasks.susceptibility.sampling import Samples

LEAST_BLOCK_M = 1.0
DISTRICTS, BLOCKS = "districts", "blocks:"


@dataclass(frozen=True)
class Holding:
    """Districts by default, blocks where they have a side, areas where they have a file."""

    block_m: float = 0.0
    areas: Path | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the file of areas; empty without one."""
        return dataset_sha256(self.areas) if self.areas else ""

    def folds(self, samples: Samples, crs: str, seed: int) -> Folds:
        """Divide samples, whose coordinates are in `crs`.

        Raises:
            SamplingError: they lie in too few districts, blocks or areas.
            InventoryError: the file of areas cannot be read.
        """
        if self.areas:
            return area_folds(samples, read_features(self.areas).frame.to_crs(crs), str(self.areas))
        if self.block_m:
            return block_folds(samples, self.block_m, FOLDS, REPEATS, seed)
        return district_folds(samples, FOLDS, REPEATS, seed)


def parse_holding(text: str) -> Holding:
    """Read `districts`, `blocks:SIDE` in metres, or the name of a file of polygons.

    Raises:
        AssessmentError: it is none of these.
    """
    if text == DISTRICTS:
        return Holding()
    if text.startswith(BLOCKS):
        side = text.removeprefix(BLOCKS)
        if side.replace(".", "", 1).isdecimal() and float(side) >= LEAST_BLOCK_M:
            return Holding(block_m=float(side))
    elif Path(text).is_file():
        return Holding(areas=Path(text))
    raise AssessmentError(
        f"{text!r} cannot be held out; take {DISTRICTS}, {BLOCKS}2000 for blocks of 2 km "
        f"(at least {LEAST_BLOCK_M:g} m), or a file of polygons such as basins, which must exist"
    )


def area_folds(samples: Samples, areas: gpd.GeoDataFrame, name: str) -> Folds:
    """Each basin, or other area, held out in turn.

    A landslide belongs to the first area its centre lies in. What lies in none is learned from and
    never held out.

    Args:
        samples: cells of both classes.
        areas: polygons in the CRS of the samples.
        name: what the areas are called in a sentence.

    Raises:
        SamplingError: the samples lie in fewer than two of the areas.
    """
    unit = units(samples)
    place, area = areas.sindex.query(gpd.points_from_xy(*unit.centre.T), predicate="intersects")
    of_unit = np.full(len(unit.centre), len(areas))
    np.minimum.at(of_unit, place, area)
    found, fold = np.unique(of_unit, return_inverse=True)
    inside = found[found < len(areas)]
    if len(inside) < 2:
        raise SamplingError(
            f"the samples lie in {len(inside)} of the {len(areas)} areas of {name}, and at least "
            "two are needed to hold each out in turn"
        )
    fold[of_unit == len(areas)] = -1
    return Folds(fold[unit.of].reshape(1, -1), f"each of {len(inside)} areas in turn")
