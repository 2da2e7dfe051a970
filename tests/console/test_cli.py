"""The command line as a person meets it: one sentence and an exit code for every wrong input."""

import json
import shutil
from importlib.metadata import version

import numpy as np
import pytest
import rasterio

from flows.world import code_version
from tests.conftest import EXAMPLE

SHAPES = {
    "self-crossing": [[[11, 44], [12, 45], [12, 44], [11, 45], [11, 44]]],
    "empty": [],
    "three-dimensional": [[[11, 44, 5], [12, 44, 5], [12, 45, 5], [11, 44, 5]]],
    "wrong side of the antimeridian": [[[-179, 44], [-178, 44], [-178, 45], [-179, 44]]],
    "swapped": [[[44.3, 111.5], [44.4, 111.5], [44.4, 111.6], [44.3, 111.5]]],
}
EARTHQUAKE = ["--kind", "earthquake", "--lon", "141.93", "--lat", "42.69"]


def test_an_earthquake_registered_twice_is_there_once(scarp):
    words = ["register", "us2000h8ty", *EARTHQUAKE, "--time", "2018-09-05T18:07:59Z"]
    words += ["--magnitude", "6.6", "--title", "Hokkaido Eastern Iburi", "--json"]
    first, second = json.loads(scarp(*words)[1]), json.loads(scarp(*words)[1])
    assert (first["change"], second["change"]) == ("registered", "unchanged")
    assert "Keefer" in first["aoi"]["how"]
    listed = json.loads(scarp("events", "list", "--json")[1])
    assert [row["event"]["id"] for row in listed] == ["us2000h8ty"]


def test_a_registration_asks_for_one_response_and_another_source_for_one_more(scarp):
    words = [
        "register",
        "--file",
        str(EXAMPLE / "event.json"),
        "--aoi",
        str(EXAMPLE / "aoi.geojson"),
    ]

    def asked(*more):
        assert scarp(*words, *more)[0] == 0
        [waiting] = json.loads(scarp("events", "due", "--json")[1])
        return waiting["source_version"]

    first = asked("--source", str(EXAMPLE))
    assert asked("--source", str(EXAMPLE)) == first == asked()
    assert asked("--source", "earth-search") != first


@pytest.mark.parametrize(
    ("words", "after"),
    [
        (["map", ""], "map"),
        (["map", "scene.tif", "-o", ""], "-o"),
        (["respond", "storm", "--source="], "--source"),
        (["db", "dump", ""], "dump"),
    ],
)
def test_an_empty_path_is_refused_and_never_the_current_folder(scarp, words, after):
    code, _, error = scarp(*words)
    assert code == 2 and f"what follows '{after}' is empty" in error


def test_an_event_that_was_given_up_says_so(scarp):
    words = ["register", "us2000h8ty", *EARTHQUAKE, "--time", "2018-09-05T18:07:59Z"]
    scarp(*words, "--magnitude", "6.6", "--title", "Hokkaido")
    assert "given up" not in scarp("events", "list")[1]
    assert scarp("runs", "cancel", "us2000h8ty")[0] == 0
    assert "given up" in scarp("events", "list")[1]
    assert "given up" in scarp("events", "show", "us2000h8ty")[1]
    assert json.loads(scarp("events", "show", "us2000h8ty", "--json")[1])["given_up"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--time", "2018-09-05T18:07:59", "--magnitude", "6.6"], "zone"),
        (["--time", "2018-09-05T18:07:59Z", "--magnitude", "6.6Mw"], "6.6Mw"),
        (["--time", "2018-09-05T18:07:59Z", "--rainfall-mm", "3"], "rainfall"),
        (["--time", "yesterday"], "yesterday"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(scarp, wrong, said):
    code, _, error = scarp("register", "quake", *EARTHQUAKE, *wrong)
    assert code == 2
    assert said in error
    assert "Traceback" not in error
    assert json.loads(scarp("events", "list", "--json")[1]) == []


@pytest.mark.parametrize("wrong", SHAPES)
def test_a_wrong_area_is_refused_and_nothing_is_stored(scarp, tmp_path, wrong):
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Polygon", "coordinates": SHAPES[wrong]}))
    code, _, error = scarp("register", "--file", str(EXAMPLE / "event.json"), "--aoi", str(area))
    assert code == 2
    assert "area.geojson" in error
    assert json.loads(scarp("events", "list", "--json")[1]) == []


def test_rain_without_an_area_is_refused(scarp):
    code, _, error = scarp("register", "--file", str(EXAMPLE / "event.json"))
    assert code == 2
    assert "--aoi" in error


def test_an_unknown_event_is_named_with_the_nearest(registered):
    code, _, error = registered("inventory", "list", "emilia-romagna-2032")
    assert code == 2
    assert "emilia-romagna-2023" in error


def test_an_event_without_inventory_says_how_to_make_one(registered):
    code, _, error = registered("inventory", "show", "emilia-romagna-2023")
    assert code == 2
    assert "scarp respond" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "1.5"], "--threshold"),
        (["--until", "2023-05-19T00:00:00"], "--until"),
        (["--window-px", "8"], "--window-px"),
        (["--volume-relation", "V=A"], "--volume-relation"),
        (["--screen", "watr=rivers.gpkg"], "water=FILE"),
        (["--screen", "slope=5"], "--dem"),
        (["--screen", "water=nowhere.gpkg"], "nowhere.gpkg does not exist"),
    ],
)
def test_a_wrong_option_is_named_before_any_work(registered, words, said):
    code, _, error = registered("respond", "emilia-romagna-2023", "--source", "x", *words)
    assert code == 2
    assert said in error


