"""Why a susceptibility map says what it says of a place.

Of a fitted model only its map is kept, and everything it was fitted from. Here it is fitted once
more from the same samples by the same seed, which takes seconds, and asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from uuid import UUID

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.windows import Window

from flows.assess_susceptibility import read_truth, samples_of
from flows.options import SusceptibilityOptions
from flows.world import open_world
from tasks.errors import AssessmentError
from tasks.inventory.store import StoredInventory, list_inventories
from tasks.susceptibility.contributions import contributions
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.model import Model
from tasks.susceptibility.sampling import Samples
from tasks.susceptibility.stack import FactorStack, open_stack
from tasks.susceptibility.store import StoredSusceptibility, list_susceptibility

KEPT = 4
_fitting = Lock()


@dataclass(frozen=True)
class Part:
    """One factor of a place: its value, as a name where it is a class, and what it adds, 0-1."""

    factor: str
    value: float
    unit: str
    named: str | None
    added: float


@dataclass(frozen=True)
class Why:
    """What the map says of a place, and why.

    `mapped` is the map's own value there; `average` and all `parts` make up `fitted`, the model's.
    `applies` is False where the ground is unlike what was learned from, None where nobody knows.
    """

    longitude: float
    latitude: float
    mapped: float
    fitted: float
    average: float
    applies: bool | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Fitted:
    model: Model
    samples: Samples
    stack: FactorStack


def explain_place(stored: StoredSusceptibility, longitude: float, latitude: float) -> Why:
    """Explain a map fitted to an event's own landslides at a place, EPSG:4326.

    Raises:
        AssessmentError: it was carried over, or has no value there, or its factors are gone.
        RasterError: its rasters cannot be read.
    """
    if stored.kind != "fitted":
        raise AssessmentError(
            f"this map of {stored.event_id} was carried over from other events; only a map "
            "fitted to the event's own landslides can be explained"
        )
    with _fitting:
        fitted = _fit(stored.id, stored.event_id)
    row, col = _cell(fitted.stack, longitude, latitude)
    mapped = _value(stored.path, row, col, 1)
    cell = fitted.stack.at(np.array([row]), np.array([col]), fitted.samples.halo)
    own = cell[0, :, fitted.samples.halo, fitted.samples.halo] if cell.ndim > 2 else cell[0]
    if mapped is None or not np.isfinite(own).all():
        raise AssessmentError("the map has no value there: the terrain is not known")
    seed = SusceptibilityOptions.model_validate(dict(stored.settings)).seed
    average, added = contributions(fitted.model, cell[0], fitted.samples.x, seed)
    inside = stored.applicability_path and _value(stored.applicability_path, row, col, 2)
    parts = [
        Part(
            factor.name,
            float(value),
            factor.unit,
            factor.classes.get(int(value)) if factor.classes else None,
            float(gain),
        )
        for factor, value, gain in zip(fitted.stack.factors, own, added, strict=True)
    ]
    return Why(
        longitude,
        latitude,
        mapped,
        average + float(added.sum()),
        average,
        None if inside is None else bool(inside),
        tuple(sorted(parts, key=lambda part: -abs(part.added))),
    )


@lru_cache(maxsize=KEPT)
def _fit(susceptibility_id: UUID, event_id: str) -> _Fitted:
    world = open_world()
    with world.engine.connect() as connection:
        stored = next(
            one for one in list_susceptibility(connection, event_id) if one.id == susceptibility_id
        )
        version = _version_of(list_inventories(connection, event_id), stored)
    if not stored.settings:
        raise AssessmentError("this map was made before its settings were kept; assess it again")
    options = SusceptibilityOptions.model_validate(dict(stored.settings))
    truth, _ = read_truth(world, event_id, version)
    stack = open_stack(stored.path.with_name("factors.tif"))
    samples = samples_of(truth, stack, options)
    return _Fitted(fit_model(options.model, samples, options.seed), samples, stack)


def _version_of(inventories: list[StoredInventory], stored: StoredSusceptibility) -> int:
    return next(one.version for one in inventories if one.id == stored.inventory_id)


def _cell(stack: FactorStack, longitude: float, latitude: float) -> tuple[int, int]:
    to_grid = Transformer.from_crs("EPSG:4326", str(stack.geobox.crs), always_xy=True)
    x, y = to_grid.transform(longitude, latitude)
    col, row = ~stack.geobox.transform @ (x, y)
    rows, cols = stack.geobox.shape
    if not (0 <= row < rows and 0 <= col < cols):
        raise AssessmentError("this place lies outside the map")
    return int(row), int(col)


def _value(path: Path, row: int, col: int, band: int) -> float | None:
    """A raster's value in its own units; None where it has none."""
    with rasterio.open(path) as dataset:
        read = dataset.read(band, window=Window(col, row, 1, 1), masked=True)
        if read.mask.all() or not np.isfinite(read.data).all():
            return None
        return float(read[0, 0] * dataset.scales[band - 1] + dataset.offsets[band - 1])
