"""Inventories in and out of files as a person types it: sentences, exit codes, nothing stored."""

import json
import sqlite3

import geopandas as gpd
import pytest
from shapely.geometry import Polygon, box

from tests.conftest import EXAMPLE

EVENT = "emilia-romagna-2023"
SQL = "'; DROP TABLE scarp.event CASCADE; --\""
SQUARE = box(11.58, 44.33, 11.581, 44.331)
BOWTIE = Polygon([(11.58, 44.33), (11.582, 44.332), (11.582, 44.33), (11.58, 44.332)])


def drawn(tmp_path, outlines, name="slides.gpkg", crs=4326, **columns):
    gpd.GeoDataFrame(columns, geometry=outlines, crs=crs).to_file(tmp_path / name)
    return str(tmp_path / name)


def stored(run):
    return json.loads(run("inventory", "list", "--json")[1])


def test_what_was_mended_is_told_polygon_by_polygon(registered, tmp_path):
    file = drawn(tmp_path, [BOWTIE, SQUARE, SQUARE, Polygon()])
    code, out, error = registered("inventory", "import", EVENT, file, "--json")
    assert code == 0, error
    told = json.loads(out)
    assert told["landslides"] == 2
    assert [(one["feature"], one["done"]) for one in told["mended"]] == [
        (1, "repaired"),
        (3, "dropped"),
        (4, "dropped"),
    ]
    said = registered("inventory", "import", EVENT, file)[1]
    assert "Self-intersection" in said and "repeats feature 2" in said
    assert "1 were invalid and were repaired, 2 were empty" in said.replace("\n", " ")


def test_scars_and_deposits_are_told_apart_by_a_column_in_any_words(registered, tmp_path):
    file = drawn(tmp_path, [SQUARE, BOWTIE], part=["Crown", "source"], note=[SQL, SQL])
    words = ["--column", "kind=part", "--kind-word", "crown=scar", "--column", "scene_id=note"]
    code, _, error = registered("inventory", "import", EVENT, file, *words, "--publish")
    assert code == 0, error
    told = json.loads(registered("inventory", "show", EVENT, "--json")[1])
    shown = told["landslides"]
    assert told["landslides_as_reviewed"] == len(shown["features"])
    assert {one["properties"]["kind"] for one in shown["features"]} == {"scar"}
    assert {one["properties"]["scene_id"] for one in shown["features"]} == {SQL}


def test_sql_in_licence_and_attribution_is_text(registered, tmp_path):
    words = ["--licence", SQL, "--attribution", SQL, "--publish"]
    code, _, error = registered("inventory", "import", EVENT, drawn(tmp_path, [SQUARE]), *words)
    assert code == 0, error
    out = tmp_path / "out.geojson"
    assert registered("inventory", "export", EVENT, "-o", str(out))[0] == 0
    assert SQL in out.with_suffix(".txt").read_text()
    assert len(stored(registered)) == 1