def test_a_reference_inventory_is_imported_once_and_beside_the_published_one(registered):
    file = str(EXAMPLE / "landslides.gpkg")
    words = ["inventory", "import", "emilia-romagna-2023", file, "--json"]
    first, second = json.loads(registered(*words)[1]), json.loads(registered(*words)[1])
    assert first == second
    assert (first["version"], first["status"], first["landslides"]) == (1, "draft", 30)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson"])
def test_what_is_exported_is_what_was_imported(registered, tmp_path, suffix):
    import geopandas as gpd

    file = EXAMPLE / "landslides.gpkg"
    registered("inventory", "import", "emilia-romagna-2023", str(file))
    out = tmp_path / f"out{suffix}"
    words = ["inventory", "export", "emilia-romagna-2023", "--version", "1", "-o", str(out)]
    code, _, error = registered(*words)
    assert code == 0, error
    layer = {"layer": "landslides"} if suffix == ".gpkg" else {}
    back = gpd.read_parquet(out) if suffix == ".parquet" else gpd.read_file(out, **layer)
    assert len(back) == 30
    expected = gpd.read_file(file).area.sum()
    assert back.to_crs("EPSG:32632").area.sum() == pytest.approx(expected, rel=1e-6)


def test_an_inventory_agrees_with_itself(registered):
    file = str(EXAMPLE / "landslides.gpkg")
    registered("inventory", "import", "emilia-romagna-2023", file)
    words = ["evaluate", "emilia-romagna-2023", "--version", "1", "--reference", "1", "--json"]
    scores = json.loads(registered(*words)[1])["scores"]
    assert scores == pytest.approx(
        {"precision": 1, "recall": 1, "f1": 1, "iou": 1, "object_recall": 1}
    )


def test_an_unreachable_database_is_one_sentence_without_the_password(scarp, monkeypatch):
    monkeypatch.setenv("SCARP_DATABASE_URL", "postgresql://me:secret@127.0.0.1:9/none")
    code, _, error = scarp("events", "list")
    assert code == 1
    assert "127.0.0.1:9" in error
    assert "secret" not in error
    assert "Traceback" not in error


