"""Rain in NetCDF over time, latitude and longitude, in any order; IMERG's HDF5 among them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas
import rasterio
import xarray
from affine import Affine
from numpy.typing import NDArray

from tasks.errors import RasterError
from tasks.events.rain.series import Grid, RainStep, Reading, check_forward, spacing_h, step_span
from tasks.events.rain.units import FILL, RAIN_NAMES, millimetres

SUFFIXES = (".nc", ".nc4", ".cdf", ".h5", ".hdf5")


def read_steps(path: Path, reading: Reading) -> list[RainStep]:
    """Every time step of a NetCDF file, of its time bounds where it has some.

    Raises:
        RasterError: it cannot be read, or its rain, grid, time or units cannot be told.
    """
    data = _open(path)
    rain = _variable(data, path, reading)
    spans = _spans(data, rain, path, reading)
    factor, is_rate = millimetres(
        reading.units or str(rain.attrs.get("units", "")), f"{path}, {rain.name}"
    )
    rain = _north_up(rain, path)
    grid = _grid(rain, path)
    return [
        RainStep(
            start,
            end,
            grid,
            f"{path}, {start:%Y-%m-%dT%H:%MZ}",
            _Rows(
                path, rain[number], factor * ((end - start) / timedelta(hours=1) if is_rate else 1)
            ),
        )
        for number, (start, end) in enumerate(spans)
    ]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Reads rows of one time, which stays in its file until then, in mm."""

    path: Path
    rain: xarray.DataArray
    factor: float

    def __call__(self, first: int, last: int) -> NDArray[np.float32]:
        try:
            value = self.rain[first:last].to_numpy().astype(np.float64)
        except (OSError, RuntimeError) as error:
            raise RasterError(f"{self.path} cannot be read: {error}; fetch it again") from error
        value[value <= FILL] = np.nan
        mm: NDArray[np.float32] = (value * self.factor).astype(np.float32)
        return mm


def _open(path: Path) -> xarray.Dataset:
    """Open a file, or the group of it that IMERG's HDF5 keeps its grid in."""
    try:
        data = xarray.open_dataset(path, engine="netcdf4", decode_timedelta=False)
        if data.data_vars:
            return data
        data.close()
        return xarray.open_dataset(path, group="Grid", engine="netcdf4", decode_timedelta=False)
    except (OSError, ValueError) as error:
        raise RasterError(f"{path} cannot be read as NetCDF: {error}; fetch it again") from error


def _variable(data: xarray.Dataset, path: Path, reading: Reading) -> xarray.DataArray:
    if reading.variable:
        if reading.variable not in data:
            names = ", ".join(map(str, data.data_vars))
            raise RasterError(f"{path} has no variable {reading.variable!r}; it has {names}")
        return data[reading.variable]
    gridded = [data[name] for name in data.data_vars if _axis(data[name], "lat") is not None]
    rain = [one for one in gridded if RAIN_NAMES.search(f"{one.name}")] or [
        one for one in gridded if RAIN_NAMES.search(str(one.attrs.get("standard_name", "")))
    ]
    found = rain or (gridded if len(gridded) == 1 else [])
    exact = [one for one in found if one.name in ("precipitation", "precipitationCal")]
    if len(exact or found) != 1:
        names = ", ".join(str(one.name) for one in found or gridded) or "none over lat and lon"
        raise RasterError(f"{path}: which variable is the rain ({names})? say variable = ...")
    return (exact or found)[0]


def _axis(rain: xarray.DataArray, kind: Literal["lat", "lon"]) -> str | None:
    """The dimension that holds latitudes, or longitudes."""
    word, unit = {"lat": ("latitude", "degrees_north"), "lon": ("longitude", "degrees_east")}[kind]
    for name in map(str, rain.dims):
        axis = rain.coords.get(name)
        if name.lower() in (kind, word) or (axis is not None and axis.attrs.get("units") == unit):
            return name
    return None


def _north_up(rain: xarray.DataArray, path: Path) -> xarray.DataArray:
    """The variable as (time, latitude, longitude) from north to south; one time if it had none."""
    lat, lon = _axis(rain, "lat"), _axis(rain, "lon")
    others = [name for name in rain.dims if name not in (lat, lon)]
    if lat is None or lon is None or len(others) > 1:
        raise RasterError(
            f"{path}: {rain.name} has dimensions {', '.join(map(str, rain.dims))}; give it time, "
            "latitude and longitude"
        )
    if not others:
        rain, others = rain.expand_dims("time"), ["time"]
    rain = rain.transpose(*others, lat, lon)
    return rain[:, ::-1] if rain[lat][0] < rain[lat][-1] else rain


def _grid(rain: xarray.DataArray, path: Path) -> Grid:
    _, lat, lon = rain.dims
    (north, dy), (west, dx) = (_regular_axis(rain[name], path) for name in (lat, lon))
    transform = Affine(dx, 0, west - dx / 2, 0, dy, north - dy / 2)
    wgs84 = rasterio.CRS.from_epsg(4326).to_wkt()
    return Grid(wgs84, transform, rain.sizes[lat], rain.sizes[lon])


def _regular_axis(axis: xarray.DataArray, path: Path) -> tuple[float, float]:
    """First value and spacing of an axis of equal steps."""
    values = axis.to_numpy().astype(np.float64)
    steps = np.diff(values)
    if not len(steps) or steps[0] == 0 or np.ptp(steps) > abs(steps[0]) / 100:
        raise RasterError(f"{path}: {axis.name} is not evenly spaced; resample it to a grid")
    return float(values[0]), float(np.mean(steps))


def _spans(
    data: xarray.Dataset, rain: xarray.DataArray, path: Path, reading: Reading
) -> list[tuple[datetime, datetime]]:
    others = [name for name in rain.dims if name not in (_axis(rain, "lat"), _axis(rain, "lon"))]
    name = others[0] if others else "time"
    if name not in data.coords or np.issubdtype(data[name].dtype, np.number):
        raise RasterError(f"{path}: {name} is no time in CF conventions; say since when it counts")
    times = [_moment(value) for value in np.atleast_1d(data[name].to_numpy())]
    where = f"{path}, {name}"
    check_forward(times, where)
    bounds = data[name].attrs.get("bounds") or data[name].encoding.get("bounds")
    if bounds in data and reading.hours is None and reading.stamp is None:
        edges = data[bounds].to_numpy().reshape(len(times), 2)
        return [(_moment(start), _moment(end)) for start, end in edges]
    hours = spacing_h(times, reading, where)
    return [step_span(time, hours, reading) for time in times]


def _moment(value: Any) -> datetime:
    """A time of numpy or of cftime, which for these years differs by its calendar's name only."""
    moment = pandas.Timestamp(value.isoformat() if hasattr(value, "isoformat") else value)
    return moment.round("s").to_pydatetime().replace(tzinfo=UTC)  # type: ignore[no-any-return]
