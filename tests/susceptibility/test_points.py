from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

from tasks.errors import PointsError, RasterError
from tasks.susceptibility.point_table import read_point_table
from tasks.susceptibility.points import read_points

CORNER = (712_000, 9_561_000)


@pytest.fixture
def table(points):
    """The points as a table in Ecuador's UTM zone, rocks by their names."""
    rocks = np.array(["shale", "schist", "phyllite", "gneiss"])
    return pd.DataFrame(
        {
            "x": CORNER[0] + points.easting,
            "y": CORNER[1] - points.northing,
            "lslpts": points.y,
            "steepness": points.x[:, 0],
            "hollow": points.x[:, 1],
            "rock": rocks[points.x[:, 2].astype(int)],
        }
    )


@pytest.fixture
def saved(tmp_path):
    def save(table, **how):
        path = tmp_path / "points.csv"
        table.to_csv(path, **{"index": False} | how)
        return path

    return save


@pytest.fixture
def stack(tmp_path):
    """Column and row of each cell of ten metres, and a void in the north-west."""
    path = tmp_path / "stack.tif"
    rows, cols = np.mgrid[:320, :320].astype(np.float32)
    rows[:40, :40] = -9999
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=320,
        height=320,
        count=2,
        dtype="float32",
        crs="EPSG:32717",
        transform=from_origin(*CORNER, 10, 10),
        nodata=-9999,
    ) as dataset:
        dataset.write(np.stack([cols, rows]))
        dataset.set_band_description(1, "column")
    return path


def test_every_other_column_is_a_factor_and_text_is_classes(saved, table, points):
    read = read_points(saved(table), "lslpts", crs="32717")
    assert read.samples.names == ("steepness", "hollow", "rock")
    assert read.samples.categorical == {"rock"}
    np.testing.assert_array_equal(read.samples.y, points.y)
    np.testing.assert_allclose(read.samples.x[:, :2], points.x[:, :2])
    np.testing.assert_allclose(read.samples.easting, table.x)
    assert (read.crs, read.left_out, read.ignored, read.doubts) == ("EPSG:32717", {}, {}, ())


@pytest.mark.parametrize(
    ("yes", "no"), [("TRUE", "FALSE"), ("true", "false"), (1, 0), (1.0, 0.0), ("Yes", "no")]
)
def test_labels_are_read_as_people_write_them(saved, table, points, yes, no):
    table["lslpts"] = np.where(points.y, yes, no)
    np.testing.assert_array_equal(read_points(saved(table), "LSLPTS").samples.y, points.y)


@pytest.mark.parametrize(
    "names",
    [("X", "Y"), ("easting", "northing"), ("POINT_X", "POINT_Y"), ("coords.x1", "coords.x2")],
)
def test_coordinates_are_found_by_their_usual_names(saved, table, names):
    renamed = table.rename(columns=dict(zip("xy", names, strict=True)))
    np.testing.assert_allclose(read_points(saved(renamed), "lslpts").samples.easting, table.x)


@pytest.mark.parametrize(
    "how",
    [
        {"sep": ";", "decimal": ","},
        {"sep": "\t"},
        {"sep": " "},
        {"encoding": "utf-8-sig"},
        {"header": [" x", "y ", " lslpts ", " steepness", "hollow ", "rock"]},
    ],
    ids=["semicolons and decimal commas", "tabs", "blanks", "byte order mark", "blanks in names"],
)
def test_the_dialects_of_csv_read_alike(saved, table, points, how):
    np.testing.assert_allclose(
        read_points(saved(table, **how), "lslpts").samples.x[:, :2], points.x[:, :2], rtol=1e-6
    )


def test_row_numbers_and_other_coordinates_are_no_factors(saved, table):
    table["id"] = np.random.default_rng(0).permutation(350)
    table["lon"], table["lat"] = -79.0, -4.0
    read = read_points(saved(table, index=True), "lslpts")
    assert read.samples.names == ("steepness", "hollow", "rock")
    assert read.ignored == {
        "Unnamed: 0": "row numbers",
        "id": "row numbers",
        "lon": "another coordinate",
        "lat": "another coordinate",
    }


def test_row_numbers_called_x_do_not_stand_for_x(saved, table):
    table.insert(0, "X", np.arange(350))
    read = read_points(saved(table), "lslpts")
    np.testing.assert_allclose(read.samples.easting, table.x)
    assert read.ignored == {"X": "another coordinate"}


def test_degrees_are_laid_out_in_metres(saved, table):
    lon, lat = Transformer.from_crs(32717, 4326, always_xy=True).transform(table.x, table.y)
    degrees = table.assign(lon=lon, lat=lat).drop(columns=["x", "y"])
    read = read_points(saved(degrees), "lslpts")
    assert read.crs == "EPSG:4326"
    for axis, own in ((read.samples.easting, table.x), (read.samples.northing, table.y)):
        assert np.ptp(axis) == pytest.approx(np.ptp(own), rel=0.01)


