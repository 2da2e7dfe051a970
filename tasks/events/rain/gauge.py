"""Rain of one gauge, in a CSV table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas
from affine import Affine

from tasks.errors import RasterError
from tasks.events.rain.series import (
    Grid,
    RainStep,
    Reading,
    Rows,
    check_forward,
    spacing_h,
    step_span,
)
from tasks.events.rain.units import FILL, RAIN_NAMES, millimetres

SUFFIXES = (".csv",)
_MISSING_TEXTS = ("", "na", "n/a", "nan", "null", "none", "-", "--", "---")


def read_steps(path: Path, reading: Reading) -> list[RainStep]:
    """Every row of a table with a column of times, one of rain, and perhaps a place.

    The name of the column of rain holds its units (`rain_mm`, `precipitation mm/h`); a time
    without a zone is UTC.

    Raises:
        RasterError: a column, time or amount is missing or malformed, or times do not go forward.
    """
    try:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False, comment="#")
    except (OSError, ValueError) as error:
        raise RasterError(f"{path} cannot be read as a table: {error}; export it again") from error
    names = {str(name).strip().lower(): str(name) for name in table.columns}
    time = next((names[n] for n in names if re.search(r"time|date|utc", n)), None)
    rain = reading.variable or next((names[n] for n in names if RAIN_NAMES.search(n)), "")
    if time is None or rain not in table or table.empty:
        raise RasterError(
            f"{path} needs a column of times and one of rain, such as time,rain_mm; it has "
            f"{', '.join(map(str, table.columns))}"
        )
    times = [_table_time(text, f"{path}, row {n}") for n, text in enumerate(table[time], start=2)]
    check_forward(times, str(path))
    hours = spacing_h(times, reading, str(path))
    units = reading.units or re.sub(r"(?i).*(rain|precip|prcp)[a-z]*[\s_]*", "", rain)
    factor, is_rate = millimetres(units, f"{path}, column {rain}")
    factor *= hours if is_rate else 1.0
    grid = _gauge(table, names, path)
    return [
        RainStep(
            *step_span(moment, hours, reading), grid, f"{path}, row {n}", _one(amount * factor)
        )
        for n, (moment, amount) in enumerate(
            zip(times, _amounts(table[rain], path), strict=True), start=2
        )
    ]


def _one(amount_mm: float) -> Rows:
    return lambda first, last: np.full((last - first, 1), amount_mm, np.float32)


def _table_time(text: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise RasterError(f"{where}: {text!r} is not a time in ISO 8601; mend it") from error
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return aware.astimezone(UTC)


def _amounts(column: Iterable[str], path: Path) -> Iterator[float]:
    for number, text in enumerate(column, start=2):
        if text.strip().lower() in _MISSING_TEXTS:
            yield math.nan
            continue
        try:
            yield math.nan if float(text) <= FILL else float(text)
        except ValueError as error:
            raise RasterError(
                f"{path}, row {number}: {text!r} is no amount of rain; leave it empty if missing"
            ) from error


def _gauge(table: pandas.DataFrame, names: dict[str, str], path: Path) -> Grid:
    place = []
    for kind in ("lon", "lat"):
        column = next((names[name] for name in names if name.startswith(kind)), None)
        if column is None:
            continue
        given = set(table[column])
        if len(given) > 1:
            raise RasterError(f"{path} tells of {len(given)} places; give one file for each gauge")
        try:
            place.append(float(given.pop()))
        except ValueError as error:
            raise RasterError(f"{path}: its {column} is not in degrees; mend it") from error
    gauge = tuple(place) if len(place) == 2 else ()
    return Grid("EPSG:4326", Affine.identity(), 1, 1, gauge)
