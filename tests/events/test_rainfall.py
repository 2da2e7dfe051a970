import json
import os
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio
import shapely
import xarray
from affine import Affine
from pydantic import ValidationError
from shapely.geometry import MultiPolygon, Point, box

from tasks.errors import EventError, FeedError
from tasks.events import rainfall
from tasks.events.rainfall import RainRules, RainTable
from tasks.events.reports import WatchState
from tasks.events.thresholds import CAINE_1980, GUZZETTI_2008, Threshold

START = datetime(2023, 5, 16, tzinfo=UTC)
NOW = datetime(2023, 5, 18, 12, tzinfo=UTC)
ROWS, COLUMNS, HOURS = 20, 30, 48
# South of the Po: cells of 0.1 degrees from 10.5 E, 45 N, all on land but the north-east corner.
NORTH_WEST = (10.5, 45.0)


def a_storm(mm_h=6.0, first=10, hours=24):
    """Rain over rows 5-9 and columns 6-12 for some hours, none elsewhere."""
    rain = np.zeros((HOURS, ROWS, COLUMNS), np.float32)
    rain[first : first + hours, 5:10, 6:13] = mm_h
    return rain


def write_nc(path, rain, west=NORTH_WEST[0], north=NORTH_WEST[1]):
    times = [
        np.datetime64(START.replace(tzinfo=None) + timedelta(hours=n + 1), "ns")
        for n in range(len(rain))
    ]
    lat, lon = (
        north - 0.05 - 0.1 * np.arange(rain.shape[1]),
        west + 0.05 + 0.1 * np.arange(rain.shape[2]),
    )
    xarray.Dataset(
        {"rain": (("time", "lat", "lon"), rain, {"units": "mm"})},
        {"time": times, "lat": lat, "lon": lon},
    ).to_netcdf(path, engine="netcdf4")
    return path


def look(path, rules=None, now=NOW, state=None):
    return rainfall.look(str(path), state or WatchState(str(path)), now, rules)


def events_of(path, rules=None, now=NOW):
    return [report for report in look(path, rules, now)[0] if report.event]


def test_a_storm_over_the_threshold_is_an_event_with_its_area(tmp_path):
    reports, state = look(write_nc(tmp_path / "rain.nc", a_storm()))
    (report,) = reports
    event = report.event
    assert event.kind == "rainfall"
    assert event.occurred_at == START + timedelta(hours=10)
    assert (event.rainfall_mm, event.duration_h) == (144, 24)
    ratio = 144 / CAINE_1980.amount_mm(24)
    assert (
        event.title
        == f"Rain of 144 mm in 24 h, {ratio:.1f} times the landslide threshold caine1980"
    )
    expected = box(11.1, 44.0, 11.8, 44.5)
    assert shapely.symmetric_difference(report.aoi.geometry, expected).area < 1e-6
    assert report.aoi.geometry.contains(Point(event.longitude, event.latitude))
    assert "14.82 D^-0.39" in report.aoi.how
    assert report.reported_at == START + timedelta(hours=34)
    assert state.feed_time == START + timedelta(hours=48)


def test_rain_below_the_threshold_is_said_to_be(tmp_path):
    below = CAINE_1980.amount_mm(24) / 24 * 0.99
    (report,) = look(write_nc(tmp_path / "rain.nc", a_storm(below)))[0]
    assert report.event is None
    assert "rain from 2023-05-16T00:00Z to 2023-05-18T00:00Z" in report.problem
    assert report.problem.endswith("it reached the threshold caine1980 in no cell")


def test_a_folder_that_did_not_change_is_not_read_again_by_the_same_rules(tmp_path):
    write_nc(tmp_path / "rain.nc", a_storm())
    reports, state = look(tmp_path)
    assert len(reports) == 1
    assert look(tmp_path, state=state)[0] == []
    assert len(look(tmp_path, RainRules(threshold=GUZZETTI_2008), state=state)[0]) == 1
    write_nc(tmp_path / "rain.nc", a_storm(7.0))
    assert len(look(tmp_path, state=state)[0]) == 1


def test_a_folder_that_tells_of_rain_to_come_is_read_again_when_it_has_fallen(tmp_path):
    write_nc(tmp_path / "rain.nc", a_storm())
    (early,), state = look(tmp_path, now=START + timedelta(hours=5))
    assert early.event is None
    assert [report.event is not None for report in look(tmp_path, state=state)[0]] == [True]


def test_the_version_of_a_storm_changes_only_with_what_is_said_of_it(tmp_path):
    """Dry hours after it say nothing new of the storm."""
    first = events_of(write_nc(tmp_path / "a.nc", a_storm()[:40]))
    later = events_of(write_nc(tmp_path / "b.nc", a_storm()))
    wetter = events_of(write_nc(tmp_path / "c.nc", a_storm(6.5)))
    assert first[0].source_version == later[0].source_version != wetter[0].source_version
    assert first[0].event == later[0].event