def test_a_machine_without_postgresql_is_told_what_to_install(scarp, monkeypatch, tmp_path):
    import infra.programs

    monkeypatch.delenv("SCARP_DATABASE_URL")
    monkeypatch.setenv("SCARP_HOME", str(tmp_path / "new"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(infra.programs, "SEARCHED", ())
    code, _, error = scarp("events", "list")
    assert code == 1
    assert "apt-get install postgresql" in error


def test_the_doctor_finds_this_machine_in_health(scarp):
    code, out, error = scarp("doctor", "--json")
    assert code == 0, out + error
    assert all(finding["ok"] for finding in json.loads(out))


def test_scarp_says_which_it_is(scarp):
    code, out, _ = scarp("--version")
    assert code == 0
    assert out.startswith(f"scarp {version('scarp')}") and code_version() in out
    [this, *_] = json.loads(scarp("doctor", "--json")[1])
    assert f"scarp {this['found']}" == out.strip()


def test_the_doctor_says_what_is_wrong(scarp, monkeypatch):
    monkeypatch.setenv("SCARP_DATABASE_URL", "postgresql://127.0.0.1:9/none")
    code, out, _ = scarp("doctor", "--json")
    assert code == 1
    store = next(finding for finding in json.loads(out) if finding["part"] == "store")
    assert not store["ok"]
    assert "127.0.0.1:9" in store["fix"]


@pytest.mark.parametrize(
    ("name", "part"), [("SCARP_RULES", "rules"), ("SCARP_IMPACT", "layers of impact")]
)
def test_the_doctor_reads_the_rules_and_layers(scarp, monkeypatch, tmp_path, name, part):
    monkeypatch.setenv(name, str(tmp_path / "nowhere.toml"))
    code, out, _ = scarp("doctor", "--json")
    [wrong] = [finding for finding in json.loads(out) if not finding["ok"]]
    assert (code, wrong["part"]) == (1, part)
    assert "nowhere.toml cannot be read" in wrong["fix"]


@pytest.fixture
def picture():
    """Red, green and blue of the example's first clear scene, and its profile."""
    bands = []
    for name in ("B04", "B03", "B02"):
        with rasterio.open(EXAMPLE / "scenes" / "2023-05-23" / f"{name}.tif") as band:
            bands.append(band.read(1))
            profile = band.profile | {"driver": "GTiff", "count": 3}
    return np.stack(bands), profile


def write_picture(path, pixels, profile):
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(pixels)
        raster.descriptions = ("red", "green", "blue")


def test_an_image_is_mapped_without_event_or_database(scarp, tmp_path, monkeypatch, picture):
    import geopandas as gpd

    monkeypatch.setenv("SCARP_DATABASE_URL", "postgresql://127.0.0.1:9/none")
    write_picture(tmp_path / "scene.tif", *picture)
    words = ["map", str(tmp_path / "scene.tif"), "-o", str(tmp_path / "out"), "--json"]
    code, out, error = scarp(*words, "--window-px", "64", "--views", "4", "--disagreement")
    assert code == 0, error
    result = json.loads(out)
    assert len(gpd.read_file(result["polygons"], layer="landslides")) == result["landslides"] > 0
    with rasterio.open(result["disagreement"]) as raster:
        assert 0 < np.mean(raster.read(1) > 0) < 1


def test_ground_on_which_nothing_stands_out_is_mapped_with_a_note(scarp, tmp_path, picture):
    bare = np.random.default_rng(1).integers(90, 110, picture[0].shape).astype(np.uint8)
    write_picture(tmp_path / "scene.tif", bare, picture[1])
    words = ["map", str(tmp_path / "scene.tif"), "-o", str(tmp_path / "out")]
    code, said, error = scarp(*words)
    assert code == 0, error
    assert "note: weights unet-rgb are less sure of this ground" in " ".join(said.split())
    (doubt,) = json.loads(scarp(*words, "--json")[1])["doubts"]
    assert doubt["code"] == "weights-unsure"


def test_a_map_says_how_much_of_the_image_was_seen(scarp, tmp_path, picture):
    pixels, profile = picture
    half = pixels * (np.arange(profile["width"]) < profile["width"] // 2).astype(pixels.dtype)
    write_picture(tmp_path / "half.tif", half, profile)
    code, out, error = scarp("map", str(tmp_path / "half.tif"), "-o", str(tmp_path / "out"))
    assert code == 0, error
    assert "km² seen, 50 % of the images" in " ".join(out.split())


def test_an_image_that_is_refused_leaves_no_folder(scarp, tmp_path, picture):
    pixels, profile = picture
    write_picture(tmp_path / "blank.tif", pixels * 0, profile)
    assert scarp("map", str(tmp_path / "blank.tif"), "-o", str(tmp_path / "out"))[0] != 0
    assert not (tmp_path / "out").exists()


def test_an_image_is_mapped_with_relief_and_screened(scarp, tmp_path, picture):
    import geopandas as gpd

    write_picture(tmp_path / "scene.tif", *picture)
    words = ["map", str(tmp_path / "scene.tif"), "-o", str(tmp_path / "out"), "--json"]
    dem, of_an_earlier_run = str(EXAMPLE / "dem.tif"), tmp_path / "out" / "disagreement.tif"
    of_an_earlier_run.parent.mkdir()
    of_an_earlier_run.touch()
    code, out, error = scarp(
        *words, "--dem", dem, "--screen", "slope=8", "--screen", "bare-before=0.4"
    )
    assert code == 0, error
    assert not of_an_earlier_run.exists()
    result = json.loads(out)
    slope, bare = result["screens"]
    landslides = gpd.read_file(result["polygons"], layer="landslides")
    aside = gpd.read_file(result["polygons"], layer="screened")
    assert len(aside) == slope["set_aside"] > 0 and len(landslides) == result["landslides"]
    assert (aside["slope_mean_deg"] < 8).all() and (landslides["slope_mean_deg"] >= 8).all()
    assert "no scene from before" in bare["not_run"]


def test_images_side_by_side_are_mapped_as_one(scarp, tmp_path, picture):
    pixels, profile = picture
    write_picture(tmp_path / "whole.tif", pixels, profile)
    folder = tmp_path / "images"
    folder.mkdir()
    half = profile["width"] // 2
    east = profile["transform"] @ rasterio.Affine.translation(half, 0)
    write_picture(folder / "west.tif", pixels[..., :half], profile | {"width": half})
    write_picture(
        folder / "east.tif",
        pixels[..., half:],
        profile | {"width": profile["width"] - half, "transform": east},
    )
    scores = []
    for given in (tmp_path / "whole.tif", folder):
        code, out, error = scarp("map", str(given), "-o", str(tmp_path / given.stem), "--json")
        assert code == 0, error
        with rasterio.open(json.loads(out)["score"]) as raster:
            scores.append(raster.read(1))
    np.testing.assert_array_equal(*scores)


def test_a_damaged_file_of_a_folder_is_named_and_the_others_are_mapped(scarp, tmp_path, picture):
    folder = tmp_path / "images"
    folder.mkdir()
    write_picture(folder / "scene.tif", *picture)
    (folder / "cut.tif").write_bytes((folder / "scene.tif").read_bytes()[:200])
    code, out, error = scarp("map", str(folder), "-o", str(tmp_path / "out"))
    assert code == 0, error
    said = " ".join(out.split())
    assert "100 % of the images" in said and "left out: scene cut:" in said
    (folder / "scene.tif").unlink()
    code, _, error = scarp("map", str(folder), "-o", str(tmp_path / "none"))
    assert (code, (tmp_path / "none").exists()) == (2, False)
    assert "scene cut:" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--views", "3"], "views 3"),
        (["--overlap-px", "400"], "overlap 400"),
        (["--device", "abacus"], "abacus"),
        (["--screen", "slope=5"], "--dem"),
        (["--dem", "nowhere.tif"], "nowhere.tif"),
    ],
)
def test_a_wrong_option_of_map_is_one_sentence(scarp, tmp_path, picture, words, said):
    write_picture(tmp_path / "scene.tif", *picture)
    code, _, error = scarp("map", str(tmp_path / "scene.tif"), "-o", str(tmp_path / "out"), *words)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_weights_are_listed_with_their_card(scarp):
    (card, *_) = json.loads(scarp("model", "list", "--json")[1])
    assert card["licence"]
    told = json.loads(scarp("model", "info", card["name"], "--json")[1])
    assert told["parameters"] < 5_000_000
    said = scarp("model", "info", card["name"])[1]
    score = told["scores"]["test"]["sources"]["bijie"]
    pooled = [f"{score['micro'][key]:.3f}" for key in ("precision", "recall", "f1")]
    ends = "–".join(f"{end:.3f}" for end in score["intervals"]["micro"]["f1"])
    row = ["test", "bijie", *pooled, ends, str(score["n_tiles"])]
    assert row in [cells(line) for line in said.splitlines()]
    assert "{" not in said, "no dictionary as Python prints it"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip(" │").split("│")]


