import sqlite3
import zipfile

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from tasks.errors import InventoryError
from tasks.inventory.importing import (
    hull_of,
    joined,
    read_area_file,
    read_inventory_file,
    require_in_area,
)
from tasks.types import geodesic_area_m2
from tests.conftest import DATA

HOKKAIDO = DATA / "hokkaido2018" / "inventory.gpkg"
BHUYAN = DATA / "bhuyan_inventories"
BOWTIE = Polygon([(142, 42), (142.01, 42.01), (142.01, 42), (142, 42.01)])
SQUARE = box(142, 43, 142.1, 43.1)


def written(tmp_path, outlines, crs=4326, name="slides.gpkg", **columns):
    path = tmp_path / name
    frame = gpd.GeoDataFrame(columns, geometry=outlines, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_wkt().rename(columns={"geometry": "WKT"}).to_csv(path, index=False)
    elif crs is None:
        with pytest.warns(UserWarning, match="'crs' was not provided"):
            frame.to_file(path)
    else:
        frame.to_file(path)
    return path


def test_a_real_inventory_is_read_whole():
    imported = read_inventory_file(HOKKAIDO, "scars", "scar")
    assert len(imported.landslides) == 6116
    assert (imported.repaired, imported.dropped) == (0, 0)
    assert set(imported.landslides["kind"]) == {"scar"}
    assert imported.landslides.crs.to_epsg() == 4326


def test_scars_and_deposits_make_one_inventory():
    layers = [("scars", "scar"), ("deposits", "deposit")]
    whole = joined([read_inventory_file(HOKKAIDO, name, kind) for name, kind in layers])
    assert whole.landslides["kind"].value_counts().to_dict() == {"scar": 6116, "deposit": 1512}


def test_an_outline_across_the_antimeridian_is_cut_there(tmp_path):
    x, y = Transformer.from_crs(4326, 32760, always_xy=True).transform(180, -16.8)
    slides = [box(x - 100, y - 100, x + 100, y + 100), box(x + 300, y, x + 400, y + 100)]
    imported = read_inventory_file(written(tmp_path, slides, crs=32760))
    cut, whole = imported.landslides.geometry
    assert [part.bounds[2] - part.bounds[0] < 0.01 for part in cut.geoms] == [True, True]
    assert geodesic_area_m2(cut) == pytest.approx(40_000, rel=3e-3) and not imported.mended
    hull = hull_of(imported.landslides.geometry.to_numpy())
    assert 40_000 < geodesic_area_m2(hull) < 120_000 and hull.contains(whole)


def test_the_area_its_author_looked_at_holds_nearly_all_of_it():
    area = read_area_file(HOKKAIDO, "interpreted_area")
    scars = read_inventory_file(HOKKAIDO, "scars").landslides
    assert isinstance(area, MultiPolygon) and area.is_valid
    assert scars.representative_point().within(area).mean() > 0.95


@pytest.mark.parametrize(
    ("archive", "year", "count", "invalid"),
    [("PNG", "2018", 1557, 6), ("Nepal", "2015", 98, 1), ("China", "2019", 349, 0)],
)
def test_a_zip_of_shapefiles_is_read_by_layer_and_its_invalid_rings_are_named(
    archive, year, count, invalid
):
    imported = read_inventory_file(BHUYAN / f"{archive}.zip", year)
    assert (len(imported.landslides), imported.repaired) == (count, invalid)
    assert all("Self-intersection" in mending.why for mending in imported.mended)
    assert {mending.layer for mending in imported.mended} <= {year}
    assert imported.landslides.is_valid.all()


def test_a_zip_with_several_layers_asks_which():
    with pytest.raises(InventoryError, match=r"Nepal\.zip has layers 2013, 2014, .*--layer"):
        read_inventory_file(BHUYAN / "Nepal.zip")


def test_a_zip_that_is_none_says_so(tmp_path):
    (tmp_path / "slides.zip").write_bytes(b"PK and then nothing")
    with pytest.raises(InventoryError, match=r"slides\.zip cannot be read"):
        read_inventory_file(tmp_path / "slides.zip")


def test_a_zip_without_polygon_files_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "slides.zip", "w") as archive:
        archive.writestr("../../readme.txt", "nothing here")
    with pytest.raises(InventoryError, match="no layer with geometries"):
        read_inventory_file(tmp_path / "slides.zip")