def test_the_operator_may_have_a_threshold_of_his_own(tmp_path):
    path = write_nc(tmp_path / "rain.nc", a_storm(2.0))
    assert events_of(path) == []
    own = RainTable(a=5, b=-0.4).to_rules()
    assert own.threshold == Threshold("own", 5, -0.4, 1 / 60, 24 * 366)
    (report,) = events_of(path, own)
    assert "rain over I = 5 D^-0.4 mm/h (own)" in report.aoi.how


def test_storms_far_apart_or_a_dry_day_apart_are_events_of_their_own(tmp_path):
    far = a_storm()
    far[10:34, 15:18, 26:30] = 6
    assert len(events_of(write_nc(tmp_path / "far.nc", far))) == 2
    near = a_storm()
    near[10:34, 5:10, 14:15] = 6
    (report,) = events_of(write_nc(tmp_path / "near.nc", near))
    assert len(report.aoi.geometry.geoms) == 2
    late = np.concatenate(
        [a_storm(20, first=2, hours=2), np.zeros_like(a_storm()), a_storm(20, 2, 2)]
    )
    reports = events_of(write_nc(tmp_path / "late.nc", late), now=NOW + timedelta(days=9))
    assert [r.event.occurred_at - START for r in reports] == [
        timedelta(hours=2),
        timedelta(hours=98),
    ]


# Missing rain


def test_missing_rain_that_could_have_passed_the_threshold_leaves_it_open(tmp_path):
    rain = a_storm(3.0)
    rain[20, 7, 8] = np.nan
    (report,) = look(write_nc(tmp_path / "rain.nc", rain))[0]
    assert report.event is None
    assert "it cannot be told whether the threshold was passed in 1 of 600 cells" in report.problem
    assert "missing rain is not taken for none" in report.problem


def test_what_is_certain_despite_missing_rain_is_reported_as_the_least(tmp_path):
    rain = a_storm()
    rain[20, 7, 8] = np.nan
    rain[20, 0, 0] = np.nan
    event, problem = look(write_nc(tmp_path / "rain.nc", rain))[0]
    assert event.aoi.geometry.contains(Point(11.35, 44.25))
    assert event.event.title.startswith("Rain of at least 144 mm")
    assert "in 1 of 600 cells" in problem.problem


def test_an_absent_time_step_is_missing_everywhere(tmp_path):
    path = write_nc(tmp_path / "all.nc", a_storm(3.0))
    with xarray.open_dataset(path) as data:
        data.isel(time=[n for n in range(HOURS) if n != 20]).to_netcdf(tmp_path / "rain.nc")
    (report,) = look(tmp_path / "rain.nc")[0]
    assert "in 600 of 600 cells, since 1 of 48 time steps are absent" in report.problem


def test_overlapping_sums_that_all_lack_something_complain_once(tmp_path):
    for start, end in (("060000", "062959"), ("063000", "065959")):
        name = f"3B-HHR-L.MS.MRG.3IMERG.20230516-S{start}-E{end}.0360.V07B.1day.tif"
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", height=1, width=2, count=1, dtype="uint16",
            crs="EPSG:4326", transform=Affine(0.1, 0, 11, 0, -0.1, 45),
        ) as tif:  # fmt: skip
            tif.write(np.array([[29999, 10]], np.uint16), 1)
    (report,) = look(tmp_path)[0]
    assert "in 1 of 2 cells" in report.problem
    assert "and likewise in 1 other accumulations" in report.problem


def test_a_file_of_the_future_is_a_problem_until_its_time_has_come(tmp_path):
    path = write_nc(tmp_path / "rain.nc", a_storm())
    reports, state = look(path, now=START + timedelta(hours=12))
    assert [report.event for report in reports] == [None]
    assert "36 time steps up to 2023-05-18T00:00Z lie after the present" in reports[0].problem
    assert len([r for r in look(path, state=state)[0] if r.event]) == 1


# Ground


def test_only_the_region_is_looked_at_and_the_area_ends_with_it(tmp_path):
    path = write_nc(tmp_path / "rain.nc", a_storm())
    region = MultiPolygon([box(11.43, 44.05, 13, 44.22)])
    (report,) = events_of(path, RainRules(region=region))
    assert region.contains(report.aoi.geometry)
    assert report.aoi.geometry.bounds == pytest.approx((11.43, 44.05, 11.8, 44.22))
    assert events_of(path, RainRules(region=MultiPolygon([box(12, 44, 13, 45)]))) == []


def test_rain_on_the_sea_is_no_event_and_specks_are_left_out(tmp_path):
    (sea,) = look(write_nc(tmp_path / "sea.nc", a_storm(), west=5.0, north=42.0))[0]
    assert sea.event is None
    assert "rain of 144 mm in 24 h from 2023-05-16T10:00Z, 1.4 times" in sea.problem
    assert "lies in the sea" in sea.problem
    (coast,) = events_of(write_nc(tmp_path / "coast.nc", a_storm(), west=11.7, north=45.0))
    assert not coast.aoi.geometry.contains(Point(12.7, 44.3))
    path = write_nc(tmp_path / "rain.nc", a_storm())
    (speck,) = look(path, RainRules(min_area_km2=5_000))[0]
    assert "fell on no 5000 km² of land that hang together" in speck.problem


