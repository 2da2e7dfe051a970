"""Samples from points that somebody else drew, with the factors beside them or in a raster."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from tasks.errors import PointsError, RasterError
from tasks.percent import percent
from tasks.susceptibility.point_table import PointTable, read_point_table
from tasks.susceptibility.sampling import ABSENCE, FEW_LANDSLIDES, Samples
from tasks.types import Doubt

_MOST_MISSING = 0.5
_MOST_CLASSES = 50
_LEAST_NUMBER = -1e30  # floats that stand for nodata lie below
_VOIDS = (-9999, -32767, -32768, -99999)  # stand for nodata whether or not a file says so


@dataclass(frozen=True)
class Points:
    """Labelled points with their factors, and what was not used.

    `crs` is what the coordinates were taken for. `left_out` counts points by the reason they are
    not used, `ignored` gives the reason for each column that is not. `groups` numbers the event or
    basin of each point, (n,), where the table tells it.
    """

    samples: Samples
    groups: NDArray[np.int64] | None
    crs: str
    left_out: dict[str, int]
    ignored: dict[str, str]
    doubts: tuple[Doubt, ...]


def read_points(
    path: Path,
    label: str,
    *,
    crs: str | None = None,
    raster: Path | None = None,
    factors: Sequence[str] = (),
    categorical: Collection[str] = (),
    group: str | None = None,
) -> Points:
    """Read points and their labels, with their factors from the table or from a raster.

    Args:
        path: CSV with coordinates and a label, see `read_point_table`.
        label: column that tells whether the ground failed.
        crs: CRS of the coordinates; by default EPSG:4326 where the columns are called longitude and
            latitude, else the raster's.
        raster: stack whose bands, named by their descriptions or else b1, b2 …, are factors.
        factors: bands and columns to use; by default every band, or without `raster` every column
            that tells neither the label nor the place. As many new names as there are bands, none
            of which is described, name the bands in order, with a doubt.
        categorical: factors whose numbers are classes; text is so in any case.
        group: column that names the event or basin of each point, which then is no factor.

    Returns:
        The points that have every factor, each once, in metres where their CRS is known.

    Raises:
        PointsError: the table cannot be used as asked.
        RasterError: the raster cannot be read, or no point lies on it.
    """
    table, in_order = read_point_table(path, label), False
    known_crs = _points_crs(crs, table)
    columns, inside = table.columns, np.ones(len(table.x), dtype=bool)
    default = [name for name in columns if name not in table.ignored and name != group]
    if raster is not None:
        with _opened(raster) as dataset:
            known_crs = known_crs or _crs_of(dataset)
            in_order = _named_in_order(dataset, factors, columns)
            bands, inside = _sampled(dataset, table, known_crs)
        if in_order:
            bands.columns = list(factors)
        columns = bands.join(columns.drop(columns=bands.columns, errors="ignore"))
        default = list(bands)
    names = [_known(name, columns, path) for name in factors] or default
    classes = {_known(name, columns, path) for name in categorical}
    ignored = {name: why for name, why in table.ignored.items() if name not in names}
    values = _numbers(columns.loc[inside, names], classes, ignored)
    values, doubts = _telling(values, path)
    x, y = _in_metres(table.x[inside], table.y[inside], known_crs)
    failed = table.failed[inside]
    complete = values.notna().all(axis=1).to_numpy()
    twice = complete & values.assign(failed=failed, x=x, y=y).duplicated().to_numpy()
    left_out = table.left_out | {
        "lying outside the raster": int((~inside).sum()),
        "a missing factor": int((~complete).sum()),
        "being in the table twice": int(twice.sum()),
    }
    kept = complete & ~twice
    groups = None
    if group is not None:
        named = table.columns[_known(group, table.columns, path)][inside][kept]
        groups = pd.factorize(named, sort=True, use_na_sentinel=False)[0].astype(np.int64)
    samples = _samples(values[kept], failed[kept], x[kept], y[kept], classes)
    _require_both(samples, path)
    return Points(
        samples,
        groups,
        known_crs.to_string() if known_crs else "not given, taken as metres",
        {why: points for why, points in left_out.items() if points},
        ignored,
        (*doubts, *_place_doubts(table, known_crs, in_order), *_point_doubts(samples, left_out)),
    )


def _points_crs(given: str | None, table: PointTable) -> CRS | None:
    if given is None and not table.in_degrees:
        return None
    try:
        crs = CRS.from_user_input(int(given) if given and given.isdigit() else given or "EPSG:4326")
    except CRSError as error:
        raise PointsError(
            f"{given!r} is no coordinate reference system; give an EPSG number such as 32717"
        ) from error
    if crs.is_geographic and (abs(table.x).max() > 360 or abs(table.y).max() > 90):
        raise PointsError(
            f"{table.path} holds coordinates up to {abs(table.x).max():g}, {abs(table.y).max():g}, "
            f"which are no degrees as {crs.to_string()} wants them; say their CRS with --crs"
        )
    return crs


@contextmanager
def _opened(raster: Path) -> Iterator[DatasetReader]:
    try:
        with rasterio.open(raster) as dataset:
            yield dataset
    except RasterioError as error:
        raise RasterError(
            f"raster {raster} cannot be read, it is missing or damaged: {error}"
        ) from error


def _crs_of(dataset: DatasetReader) -> CRS | None:
    return CRS.from_user_input(dataset.crs) if dataset.crs else None


def _sampled(
    dataset: DatasetReader, table: PointTable, crs: CRS | None
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Each band at each point, NaN where it has no data, and which points lie on the raster."""
    x, y, own = table.x, table.y, _crs_of(dataset)
    if crs and own and crs != own:
        x, y = Transformer.from_crs(crs, own, always_xy=True).transform(x, y)
    cols, rows = (np.floor(axis) for axis in ~dataset.transform @ (x, y))
    inside = (rows >= 0) & (rows < dataset.height) & (cols >= 0) & (cols < dataset.width)
    if not inside.any():
        west, south, east, north = dataset.bounds
        raise RasterError(
            f"none of the {len(x)} points lies on raster {dataset.name}, which covers "
            f"{west:g} to {east:g} and {south:g} to {north:g} while they lie at {x.min():g} to "
            f"{x.max():g} and {y.min():g} to {y.max():g}; say the points' CRS with --crs"
        )
    # in the order of the rows, a block of the raster is read once
    order = np.flatnonzero(inside)[np.argsort(rows[inside], kind="stable")]
    values = np.full((len(x), dataset.count), np.nan)
    for point, cell in zip(
        order, dataset.sample(zip(x[order], y[order], strict=True), masked=True), strict=True
    ):
        values[point] = np.ma.filled(cell.astype(np.float64), np.nan)
    values = values * dataset.scales + dataset.offsets
    names = [
        name if name and dataset.descriptions.count(name) == 1 else f"b{band}"
        for band, name in enumerate(dataset.descriptions, start=1)
    ]
    return pd.DataFrame(values, columns=names), inside


