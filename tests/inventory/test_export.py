import sqlite3
import zipfile
from datetime import UTC, datetime
from uuid import UUID
from xml.etree import ElementTree as xml

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import InventoryError, StorageError
from tasks.inventory.citation import About
from tasks.inventory.export import FORMATS, export_inventory
from tasks.inventory.export_formats import short_names
from tasks.inventory.importing import joined, read_area_file, read_inventory_file
from tasks.inventory.store import MEASURES, StoredInventory
from tasks.types import Doubt, Event
from tests.conftest import DATA

AREA = MultiPolygon([box(141.9, 42.6, 142.1, 42.8)])
AOI = MultiPolygon([box(141.8, 42.5, 142.2, 42.9)])
NAMES = [f"a{suffix}" for suffix in FORMATS]
LAYERED = (".gpkg", ".kml", ".zip")
ABOUT = About(
    Event(
        id="us2000h8ty",
        kind="earthquake",
        title="M 6.6 - Hokkaido Eastern Iburi",
        occurred_at=datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC),
        longitude=142.01,
        latitude=42.69,
    ),
    StoredInventory(
        id=UUID(int=1),
        event_id="us2000h8ty",
        version=2,
        run_id=UUID(int=2),
        digest="c0ffee",
        method="imported",
        threshold=None,
        minimum_mapping_unit_m2=0.0,
        status="draft",
        observed=AREA,
        observed_km2=365.0,
        scene_ids=(),
        landslide_count=2,
        area_m2=1333.75,
        screens=(),
        doubts=(Doubt("old-scene", "the scene is old"),),
        licence="CC BY 4.0",
        attribution="K. Kita & <others>",
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
    ),
)


@pytest.fixture
def landslides():
    return gpd.GeoDataFrame(
        {
            "number": [1, 2],
            "kind": ["scar", "scar"],
            "area_m2": [1234.5, 99.25],
            "review_state": ["confirmed", "unreviewed"],
            "volume_m3": [2250.0, float("nan")],
            "score_mean": [0.75, float("nan")],
            "scene_id": [None, None],
            "volume_relation": ["Guzzetti «2009» 'quoted'", None],
            "amalgamated": pd.array([True, None], dtype="boolean"),
            "acquired_at": pd.to_datetime(["2018-09-20T01:02:03Z", None]),
        },
        geometry=[box(142, 42.7, 142.001, 42.701), AREA],
        crs=4326,
    )


def read(path, layer="landslides"):
    """A layer as a user of the format would read it."""
    beside = path if layer == "landslides" else path.with_name(f"{path.stem}_{layer}{path.suffix}")
    if path.suffix == ".parquet":
        return gpd.read_parquet(beside)
    if path.suffix == ".zip":
        return gpd.read_file(f"/vsizip/{path}/{layer}.shp")
    return gpd.read_file(path, layer=layer) if path.suffix in LAYERED else gpd.read_file(beside)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_back_the_landslides(tmp_path, landslides, name):
    back = read(export_inventory(landslides, AREA, tmp_path / name))
    back = back.sort_values("number", key=lambda numbers: numbers.astype(int), ignore_index=True)
    assert name == "a.csv" or back.crs.to_epsg() == 4326
    for one, other in zip(back.geometry, landslides.geometry, strict=True):
        assert one.symmetric_difference(other).area < 1e-12
    assert list(back["area_m2"].astype(float)) == [1234.5, 99.25]
    relation = "vol_rel" if name == "a.zip" else "volume_relation"
    assert back[relation][0] == "Guzzetti «2009» 'quoted'"
    seen = "acq_at" if name == "a.zip" else "acquired_at"
    assert pd.to_datetime(back[seen][0], utc=True) == landslides["acquired_at"][0]


def test_nothing_is_left_beside_a_file_that_is_brought_back(tmp_path, landslides):
    path = export_inventory(landslides, AREA, tmp_path / "a.gpkg", about=ABOUT)
    held = set(tmp_path.iterdir())
    read_inventory_file(path)
    assert set(tmp_path.iterdir()) == held


@pytest.mark.parametrize("name", NAMES)
def test_the_ground_seen_and_the_area_of_interest_travel_with_them(tmp_path, landslides, name):
    path = export_inventory(landslides, AREA, tmp_path / name, aoi=AOI)
    for layer, ground in (("observed_area", AREA), ("aoi", AOI)):
        (back,) = read(path, layer).geometry
        assert back.symmetric_difference(ground).area < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_an_inventory_that_found_nothing_is_a_file_too(tmp_path, landslides, name):
    path = export_inventory(landslides.iloc[:0], AREA, tmp_path / name)
    assert len(read(path)) == 0
    assert len(read(path, "observed_area")) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_inventory_gives_the_same_bytes(tmp_path, landslides, name):
    def files():
        export_inventory(landslides, AREA, tmp_path / name, aoi=AOI, about=ABOUT)
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert files() == files()


