from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from tasks.errors import InventoryError
from tasks.inventory.importing import read_area_file, read_inventory_file

HOKKAIDO = Path(__file__).parents[3] / "shared" / "data" / "hokkaido2018" / "inventory.gpkg"
BOWTIE = Polygon([(142, 42), (142.01, 42.01), (142.01, 42), (142, 42.01)])


def written(tmp_path, outlines, crs=4326, name="slides.gpkg", **columns):
    path = tmp_path / name
    frame = gpd.GeoDataFrame(columns, geometry=outlines, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
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


def test_the_area_its_author_looked_at_holds_nearly_all_of_it():
    area = read_area_file(HOKKAIDO, "interpreted_area")
    scars = read_inventory_file(HOKKAIDO, "scars").landslides
    assert isinstance(area, MultiPolygon) and area.is_valid
    assert scars.representative_point().within(area).mean() > 0.95


def test_a_file_with_several_layers_asks_which():
    with pytest.raises(InventoryError, match=r"inventory\.gpkg has layers scars, deposits"):
        read_inventory_file(HOKKAIDO)


def test_a_layer_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(InventoryError, match="no layer slides; it has scars, deposits"):
        read_inventory_file(HOKKAIDO, "slides")


@pytest.mark.parametrize("name", ["s.gpkg", "s.geojson", "s.shp", "s.parquet", "s.fgb"])
def test_every_format_gives_the_same_outlines(tmp_path, name):
    outlines = [box(142, 42, 142.001, 42.001), box(142.01, 42, 142.02, 42.001)]
    imported = read_inventory_file(written(tmp_path, outlines, name=name))
    found = sorted(imported.landslides.geometry, key=lambda outline: outline.bounds)
    assert all(one.equals(other) for one, other in zip(found, outlines, strict=True))


def test_another_crs_comes_out_in_longitude_and_latitude(tmp_path):
    here = gpd.GeoSeries([box(142, 42, 142.001, 42.001)], crs=4326)
    there = read_inventory_file(written(tmp_path, here.to_crs(32654), 32654))
    assert there.landslides.geometry[0].equals_exact(here[0], 1e-9)


def test_crossing_rings_are_repaired_and_counted(tmp_path):
    imported = read_inventory_file(written(tmp_path, [BOWTIE, box(142, 43, 142.1, 43.1)]))
    assert imported.repaired == 1
    assert imported.landslides.is_valid.all()
    assert imported.landslides.geometry[0].area == pytest.approx(0.5 * 0.01 * 0.01)


def test_outlines_without_an_area_are_dropped_and_counted(tmp_path):
    outlines = [Polygon(), Polygon([(142, 42), (142.1, 42.1), (142, 42)]), box(142, 43, 143, 44)]
    imported = read_inventory_file(written(tmp_path, outlines))
    assert (len(imported.landslides), imported.dropped) == (1, 2)


def test_heights_are_left_out(tmp_path):
    solid = Polygon([(142, 42, 10), (142.1, 42, 20), (142.1, 42.1, 30)])
    assert not read_inventory_file(written(tmp_path, [solid])).landslides.has_z.any()


@pytest.mark.parametrize(
    ("outlines", "crs", "complaint"),
    [
        ([box(142, 42, 143, 43)], None, "has no CRS"),
        ([box(42, 142, 43, 143)], 4326, "longitude and latitude swapped"),
        ([box(500000, 4700000, 500100, 4700100)], 4326, "not on Earth"),
        ([Point(142, 42)], 4326, "no polygon with an area"),
        ([LineString([(142, 42), (143, 43)])], 4326, "no polygon with an area"),
        ([], 4326, "has no features"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, outlines, crs, complaint):
    with pytest.raises(InventoryError, match=complaint) as refusal:
        read_inventory_file(written(tmp_path, outlines, crs))
    assert "slides.gpkg" in str(refusal.value)


@pytest.mark.parametrize("name", ["torn.gpkg", "torn.geojson", "torn.shp", "torn.parquet"])
def test_a_torn_file_says_so(tmp_path, name):
    (tmp_path / name).write_bytes(b"SQLite format 3\0 and then nothing")
    with pytest.raises(InventoryError, match=rf"{name} cannot be read"):
        read_inventory_file(tmp_path / name)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(InventoryError, match="does not exist"):
        read_inventory_file(tmp_path / "nowhere.gpkg")