def test_rain_over_the_antimeridian_is_cut_there(tmp_path):
    (report,) = events_of(write_nc(tmp_path / "fiji.nc", a_storm(), west=178.9, north=-16.0))
    assert report.aoi.geometry.is_valid
    assert report.aoi.geometry.bounds[0] < -179.9
    assert report.aoi.geometry.bounds[2] > 179.9
    assert -180 <= report.event.longitude <= 180


def test_longitudes_from_0_to_360_find_the_same_region(tmp_path):
    region = MultiPolygon([box(-72, -14, -71, -13)])
    path = write_nc(tmp_path / "peru.nc", a_storm(), west=287.6, north=-12.8)
    (report,) = events_of(path, RainRules(region=region))
    assert region.contains(report.aoi.geometry)


def test_a_projected_raster_gives_the_same_ground_in_degrees(tmp_path):
    values = np.zeros((20, 20), np.float32)
    values[5:15, 5:15] = 200
    path = tmp_path / "radar_20230516.tif"
    transform = Affine(2_000, 0, 690_000, 0, -2_000, 4_930_000)
    with rasterio.open(
        path, "w", driver="GTiff", height=20, width=20, count=1, dtype="float32",
        crs="EPSG:32632", transform=transform,
    ) as tif:  # fmt: skip
        tif.write(values, 1)
        tif.set_band_unit(1, "mm")
    (report,) = events_of(path)
    assert report.aoi.area_km2 == pytest.approx(400, rel=2e-3)
    assert (report.event.rainfall_mm, report.event.duration_h) == (200, 24)


def gauge(tmp_path, place=",11.6,44.3"):
    path = tmp_path / "gauge.csv"
    rows = [f"{START + timedelta(hours=n):%Y-%m-%dT%H:%MZ},{6}{place}" for n in range(1, 25)]
    path.write_text("\n".join(["time,rain_mm" + (",lon,lat" if place else ""), *rows]))
    return path


def test_a_gauge_stands_for_the_ground_around_it(tmp_path):
    (report,) = events_of(gauge(tmp_path))
    assert report.aoi.area_km2 == pytest.approx(314, rel=1e-2)
    assert (report.event.longitude, report.event.latitude) == (11.6, 44.3)


def test_a_gauge_without_a_place_stands_for_the_region_or_for_nothing(tmp_path):
    path = gauge(tmp_path, place="")
    region = MultiPolygon([box(11, 44, 12, 44.4)])
    (report,) = events_of(path, RainRules(region=region))
    assert report.aoi.geometry.equals_exact(region, 1e-6, normalize=True)
    (problem,) = look(path)[0]
    assert "fell at a gauge whose place is not known" in problem.problem


# Addresses and rules


@pytest.fixture
def served(tmp_path):
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_rain_is_read_from_an_address_and_not_fetched_twice(tmp_path, served):
    path = write_nc(tmp_path / "rain.nc", a_storm())
    # A change within the second of the last would not show in the server's time of change.
    os.utime(path, (0, START.timestamp()))
    reports, state = look(f"{served}/rain.nc")
    assert len(reports) == 1
    assert look(f"{served}/rain.nc", state=state)[0] == []
    with pytest.raises(FeedError, match="404"):
        look(f"{served}/none.nc")


def test_problems_name_the_address_not_where_it_was_kept(tmp_path, served):
    (tmp_path / "rain.nc").write_text("<html>")
    with pytest.raises(FeedError, match=rf"^{served}/rain\.nc cannot be read"):
        look(f"{served}/rain.nc")


def test_the_table_of_the_rules_says_where_and_how(tmp_path):
    shape = {"type": "Polygon", "coordinates": [[[11, 44], [12, 44], [12, 45], [11, 44]]]}
    (tmp_path / "hills.geojson").write_text(json.dumps(shape))
    table = {"threshold": "guzzetti2008", "region": tmp_path / "hills.geojson", "units": "0.1 mm"}
    rules = RainTable.model_validate(table).to_rules()
    assert rules.threshold == GUZZETTI_2008
    assert rules.reading.units == "0.1 mm"
    assert rules.region.bounds == (11, 44, 12, 45)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"threshold": "caine"}, "caine1980"),
        ({"threshold": "caine1980", "a": 3, "b": -0.4}, "not both"),
        ({"a": 3}, "needs both a and b"),
        ({"longest_h": 3}, "needs both a and b"),
        ({"hours": 0}, "greater than 0"),
        ({"thresold": "caine1980"}, "Extra inputs"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(table, reason):
    with pytest.raises(ValidationError, match=reason):
        RainTable.model_validate(table)


def test_numbers_that_make_no_threshold_are_refused():
    with pytest.raises(EventError, match="b above -1"):
        RainTable(a=3, b=-1.4).to_rules()
