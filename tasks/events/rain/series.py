"""Rain step by step: the records that reading a file makes, and how steps become a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tasks.errors import RasterError

# A series with more steps absent than this, for one that is there, is none.
_MOST_ABSENT = 20

Stamp = Literal["start", "end"]
Rows = Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Reading:
    """What an operator says of rain files where they do not say it themselves.

    Attributes:
        units: such as `mm`, `0.1 mm` or `mm/h`; overrides what a file says.
        hours: length of a time step.
        stamp: whether a time names the start or the end of its step. Without it, a step of whole
            days stamped at midnight starts there (a date names its day); any other ends there.
        variable: name of the rain in a NetCDF file or of the column of a table.
    """

    units: str = ""
    hours: float | None = None
    stamp: Stamp | None = None
    variable: str = ""


@dataclass(frozen=True)
class Grid:
    """Where the cells lie. A gauge is one cell at a point.

    Attributes:
        crs: WKT.
        transform: of the cells' corners, north up.
        rows: cells from north to south.
        columns: cells from west to east.
        gauge: longitude and latitude of a gauge, empty where its place is not known; None for
            rasters.
    """

    crs: str
    transform: Affine
    rows: int
    columns: int
    gauge: tuple[float, ...] | None = None


@dataclass(frozen=True)
class RainStep:
    """The rain of one time step, read by rows: `rows(first, last)` gives mm, NaN where missing."""

    start: datetime
    end: datetime
    grid: Grid
    where: str
    rows: Rows

    @property
    def hours(self) -> float:
        """Length of the step."""
        return (self.end - self.start) / timedelta(hours=1)


@dataclass(frozen=True)
class RainSeries:
    """Rain of equal steps, one after the other, on one grid; None stands for an absent step."""

    grid: Grid
    start: datetime
    step_h: float
    steps: tuple[RainStep | None, ...]

    @property
    def end(self) -> datetime:
        """End of the last step, UTC."""
        return self.start + timedelta(hours=self.step_h * len(self.steps))

    @property
    def where(self) -> str:
        """The files it was read from."""
        files = [step.where for step in self.steps if step is not None]
        return files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"

    def read(self, first: int, last: int) -> NDArray[np.float32]:
        """Rain in mm of rows `first` to before `last`, (steps, rows, columns), NaN if missing."""
        rain = np.full((len(self.steps), last - first, self.grid.columns), np.nan, np.float32)
        for number, step in enumerate(self.steps):
            if step is not None:
                rain[number] = step.rows(first, last)
        return rain


def strips(grid: Grid, steps: int, most_bytes: int = 64 << 20) -> Iterator[tuple[int, int]]:
    """Rows to read together so that all steps of them stay within some bytes of float32."""
    rows = max(1, most_bytes // (4 * grid.columns * max(1, steps)))
    for first in range(0, grid.rows, rows):
        yield first, min(first + rows, grid.rows)


def into_series(steps: Sequence[RainStep]) -> Iterator[RainSeries]:
    """Order steps of one grid and length into series.

    Raises:
        RasterError: two tell of the same time, or the times jump.
    """
    groups: dict[Hashable, list[RainStep]] = defaultdict(list)
    for step in steps:
        groups[step.grid, round(step.hours * 3600)].append(step)
    for group in groups.values():
        ordered = sorted(group, key=lambda step: step.start)
        for one, two in pairwise(ordered):
            if one.start == two.start:
                raise RasterError(
                    f"{one.where} and {two.where} both tell of {one.start:%Y-%m-%dT%H:%MZ}; keep "
                    "one of them"
                )
        if any(two.start < one.end for one, two in pairwise(ordered)):
            for step in ordered:
                yield RainSeries(step.grid, step.start, step.hours, (step,))
        else:
            yield _regular(ordered)


def _regular(steps: Sequence[RainStep]) -> RainSeries:
    first, length = steps[0], steps[0].end - steps[0].start
    places = [(step.start - first.start) / length for step in steps]
    for step, place in zip(steps, places, strict=True):
        if abs(place - round(place)) > 1e-6:
            raise RasterError(
                f"{step.where} starts at {step.start:%Y-%m-%dT%H:%M:%SZ}, which is no whole number "
                f"of {first.hours:g} h steps after {first.start:%Y-%m-%dT%H:%M:%SZ}; mend the times"
            )
    if places[-1] > _MOST_ABSENT * len(steps):
        raise RasterError(
            f"{steps[-1].where} comes {(steps[-1].start - first.start).days} days after "
            f"{first.where} with hardly a time step between; read them apart"
        )
    found = {round(place): step for place, step in zip(places, steps, strict=True)}
    slots = tuple(found.get(number) for number in range(max(found) + 1))
    return RainSeries(first.grid, first.start, first.hours, slots)


def step_span(stamp: datetime, hours: float, reading: Reading) -> tuple[datetime, datetime]:
    """Start and end of the step that a time stands for."""
    midnight = stamp.hour == stamp.minute == stamp.second == 0
    a_day = midnight and hours % 24 == 0
    length = timedelta(hours=hours)
    if (reading.stamp or ("start" if a_day else "end")) == "start":
        return stamp, stamp + length
    return stamp - length, stamp


def spacing_h(times: Sequence[datetime], reading: Reading, where: str) -> float:
    """Length of a step: as said, or the least time between two of a row.

    Raises:
        RasterError: there is but one time and nothing is said.
    """
    if reading.hours is not None:
        return reading.hours
    if len(times) < 2:
        raise RasterError(f"{where} does not say how long its rain fell; say hours = 24")
    return min(two - one for one, two in pairwise(times)) / timedelta(hours=1)


def check_forward(times: Iterable[datetime], where: str) -> None:
    """Refuse times that repeat or go back.

    Raises:
        RasterError: they do.
    """
    for one, two in pairwise(times):
        if two <= one:
            what = "repeats" if two == one else "goes back from"
            raise RasterError(f"{where}: its time {what} {one:%Y-%m-%dT%H:%M:%SZ}; mend the times")
