"""Cloud masks of every kind, by the bits and classes their makers document, inside true files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import RasterError
from tasks.imagery.clouds import judge
from tasks.imagery.folder import read_folder
from tasks.imagery.hosts import host_of
from tasks.imagery.items import Reading, item_scene
from tasks.imagery.masks import MASKS, Seen, mask_of
from tasks.imagery.mosaic import prepare_mosaic
from tasks.imagery.select import choose_scenes, imagery_doubts
from tests.conftest import DATA

GROUND, CLOUD, HAZE, SHADE, SNOW, NOTHING, UNUSABLE = (
    Seen.GROUND, Seen.CLOUD, Seen.HAZE, Seen.SHADE, Seen.SNOW, Seen.NO_DATA, Seen.UNUSABLE,
)  # fmt: skip
RGBN = np.stack([np.full((128, 128), value, np.uint16) for value in (300, 400, 500, 2000)])
NAMES = ("blue", "green", "red", "nir")


def seen(kind, *values):
    return MASKS[kind](np.array([[values]], np.uint16)).ravel().tolist()


def udm2(**bands):
    """A UDM2 of 128 × 128 px; each argument is the part of the columns a band says yes to."""
    names = ("clear", "snow", "shadow", "light", "heavy", "cloud", "confidence", "older")
    layers = np.zeros((8, 128, 128), np.uint8)
    for name, (first, last, value) in bands.items():
        layers[names.index(name), :, first:last] = value
    return layers


def test_sentinel_2_classes():
    assert seen("scl", *range(12)) == [
        NOTHING, NOTHING, SHADE, SHADE, GROUND, GROUND, GROUND, GROUND, CLOUD, CLOUD, HAZE, SNOW,
    ]  # fmt: skip


def test_landsat_values_of_the_usgs_table():
    # LSDS-1619 table 6-4: clear, clear water, cloud shadow, snow, cloud, dilated, cirrus, fill.
    clear, water, shadow, snow, cloud, dilated, cirrus = (
        21824, 21952, 23888, 30048, 22280, 21826, 54596,
    )  # fmt: skip
    found = seen("qa_pixel", clear, water, shadow, snow, cloud, dilated, cirrus & ~0b1010, 1)
    assert found == [GROUND, GROUND, SHADE, SNOW, CLOUD, CLOUD, HAZE, NOTHING]


def test_hls_bits_and_the_aerosol_that_bright_ground_sets():
    found = seen("fmask", 0, 0b10, 0b100, 0b1000, 0b1_0000, 0b10_0000, 0b1100_0000, 255)
    assert found == [GROUND, CLOUD, CLOUD, SHADE, SNOW, GROUND, GROUND, NOTHING]


def test_classes_of_geoscience_australia():
    assert seen("oa_fmask", 0, 1, 2, 3, 4, 5) == [NOTHING, GROUND, CLOUD, SHADE, SNOW, GROUND]


def test_planets_mask_before_and_after_its_haze_became_one():
    columns = np.zeros((8, 1, 9), np.uint8)
    clear, snow, shadow, light, heavy, cloud, _, older = range(8)
    columns[clear, 0, 0] = 1
    columns[snow, 0, 1] = 1
    columns[shadow, 0, 2] = 1
    columns[light, 0, 3] = 1
    columns[heavy, 0, 4] = 1
    columns[cloud, 0, 5] = 1
    columns[older, 0, 6] = 0b1
    columns[clear, 0, 7] = 1
    columns[older, 0, 7] = 0b1000
    found = MASKS["udm2"](columns).ravel().tolist()
    assert found == [GROUND, SNOW, SHADE, HAZE, HAZE, CLOUD, NOTHING, UNUSABLE, UNUSABLE]


@pytest.fixture
def planet_scene(write_tif, tmp_path):
    """An image and its mask as Planet delivers them: a quarter cloud, a quarter haze, the rest."""
    name = "20230523_101010_12_2262_3B"
    write_tif(f"p/{name}_AnalyticMS_SR_harmonized_clip.tif", RGBN, descriptions=NAMES)
    write_tif(
        f"p/{name}_udm2_clip.tif", udm2(cloud=(0, 32, 1), light=(32, 64, 1), clear=(64, 128, 1))
    )
    fields = {"acquired": "2023-05-23T10:10:10Z", "sun_elevation": 12.5, "view_angle": -24.0}
    sidecar = tmp_path / "p" / f"{name}_AnalyticMS_SR_harmonized_clip.json"
    sidecar.write_text(json.dumps({"properties": fields}))
    (scene,) = read_folder(tmp_path / "p").scenes
    return scene


def test_cloud_in_a_planet_scene_is_cloud(planet_scene, aoi, event, tmp_path):
    assert mask_of(planet_scene) == "udm2"
    view = judge(planet_scene, aoi)
    assert view.by_mask
    assert view.clear_fraction == pytest.approx(0.5, abs=0.01)
    assert view.hidden["cloud"] == pytest.approx(0.25, abs=0.01)
    assert view.hidden["haze"] == pytest.approx(0.25, abs=0.01)
    (judgement,) = choose_scenes([view], aoi, event.occurred_at, min_clear=0.4)
    assert "cloud was not looked for" not in judgement.reason
    mosaic = prepare_mosaic([planet_scene], aoi, tmp_path)
    west, _, east, _ = aoi.geometry.bounds
    assert mosaic.observed.bounds[0] == pytest.approx((west + east) / 2, abs=5e-4)
    codes = [d.code for d in imagery_doubts([judgement], mosaic, aoi, event.occurred_at)]
    assert codes == ["partial-coverage", "low-sun", "oblique-view"]


def test_a_mask_that_never_looked_shows_no_ground(planet_scene, aoi, write_tif):
    empty = write_tif("old_udm2.tif", udm2())
    old = replace(planet_scene, hrefs=planet_scene.hrefs | {"udm2": str(empty)})
    view = judge(old, aoi)
    assert (view.clear_fraction, view.hidden["not usable"]) == (0, 1)


def test_a_mask_of_another_kind_is_named(planet_scene, aoi, write_tif):
    older = write_tif("20230523_udm.tif", np.zeros((1, 128, 128), np.uint8))
    wrong = replace(planet_scene, hrefs=planet_scene.hrefs | {"udm2": str(older)})
    with pytest.raises(RasterError, match=r"udm\.tif has 1 bands and a UDM2 has 8"):
        judge(wrong, aoi)


def test_a_landsat_image_with_its_qa_band_is_judged_by_it(write_tif, aoi):
    quality = np.full((1, 128, 128), 21824, np.uint16)
    quality[:, :64] = 22280
    image = np.concatenate([RGBN, quality])
    (scene,) = read_folder(write_tif("l.tif", image, descriptions=(*NAMES, "qa_pixel"))).scenes
    view = judge(scene, aoi)
    assert view.clear_fraction == pytest.approx(0.5, abs=0.01)
    assert view.hidden["cloud"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("name", "mask", "sun"),
    [
        ("LE07_L2SP_044033_20210329_20210424_02_T1_SR.json", "qa_pixel", 43.386),
        ("LC08_L2SP_028030_20200114_20200824_02_T1_SR.json", "qa_pixel", 22.580),
        ("ga_ls8c_ard_3-1-0_088080_2020-05-25_final.stac-item.json", "oa_fmask", 31.790),
        ("S2A_28QCH_20200714_0_L2A.json", "scl", None),
    ],
)
def test_masks_and_sun_of_real_items_are_found(name, mask, sun):
    (path,) = (DATA / "stac_items_odc").rglob(name)
    item = json.loads(path.read_text()) | {"self_href": str(path), "catalog": "real"}
    hosts = {host_of(asset["href"]) for asset in item["assets"].values()}
    scene = item_scene(item, Reading(str(path), tuple(hosts)))
    assert mask_of(scene) == mask
    assert scene.sun_elevation_deg == (sun if sun is None else pytest.approx(sun, abs=1e-3))