@pytest.mark.parametrize(
    ("outlines", "words", "said"),
    [
        ([], [], "has no features; if its author looked and found no landslide, say where with"),
        ([Polygon()], [], "no polygon with an area"),
        ([box(44.33, 11.58, 44.34, 11.59)], [], "longitude and latitude swapped"),
        ([box(9, 45, 9.1, 45.1)], [], "outside the event's area of interest"),
        ([SQUARE], ["--layer", "nothing"], "no layer nothing; it has slides"),
        ([SQUARE], ["--layer", SQL], "no layer"),
        ([SQUARE], ["--crs", "EPSG:0"], "is not a CRS"),
        ([SQUARE], ["--crs", "EPSG:32632"], "which are degrees, but its CRS is WGS 84 / UTM"),
        ([SQUARE], ["--column", "kind"], "--column takes NAME=VALUE"),
        ([SQUARE], ["--column", f"kind={SQL}"], "has no column"),
        ([SQUARE], ["--column", "number=id"], "number is not read from a file"),
        ([SQUARE], ["--kind-word", "crown=head"], "'head' is not one of landslide"),
        ([SQUARE], ["--observed-layer", "nothing"], "no layer nothing"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_nothing_is_stored(
    registered, tmp_path, outlines, words, said
):
    file = drawn(tmp_path, outlines)
    code, _, error = registered("inventory", "import", EVENT, file, *words)
    assert code == 2
    assert said in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error
    assert stored(registered) == []


def test_an_event_that_does_not_exist_is_named(registered, tmp_path):
    code, _, error = registered("inventory", "import", "nowhere", drawn(tmp_path, [SQUARE]))
    assert code == 2
    assert "nowhere" in error


def test_an_event_is_known_by_any_of_its_ids(registered, tmp_path):
    event = json.loads((EXAMPLE / "event.json").read_text())
    (alias,) = event["alternate_ids"]
    file = drawn(tmp_path, [SQUARE])
    assert json.loads(registered("inventory", "import", alias, file, "--json")[1])["version"] == 1
    for words in (
        ["publish", alias, "--version", "1"],
        ["review", alias, "--confirm", "1", "--by", "ann"],
        ["review", alias, "--publish"],
        ["show", alias],
        ["diff", alias, "1", "2"],
        ["lineage", alias, "1"],
        ["quality", alias],
        ["export", alias, "-o", str(tmp_path / "out.gpkg")],
    ):
        code, _, error = registered("inventory", *words)
        assert code == 0, (words, error)
    lines = json.loads(registered("inventory", "list", alias, "--json")[1])
    assert [(one["event_id"], one["status"]) for one in lines] == [
        (EVENT, "superseded"),
        (EVENT, "published"),
    ]


def test_manual_and_imported_versions_stand_side_by_side(registered, tmp_path):
    registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"), "--publish")
    registered("inventory", "import", EVENT, drawn(tmp_path, [SQUARE]))
    assert [(one["version"], one["status"]) for one in stored(registered)] == [
        (1, "published"),
        (2, "draft"),
    ]
    registered("inventory", "import", EVENT, str(tmp_path / "slides.gpkg"), "--publish")
    assert [one["status"] for one in stored(registered)] == ["superseded", "published"]


def test_a_shapefile_is_another_when_its_columns_are(registered, tmp_path):
    words = ["--column", "kind=part", "--json"]
    told = []
    for part in ("scar", "scar", "deposit"):
        file = drawn(tmp_path, [SQUARE], "slides.shp", part=[part])
        told.append(json.loads(registered("inventory", "import", EVENT, file, *words)[1]))
    assert [one["version"] for one in told] == [1, 1, 2]


def test_an_older_draft_is_not_published_over_a_newer_version(registered, tmp_path):
    older = drawn(tmp_path, [SQUARE])
    registered("inventory", "import", EVENT, older)
    registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"), "--publish")
    code, _, error = registered("inventory", "import", EVENT, older, "--publish")
    assert code == 2
    assert f"version 1 of {EVENT} is older than what is published" in " ".join(error.split())
    assert f"`scarp inventory export {EVENT} --version 1 -o FILE`" in " ".join(error.split())
    assert [one["status"] for one in stored(registered)] == ["draft", "published"]


def test_an_event_of_which_an_inventory_is_published_says_so(registered, tmp_path):
    def state():
        return json.loads(registered("events", "show", EVENT, "--json")[1])["state"]

    registered("inventory", "import", EVENT, drawn(tmp_path, [SQUARE]))
    assert state() == "registered"
    registered("inventory", "publish", EVENT, "--version", "1")
    assert state() == "published"
    registered("events", "hold", EVENT, "--reason", "wait")
    registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"), "--publish")
    assert state() == "held"


@pytest.mark.parametrize("suffix", ["gpkg", "kml", "zip"])
def test_what_was_exported_edited_and_brought_back_keeps_its_kinds_and_its_ground(
    registered, tmp_path, suffix
):
    drawn(tmp_path, [SQUARE], part=["scar"])
    drawn(tmp_path, [SQUARE.buffer(0.001)], name="looked.gpkg")
    words = [str(tmp_path / "slides.gpkg"), "--column", "kind=part", "--publish"]
    words += ["--observed-file", str(tmp_path / "looked.gpkg")]
    assert registered("inventory", "import", EVENT, *words)[0] == 0
    out = tmp_path / f"out.{suffix}"
    registered("inventory", "export", EVENT, "-o", str(out))
    if suffix == "gpkg":  # a landslide drawn in QGIS, of which nothing is said
        rows = gpd.read_file(out, layer="landslides")
        outlines = [*rows.geometry, box(11.585, 44.33, 11.586, 44.331)]
        edited = gpd.GeoDataFrame({"kind": [*rows["kind"], None]}, geometry=outlines, crs=4326)
        edited.to_file(out, layer="landslides")
    code, said, error = registered("inventory", "import", EVENT, str(out), "--json")
    assert code == 0, error
    back, first = json.loads(said), stored(registered)[0]
    assert back["observed_km2"] == pytest.approx(first["observed_km2"], abs=1e-4)
    shown = registered("inventory", "show", EVENT, "--version", "2", "--json")[1]
    kinds = [one["properties"]["kind"] for one in json.loads(shown)["landslides"]["features"]]
    assert kinds == (["scar", "landslide"] if suffix == "gpkg" else ["scar"])


@pytest.mark.parametrize("suffix", ["gpkg", "kml", "zip"])
def test_that_somebody_looked_and_found_nothing_goes_out_and_comes_back(
    registered, tmp_path, suffix
):
    looked = drawn(tmp_path, [SQUARE.buffer(0.001)], name="looked.gpkg")
    words = [drawn(tmp_path, []), "--observed-file", looked, "--publish"]
    code, _, error = registered("inventory", "import", EVENT, *words)
    assert code == 0, error
    out = tmp_path / f"out.{suffix}"
    code, _, error = registered("inventory", "export", EVENT, "-o", str(out))
    assert code == 0, error
    code, said, error = registered("inventory", "import", EVENT, str(out), "--json")
    assert code == 0, error
    back, first = json.loads(said), stored(registered)[0]
    assert back["landslides"] == first["landslides"] == 0
    assert back["observed_km2"] == pytest.approx(first["observed_km2"], abs=1e-4) != 0


def test_no_landslide_is_nothing_to_say_of_ground_elsewhere(registered, tmp_path):
    looked = drawn(tmp_path, [box(9, 45, 9.1, 45.1)], name="looked.gpkg")
    words = [drawn(tmp_path, []), "--observed-file", looked]
    code, _, error = registered("inventory", "import", EVENT, *words)
    assert code == 2
    assert "looked.gpkg lies at longitude 9 to 9.1" in error
    assert stored(registered) == []


@pytest.mark.parametrize("profile", ["usgs", "inspire"])
def test_a_profile_is_exported(registered, tmp_path, profile):
    registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"), "--publish")
    out = tmp_path / "out.gpkg"
    words = ["inventory", "export", EVENT, "-o", str(out), "--profile", profile]
    code, _, error = registered(*words)
    assert code == 0, error
    name = "LS_ID" if profile == "usgs" else "inspireId_localId"
    assert gpd.read_file(out, layer="landslides")[name][0] == f"{EVENT}-1"
    with sqlite3.connect(out) as database:
        (terms,) = database.execute("SELECT metadata FROM gpkg_metadata").fetchone()
    assert EVENT in terms


def test_the_quality_of_an_inventory_is_told_and_drawn(registered, tmp_path):
    registered("inventory", "import", EVENT, str(EXAMPLE / "landslides.gpkg"), "--publish")
    registered("inventory", "import", EVENT, drawn(tmp_path, [SQUARE]))
    words = ["inventory", "quality", EVENT, "--against", "2", "-o", str(tmp_path / "drawn")]
    code, out, error = registered(*words, "--outline-error-m", "5")
    assert code == 0, error
    assert "30 landslides above 0 m² are too few" in out.replace("\n", " ")
    assert "mapping error E against 2" in out
    assert "% of the area that was seen, no more" in " ".join(out.split())
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {
        "match.png",
        "size_distribution.png",
    }
    told = json.loads(registered(*words, "--json")[1])
    assert told["mapping"]["error"] == pytest.approx(1, abs=0.1)
    assert told["result"]["quality"]["count"] == 30
    assert 0.7 < told["result"]["seen_share"] < 0.8


def test_the_choices_offered_are_those_the_store_and_the_exports_know():
    from typing import get_args

    from console import inventory_files
    from tasks.inventory import export_profiles, tables

    assert get_args(inventory_files.Kind) == get_args(tables.LandslideKind)
    assert get_args(inventory_files.Profile) == get_args(export_profiles.Profile)
