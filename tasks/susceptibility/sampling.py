"""Cells to learn from: failed ground, and ground that was really seen and did not fail."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.windows import Window
from shapely.geometry import MultiPolygon

from tasks.errors import AssessmentError, SamplingError
from tasks.susceptibility.cover import NOTHING, Cover, failing
from tasks.susceptibility.schemes import SCHEMES, Scheme
from tasks.susceptibility.stack import FactorStack

FEW_LANDSLIDES = 20  # below this the caller stores a doubt
LEAST_LANDSLIDES = 5  # one for each fold
LEAST_ABSENCES = 20
MAX_PRESENCES = 5_000
MAX_ABSENCES = 50_000
ABSENCE = NOTHING
STRATA = {"slope": 10.0, "elevation": 250.0}  # width of a class, in the factor's unit
_BLOCK_CELLS = 1 << 19


@dataclass(frozen=True)
class Samples:
    """Cells with their factors and whether they failed; n is the number of cells.

    `x` is float32 (n, factors) without NaN, in the order of `names`, or for a model that looks
    around a cell (n, factors, side, side) with the cell in the middle, whose surroundings may be
    NaN; `y` is True where the ground
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

    @property
    def halo(self) -> int:
        """How many cells `x` reaches to each side of its own."""
        return self.x.shape[-1] // 2 if self.x.ndim > 2 else 0

    @property
    def own(self) -> NDArray[np.float32]:
        """Factors of the cells themselves, (n, factors)."""
        return self.x[:, :, self.halo, self.halo] if self.halo else self.x

    def alone(self) -> Samples:
        """The same samples without what lies around them."""
        return replace(self, x=self.own)


def draw_samples(
    landslides: gpd.GeoDataFrame,
    observed: MultiPolygon,
    stack: FactorStack,
    scheme: Scheme = SCHEMES["scarp"],
    *,
    halo: int = 0,
    seed: int = 0,
) -> Samples:
    """Draw presences inside landslides and absences from observed, unfailed ground.

    All landslides together give at most `MAX_PRESENCES` cells; one smaller than a cell gives the
    cell it lies in, and a deposit none, since the ground failed above it. Ground outside `observed`
    is never an absence. Cells are drawn by a number each has from its place and the seed, so the
    blocks in which the stack is read leave no trace.

    Args:
        landslides: polygons, EPSG:4326; a column `kind` may call some deposits.
        observed: area that was seen clear, EPSG:4326.
        stack: the factors; cells that lack one are left out.
        scheme: which cells stand for a landslide, and where absences may lie; its `low_only` is
            left to `tasks.susceptibility.low_ground`.
        halo: how far around each cell the model looks, in cells.
        seed: equal seeds draw equal cells.

    Returns:
        The samples, presences first.

    Raises:
        SamplingError: fewer than `LEAST_LANDSLIDES` landslides or `LEAST_ABSENCES` absences lie on
            known terrain.
        AssessmentError: the scheme asks for a factor the stack lacks.
    """
    ground = _Ground.of(landslides, observed, stack, scheme)
    drawing = _Drawing(ground, scheme, seed)
    for window, values in stack.blocks(_BLOCK_CELLS):
        drawing.add(window, values)
    presences = drawing.presences(stack)
    found = presences["landslide"].nunique()
    if found < LEAST_LANDSLIDES:
        raise SamplingError(
            f"{found} of {len(landslides)} landslides lie on terrain the DEM knows and at least "
            f"{LEAST_LANDSLIDES} are needed to fit susceptibility; map more of them, or give a DEM "
            "that covers them"
        )
    absences = drawing.absences(max(LEAST_ABSENCES, round(scheme.ratio * len(presences))))
    if len(absences) < LEAST_ABSENCES:
        raise SamplingError(
            f"{len(absences)} cells are observed, unfailed{_steep(scheme)} and more than "
            f"{scheme.buffer_m:g} m from a landslide, and at least {LEAST_ABSENCES} are needed; "
            "enlarge the area of interest"
        )
    return _samples(presences, absences, stack, halo)


