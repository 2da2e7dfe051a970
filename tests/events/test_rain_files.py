from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import xarray
from affine import Affine

from tasks.errors import RasterError
from tasks.events.rain.files import read_rain
from tasks.events.rain.series import Reading
from tasks.events.rain.units import millimetres

IMERG = "3B-HHR-L.MS.MRG.3IMERG.20230516-S{start}-E{end}.0360.V07B.{what}.tif"
HOURLY = [f"2023-05-16T{hour:02d}:00" for hour in range(1, 5)]


def write_tif(path, values, west=11.0, north=45.0, units=None, nodata=None, crs="EPSG:4326"):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=Affine(0.1, 0, west, 0, -0.1, north),
        nodata=nodata,
    ) as tif:
        tif.write(values, 1)
        if units:
            tif.set_band_unit(1, units)
    return path


def dataset(mm, times, units="mm", lat=(44.05, 44.15), lon=(11.05, 11.15, 11.25), name="rain"):
    return xarray.Dataset(
        {name: (("time", "lat", "lon"), np.asarray(mm, np.float32), {"units": units})},
        {"time": np.array(times, "M8[ns]"), "lat": list(lat), "lon": list(lon)},
    )


def rain_of(path, reading=None):
    (series,) = read_rain(path, reading).series
    return series, series.read(0, series.grid.rows)


def at(hour, day=16, minute=0):
    return datetime(2023, 5, day, hour, minute, tzinfo=UTC)


# GeoTIFF: made here in the layout of NASA's IMERG GIS files, of which no sample may be shipped


def test_imerg_is_tenths_of_millimetres_with_a_fill_value_of_its_own(tmp_path):
    tenths = np.array([[15, 0, 29999, 9999]], np.uint16)
    name = IMERG.format(start="060000", end="062959", what="30min")
    series, mm = rain_of(write_tif(tmp_path / name, tenths))
    assert (series.start, series.step_h) == (at(6), 0.5)
    np.testing.assert_array_equal(mm[0, 0], np.float32([1.5, 0, np.nan, np.nan]))


@pytest.mark.parametrize(
    ("what", "start", "hours", "mm"),
    [
        ("3hr", at(3, minute=30), 3, 1.5),
        ("1day", at(6, day=15, minute=30), 24, 1.5),
        ("total.accum", at(6), 0.5, 1.5),
        ("total.rate", at(6), 0.5, 0.75),
    ],
)
def test_imerg_names_say_how_long_a_sum_took_and_whether_it_is_a_rate(
    tmp_path, what, start, hours, mm
):
    name = IMERG.format(start="060000", end="062959", what=what)
    series, rain = rain_of(write_tif(tmp_path / name, np.array([[15]], np.uint16)))
    assert (series.start, series.step_h, rain[0, 0, 0]) == (start, hours, np.float32(mm))


def test_half_hours_of_a_folder_follow_each_other_and_an_absent_one_is_missing(tmp_path):
    for start, end in (("060000", "062959"), ("063000", "065959"), ("073000", "075959")):
        name = IMERG.format(start=start, end=end, what="30min")
        write_tif(tmp_path / name, np.array([[10]], np.uint16))
    liquid = IMERG.format(start="060000", end="062959", what="30min.liquid")
    write_tif(tmp_path / liquid, np.array([[99]], np.uint16))
    series, mm = rain_of(tmp_path)
    assert (series.start, series.end) == (at(6), at(8))
    np.testing.assert_array_equal(mm[:, 0, 0], np.float32([1, 1, np.nan, 1]))


def test_sums_over_the_last_day_that_overlap_are_never_added(tmp_path):
    for start, end in (("060000", "062959"), ("063000", "065959")):
        name = IMERG.format(start=start, end=end, what="1day")
        write_tif(tmp_path / name, np.array([[900]], np.uint16))
    assert [len(series.steps) for series in read_rain(tmp_path).series] == [1, 1]


def test_two_files_of_one_time_are_refused(tmp_path):
    for version in "BC":
        name = IMERG.format(start="060000", end="062959", what="30min").replace(
            "V07B", "V07" + version
        )
        write_tif(tmp_path / name, np.array([[10]], np.uint16))
    with pytest.raises(RasterError, match=r"V07B.* and .*V07C.* both tell of 2023-05-16T06:00Z"):
        read_rain(tmp_path)


