"""Cells to learn from: failed ground, and ground that was really seen and did not fail."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask, rasterize
from shapely.geometry import MultiPolygon

from tasks.errors import SamplingError
from tasks.susceptibility.stack import FactorStack

FEW_LANDSLIDES = 20  # below this the caller stores a doubt
LEAST_LANDSLIDES = 5  # one for each fold
LEAST_ABSENCES = 20
CELLS_PER_LANDSLIDE = 25
MAX_PRESENCES = 5_000
ABSENCE = -1


@dataclass(frozen=True)
class Samples:
    """Cells with their factors and whether they failed; n is the number of cells.

    `x` is float32 (n, factors) without NaN, in the order of `names`; `y` is True where the ground
    failed; `easting` and `northing` are cell centres in metres; `landslide` is the row number of
    the landslide a presence lies in and `ABSENCE` for absences, so that folds can keep a landslide
    together. `categorical` names the factors whose values are numbers of classes, not amounts.
    """

    names: tuple[str, ...]
    x: NDArray[np.float32]
    y: NDArray[np.bool_]
    easting: NDArray[np.float64]
    northing: NDArray[np.float64]
    landslide: NDArray[np.int64]
    categorical: frozenset[str] = frozenset()

    @property
    def landslides(self) -> int:
        """How many landslides give at least one presence."""
        return len(np.unique(self.landslide[self.y]))


def draw_samples(
    landslides: gpd.GeoDataFrame,
    observed: MultiPolygon,
    stack: FactorStack,
    *,
    ratio: float = 1.0,
    buffer_m: float = 30.0,
    seed: int = 0,
) -> Samples:
    """Draw presences inside landslides and absences from observed, unfailed ground.

    A landslide gives at most `CELLS_PER_LANDSLIDE` of its cells, so that a few giants do not
    outvote the rest, and all of them at most `MAX_PRESENCES`; one smaller than a cell gives the
    cell it lies in. Ground outside `observed` is never an absence.

    Args:
        landslides: polygons, EPSG:4326.
        observed: area that was seen clear, EPSG:4326.
        stack: the factors; cells that lack one are left out.
        ratio: absences for each presence.
        buffer_m: absences keep this far from any landslide, whose edge is never quite known.
        seed: equal seeds draw equal cells.

    Returns:
        The samples, presences first.

    Raises:
        SamplingError: fewer than `LEAST_LANDSLIDES` landslides or `LEAST_ABSENCES` absences lie on
            known terrain.
    """
    random = np.random.default_rng(seed)
    grid, known = stack.geobox, stack.known()
    outlines = landslides.geometry.to_crs(str(grid.crs))
    numbers = _landslide_numbers(outlines, grid)
    presences = _presences(np.where(known, numbers, ABSENCE), random)
    found = len(np.unique(numbers[tuple(presences.T)]))
    if found < LEAST_LANDSLIDES:
        raise SamplingError(
            f"{found} of {len(landslides)} landslides lie on terrain the DEM knows and at least "
            f"{LEAST_LANDSLIDES} are needed to fit susceptibility"
        )
    far = geometry_mask(outlines.buffer(buffer_m), grid.shape, grid.transform, all_touched=True)
    candidates = np.argwhere(known & far & _cells_within(observed, grid))
    wanted = max(LEAST_ABSENCES, round(ratio * len(presences)))
    if len(candidates) < LEAST_ABSENCES:
        raise SamplingError(
            f"{len(candidates)} cells are observed, unfailed and more than {buffer_m:g} m from a "
            f"landslide, and at least {LEAST_ABSENCES} are needed; enlarge the area of interest"
        )
    absences = random.permutation(candidates)[:wanted]
    return _samples(np.concatenate([presences, absences]), len(presences), numbers, stack)


def _landslide_numbers(outlines: gpd.GeoSeries, grid: GeoBox) -> NDArray[np.int64]:
    """Row number of the landslide in each cell, (rows, cols), `ABSENCE` where there is none."""
    numbers = np.full(grid.shape, ABSENCE, dtype=np.int32)
    if len(outlines):
        rasterize(
            ((outline, number) for number, outline in enumerate(outlines)),
            out=numbers,
            transform=grid.transform,
        )
        _mark_small(outlines, numbers, grid)
    return numbers.astype(np.int64)


def _mark_small(outlines: gpd.GeoSeries, numbers: NDArray[np.int32], grid: GeoBox) -> None:
    missed = np.setdiff1d(np.arange(len(outlines)), numbers)
    points = outlines.iloc[missed].representative_point()
    cols, rows = ~grid.transform @ (points.x.to_numpy(), points.y.to_numpy())
    rows, cols = np.floor(rows).astype(int), np.floor(cols).astype(int)
    on_grid = (rows >= 0) & (rows < grid.shape[0]) & (cols >= 0) & (cols < grid.shape[1])
    rows, cols, missed = rows[on_grid], cols[on_grid], missed[on_grid]
    free = numbers[rows, cols] == ABSENCE
    numbers[rows[free], cols[free]] = missed[free]


def _presences(numbers: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Rows and columns of random cells, (cells, 2), within both limits."""
    cells = random.permutation(np.argwhere(numbers != ABSENCE))
    owner = numbers[tuple(cells.T)]
    by_owner = np.argsort(owner, kind="stable")
    cells, owner = cells[by_owner], owner[by_owner]
    first = np.searchsorted(owner, owner)
    kept = cells[np.arange(len(owner)) - first < CELLS_PER_LANDSLIDE]
    return np.asarray(random.permutation(kept)[:MAX_PRESENCES])


def _cells_within(area: MultiPolygon, grid: GeoBox) -> NDArray[np.bool_]:
    if area.is_empty:
        return np.zeros(grid.shape, dtype=bool)
    outline = gpd.GeoSeries([area], crs="EPSG:4326").to_crs(str(grid.crs))
    return np.asarray(~geometry_mask(outline, grid.shape, grid.transform))


def _samples(
    cells: NDArray[np.int64], presences: int, numbers: NDArray[np.int64], stack: FactorStack
) -> Samples:
    rows, cols = cells.T
    easting, northing = stack.geobox.transform @ (cols + 0.5, rows + 0.5)
    failed = np.arange(len(cells)) < presences
    return Samples(
        names=stack.names,
        x=stack.at(rows, cols),
        y=failed,
        easting=easting,
        northing=northing,
        landslide=np.where(failed, numbers[rows, cols], ABSENCE),
    )
