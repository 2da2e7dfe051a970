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
from tasks.events.rain.units import RAIN_NAMES, millimetres

SUFFIXES = (".nc", ".nc4", ".cdf", ".h5", ".hdf5")


def read_steps(path: Path, reading: Reading) -> list[RainStep]:
    """Every time step of a NetCDF file, of its time bounds where it has some.

    Raises:
        RasterError: it cannot be read, or its rain, grid, time or units cannot be told.
    """
    data = _open_netcdf(path)
    try:
        rain = _variable(data, path, reading)
        grid, flipped = _netcdf_grid(rain, path)
        spans = _netcdf_spans(data, rain, path, reading)
        units = reading.units or str(rain.attrs.get("units", ""))
        factor, is_rate = millimetres(units, f"{path}, {rain.name}")
        name, in_group = str(rain.name), str(data.encoding.get("group") or "")
    finally:
        data.close()
    return [
        RainStep(
            start,
            end,
            grid,
            f"{path}, {start:%Y-%m-%dT%H:%MZ}",
            _NetcdfRows(
                path,
                in_group,
                name,
                number,
                flipped,
                grid.rows,
                factor * ((end - start) / timedelta(hours=1) if is_rate else 1.0),
            ),
        )
        for number, (start, end) in enumerate(spans)
    ]


@dataclass(frozen=True)
class _NetcdfRows:
    """Reads rows of one time of a variable, north to south, in mm."""

    path: Path
    group: str
    variable: str
    number: int
    flipped: bool
    height: int
    factor: float

    def __call__(self, first: int, last: int) -> NDArray[np.float32]:
        with _open_netcdf(self.path, self.group) as data:
            rain = _north_up(data[self.variable])
            window = (
                slice(self.height - last, self.height - first)
                if self.flipped
                else slice(first, last)
            )
            value = rain.isel({rain.dims[0]: self.number, rain.dims[1]: window}).to_numpy()
        mm: NDArray[np.float32] = (value.astype(np.float64) * self.factor).astype(np.float32)
        return mm[::-1] if self.flipped else mm


def _open_netcdf(path: Path, group: str = "") -> xarray.Dataset:
    """Open a file, or the group of it that IMERG's HDF5 keeps its grid in."""
    try:
        data = xarray.open_dataset(
            path, group=group or None, engine="netcdf4", decode_timedelta=False
        )
        if not data.data_vars and not group:
            data.close()
            data = xarray.open_dataset(path, group="Grid", engine="netcdf4", decode_timedelta=False)
            group = "Grid"
    except (OSError, ValueError) as error:
        raise RasterError(f"{path} cannot be read as NetCDF: {error}; fetch it again") from error
    data.encoding["group"] = group
    return data


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


def _north_up(rain: xarray.DataArray) -> xarray.DataArray:
    """The variable as (time, latitude, longitude); a missing time becomes one of length 1."""
    lat, lon = _axis(rain, "lat"), _axis(rain, "lon")
    others = [name for name in rain.dims if name not in (lat, lon)]
    if not others:
        rain, others = rain.expand_dims("time"), ["time"]
    return rain.transpose(*others, lat, lon)


def _netcdf_grid(rain: xarray.DataArray, path: Path) -> tuple[Grid, bool]:
    lat, lon = _axis(rain, "lat"), _axis(rain, "lon")
    if lat is None or lon is None or rain.ndim > 3:
        raise RasterError(
            f"{path}: {rain.name} has dimensions {', '.join(map(str, rain.dims))}; give it time, "
            "latitude and longitude"
        )
    (south_first, dy), (west, dx) = (_regular_axis(rain[name], path) for name in (lat, lon))
    flipped = dy > 0
    north = south_first + dy * (rain.sizes[lat] - 1) if flipped else south_first
    transform = Affine(dx, 0, west - dx / 2, 0, -abs(dy), north + abs(dy) / 2)
    return Grid(
        rasterio.CRS.from_epsg(4326).to_wkt(), transform, rain.sizes[lat], rain.sizes[lon]
    ), flipped


def _regular_axis(axis: xarray.DataArray, path: Path) -> tuple[float, float]:
    """First value and spacing of an axis of equal steps."""
    values = axis.to_numpy().astype(np.float64)
    steps = np.diff(values)
    if not len(steps) or steps[0] == 0 or np.ptp(steps) > abs(steps[0]) / 100:
        raise RasterError(f"{path}: {axis.name} is not evenly spaced; resample it to a grid")
    return float(values[0]), float(np.mean(steps))


def _netcdf_spans(
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