def test_another_raster_says_its_units_in_its_band_and_its_day_in_its_name(tmp_path):
    path = write_tif(tmp_path / "rain_20230516.tif", np.array([[0.2]], np.float32), units="cm")
    series, mm = rain_of(path)
    assert (series.start, series.end) == (at(0), at(0, day=17))
    assert mm[0, 0, 0] == pytest.approx(2)


def test_the_operator_knows_better_than_the_file(tmp_path):
    path = write_tif(tmp_path / "a-2023-05-16_1200.tif", np.array([[20]], np.int16), units="K")
    series, mm = rain_of(path, Reading(units="0.1 mm", hours=6))
    assert (series.start, series.end, mm[0, 0, 0]) == (at(6), at(12), 2)
    assert rain_of(path, Reading(units="0.1 mm", hours=6, stamp="start"))[0].start == at(12)


@pytest.mark.parametrize(
    ("name", "value", "units", "problem"),
    [
        ("rain_20230516.tif", 1, None, "names no units"),
        ("rain_20230516.tif", 1, "K", "units 'K', which are none of rain"),
        ("rain.tif", 1, "mm", "no date in its name"),
        ("rain_20230516T0600.tif", 1, "mm", "does not say how long"),
        ("rain_20231316.tif", 1, "mm", "which is no time"),
        ("rain_20230516.tif", -5, "mm", "below zero; declare its nodata"),
        ("rain_20230516.tif", 29999, "mm", "more than ever fell"),
    ],
)
def test_what_a_raster_does_not_say_is_asked_for(tmp_path, name, value, units, problem):
    path = write_tif(tmp_path / name, np.array([[value]], np.float32), units=units)
    with pytest.raises(RasterError, match=problem):
        read_rain(path)


def test_a_fill_value_is_missing_even_where_it_is_not_declared(tmp_path):
    values = np.array([[-9999, 3]], np.float32)
    _, mm = rain_of(write_tif(tmp_path / "chirps-v2.0.2023.05.16.tif", values, units="mm"))
    np.testing.assert_array_equal(mm[0, 0], np.float32([np.nan, 3]))
    _, mm = rain_of(table(tmp_path, "2023-05-16T01:00Z,-999", "2023-05-16T02:00Z,2"))
    np.testing.assert_array_equal(mm[:, 0, 0], np.float32([np.nan, 2]))


def test_packed_numbers_that_just_miss_zero_are_no_negative_rain(tmp_path):
    given = dataset(np.full((4, 2, 3), -1e-9), HOURLY, "m")
    given.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    assert abs(rain_of(tmp_path / "a.nc")[1]).max() < 1e-5


def test_a_truncated_or_ungeoreferenced_raster_is_refused(tmp_path):
    path = write_tif(tmp_path / "rain_20230516.tif", np.ones((50, 50), np.float32), units="mm")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(RasterError, match="fetch it again"):
        read_rain(path)


def test_one_bad_file_of_a_folder_is_named_and_its_time_missing(tmp_path):
    for hour, value in ((1, 4), (2, -1), (3, 5)):
        values = np.array([[value]], np.float32)
        write_tif(tmp_path / f"radar_20230516{hour:02d}00.tif", values, units="mm")
    rain = read_rain(tmp_path, Reading(hours=1))
    assert "radar_202305160200.tif holds -1 mm" in rain.problems[0]
    np.testing.assert_array_equal(rain.series[0].read(0, 1)[:, 0, 0], np.float32([4, np.nan, 5]))


def test_rain_of_the_future_has_not_fallen(tmp_path):
    for hour in (1, 2):
        values = np.array([[4]], np.float32)
        write_tif(tmp_path / f"radar_20230516{hour:02d}00.tif", values, units="mm")
    rain = read_rain(tmp_path, Reading(hours=1), until=at(1, minute=30))
    assert rain.ahead
    assert "after the present (2023-05-16T01:30Z)" in rain.problems[0]
    assert rain.series[0].end == at(1)


# NetCDF