def test_a_catalog_of_truncated_bands_names_one_and_leaves_nothing(registered, tmp_path):
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder)
    for band in folder.glob("scenes/*/B04.tif"):
        band.write_bytes(band.read_bytes()[:3000])
    source = str(folder / "catalog.json")
    code, _, error = registered("respond", "emilia-romagna-2023", "--source", source)
    assert code == 2
    assert "B04" in error
    assert json.loads(registered("inventory", "list", "--json")[1]) == []


def test_products_that_cannot_be_written_are_one_sentence_and_the_inventory_stays(
    registered, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    words = ["--source", str(EXAMPLE / "catalog.json"), "-o", str(tmp_path / "file" / "products")]
    code, _, error = registered("respond", "emilia-romagna-2023", *words)
    assert code == 1
    assert "products" in error
    assert "Traceback" not in error


def test_products_replace_no_file_that_is_not_theirs(registered, tmp_path):
    mine = tmp_path / "before.tif"
    mine.write_bytes(b"an image of mine")
    words = ["--source", str(EXAMPLE / "catalog.json"), "-o", str(tmp_path)]
    code, _, error = registered("respond", "emilia-romagna-2023", *words)
    assert code == 2 and "holds before.tif, which is no product of emilia-romagna-2023" in error
    assert [path.name for path in tmp_path.iterdir()] == ["before.tif"]


def test_results_of_a_map_replace_no_image(scarp, tmp_path, picture):
    write_picture(tmp_path / "mosaic.tif", *picture)
    before = (tmp_path / "mosaic.tif").read_bytes()
    for image in (tmp_path / "mosaic.tif", tmp_path):
        code, _, error = scarp("map", str(image), "-o", str(tmp_path))
        assert code == 2 and "choose another folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mosaic.tif"]
    assert (tmp_path / "mosaic.tif").read_bytes() == before