def test_a_file_with_several_layers_asks_which():
    with pytest.raises(InventoryError, match=r"inventory\.gpkg has layers scars, deposits"):
        read_inventory_file(HOKKAIDO)


@pytest.mark.parametrize("layer", ["slides", "scars'; DROP TABLE scarp.event; --"])
def test_a_layer_that_is_not_there_is_named_with_those_that_are(layer):
    with pytest.raises(InventoryError, match=f"no layer {layer}; it has scars, deposits"):
        read_inventory_file(HOKKAIDO, layer)


@pytest.mark.parametrize("name", ["s.gpkg", "s.geojson", "s.shp", "s.parquet", "s.fgb", "s.csv"])
def test_every_format_gives_the_same_outlines(tmp_path, name):
    outlines = [box(142, 42, 142.001, 42.001), box(142.01, 42, 142.02, 42.001)]
    path = written(tmp_path, outlines, name=name, note=["a", "b"])
    imported = read_inventory_file(path, crs="EPSG:4326" if name == "s.csv" else None)
    found = sorted(imported.landslides.geometry, key=lambda outline: outline.bounds)
    assert all(one.equals(other) for one, other in zip(found, outlines, strict=True))


@pytest.mark.parametrize("name", ["slides.parquet", "slides.zip", "slides.csv"])
def test_a_suffix_may_be_in_capitals(tmp_path, name):
    if name.endswith("zip"):
        part = written(tmp_path, [SQUARE])
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(part, part.name)
    else:
        path = written(tmp_path, [SQUARE], name=name)
    path = path.rename(path.with_suffix(path.suffix.upper()))
    assert len(read_inventory_file(path, crs="EPSG:4326").landslides) == 1


def test_another_crs_comes_out_in_longitude_and_latitude(tmp_path):
    here = gpd.GeoSeries([box(142, 42, 142.001, 42.001)], crs=4326)
    there = read_inventory_file(written(tmp_path, here.to_crs(32654), 32654))
    assert there.landslides.geometry[0].equals_exact(here[0], 1e-9)


@pytest.mark.parametrize("stated", [None, 4326])
def test_a_crs_that_is_missing_or_wrong_can_be_given(tmp_path, stated):
    here = gpd.GeoSeries([box(142, 42, 142.001, 42.001)], crs=4326)
    path = written(tmp_path, list(here.to_crs(32654)), stated)
    there = read_inventory_file(path, crs="EPSG:32654")
    assert there.landslides.geometry[0].equals_exact(here[0], 1e-9)


def test_a_crs_that_is_none_is_named(tmp_path):
    with pytest.raises(InventoryError, match="'EPSG:1' is not a CRS"):
        read_inventory_file(written(tmp_path, [SQUARE]), crs="EPSG:1")


def test_crossing_rings_are_repaired_and_named(tmp_path):
    imported = read_inventory_file(written(tmp_path, [BOWTIE, SQUARE]))
    (mending,) = imported.mended
    assert (mending.feature, mending.done) == (1, "repaired")
    assert mending.why.startswith("Self-intersection[142.005")
    assert imported.landslides.is_valid.all()
    assert imported.landslides.geometry[0].area == pytest.approx(0.5 * 0.01 * 0.01)


def test_parts_that_overlap_are_merged_not_cut_out(tmp_path):
    overlapping = MultiPolygon([box(142, 42, 142.02, 42.01), box(142.01, 42, 142.03, 42.01)])
    imported = read_inventory_file(written(tmp_path, [overlapping]))
    assert imported.landslides.geometry[0].equals(box(142, 42, 142.03, 42.01))


def test_outlines_without_an_area_and_repeated_ones_are_dropped_and_named(tmp_path):
    there_and_back = Polygon([(142, 42), (142.1, 42.1), (142, 42)])
    turned = Polygon(np.roll(np.array(SQUARE.exterior.coords)[:-1], 2, axis=0))
    imported = read_inventory_file(written(tmp_path, [Polygon(), there_and_back, SQUARE, turned]))
    assert len(imported.landslides) == 1
    assert [(mending.feature, mending.done, mending.why) for mending in imported.mended] == [
        (1, "dropped", "no polygon"),
        (2, "dropped", "no area"),
        (4, "dropped", "repeats feature 3"),
    ]