def test_netcdf_is_read_whichever_way_its_axes_lie(tmp_path):
    mm = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    given = dataset(mm, HOURLY)
    given.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    given.sortby("lat", ascending=False).transpose("lon", "time", "lat").to_netcdf(
        tmp_path / "b.nc", engine="netcdf4"
    )
    (one, rain), (other, again) = (rain_of(tmp_path / name) for name in ("a.nc", "b.nc"))
    np.testing.assert_array_equal(rain, mm[:, ::-1])
    np.testing.assert_array_equal(again, rain)
    assert one.grid == other.grid
    assert one.grid.transform.almost_equals(Affine(0.1, 0, 11.0, 0, -0.1, 44.2))
    assert (one.start, one.end) == (at(0), at(4))
    np.testing.assert_array_equal(one.read(1, 2), rain[:, 1:2])


@pytest.mark.parametrize(
    ("units", "factor"),
    [("mm", 1), ("kg m-2", 1), ("m", 1000), ("mm/hr", 1), ("mm h**-1", 1), ("kg m-2 s-1", 3600)],
)
def test_netcdf_units_are_brought_to_millimetres_a_step(tmp_path, units, factor):
    dataset(np.full((4, 2, 3), 0.01), HOURLY, units).to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    assert rain_of(tmp_path / "a.nc")[1][0, 0, 0] == pytest.approx(0.01 * factor)


def test_time_bounds_go_before_the_stamp(tmp_path):
    given = dataset(np.ones((4, 2, 3)), HOURLY)
    starts = given.time.to_numpy()
    given["time_bnds"] = (("time", "nv"), np.stack([starts, starts + np.timedelta64(1, "h")], 1))
    given.time.attrs["bounds"] = "time_bnds"
    given.time.encoding["units"] = "hours since 2023-05-16"
    given.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    series, _ = rain_of(tmp_path / "a.nc")
    assert (series.start, series.end) == (at(1), at(5))


def test_imerg_in_hdf5_keeps_its_grid_in_a_group_and_counts_julian_days(tmp_path):
    """The layout of `3B-HHR...HDF5`: group Grid, (time, lon, lat), mm/hr, half an hour's bounds."""
    path = tmp_path / "3B-HHR-E.MS.MRG.3IMERG.20230516-S060000-E062959.0360.V07B.HDF5"
    mm_h = np.array([[[3, -9999.9], [1, 2]]], np.float32)
    seconds = int((at(6) - datetime(1980, 1, 6, tzinfo=UTC)).total_seconds())
    count = {"units": "seconds since 1980-01-06 00:00:00 UTC", "calendar": "julian"}
    given = xarray.Dataset(
        {
            "precipitation": (
                ("time", "lon", "lat"),
                mm_h,
                {"units": "mm/hr", "_FillValue": np.float32(-9999.9)},
            ),
            "randomError": (("time", "lon", "lat"), mm_h, {"units": "mm/hr"}),
            "time_bnds": (("time", "nv"), [[seconds, seconds + 1800]], count),
        },
        {
            "time": ("time", [seconds], count | {"bounds": "time_bnds"}),
            "lon": ("lon", [11.05, 11.15], {"units": "degrees_east"}),
            "lat": ("lat", [44.05, 44.15], {"units": "degrees_north"}),
        },
    )
    given.to_netcdf(path, group="Grid", engine="netcdf4")
    series, mm = rain_of(path)
    assert (series.start, series.end) == (at(6), at(6, minute=30))
    np.testing.assert_array_equal(mm, np.float32([[[np.nan, 1], [1.5, 0.5]]]))


def test_a_hole_in_the_time_axis_is_missing_rain(tmp_path):
    given = dataset(np.ones((4, 2, 3)), HOURLY).isel(time=[0, 1, 3])
    given.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    assert np.isnan(rain_of(tmp_path / "a.nc")[1][2]).all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"times": [*HOURLY[:3], HOURLY[2]]}, "its time repeats 2023-05-16T03:00:00Z"),
        ({"times": HOURLY[::-1]}, "its time goes back from 2023-05-16T04:00:00Z"),
        ({"times": [*HOURLY[:3], "2023-05-16T03:40"]}, "no whole number of 0.666"),
        ({"times": [*HOURLY[:3], "2024-05-16T03:00"]}, "366 days after"),
        ({"units": ""}, "names no units"),
        ({"lat": (44.0, 44.1, 44.3)}, "lat is not evenly spaced"),
    ],
)
def test_times_that_repeat_or_jump_and_grids_that_are_none_are_refused(tmp_path, change, problem):
    given = {"times": HOURLY, "units": "mm", "lat": (44.05, 44.15)} | change
    mm = np.ones((4, len(given["lat"]), 3))
    dataset(mm, **given).to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with pytest.raises(RasterError, match=problem):
        read_rain(tmp_path / "a.nc")


