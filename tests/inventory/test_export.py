import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import InventoryError, StorageError
from tasks.inventory.export import export_inventory

AREA = MultiPolygon([box(141.9, 42.6, 142.1, 42.8)])


@pytest.fixture
def landslides():
    return gpd.GeoDataFrame(
        {
            "number": [1, 2],
            "kind": ["scar", "scar"],
            "area_m2": [1234.5, 99.25],
            "score_mean": [0.75, float("nan")],
            "scene_id": [None, None],
            "volume_relation": ["Guzzetti «2009» 'quoted'", None],
            "amalgamated": pd.array([True, None], dtype="boolean"),
            "acquired_at": pd.to_datetime(["2018-09-20T01:02:03Z", None]),
        },
        geometry=[box(142, 42.7, 142.001, 42.701), AREA],
        crs=4326,
    )


def read(path):
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer="landslides" if path.suffix == ".gpkg" else None)


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.geojson"])
def test_a_file_gives_back_the_landslides(tmp_path, landslides, name):
    back = read(export_inventory(landslides, AREA, tmp_path / name))
    assert back.crs.to_epsg() == 4326
    assert back.geometry.geom_equals(landslides.geometry).all()
    assert list(back["area_m2"]) == [1234.5, 99.25]
    assert back["score_mean"].isna().tolist() == [False, True]
    assert back["volume_relation"][0] == "Guzzetti «2009» 'quoted'"
    assert pd.Timestamp(back["acquired_at"][0]).tz_convert("UTC") == landslides["acquired_at"][0]


def test_a_geopackage_holds_the_ground_seen_as_well(tmp_path, landslides):
    path = export_inventory(landslides, AREA, tmp_path / "a.gpkg")
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["landslides", "observed_area"]
    assert gpd.read_file(path, layer="observed_area").geometry[0].equals(AREA)


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.geojson"])
def test_an_inventory_that_found_nothing_is_a_file_too(tmp_path, landslides, name):
    path = export_inventory(landslides.iloc[:0], AREA, tmp_path / name)
    assert len(read(path)) == 0


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.geojson"])
def test_the_same_inventory_gives_the_same_bytes(tmp_path, landslides, name):
    first = export_inventory(landslides, AREA, tmp_path / name).read_bytes()
    assert export_inventory(landslides, AREA, tmp_path / name).read_bytes() == first


def test_nothing_but_the_file_is_left_in_the_folder(tmp_path, landslides):
    export_inventory(landslides, AREA, tmp_path / "a.gpkg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]


def test_an_unknown_format_is_refused_with_those_known(tmp_path, landslides):
    with pytest.raises(InventoryError, match=r"a\.dwg.*\.gpkg, \.parquet, \.geojson"):
        export_inventory(landslides, AREA, tmp_path / "a.dwg")


def test_a_folder_that_is_a_file_is_named(tmp_path, landslides):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(StorageError, match="folder"):
        export_inventory(landslides, AREA, tmp_path / "folder" / "a.gpkg")