def test_a_scar_and_a_deposit_may_have_the_same_outline(tmp_path):
    path = written(tmp_path, [SQUARE, SQUARE], part=["source", " Deposit"])
    imported = read_inventory_file(path, columns={"kind": "part"})
    assert list(imported.landslides["kind"]) == ["scar", "deposit"]
    assert not imported.mended


def test_an_outline_of_a_million_vertices_is_read(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 1_000_001)
    round_ = Polygon(np.column_stack([142 + np.cos(turn) / 50, 42 + np.sin(turn) / 50]))
    path = written(tmp_path, [round_, SQUARE], name="slides.parquet")
    imported = read_inventory_file(path)
    assert shapely.get_num_coordinates(imported.landslides.geometry[0]) == 1_000_001


def test_heights_are_left_out(tmp_path):
    solid = Polygon([(142, 42, 10), (142.1, 42, 20), (142.1, 42.1, 30)])
    assert not read_inventory_file(written(tmp_path, [solid])).landslides.has_z.any()


def test_columns_are_read_under_the_names_they_have(tmp_path):
    path = written(
        tmp_path,
        [SQUARE, box(142, 42, 143, 43)],
        Art=["Abbruch", "ABLAGERUNG"],
        vol=["1200.5", None],
        bild=["it's \"quoted\"'; DROP TABLE scarp.landslide; --", None],
        tag=["2018-09-20T01:02:03Z", None],
    )
    landslides = read_inventory_file(
        path,
        columns={"kind": "Art", "volume_m3": "vol", "scene_id": "bild", "acquired_at": "tag"},
        kinds={"Abbruch": "scar", "Ablagerung": "deposit"},
    ).landslides
    assert list(landslides["kind"]) == ["scar", "deposit"]
    assert landslides["volume_m3"][0] == 1200.5 and np.isnan(landslides["volume_m3"][1])
    assert landslides["scene_id"][0] == "it's \"quoted\"'; DROP TABLE scarp.landslide; --"
    assert f"{landslides['acquired_at'][0]:%Y-%m-%dT%H:%M:%S%z}" == "2018-09-20T01:02:03+0000"


@pytest.mark.parametrize(
    ("days", "read"),
    [
        (["2018-09-06", "2018-09-06T12:07:59+09:00"], ["2018-09-06 00:00", "2018-09-06 03:07"]),
        ([20180906, None], ["2018-09-06 00:00", "NaT"]),
        (["2018/09/06 03:07:59", None], ["2018-09-06 03:07", "NaT"]),
    ],
)
def test_days_and_times_are_read_as_people_write_them(tmp_path, days, read):
    path = written(tmp_path, [SQUARE, box(142, 42, 143, 43)], tag=days)
    landslides = read_inventory_file(path, columns={"acquired_at": "tag"}).landslides
    assert [str(at)[:16] for at in landslides["acquired_at"]] == read


@pytest.mark.parametrize("day", ["05/06/2018", "2018", 2018, 1536203279])
def test_a_day_that_can_be_read_in_two_ways_is_refused(tmp_path, day):
    path = written(tmp_path, [SQUARE], tag=[day])
    with pytest.raises(InventoryError, match=rf"column tag holds '{day}' .*such as 2018-09-06"):
        read_inventory_file(path, columns={"acquired_at": "tag"})


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"kind": "Art"}, "column Art says 'Abbruch'; tell what that means with --kind-word"),
        ({"volume_m3": "Art"}, r"column Art holds 'Abbruch' \(feature 1\), not a number"),
        ({"acquired_at": "Art"}, r"column Art holds 'Abbruch' \(feature 1\), not a time"),
        ({"kind": "Type"}, "has no column Type; it has Art"),
        ({"area_m2": "Art"}, "area_m2 is not read from a file; these columns are: kind"),
    ],
)
def test_a_column_that_cannot_be_used_says_why(tmp_path, columns, complaint):
    path = written(tmp_path, [SQUARE], Art=["Abbruch"])
    with pytest.raises(InventoryError, match=complaint):
        read_inventory_file(path, columns=columns)


