import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.errors import NotGeoreferencedWarning

from tasks.errors import CatalogError, RasterError
from tasks.imagery.folder import FolderSource, read_folder
from tasks.imagery.looking import look_at
from tasks.imagery.protocol import Span
from tasks.imagery.rasters import open_band
from tests.conftest import DATA

HOKKAIDO = DATA / "hokkaido2018" / "scene_rgb_3m.tif"
ANALYTIC = DATA / (
    "planet_stac_fixtures/tests/data-files/disaster/hurricane-harvey/hurricane-harvey-0831/"
    "20170831_172754_101c/20170831_172754_101c_3B_AnalyticMS.tif"
)
RGB = np.stack([np.full((40, 60), value, np.uint8) for value in (10, 20, 30)])
FOUR = np.stack([np.full((40, 60), value, np.uint16) for value in (1, 2, 3, 4)])

ALWAYS = Span(datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def levels(scene):
    """The value of each band of a scene whose bands are flat."""
    found = {}
    for name in scene.bands:
        with open_band(scene, name) as band:
            found[name] = int(band.read(1)[0, 0])
    return found


def test_the_hokkaido_scene_is_one_undated_rgb_scene_of_3_m():
    (scene,) = read_folder(HOKKAIDO).scenes
    assert scene.bands == ("red", "green", "blue")
    assert (scene.gsd_m, scene.crs, scene.acquired_at) == (3.0, "EPSG:32654", None)
    assert scene.footprint.contains(scene.footprint.centroid)
    assert scene.footprint.bounds == pytest.approx((142.0166, 42.7464, 142.0924, 42.7818), abs=1e-3)


def test_a_folder_gives_one_scene_a_file_in_order_of_name(write_tif, tmp_path):
    write_tif("images/b_20230523.tif", RGB)
    write_tif("images/a_20230617.TIF", RGB)
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    scenes = read_folder(tmp_path / "images").scenes
    assert [scene.item_id for scene in scenes] == ["a_20230617.TIF", "b_20230523.tif"]


def test_images_of_one_stem_are_scenes_of_their_own(aoi, write_tif, tmp_path):
    for name in ("x.TIF", "x.tif", "x.tiff", "y.tif"):
        write_tif(f"in/{name}", RGB + len(name))
    write_tif("in/x.tiff", RGB[:2])
    (tmp_path / "in" / "20230523.tif").symlink_to(write_tif("elsewhere/x.tif", RGB))
    found = FolderSource(tmp_path / "in").search(aoi, ALWAYS)
    assert [scene.id for scene in found.scenes] == ["20230523", "x.TIF", "x.tif", "y"]
    assert found.scenes[0].acquired_at == datetime(2023, 5, 23, tzinfo=UTC)
    assert [judged.scene.id for judged in found.refused] == ["x.tiff"]
    looked = look_at(found.scenes, aoi, datetime(2023, 5, 16, tzinfo=UTC))
    assert {one.scene.id for one in looked.judgements} == {"20230523", "x.TIF", "x.tif", "y"}


@pytest.mark.parametrize(
    ("name", "tags", "sidecar", "taken"),
    [
        ("20230523.tif", {}, None, datetime(2023, 5, 23, tzinfo=UTC)),
        ("s2_2023-05-23_rgb.tif", {}, None, datetime(2023, 5, 23, tzinfo=UTC)),
        ("20180911_012345_1020_3B.tif", {}, None, datetime(2018, 9, 11, 1, 23, 45, tzinfo=UTC)),
        ("T32TPQ_20230523T100601.tif", {}, None, datetime(2023, 5, 23, 10, 6, 1, tzinfo=UTC)),
        ("tile_20239999.tif", {}, None, None),
        ("x.tif", {"TIFFTAG_DATETIME": "2023:05:23 10:06:01"}, None,
         datetime(2023, 5, 23, 10, 6, 1, tzinfo=UTC)),
        ("x.tif", {"ACQUISITION_DATE": "2023-05-23T12:00:00+02:00"}, None,
         datetime(2023, 5, 23, 10, tzinfo=UTC)),
        ("x_20200101.tif", {"ACQUISITION_DATE": "2023-05-23"}, None,
         datetime(2023, 5, 23, tzinfo=UTC)),
        ("x_20230523.tif", {"TIFFTAG_DATETIME": "2024:01:01 00:00:00"}, None,
         datetime(2023, 5, 23, tzinfo=UTC)),
        ("x_20230523.tif", {"ACQUISITION_DATE": "0001-01-01T00:00:00+14:00"}, None,
         datetime(2023, 5, 23, tzinfo=UTC)),
        ("x_20200101.tif", {}, {"properties": {"acquired": "2023-05-23T10:06:01Z"}},
         datetime(2023, 5, 23, 10, 6, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_the_time_is_taken_from_the_surest_place(write_tif, name, tags, sidecar, taken):
    path = write_tif(name, RGB, tags=tags)
    if sidecar:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    assert read_folder(path).scenes[0].acquired_at == taken


@pytest.mark.parametrize("content", ['{"acquired": ', pytest.param("[" * 100_000, id="deep")])
def test_a_broken_sidecar_is_named(write_tif, content):
    path = write_tif("x.tif", RGB)
    path.with_suffix(".json").write_text(content)
    with pytest.raises(CatalogError, match=r"x\.json is not whole JSON"):
        read_folder(path)


def test_three_8_bit_bands_that_say_nothing_are_red_green_blue(write_tif):
    path = write_tif("x.tif", RGB, photometric="MINISBLACK")
    assert levels(read_folder(path).scenes[0]) == {"red": 10, "green": 20, "blue": 30}


def test_descriptions_name_the_bands(write_tif):
    path = write_tif("x.tif", FOUR, descriptions=("Blue", "B03", "red", "NIR"))
    assert levels(read_folder(path).scenes[0]) == {"red": 3, "green": 2, "blue": 1, "nir": 4}


def test_planetscope_products_are_blue_green_red_nir(write_tif):
    path = write_tif("20180911_012345_1020_3B_AnalyticMS_SR.tif", FOUR)
    assert levels(read_folder(path).scenes[0]) == {"red": 3, "green": 2, "blue": 1, "nir": 4}


def test_planets_own_order_counts_where_its_file_calls_the_first_band_red():
    (scene,) = read_folder(ANALYTIC).scenes
    with rasterio.open(ANALYTIC) as file:
        assert file.colorinterp[0].name == "red"
    brightness = []
    for name in ("blue", "green", "red"):
        with open_band(scene, name) as band:
            brightness.append(np.median(band.read(1, masked=True).compressed()))
    # Radiance at the top of the atmosphere over green ground: haze is blue, leaves are not red.
    assert brightness == sorted(brightness, reverse=True)


@pytest.mark.parametrize("array", [FOUR, FOUR[:3]])
def test_bands_are_never_guessed_from_their_number(write_tif, array):
    path = write_tif("x.tif", array)
    with pytest.raises(RasterError, match=f"which of its {len(array)} bands are red"):
        read_folder(path)


def test_the_alpha_band_says_where_data_are(write_tif):
    alpha = np.zeros((1, 40, 60), np.uint8)
    alpha[:, :, 30:] = 255
    path = write_tif("x.tif", np.concatenate([RGB, alpha]), photometric="RGB", alpha="YES")
    (scene,) = read_folder(path).scenes
    assert scene.bands == ("red", "green", "blue")
    with open_band(scene, "green") as band:
        assert band.dataset_mask().astype(bool).mean() == 0.5


def test_an_image_without_crs_is_refused(write_tif):
    with pytest.raises(RasterError, match="has no CRS"):
        read_folder(write_tif("x.tif", RGB, crs=None))


def test_an_image_without_geotransform_is_refused(write_tif):
    with pytest.warns(NotGeoreferencedWarning):
        path = write_tif("x.tif", RGB, transform=None)
    with pytest.raises(RasterError, match="has no geotransform"):
        read_folder(path)


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"II*\x00"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(RasterError, match=r"scene x: .*x\.tif cannot be read"):
        read_folder(path)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(CatalogError, match="holds no GeoTIFF"):
        read_folder(tmp_path)


def test_a_place_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(CatalogError, match="nowhere does not exist"):
        read_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (FOUR[:2], "has 2 bands; mapping needs three, red, green and blue"),
        (RGB.astype(np.complex64), r"holds complex numbers \(complex64\)"),
    ],
)
def test_an_image_without_three_bands_of_colour_says_what_it_lacks(write_tif, array, why):
    with pytest.raises(RasterError, match=why):
        read_folder(write_tif("x.tif", array))


def test_the_mask_of_an_image_is_the_one_that_shares_most_of_its_name(write_tif, tmp_path):
    for name in (
        "x_AnalyticMS",
        "x_udm2",
        "x_udm2_clip",
        "x_z_AnalyticMS",
        "x_z_udm2",
        "x_y_AnalyticMS",
    ):
        write_tif(f"in/{name}.tif", FOUR if "Analytic" in name else RGB)
    scenes = read_folder(tmp_path / "in").scenes
    masks = {scene.id: Path(scene.hrefs["udm2"]).stem for scene in scenes}
    by_name = {"x_AnalyticMS": "x_udm2", "x_y_AnalyticMS": "x_udm2", "x_z_AnalyticMS": "x_z_udm2"}
    assert masks == by_name


def test_a_path_that_gdal_would_take_for_options_is_refused(write_tif):
    with pytest.raises(CatalogError, match=r"scene\?… is a path with a question mark"):
        read_folder(write_tif("scene?bands=1.tif", RGB))


def test_a_file_that_cannot_be_used_leaves_the_others_of_its_folder(aoi, write_tif, tmp_path):
    write_tif("in/good.tif", RGB)
    write_tif("in/bad.tif", RGB, crs=None)
    write_tif("in/dem.tif", RGB[:1])
    found = FolderSource(tmp_path / "in").search(aoi, ALWAYS)
    assert [scene.item_id for scene in found.scenes] == ["good.tif"]
    reasons = {judged.scene.item_id: judged.reason for judged in found.refused}
    assert (
        "has no CRS" in reasons["bad.tif"]
        and "has 1 band; mapping needs three" in reasons["dem.tif"]
    )
    (tmp_path / "in" / "good.tif").unlink()
    with pytest.raises(RasterError, match="has no CRS"):
        FolderSource(tmp_path / "in").search(aoi, ALWAYS)


def test_an_image_that_is_cut_behind_its_overviews_is_refused(write_tif, tmp_path):
    noise = np.random.default_rng(0).integers(1, 255, (3, 1024, 1024), np.uint8)
    write_tif("in/good.tif", noise)
    whole = write_tif("x.tif", noise)
    cut = tmp_path / "in" / "cut.tif"
    rasterio.shutil.copy(whole, cut, driver="COG", blocksize=256)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 6 // 10])
    with rasterio.open(cut, overview_level=0) as overview:
        assert overview.read().any()
    found = read_folder(tmp_path / "in")
    assert [scene.item_id for scene in found.scenes] == ["good.tif"]
    (judged,) = found.refused
    assert judged.scene.item_id == "cut.tif" and "may be truncated" in judged.reason


def test_images_of_elsewhere_are_refused_with_where_they_lie(aoi, write_tif, tmp_path):
    write_tif("in/far.tif", RGB, crs="EPSG:32732")
    found = FolderSource(tmp_path / "in").search(aoi, ALWAYS)
    assert not found.scenes
    (judged,) = found.refused
    assert "S 1" in judged.reason and "the area round 44." in judged.reason


def test_an_image_of_a_local_grid_is_refused_with_what_to_do(write_tif):
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with pytest.raises(RasterError, match="does not say where on earth"):
        read_folder(write_tif("x.tif", RGB, crs=local))