def test_degrees_across_the_antimeridian_lie_beside_each_other(saved, table):
    lon, lat = Transformer.from_crs(32717, 4326, always_xy=True).transform(table.x, table.y)
    degrees = table.assign(lon=lon - np.median(lon) + 180, lat=lat).drop(columns=["x", "y"])
    whole = read_points(saved(degrees), "lslpts").samples
    degrees.lon = np.where(degrees.lon > 180, degrees.lon - 360, degrees.lon)
    cut = read_points(saved(degrees), "lslpts").samples
    np.testing.assert_allclose(np.ptp(cut.easting), np.ptp(table.x), rtol=0.01)
    np.testing.assert_allclose(cut.easting, whole.easting, atol=0.1)
    np.testing.assert_allclose(cut.northing, whole.northing, atol=0.1)


def test_feet_are_laid_out_in_metres(saved, table):
    x, y = ((table[axis] - start) / 0.3048 for axis, start in zip("xy", CORNER, strict=True))
    feet = table.assign(x=6_561_666 + x, y=2_100_000 + y)
    read = read_points(saved(feet), "lslpts", crs="2227")
    for axis, own in ((read.samples.easting, table.x), (read.samples.northing, table.y)):
        assert np.ptp(axis) == pytest.approx(np.ptp(own), rel=0.01)


