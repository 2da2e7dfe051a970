"""A CSV of labelled points, as different programs write them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.errors import PointsError

# Easting and northing as tables call them, in lower case; the first pair found is taken.
COORDINATES = (
    ("x", "y"),
    ("easting", "northing"),
    ("utm_x", "utm_y"),
    ("utmx", "utmy"),
    ("coord_x", "coord_y"),
    ("coords.x1", "coords.x2"),
    ("point_x", "point_y"),
    ("xcoord", "ycoord"),
    ("lon", "lat"),
    ("longitude", "latitude"),
    ("long", "lat"),
    ("lng", "lat"),
)
_DEGREES = {"lon", "longitude", "long", "lng"}
_IDENTIFIERS = {"id", "fid", "ogc_fid", "objectid", "index", "rowid", "row", "no", "point_id"}
_LABELS = {
    **dict.fromkeys(("true", "t", "1", "1.0", "yes", "y"), True),
    **dict.fromkeys(("false", "f", "0", "0.0", "no", "n"), False),
}


@dataclass(frozen=True)
class PointTable:
    """The rows of a table that have a label and a place.

    `failed`, `x` and `y` are (n,); `columns` are all others but those in `ignored`, which gives the
    reason for each. `in_degrees` tells that the coordinates are called longitude and latitude.
    `left_out` counts rows by the reason they are not here.
    """

    path: Path
    failed: NDArray[np.bool_]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    in_degrees: bool
    columns: pd.DataFrame
    ignored: dict[str, str]
    left_out: dict[str, int]


def read_point_table(path: Path, label: str) -> PointTable:
    """Read a table of points, separated by commas, semicolons, tabs or blanks.

    Args:
        path: text with a header; coordinates are named as in `COORDINATES`.
        label: column of true/false, 1/0 or yes/no: whether the ground failed.

    Raises:
        PointsError: the file cannot be read, or the label or a coordinate is missing or is not
            what it must be.
    """
    table = _parse(path)
    label = _named(table, label, path)
    x_name, y_name = _coordinate_columns(table, path)
    x, y = (_coordinate(table[name], path) for name in (x_name, y_name))
    labels = _labels(table[label], path)
    labelled, placed = labels.notna().to_numpy(), np.isfinite(x) & np.isfinite(y)
    here = labelled & placed
    columns = table.drop(columns=[label, x_name, y_name])
    ignored = {name: why for name in columns if (why := _no_factor(columns[name]))}
    left_out = {
        "a missing label": int((~labelled).sum()),
        "missing coordinates": int((labelled & ~placed).sum()),
    }
    return PointTable(
        path,
        labels[here].to_numpy(dtype=bool),
        x[here],
        y[here],
        x_name.lower() in _DEGREES,
        columns[here].reset_index(drop=True),
        ignored,
        {why: rows for why, rows in left_out.items() if rows},
    )


def _parse(path: Path) -> pd.DataFrame:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise PointsError(f"the table of points {path} cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise PointsError(f"{path} is no text table; save the points as CSV")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator if separator in header else r"\s+",
            decimal="," if separator == ";" and re.search(r"\d,\d", text) else ".",
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise PointsError(f"the table of points {path} cannot be read: {error}") from error
    if table.empty:
        raise PointsError(f"the table of points {path} holds no row")
    return table.rename(columns=lambda name: str(name).strip())


def _named(table: pd.DataFrame, name: str, path: Path) -> str:
    """A column by its name, whose case matters only where it must."""
    alike = [column for column in table if column.lower() == name.lower()]
    if name not in table.columns and len(alike) != 1:
        raise PointsError(f"{path} has no column {name!r}; it has {', '.join(table.columns)}")
    return name if name in table.columns else alike[0]


def _coordinate_columns(table: pd.DataFrame, path: Path) -> tuple[str, str]:
    by_name = {column.lower(): column for column in table}
    by_name |= {column: column for column in table}  # R calls row numbers X beside its x
    for east, north in COORDINATES:
        if east in by_name and north in by_name:
            return by_name[east], by_name[north]
    raise PointsError(
        f"{path} has no pair of coordinate columns such as x and y or lon and lat; it has "
        f"{', '.join(table.columns)}: rename two of them"
    )


def _coordinate(column: pd.Series, path: Path) -> NDArray[np.float64]:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PointsError(
            f"{path}: column {column.name!r} holds '{column.iloc[row]}' in row {row + 1}, which is "
            "no coordinate"
        )
    return np.asarray(numbers, dtype=np.float64)


def _labels(column: pd.Series, path: Path) -> pd.Series:
    """True, False, or missing where the table has nothing."""
    text = column.astype("object").map(lambda value: str(value).strip().lower(), na_action="ignore")
    labels = text.map(_LABELS)
    wrong = labels.isna() & text.notna()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PointsError(
            f"{path}: column {column.name!r} holds '{column.iloc[row]}' in row {row + 1}; a label "
            "is true or false, 1 or 0, yes or no"
        )
    return labels


def _no_factor(column: pd.Series) -> str:
    """Why a column can be no factor, or nothing: places and row numbers tell where, not why."""
    name = str(column.name).lower()
    if any(name in pair for pair in COORDINATES):
        return "another coordinate"
    values = column.to_numpy()
    whole = pd.api.types.is_integer_dtype(column)
    counts_up = len(values) > 2 and whole and bool((np.diff(values) == 1).all())
    if counts_up or name.startswith("unnamed: ") or (name in _IDENTIFIERS and column.is_unique):
        return "row numbers"
    return ""