@pytest.mark.parametrize("name", NAMES)
def test_licence_and_citation_are_inside_or_beside(tmp_path, landslides, name):
    path = export_inventory(landslides, AREA, tmp_path / name, about=ABOUT)
    if path.suffix == ".gpkg":
        text = pyogrio.read_info(path, layer="landslides")["dataset_metadata"]["terms"]
    elif path.suffix == ".zip":
        text = zipfile.ZipFile(path).read("landslides.txt").decode()
    else:
        text = path.with_suffix(".txt").read_text()
    assert text == ABOUT.text(landslides)
    assert "K. Kita & <others> (2026): landslides of M 6.6 - Hokkaido Eastern Iburi" in text
    assert "Licence: CC BY 4.0." in text
    assert "outside it nothing is known" in text


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_real_inventory_comes_back_with_every_outline_and_its_area(tmp_path, suffix, hokkaido):
    landslides, observed, area_m2 = hokkaido
    path = export_inventory(landslides, observed, tmp_path / f"iburi{suffix}")
    back = read_inventory_file(
        path,
        "landslides" if suffix in LAYERED else None,
        crs="EPSG:4326" if suffix == ".csv" else None,
        columns={"kind": "kind"},
    )
    assert back.landslides["kind"].value_counts().to_dict() == {"scar": 6116, "deposit": 1512}
    assert not back.mended
    found_m2 = back.landslides.to_crs("EPSG:6933").area.sum()
    assert found_m2 == pytest.approx(area_m2, rel=1e-6)


@pytest.fixture(scope="module")
def hokkaido():
    file = DATA / "hokkaido2018" / "inventory.gpkg"
    layers = [("scars", "scar"), ("deposits", "deposit")]
    whole = joined([read_inventory_file(file, layer, kind) for layer, kind in layers]).landslides
    area_m2 = whole.to_crs("EPSG:6933").area.sum()
    return whole, read_area_file(file, "interpreted_area"), area_m2


def test_a_geopackage_brings_the_styles_qgis_looks_for(tmp_path, landslides):
    path = export_inventory(landslides, AREA, tmp_path / "a.gpkg", aoi=AOI)
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
        columns = dict(
            database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns")
        )
    assert {layer: column for layer, column, _, _ in rows} == columns
    assert all(default == 1 and xml.fromstring(style) is not None for _, _, default, style in rows)


def test_the_project_beside_a_geopackage_opens_its_layers(tmp_path, landslides):
    path = export_inventory(landslides, AREA, tmp_path / "a.gpkg", aoi=AOI)
    with zipfile.ZipFile(tmp_path / "a.qgz") as archive:
        root = xml.fromstring(archive.read("a.qgs"))
    sources = [node.text for node in root.findall("projectlayers/maplayer/datasource")]
    layers = [name for name, geometry in pyogrio.list_layers(path) if geometry]
    assert sources == [f"./a.gpkg|layername={layer}" for layer in layers]
    assert len(root.findall("projectlayers/maplayer/renderer-v2")) == 3


def test_archives_are_compressed(tmp_path, landslides):
    for name in ("a.zip", "a.gpkg"):
        export_inventory(landslides, AREA, tmp_path / name)
    for archive in (tmp_path / "a.zip", tmp_path / "a.qgz"):
        kept = zipfile.ZipFile(archive).infolist()
        assert {member.compress_type for member in kept} == {zipfile.ZIP_DEFLATED}


def test_the_usgs_profile_has_the_names_of_the_us_compilation(tmp_path, landslides):
    path = tmp_path / "a.gpkg"
    back = read(export_inventory(landslides, AREA, path, about=ABOUT, profile="usgs"))
    assert list(back["LS_ID"]) == ["us2000h8ty-1", "us2000h8ty-2"]
    assert list(back["Confidence"]) == [8, 3]
    assert back["Date_Min"][0] == ABOUT.event.occurred_at


def test_the_inspire_profile_describes_observed_events(tmp_path, landslides):
    path = tmp_path / "a.gpkg"
    back = read(export_inventory(landslides, AREA, path, about=ABOUT, profile="inspire"))
    assert back["typeOfHazard_hazardCategory"][0].endswith("/landslide")
    assert list(back["inspireId_localId"]) == ["us2000h8ty-1", "us2000h8ty-2"]
    assert list(back["magnitudeOrIntensity_quantitativeValue"]) == [1234.5, 99.25]


@pytest.mark.parametrize(
    ("profile", "complaint"), [("usgs", "needs the event"), ("gost", "scarp, usgs, inspire")]
)
def test_a_profile_that_cannot_be_made_says_why(tmp_path, landslides, profile, complaint):
    with pytest.raises(InventoryError, match=complaint):
        export_inventory(landslides, AREA, tmp_path / "a.gpkg", profile=profile)


def test_short_names_keep_apart_what_they_shorten():
    short = short_names(["number", *MEASURES])
    assert short["elevation_min_m"] == "elev_min_m"
    assert max(map(len, short.values())) <= 10
    assert len({name.casefold() for name in short.values()}) == len(MEASURES) + 1


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("a.gpkg", ["a.gpkg", "a.qgz"]),
        ("a.fgb", ["a.fgb", "a.txt", "a_observed_area.fgb"]),
        ("a.zip", ["a.zip"]),
    ],
)
def test_nothing_else_is_left_in_the_folder(tmp_path, landslides, name, left):
    export_inventory(landslides, AREA, tmp_path / name, about=ABOUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_an_unknown_format_is_refused_with_those_known(tmp_path, landslides):
    with pytest.raises(InventoryError, match=r"a\.dwg.*\.gpkg, \.parquet, \.geojson"):
        export_inventory(landslides, AREA, tmp_path / "a.dwg")


def test_a_folder_that_is_a_file_is_named(tmp_path, landslides):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(StorageError, match="folder"):
        export_inventory(landslides, AREA, tmp_path / "folder" / "a.gpkg")