def test_bands_are_sampled_where_the_points_lie(saved, table, stack):
    read = read_points(saved(table), "lslpts", raster=stack)
    assert read.samples.names == ("column", "b2")
    assert read.crs == "EPSG:32717"
    x, y = read.samples.easting, read.samples.northing
    np.testing.assert_array_equal(read.samples.x[:, 0], (x - CORNER[0]) // 10)
    np.testing.assert_array_equal(read.samples.x[:, 1], np.floor((CORNER[1] - y) / 10))
    in_void = ((table.x < CORNER[0] + 400) & (table.y > CORNER[1] - 400)).sum()
    assert in_void and read.left_out == {"a missing factor": in_void}
    assert [doubt.code for doubt in read.doubts] == ["samples-left-out"]


def test_bands_are_scaled_as_their_file_says(saved, table, stack):
    with rasterio.open(stack, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 1), (7, 0)
    samples = read_points(saved(table), "lslpts", raster=stack, factors=("column",)).samples
    np.testing.assert_array_equal(samples.x[:, 0], 7 + (samples.easting - CORNER[0]) // 10 / 2)


def test_points_in_another_crs_are_carried_to_the_raster(saved, table, stack):
    lon, lat = Transformer.from_crs(32717, 4326, always_xy=True).transform(table.x, table.y)
    degrees = table.assign(lon=lon, lat=lat).drop(columns=["x", "y"])
    far, near = (
        read_points(saved(one), "lslpts", raster=stack).samples.x for one in (degrees, table)
    )
    np.testing.assert_allclose(far, near, atol=1)


def test_bands_and_columns_may_be_asked_for_together(saved, table, stack):
    asked = ("Hollow", "b2")
    read = read_points(saved(table), "lslpts", raster=stack, factors=asked, categorical=("b2",))
    assert read.samples.names == ("hollow", "b2")
    assert read.samples.categorical == {"b2"}


def test_bands_without_a_name_are_named_in_the_order_of_the_factors(saved, table, stack):
    with rasterio.open(stack, "r+") as dataset:
        dataset.set_band_description(1, "")
    read = read_points(saved(table), "lslpts", raster=stack, factors=("across", "down"))
    assert read.samples.names == ("across", "down")
    assert read.samples.x[:, 0].tolist() == ((read.samples.easting - CORNER[0]) // 10).tolist()
    assert read.doubts[0].code == "bands-named-in-order"
    with pytest.raises(PointsError, match="'across' is no column .*; there are b1, b2"):
        read_points(saved(table), "lslpts", raster=stack, factors=("across",))


def test_degrees_that_nobody_calls_so_are_a_doubt(saved, table):
    lon, lat = Transformer.from_crs(32717, 4326, always_xy=True).transform(table.x, table.y)
    read = read_points(saved(table.assign(x=lon, y=lat)), "lslpts")
    assert [doubt.code for doubt in read.doubts] == ["crs-not-given"]


def test_points_off_the_raster_are_counted(saved, table, stack):
    table.loc[:9, "x"] += 1e5
    read = read_points(saved(table), "lslpts", raster=stack, factors=("hollow",))
    assert read.left_out == {"lying outside the raster": 10}
    assert len(read.samples.y) == 340


def test_all_points_off_the_raster_say_where_both_are(saved, table, stack):
    table["x"] += 1e6
    with pytest.raises(RasterError, match=r"none of the 350 points lies on raster .*712000 to"):
        read_points(saved(table), "lslpts", raster=stack)


def test_what_is_missing_or_there_twice_is_left_out_and_counted(saved, table):
    table = table.astype({"lslpts": object})
    table.loc[0, "lslpts"] = None
    table.loc[1, "x"] = None
    table.loc[2:4, "hollow"] = np.nan
    table.loc[5, "hollow"] = np.inf
    table.loc[6, "hollow"] = -9999
    contrary = table.iloc[[20]].assign(lslpts=not table.lslpts[20])
    twice = pd.concat([table, table.iloc[10:17], contrary])
    read = read_points(saved(twice), "lslpts")
    assert read.left_out == {
        "a missing label": 1,
        "missing coordinates": 1,
        "a missing factor": 5,
        "being in the table twice": 7,
    }
    assert len(read.samples.y) == 344


def test_factors_that_tell_nothing_are_left_out_with_a_doubt(saved, table):
    table["level"] = 3.0
    table["rare"] = np.where(np.arange(350) < 300, np.nan, 1.5)
    table["remark"] = [f"seen by {number}" for number in range(350)]
    read = read_points(saved(table), "lslpts")
    assert read.samples.names == ("steepness", "hollow", "rock")
    said = [doubt.text for doubt in read.doubts]
    assert said == [
        "factor level is left out: it is the same everywhere",
        "factor rare is left out: 86 % of the points have no value",
    ]
    assert read.ignored == {"remark": "text with 350 different values"}


def test_few_landslides_are_a_doubt(saved, table, points):
    few = table.drop(np.flatnonzero(points.y)[12:])
    (doubt,) = read_points(saved(few), "lslpts").doubts
    assert doubt.code == "few-landslides" and "only 12 landslides" in doubt.text


def test_a_column_of_events_tells_groups_and_is_no_factor(saved, table, stack):
    table["event"] = np.where(np.arange(350) % 3 == 0, "1999", "2010")
    read = read_points(saved(table), "lslpts", raster=stack, factors=("hollow",), group="event")
    np.testing.assert_array_equal(read.groups, np.arange(350) % 3 != 0)
    assert "event" not in read_points(saved(table), "lslpts", group="event").samples.names
    with pytest.raises(PointsError, match="'basin' is no column"):
        read_points(saved(table), "lslpts", group="basin")


def test_points_of_one_place_stay_together(saved, table, points):
    table[["x", "y"]] = table[["x", "y"]].round(-2)
    samples = read_points(saved(table), "lslpts").samples
    places = len(table[points.y][["x", "y"]].drop_duplicates())
    assert samples.landslides == places < points.y.sum()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lslpts": "maybe"}, "holds 'maybe' in row 3"),
        ({"x": "west"}, "column 'x' holds 'west' in row 3, which is no coordinate"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(saved, table, change, said):
    table = table.astype(object)
    for column, value in change.items():
        table.loc[2, column] = value
    with pytest.raises(PointsError, match=said):
        read_points(saved(table), "lslpts")


def test_a_wrong_table_is_refused_in_a_sentence(saved, table, tmp_path):
    def refused(said, table=table, label="lslpts", **how):
        with pytest.raises(PointsError, match=said):
            read_points(saved(table), label, **how)

    refused("no column 'slide'; it has x, y, lslpts, steepness", label="slide")
    refused("no pair of coordinate columns", table.drop(columns="y"))
    refused("gives no factor to learn from: no column is left", table[["x", "y", "lslpts"]])
    refused("labelled true; both landslides and stable ground", table.assign(lslpts=True))
    refused("'slope' is no column .* and no band; there are", factors=("slope",))
    refused("'Quito' is no coordinate reference system", crs="Quito")
    refused("are no degrees as EPSG:4326 wants them", crs="4326")
    refused("holds no row", table.iloc[:0])
    with pytest.raises(PointsError, match="cannot be read: No such file"):
        read_point_table(tmp_path / "none.csv", "lslpts")
    (tmp_path / "points.xlsx").write_bytes(b"PK\3\4\0\0")
    with pytest.raises(PointsError, match="is no text table"):
        read_point_table(tmp_path / "points.xlsx", "lslpts")


def test_a_damaged_raster_is_named(saved, table, stack):
    stack.write_bytes(stack.read_bytes()[:200])
    with pytest.raises(RasterError, match="stack.tif cannot be read"):
        read_points(saved(table), "lslpts", raster=stack)