@pytest.mark.parametrize("name", ["s.parquet", "s.geojson", "s.csv", "s.gpkg"])
def test_a_nul_byte_is_refused(tmp_path, name):
    path = written(tmp_path, [SQUARE], name=name, bild=["a\0b" if name == "s.parquet" else "a%b"])
    if name == "s.gpkg":
        with sqlite3.connect(path) as file:
            for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
                file.execute(f'DROP TRIGGER "{trigger}"')
            file.execute("UPDATE s SET bild = ?", ["a\0b"])
    elif name != "s.parquet":
        nul = b"\\u0000" if name == "s.geojson" else b"\0"
        path.write_bytes(path.read_bytes().replace(b"a%b", b"a" + nul + b"b"))
    with pytest.raises(InventoryError, match=rf"{name}.* holds a NUL byte"):
        read_inventory_file(path, columns={"scene_id": "bild"}, crs="EPSG:4326")


def test_an_outline_with_a_coordinate_that_is_no_number_is_left_out_and_named(tmp_path):
    with np.errstate(invalid="ignore"):
        lost = Polygon([(142, 42), (np.nan, 42.1), (142.1, 42.1), (142, 42)])
        path = written(tmp_path, [SQUARE, lost], name="s.parquet")
    imported = read_inventory_file(path)
    assert imported.landslides.geometry.to_list() == [SQUARE]
    (mending,) = imported.mended
    assert (mending.feature, mending.why) == (2, "a coordinate is no number")


@pytest.mark.parametrize(
    ("outlines", "crs", "complaint"),
    [
        ([box(142, 42, 143, 43)], None, "has no CRS.*--crs EPSG:4326"),
        ([box(42, 142, 43, 143)], 4326, "longitude and latitude swapped"),
        ([box(500000, 4700000, 500100, 4700100)], 4326, "not on Earth"),
        ([SQUARE], 32654, "lies at 142, 43, which are degrees, but its CRS is WGS 84 / UTM zone"),
        ([Point(142, 42)], 4326, "no polygon with an area"),
        ([LineString([(142, 42), (143, 43)])], 4326, "no polygon with an area"),
        ([Polygon()], 4326, "no polygon with an area"),
        ([], 4326, "has no features"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, outlines, crs, complaint):
    with pytest.raises(InventoryError, match=complaint) as refusal:
        read_inventory_file(written(tmp_path, outlines, crs))
    assert "slides.gpkg" in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["torn.gpkg", "torn.geojson", "torn.shp", "torn.parquet", "torn.fgb"]
)
def test_a_torn_file_says_so(tmp_path, name):
    (tmp_path / name).write_bytes(b"SQLite format 3\0 and then nothing")
    with pytest.raises(InventoryError, match=rf"{name} cannot be read"):
        read_inventory_file(tmp_path / name)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(InventoryError, match="does not exist"):
        read_inventory_file(tmp_path / "nowhere.gpkg")


def test_outlines_in_the_area_of_the_event_are_taken(tmp_path):
    imported = read_inventory_file(written(tmp_path, [SQUARE, box(10, 10, 11, 11)]))
    assert require_in_area(imported, MultiPolygon([box(142, 43, 143, 44)])) == 1


def test_a_single_outline_with_coordinates_swapped_is_not_overlooked(tmp_path):
    imported = read_inventory_file(written(tmp_path, [box(11, 44, 12, 45), box(44, 11, 45, 12)]))
    with pytest.raises(InventoryError, match="swapped in 1 of its 2 outlines"):
        require_in_area(imported, MultiPolygon([box(11, 44, 12, 45)]))


@pytest.mark.parametrize(
    ("outline", "complaint"),
    [
        (box(44, 11, 44.1, 11.1), "has longitude and latitude swapped"),
        (box(9, 45, 9.1, 45.1), "longitude 9 to 9.1, latitude 45 to 45.1, outside the event's"),
    ],
)
def test_outlines_elsewhere_are_refused(tmp_path, outline, complaint):
    imported = read_inventory_file(written(tmp_path, [outline]))
    with pytest.raises(InventoryError, match=complaint):
        require_in_area(imported, MultiPolygon([box(11, 44, 12, 45)]))
