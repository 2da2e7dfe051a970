"""Every rain file or folder as series of millimetres per time step.

What a file does not say (units, length of a step) is asked for, never guessed; nodata, fill values
and absent steps stay missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from tasks.errors import RasterError
from tasks.events.rain import gauge, geotiff, netcdf
from tasks.events.rain.series import RainSeries, RainStep, Reading, into_series, strips

# No rain was ever measured above these (WMO extremes: 1,825 mm in a day); a fill value, or a tenth
# of a millimetre taken for a whole one, is.
_MOST_MM_A_DAY = 2_000.0
# Packed numbers miss zero by less than this.
_ROUNDING_MM = 0.01
_READERS = {
    suffix: kind.read_steps for kind in (geotiff, netcdf, gauge) for suffix in kind.SUFFIXES
}


@dataclass(frozen=True)
class Rain:
    """What a path holds.

    Attributes:
        series: what has fallen.
        problems: a sentence on every file that cannot be used, and on steps passed over.
        ahead: whether steps were passed over because they lie in the future.
    """

    series: tuple[RainSeries, ...]
    problems: tuple[str, ...] = ()
    ahead: bool = False


def read_rain(path: Path, reading: Reading | None = None, until: datetime | None = None) -> Rain:
    """Read rain of any of the known kinds.

    - GeoTIFFs, one accumulation or rate each: IMERG's (`3B-HHR-L...1day.tif`: 0.1 mm, fill 29999 or
      9999, trailing accumulations that end with the name's half hour), or any whose band names its
      units and whose name holds its date.
    - NetCDF with latitude, longitude and time (IMERG's HDF5 and nc4 among them).
    - A CSV table of one gauge: a time, an amount whose column names its units
      (`rain_mm`), and `longitude`, `latitude` where known.
    - A folder of any of these.

    Steps of one length follow each other in one series. Accumulations that overlap (the last 24
    hours, every half hour) cannot be added, so each makes a series of its own.

    Args:
        path: a file or a folder.
        reading: what to take for granted where files do not say it.
        until: the watcher's clock; steps that end later have not happened.

    Returns:
        The series, and what is wrong with single files of a folder or with single steps.

    Raises:
        RasterError: the path, or the only file, cannot be used; or times repeat, jump or overlap
            in a way that leaves no series.
    """
    reading = reading or Reading()
    steps: list[RainStep] = []
    problems: list[str] = []
    paths = _files(path)
    for one in paths:
        try:
            steps += _checked(_READERS[one.suffix.lower()](one, reading))
        except RasterError as error:
            if len(paths) == 1:
                raise
            problems.append(str(error))
    ahead = [step for step in steps if until and step.end > until]
    if until and ahead:
        problems.append(
            f"{len(ahead)} time steps up to {max(step.end for step in ahead):%Y-%m-%dT%H:%MZ} lie "
            f"after the present ({until:%Y-%m-%dT%H:%MZ}), the first in {ahead[0].where}; they are "
            "passed over, check the clock and the times"
        )
        steps = [step for step in steps if step.end <= until]
    return Rain(tuple(into_series(steps)), tuple(problems), bool(ahead))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        known = [one for one in sorted(path.iterdir()) if one.suffix.lower() in _READERS]
        if rain := [one for one in known if geotiff.is_rain(one)]:
            return rain
        raise RasterError(f"{path} holds no rain: no GeoTIFF, NetCDF or CSV file")
    if not path.is_file():
        raise RasterError(f"{path} is no file or folder; give rain as GeoTIFF, NetCDF or CSV")
    if path.suffix.lower() not in _READERS:
        raise RasterError(
            f"{path} is no rain that can be read; its name must end in {', '.join(_READERS)}"
        )
    return [path]


def _checked(steps: list[RainStep]) -> list[RainStep]:
    """Refuse rain below zero or beyond belief before anything is computed from it."""
    for step in steps:
        most = _MOST_MM_A_DAY * max(1.0, step.hours / 24)
        for first, last in strips(step.grid, 1):
            rain = step.rows(first, last)
            if np.isnan(rain).all():
                continue
            low, high = float(np.nanmin(rain)), float(np.nanmax(rain))
            if low < -_ROUNDING_MM:
                raise RasterError(
                    f"{step.where} holds {low:g} mm of rain, which is below zero; declare its "
                    "nodata value or mend it"
                )
            if high > most:
                raise RasterError(
                    f"{step.where} holds {high:g} mm of rain in {step.hours:g} h, more than ever "
                    "fell; declare its nodata value or say its units"
                )
    return steps