def _named_in_order(dataset: DatasetReader, names: Sequence[str], columns: pd.DataFrame) -> bool:
    """Whether names can only be meant for the bands of a raster that calls none by name."""
    taken = {*columns.columns.str.lower(), *(f"b{band}" for band in dataset.indexes)}
    new = len(names) == dataset.count and not taken & {name.lower() for name in names}
    return new and not any(dataset.descriptions)


def _known(name: str, columns: pd.DataFrame, path: Path) -> str:
    alike = [column for column in columns if column.lower() == name.lower()]
    if name not in columns.columns and len(alike) != 1:
        raise PointsError(
            f"{name!r} is no column of {path} and no band; there are "
            f"{', '.join(map(str, columns.columns))}"
        )
    return name if name in columns.columns else alike[0]


def _numbers(columns: pd.DataFrame, classes: set[str], ignored: dict[str, str]) -> pd.DataFrame:
    """Columns as float64, NaN where missing; text becomes classes or is ignored."""
    values = {}
    for name, column in columns.items():
        numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
        if numbers.notna().sum() >= column.notna().sum() / 2:
            told = np.isfinite(numbers) & (numbers > _LEAST_NUMBER) & ~numbers.isin(_VOIDS)
            values[name] = numbers.where(told)
        elif column.nunique() <= min(_MOST_CLASSES, len(column) / 2):
            codes = pd.Series(pd.Categorical(column).codes, column.index, dtype=np.float64)
            values[name] = codes.where(codes >= 0)
            classes.add(name)
        else:
            ignored[name] = f"text with {column.nunique()} different values"
    return pd.DataFrame(values, index=columns.index)