def test_the_variable_is_named_where_several_could_be_the_rain(tmp_path):
    given = dataset(np.ones((4, 2, 3)), HOURLY, name="rain_gauge")
    given["rain_radar"] = given.rain_gauge * 2
    given.rain_radar.attrs["units"] = "mm"
    given.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with pytest.raises(RasterError, match=r"which variable is the rain \(rain_gauge, rain_radar\)"):
        read_rain(tmp_path / "a.nc")
    assert rain_of(tmp_path / "a.nc", Reading(variable="rain_radar"))[1].max() == 2


def test_html_in_place_of_netcdf_is_refused(tmp_path):
    (tmp_path / "a.nc").write_text("<html>login</html>")
    with pytest.raises(RasterError, match="cannot be read as NetCDF"):
        read_rain(tmp_path / "a.nc")


# Gauges


def table(tmp_path, *rows, header="time,rain_mm"):
    path = tmp_path / "gauge.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_gauge_is_one_cell_and_its_gaps_stay_gaps(tmp_path):
    rows = ("2023-05-16T01:00Z,1.5", "2023-05-16T02:00Z,", "2023-05-16 06:00+02:00,2")
    series, mm = rain_of(table(tmp_path, *rows))
    np.testing.assert_array_equal(mm[:, 0, 0], np.float32([1.5, np.nan, np.nan, 2]))
    assert (series.start, series.end, series.grid.gauge) == (at(0), at(4), ())


def test_a_gauge_may_say_where_it_is_and_count_in_another_unit(tmp_path):
    rows = ("2023-05-16,0.5,11.6,44.3", "2023-05-17,1,11.6,44.3")
    series, mm = rain_of(table(tmp_path, *rows, header="Date,Precip (in),Lon,Lat"))
    assert series.grid.gauge == (11.6, 44.3)
    assert (series.start, mm[1, 0, 0]) == (at(0), pytest.approx(25.4))


@pytest.mark.parametrize(
    ("rows", "header", "problem"),
    [
        (("2023-05-16T01:00Z,wet", "2023-05-16T02:00Z,1"), "time,rain_mm", "row 2: 'wet' is no"),
        (("2023-05-16T01:00Z,-3", "2023-05-16T02:00Z,1"), "time,rain_mm", "row 2 holds -3 mm"),
        (("2023-05-16T01:00Z,1", "noon,1"), "time,rain_mm", "row 3: 'noon' is not a time"),
        (("2023-05-16T02:00Z,1", "2023-05-16T01:00Z,1"), "time,rain_mm", "goes back from"),
        (("2023-05-16T01:00Z,1", "2023-05-16T02:00Z,1"), "time,rain", "column rain names no units"),
        (("2023-05-16T01:00Z,1",), "time,level", "needs a column of times and one of rain"),
        (("2023-05-16T01:00Z,1",), "time,rain_mm", "does not say how long"),
        ((), "time,rain_mm", "needs a column of times and one of rain"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, rows, header, problem):
    with pytest.raises(RasterError, match=problem):
        read_rain(table(tmp_path, *rows, header=header))


@pytest.mark.parametrize(
    ("units", "factor", "rate"),
    [
        ("mm", 1, False),
        ("0.1 mm", 0.1, False),
        ("kg m**-2", 1, False),
        ("Millimeters per hour", 1, True),
        ("mm/30min", None, False),
        ("kg.m-2.s-1", 3600, True),
        ("mm day-1", 1 / 24, True),
        ("mm_per_hour", 1, True),
        ("0.001 mm/h", 0.001, True),
        ("percent", None, False),
    ],
)
def test_units_are_known_by_many_spellings(units, factor, rate):
    if factor is None:
        with pytest.raises(RasterError, match="none of rain"):
            millimetres(units, "it")
    else:
        assert millimetres(units, "it") == (pytest.approx(factor), rate)


def test_what_is_no_rain_at_all_is_refused(tmp_path):
    with pytest.raises(RasterError, match="no file or folder"):
        read_rain(tmp_path / "nothing.nc")
    with pytest.raises(RasterError, match="holds no rain"):
        read_rain(tmp_path)
