"""Rain in GeoTIFFs, one time step each: IMERG's, or any that say when and in what units."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tasks.errors import RasterError
from tasks.events.rain.series import Grid, RainStep, Reading, step_span
from tasks.events.rain.units import FILL, millimetres

SUFFIXES = (".tif", ".tiff")

_IMERG = re.compile(
    r"3IMERG\.(?P<day>\d{8})-S(?P<start>\d{6})-E(?P<end>\d{6})\.\d{4}\.V\d+[A-Z]?\.?(?P<what>.*)\."
    r"tiff?$",
    re.IGNORECASE,
)
_IMERG_SPANS_H = {"30min": 0.5, "3hr": 3.0, "1day": 24.0, "3day": 72.0, "7day": 168.0}
_IMERG_FILLS = (29999, 9999)
_DATE = re.compile(
    r"(?<!\d)(\d{4})[-._]?(\d{2})[-._]?(\d{2})(?:[-T_.]?(\d{2})[-:_.h]?(\d{2})(?:[-:_.]?(\d{2}))?Z?)?"
    r"(?!\d)"
)


def is_rain(path: Path) -> bool:
    """Whether a GeoTIFF may hold rain: IMERG's zips also hold its liquid and icy parts."""
    name = _IMERG.search(path.name)
    return not name or not re.search(r"liquid|ice", name["what"], re.IGNORECASE)


def read_steps(path: Path, reading: Reading) -> list[RainStep]:
    """The one time step of a GeoTIFF.

    Its units are those said, of its band, of its tag `units`, or IMERG's; its time is that in its
    name.

    Raises:
        RasterError: it cannot be read, is not georeferenced or does not say its units or time.
    """
    try:
        with rasterio.open(path) as source:
            if source.count != 1:
                raise RasterError(
                    f"{path} has {source.count} bands; give one file per time step, or NetCDF"
                )
            if source.crs is None or source.transform.is_identity:
                raise RasterError(f"{path} is not georeferenced; give it a CRS and a transform")
            grid = Grid(source.crs.to_wkt(), source.transform, source.height, source.width)
            units = reading.units or source.units[0] or _tag(source, "units") or _imerg_units(path)
            factor, is_rate = millimetres(units, str(path))
            factor, offset = factor * source.scales[0], factor * source.offsets[0]
    except RasterioError as error:
        raise RasterError(f"{path} cannot be read as a raster: {error}; fetch it again") from error
    start, end = _raster_span(path, reading)
    per_step = (end - start) / timedelta(hours=1) if is_rate else 1.0
    fills = _IMERG_FILLS if _IMERG.search(path.name) else ()

    def rows(first: int, last: int) -> NDArray[np.float32]:
        try:
            with rasterio.open(path) as source:
                window = Window(0, first, grid.columns, last - first)
                read = source.read(1, window=window, masked=True)
        except RasterioError as error:
            raise RasterError(f"{path} cannot be read: {error}; fetch it again") from error
        value = np.ma.filled(read.astype(np.float64), np.nan)
        value[(value <= FILL) | np.isin(value, fills)] = np.nan
        mm: NDArray[np.float32] = ((value * factor + offset) * per_step).astype(np.float32)
        return mm

    return [RainStep(start, end, grid, str(path), rows)]


def _tag(source: Any, name: str) -> str:
    tags = {key.lower(): value for key, value in (source.tags() | source.tags(1)).items()}
    return str(tags.get(name, ""))


def _imerg_units(path: Path) -> str:
    """What NASA's page of the IMERG GIS files gives: tenths of mm, or of mm/h in rate files."""
    name = _IMERG.search(path.name)
    if not name:
        return ""
    return "0.1 mm/h" if "rate" in name["what"].lower() else "0.1 mm"


def _raster_span(path: Path, reading: Reading) -> tuple[datetime, datetime]:
    if imerg := _IMERG.search(path.name):
        start, end = (_time_of(path, imerg["day"] + imerg[edge]) for edge in ("start", "end"))
        end += timedelta(seconds=1)
        span = next((h for key, h in _IMERG_SPANS_H.items() if key in imerg["what"].lower()), None)
        return (start if span is None else end - timedelta(hours=span)), end
    dates = _DATE.findall(path.name)
    if not dates:
        raise RasterError(f"{path} has no date in its name; name it such as rain_20230516T0600.tif")
    stamp = _time_of(path, "".join(dates[-1]).ljust(14, "0"))
    hours = reading.hours or (None if dates[-1][3] else 24.0)
    if hours is None:
        raise RasterError(f"{path} does not say how long its rain fell; say hours = 1")
    return step_span(stamp, hours, reading)


def _time_of(path: Path, digits: str) -> datetime:
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise RasterError(f"{path} has {digits} in its name, which is no time; mend it") from error