def _telling(values: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[Doubt]]:
    """The factors that can tell something, and a doubt for each that cannot."""
    doubts = []
    for name, column in values.items():
        missing = column.isna().mean()
        if missing > _MOST_MISSING:
            why = f"{percent(missing)} of the points have no value"
        elif column.nunique() < 2:
            why = "it is the same everywhere"
        else:
            continue
        doubts.append(Doubt("factor-left-out", f"factor {name} is left out: {why}"))
        values = values.drop(columns=name)
    if values.empty:
        reasons = "; ".join(doubt.text for doubt in doubts) or "no column is left to be one"
        raise PointsError(f"{path} gives no factor to learn from: {reasons}")
    return values, doubts


def _in_metres(
    x: NDArray[np.float64], y: NDArray[np.float64], crs: CRS | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates in degrees or feet laid out around their middle; metres as they are."""
    if crs is None or (crs.is_projected and crs.axis_info[0].unit_name == "metre"):
        return x, y
    lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    # of degrees on both sides of the antimeridian, the middle lies there and not at Greenwich
    east = np.median((lon - lon[0] + 180) % 360 - 180) + lon[0]
    around = f"+proj=aeqd +lon_0={east} +lat_0={np.median(lat)}"
    return tuple(Transformer.from_crs(crs, around, always_xy=True).transform(x, y))


def _samples(
    values: pd.DataFrame,
    failed: NDArray[np.bool_],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    classes: set[str],
) -> Samples:
    # points of one place are one landslide, whatever folds are drawn
    place = np.unique(np.column_stack([x, y]), axis=0, return_inverse=True)[1].ravel()
    return Samples(
        names=tuple(values.columns),
        x=values.to_numpy(dtype=np.float32),
        y=failed,
        easting=x,
        northing=y,
        landslide=np.where(failed, place, ABSENCE),
        categorical=frozenset(classes & set(values.columns)),
    )


def _require_both(samples: Samples, path: Path) -> None:
    if not 0 < samples.y.sum() < len(samples.y):
        found = f"all {len(samples.y)} usable points are labelled {str(samples.y.any()).lower()}"
        raise PointsError(f"{path}: {found}; both landslides and stable ground are needed")


def _place_doubts(table: PointTable, crs: CRS | None, in_order: bool) -> Iterator[Doubt]:
    if in_order:
        text = "the raster describes none of its bands; they were named in the order of --factors"
        yield Doubt("bands-named-in-order", text)
    if crs is None and abs(table.x).max() <= 180 and abs(table.y).max() <= 90:
        text = (
            f"coordinates {table.x.min():g} to {table.x.max():g}, {table.y.min():g} to "
            f"{table.y.max():g} look like degrees and were taken as metres; say --crs 4326"
        )
        yield Doubt("crs-not-given", text)


def _point_doubts(samples: Samples, left_out: dict[str, int]) -> Iterator[Doubt]:
    for why, points in left_out.items():
        if points:
            yield Doubt("samples-left-out", f"points left out because of {why}: {points}")
    if samples.landslides < FEW_LANDSLIDES:
        text = f"only {samples.landslides} landslides were there to learn from; do not lean on it"
        yield Doubt("few-landslides", text)
