"""Maps made before an inventory, scored against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import RasterioError

from tasks.susceptibility.auc import auc, bootstraps, interval
from tasks.susceptibility.folds import units
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.mechanics import SLOPE
from tasks.susceptibility.sampling import Samples
from tasks.types import Interval

BOOTSTRAPS = 500


@dataclass(frozen=True)
class Earlier:
    """A map that knew nothing of the inventory: what made it, its digest and its raster."""

    what: str
    digest: str
    path: Path


@dataclass(frozen=True)
class Comparison:
    """How well an earlier map ranks the samples of an inventory.

    `auc` has a 95 % interval bootstrapped over landslides; it is None, with the reason in
    `problem`, where the map does not know both failed and unfailed samples. `samples` counts those
    it knows.
    """

    what: str
    digest: str
    auc: Interval | None
    samples: int
    problem: str = ""


def score_earlier(
    samples: Samples, crs: str, earlier: Iterable[Earlier], seed: int
) -> tuple[Comparison, ...]:
    """Score maps, and slope mechanics that learn nothing, on samples they have never seen.

    Args:
        samples: failed and observed, unfailed cells.
        crs: CRS of their coordinates.
        earlier: maps to score; one whose raster is gone is told as such.
        seed: of the bootstrap.
    """
    scores = [(one.what, one.digest, _read_at(one.path, samples, crs)) for one in earlier]
    if SLOPE in samples.names:
        mechanics = fit_model("physical", samples.alone(), seed).predict(samples.own)
        scores.append(("infinite slope", "", mechanics.astype(np.float64)))
    draws = bootstraps(units(samples), BOOTSTRAPS, seed)
    return tuple(_compared(samples, *score, draws) for score in scores)


def _compared(
    samples: Samples,
    what: str,
    digest: str,
    score: NDArray[np.float64] | None,
    draws: NDArray[np.float32],
) -> Comparison:
    if score is None:
        return Comparison(what, digest, None, 0, "its raster can no longer be read")
    known = np.isfinite(score)
    if len(np.unique(samples.y[known])) < 2:
        problem = "it does not know both failed and unfailed ground of this inventory"
        return Comparison(what, digest, None, int(known.sum()), problem)
    areas = auc(samples.y[known], score[known], draws[:, known])
    return Comparison(what, digest, interval(areas), int(known.sum()))


def _read_at(path: Path, samples: Samples, crs: str) -> NDArray[np.float64] | None:
    """Values of a raster's first band at the samples, NaN where it has none."""
    try:
        with rasterio.open(path) as dataset:
            to_raster = Transformer.from_crs(crs, dataset.crs, always_xy=True)
            places = np.column_stack(to_raster.transform(samples.easting, samples.northing))
            values = np.ma.stack(list(dataset.sample(places, indexes=1, masked=True)))[:, 0]
            return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    except RasterioError:
        return None