@dataclass(frozen=True)
class _Ground:
    """Landslides, what lies too near one, and what was seen, on the grid of a stack."""

    failed: Cover
    near: Cover
    seen: Cover
    giving: NDArray[np.bool_]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        landslides: gpd.GeoDataFrame,
        observed: MultiPolygon,
        stack: FactorStack,
        scheme: Scheme,
    ) -> _Ground:
        grid = stack.geobox
        outlines = landslides.geometry.to_crs(str(grid.crs)).reset_index(drop=True)
        needed = {"elevation"} if scheme.presence == "highest" else set()
        needed |= {"slope"} if scheme.least_slope_deg else set()
        needed |= {scheme.strata} & set(STRATA)
        if missing := needed - set(stack.names):
            raise AssessmentError(
                f"sampling scheme {scheme.name} as asked needs the factor "
                f"{' and '.join(sorted(missing))}, which is not among {', '.join(stack.names)}"
            )
        return cls(
            Cover(outlines, grid),
            Cover(outlines.buffer(scheme.buffer_m), grid),
            Cover.of(observed, grid),
            failing(landslides),
            stack.names,
        )


@dataclass
class _Drawing:
    """The cells kept of all that were looked at so far."""

    ground: _Ground
    scheme: Scheme
    seed: int
    _failed: list[pd.DataFrame] = field(default_factory=list)
    _stable: pd.DataFrame | None = None
    _rastered: set[int] = field(default_factory=set)

    def add(self, window: Window, values: NDArray[np.float32]) -> None:
        """Look at the cells of a window, whose factors are (factors, rows, cols)."""
        numbers = self.ground.failed.numbers(window)
        self._rastered.update(np.unique(numbers).tolist())
        known = np.isfinite(values).all(axis=0)
        giving = (numbers != NOTHING) & np.append(self.ground.giving, False)[numbers]
        if self.scheme.presence != "centroid" and (known & giving).any():
            self._add_failed(known & giving, numbers, window, values)
        stable = known & self.ground.seen.mask(window)
        if self.scheme.least_slope_deg:
            stable &= self._factor("slope", values) >= self.scheme.least_slope_deg
        if stable.any():
            self._add_stable(stable & ~self.ground.near.mask(window, touched=True), window, values)

    def presences(self, stack: FactorStack) -> pd.DataFrame:
        """Cells of landslides in random order, at most `MAX_PRESENCES`: landslide, row, col."""
        ground = self.ground
        whole = np.flatnonzero(ground.giving)
        if self.scheme.presence != "centroid":
            whole = np.setdiff1d(whole, list(self._rastered))
        single = self._single_cells(whole, stack)
        cells = self._thinned(pd.concat([*self._failed, single], ignore_index=True))
        return cells.drop_duplicates(["row", "col"]).nsmallest(MAX_PRESENCES, "key")

    def absences(self, wanted: int) -> pd.DataFrame:
        """Up to `wanted` unfailed cells, taken from each stratum in turn: row, col."""
        if self._stable is None:
            return pd.DataFrame({"row": [], "col": []}, dtype=np.int64)
        turn = self._stable.groupby("stratum").cumcount()
        return self._stable.assign(turn=turn).sort_values(["turn", "key"]).head(wanted)

    def _add_failed(
        self,
        mask: NDArray[np.bool_],
        numbers: NDArray[np.int32],
        window: Window,
        values: NDArray[np.float32],
    ) -> None:
        cells = self._cells(mask, window).assign(landslide=numbers[mask].astype(np.int64))
        if self.scheme.presence == "highest":
            cells["rank"] = -self._factor("elevation", values)[mask].astype(np.float64)
        else:
            cells["rank"] = cells["key"]
        if self.scheme.presence == "all":
            self._failed = [pd.concat([*self._failed, cells]).nsmallest(MAX_PRESENCES, "key")]
        else:
            self._failed.append(self._thinned(cells))

    def _thinned(self, cells: pd.DataFrame) -> pd.DataFrame:
        """The first cells of each landslide, as many as stand for one."""
        presence = self.scheme.presence
        if presence == "all":
            return cells
        ranked = cells.sort_values(["landslide", "rank", "key"])
        return ranked.groupby("landslide").head(presence if isinstance(presence, int) else 1)

    def _add_stable(
        self, mask: NDArray[np.bool_], window: Window, values: NDArray[np.float32]
    ) -> None:
        cells = self._cells(mask, window).assign(stratum=self._strata(mask, values))
        most = min(MAX_ABSENCES, max(LEAST_ABSENCES, round(self.scheme.ratio * MAX_PRESENCES)))
        if self._stable is not None:
            full = self._stable.groupby("stratum")["key"].agg(["size", "max"])
            bar = full["max"].where(full["size"] >= most, np.inf)
            cells = cells[cells["key"] < cells["stratum"].map(bar).fillna(np.inf)]
        together = pd.concat([self._stable, cells]).sort_values("key")
        self._stable = together.groupby("stratum").head(most)

    def _strata(self, mask: NDArray[np.bool_], values: NDArray[np.float32]) -> Any:
        if self.scheme.strata == "none":
            return 0
        factor = self._factor(self.scheme.strata, values)[mask]
        return np.floor(factor / STRATA[self.scheme.strata]).astype(np.int64)

    def _single_cells(self, numbers: NDArray[np.int64], stack: FactorStack) -> pd.DataFrame:
        """The known cell each of these landslides has its centre in, where no other lies there."""
        outlines = self.ground.failed.areas.iloc[numbers]
        centres = outlines.centroid.where(
            outlines.contains(outlines.centroid), outlines.representative_point()
        )
        cols, rows = ~stack.geobox.transform @ (centres.x.to_numpy(), centres.y.to_numpy())
        cells = pd.DataFrame(
            {
                "row": np.floor(rows).astype(np.int64),
                "col": np.floor(cols).astype(np.int64),
                "landslide": numbers,
            }
        )
        height, width = stack.geobox.shape
        cells = cells[cells["row"].between(0, height - 1) & cells["col"].between(0, width - 1)]
        cells = cells.drop_duplicates(["row", "col"])
        if self.scheme.presence != "centroid":
            cells = cells[~self._of_another(cells, stack)]
        values = stack.at(cells["row"].to_numpy(), cells["col"].to_numpy())
        cells = cells[np.isfinite(values).all(axis=1)]
        key = _keys(cells["row"].to_numpy(), cells["col"].to_numpy(), self.seed)
        return cells.assign(key=key, rank=key)

    def _of_another(self, cells: pd.DataFrame, stack: FactorStack) -> NDArray[np.bool_]:
        """Whether the centre of a cell lies in another landslide, which may give it too."""
        middles = stack.geobox.transform @ (cells["col"] + 0.5, cells["row"] + 0.5)
        tree = self.ground.failed.areas.sindex
        place, area = tree.query(gpd.points_from_xy(*middles), predicate="within")
        of_another = np.zeros(len(cells), dtype=bool)
        of_another[place[area != cells["landslide"].to_numpy()[place]]] = True
        return of_another

    def _factor(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        layer: NDArray[np.float32] = values[self.ground.names.index(name)]
        return layer

    def _cells(self, mask: NDArray[np.bool_], window: Window) -> pd.DataFrame:
        rows, cols = np.nonzero(mask)
        rows, cols = rows + window.row_off, cols + window.col_off
        return pd.DataFrame({"row": rows, "col": cols, "key": _keys(rows, cols, self.seed)})


def _keys(rows: NDArray[np.int64], cols: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number 0-1 for each cell, as good as random (splitmix64, Steele et al. 2014, OOPSLA)."""
    state = (rows.astype(np.uint64) << np.uint64(32) | cols.astype(np.uint64)) + np.uint64(
        (seed + 1) * 0x9E3779B97F4A7C15 % 2**64
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ state >> np.uint64(shift)) * np.uint64(factor)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)) / 2.0**53


def _steep(scheme: Scheme) -> str:
    return f", steeper than {scheme.least_slope_deg:g}°" if scheme.least_slope_deg else ""


def _samples(
    presences: pd.DataFrame, absences: pd.DataFrame, stack: FactorStack, halo: int
) -> Samples:
    cells = pd.concat([presences, absences.assign(landslide=ABSENCE)], ignore_index=True)
    rows, cols = cells["row"].to_numpy(np.int64), cells["col"].to_numpy(np.int64)
    easting, northing = stack.geobox.transform @ (cols + 0.5, rows + 0.5)
    return Samples(
        names=stack.names,
        x=stack.at(rows, cols, halo),
        y=np.arange(len(cells)) < len(presences),
        easting=easting,
        northing=northing,
        landslide=cells["landslide"].to_numpy(np.int64),
        categorical=frozenset(f.name for f in stack.factors if f.kind == "categorical"),
    )
