"""Readers of published datasets, on tiny files in exactly the published layout, and on the data."""

import json

import geopandas as gpd
import h5py
import numpy as np
import pytest
from affine import Affine
from shapely.geometry import box
from typer.testing import CliRunner

from console.cli import app
from models import datasets
from models.datasets import L4S_BANDS, READERS
from models.errors import ModelError
from models.samples import RGB, group_of, tiles_of
from tasks.errors import RasterError
from tasks.learning.catalog import of_split, read_data
from tasks.learning.run import split_entries
from tasks.learning.scenes import (
    drawn,
    hokkaido2018,
    images_of,
    polygons_of,
    scene_statistics,
    scenes,
)
from tests.conftest import DATA

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data may not be shipped")


def splits(entries):
    return {name: sum(e.split == name for e in entries) for name in ("train", "validation", "test")}


def check(entry):
    """What a reader says of a tile unread is what the tile says."""
    sample = entry.read()
    assert (sample.event, sample.source, sample.split) == (entry.event, entry.source, entry.split)
    return sample


def test_hr_gldd(tmp_path):
    dice = np.random.default_rng(0)
    for name, count in (("train", 3), ("val", 2), ("test", 1)):
        np.save(tmp_path / f"{name}X.npy", dice.random((count, 128, 128, 4)).astype(np.float32))
        np.save(tmp_path / f"{name}Y.npy", (dice.random((count, 128, 128, 1)) > 0.9).astype(float))
    entries = READERS["hr-gldd"](tmp_path)
    assert splits(entries) == {"train": 3, "validation": 2, "test": 1}
    sample = check(entries[4])
    assert sample.image.shape == (4, 128, 128) and sample.gsd_m == 3
    assert sample.bands == ("blue", "green", "red", "nir")
    stored = np.load(tmp_path / "valX.npy")[1, ..., 2]
    assert np.array_equal(sample.pick(("red",), "a test")[0], stored)
    assert np.array_equal(sample.mask, np.load(tmp_path / "valY.npy")[1, ..., 0] > 0)


def test_gvlm_is_cut_with_overlap_and_split_by_event(tmp_path, write_picture, scene):
    for number, site in enumerate(
        ("A Luoi_Vietnam", "Askja_Iceland", "Big Sur_United States", "Chimanimani_Zimbabwe",
         "Kaikoura_New Zealand", "Kupang_Indonesia", "Taitung_China")
    ):  # fmt: skip
        image, mask = scene(number, 600)
        write_picture(tmp_path / site / "im1.png", image)
        write_picture(tmp_path / site / "im2.png", 255 - image)
        write_picture(tmp_path / site / "ref.png", mask * 255)
    entries = READERS["gvlm"](tmp_path)
    assert len(entries) == 7 * 4
    assert {e.event for e in entries if e.split == "test"} == {
        "Kaikoura_New Zealand", "Taitung_China",
    }  # fmt: skip
    assert {e.event for e in entries if e.split == "validation"} == {"Kupang_Indonesia"}
    whole = 255 - scene(0, 600)[0].astype(float)
    site = entries[0].read().scene(("red", "blue"), (2.0, 6.0))
    assert site.mean == pytest.approx(whole[[0, 2]].mean((1, 2))), "of the site, not of the cut"
    assert site.std == pytest.approx(whole[[0, 2]].std((1, 2)))
    sample = check(entries[0])
    assert sample.image.shape == (3, 512, 512) and sample.gsd_m == 0.59
    assert sample.image[1].mean() > 150, "the image after the event"
    assert sample.mask.any()


@pytest.mark.parametrize("name", ["ulmd", "gdcld"])
def test_tiffs_with_masks_are_split_by_event(tmp_path, write_picture, scene, name):
    tested = {"ulmd": "Jiuzhaigou", "gdcld": "Lushan_UAV"}[name]
    for folder, event in (("train", "Luding_UAV"), ("val", "Luding_UAV"), ("test", tested)):
        image, mask = scene(1, 64)
        write_picture(tmp_path / folder / "images" / f"{event}_1.tif", image)
        write_picture(tmp_path / folder / "labels" / f"{event}_1.tif", mask)
    entries = READERS[name](tmp_path)
    assert splits(entries) == {"train": 1, "validation": 1, "test": 1}
    assert check(entries[0]).gsd_m == 0.2


def test_cas_uses_the_masks_and_keeps_regions_apart(tmp_path, write_picture, scene):
    for number, region in enumerate(("Hokkaido", "Lombok", "Mengdong", "Moxi", "Palu")):
        for tile in range(2):
            image, mask = scene(number, 64)
            write_picture(tmp_path / region / "img" / f"{tile}.tif", image)
            write_picture(tmp_path / region / "label" / f"{tile}.tif", image)
            write_picture(tmp_path / region / "mask" / f"{tile}.tif", mask)
    entries = READERS["cas"](tmp_path)
    assert splits(entries) == {"train": 6, "validation": 2, "test": 2}
    assert check(entries[-1]).event == "Palu" and check(entries[-1]).mask.sum() == 20 * 24


def test_ground_of_cas_that_two_sensors_saw_is_of_one_split(tmp_path, write_picture, scene):
    folders = (
        "Hokkaido Iburi-Tobu", "Jiuzhai valley (UAV-0.2m)", "Jiuzhai valley (UAV-0.5m)", "Lombok",
        "Longxi River（SAT）", "Longxi River（UAV）", "Mengdong", "palu",
    )  # fmt: skip
    for number, folder in enumerate(folders):
        image, mask = scene(number, 64)
        write_picture(tmp_path / folder / "img" / "0.tif", image)
        write_picture(tmp_path / folder / "mask" / "0.tif", mask)
    entries = READERS["cas"](tmp_path)
    held = {entry.event for entry in entries if entry.split != "train"}
    assert held == {"Longxi River", "Mengdong"}, "the fourth and the fifth region, whole"
    assert [check(e).gsd_m for e in entries if e.event == "Jiuzhai valley"] == [0.2, 0.5]
    assert len({group_of(entry) for entry in entries}) == 6


@pytest.mark.parametrize("size", [32, 64, 128, 224])
def test_lmhld_patches_of_every_size(tmp_path, write_picture, size):
    dice = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        image = dice.integers(0, 3000, (4, size, size)).astype(np.uint16)
        write_picture(tmp_path / "Gorkha" / split / "image" / "7.tif", image)
        write_picture(tmp_path / "Gorkha" / split / "label" / "7.tif", image[0] % 2)
    entries = READERS["lmhld"](tmp_path)
    assert splits(entries) == {"train": 1, "validation": 1, "test": 1}
    sample = check(entries[0])
    assert sample.bands == ("blue", "green", "red", "nir") and sample.image.shape == (4, size, size)
    assert sample.event == "Gorkha" and sample.gsd_m == 10


def test_landslide4sense_h5(tmp_path):
    dice = np.random.default_rng(0)
    for folder in ("TrainData", "ValidData"):
        for number in (1, 2, 10):
            for kind, array in (
                ("img", dice.random((128, 128, 14))),
                ("mask", (dice.random((128, 128)) > 0.98).astype(np.uint8)),
            ):
                path = (
                    tmp_path / folder / kind / f"{'image' if kind == 'img' else 'mask'}_{number}.h5"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                with h5py.File(path, "w") as file:
                    file.create_dataset(kind, data=array)
    entries = READERS["landslide4sense"](tmp_path)
    assert [entry.name for entry in entries[:3]] == [f"TrainData/image_{n}" for n in (1, 2, 10)]
    sample = check(entries[1])
    with h5py.File(tmp_path / "TrainData" / "img" / "image_2.h5") as file:
        assert np.array_equal(sample.image[3], file["img"][..., 3])
    assert sample.bands == L4S_BANDS and sample.gsd_m == 10
    (tmp_path / "TrainData" / "img" / "image_1.h5").write_bytes(b"no HDF5")
    with pytest.raises(ModelError, match="image_1.h5: is no HDF5 file"):
        entries[0].read()
    (tmp_path / "TrainData" / "mask" / "mask_2.h5").unlink()
    with pytest.raises(ModelError, match="mask_2.h5: no such file"):
        entries[1].read()


def test_bijie_as_published_is_split_by_county(tmp_path, write_picture, scene):
    for stem in ("df001", "hz002", "wn010"):
        image, mask = scene(1, 61)
        write_picture(tmp_path / "landslide" / "image" / f"{stem}.png", image)
        write_picture(tmp_path / "landslide" / "mask" / f"{stem}.png", mask * 255)
    write_picture(tmp_path / "non-landslide" / "image" / "df001.png", image)
    entries = {entry.name: entry for entry in READERS["bijie"](tmp_path)}
    assert {name: entry.split for name, entry in entries.items()} == {
        "df001": "train", "hz002": "test", "wn010": "validation", "bare/df001": "train",
    }  # fmt: skip
    assert check(entries["df001"]).mask.any() and not check(entries["bare/df001"]).mask.any()
    (tmp_path / "landslide" / "mask" / "hz002.png").unlink()
    with pytest.raises(ModelError, match=r"hz002\.png: has no mask hz002"):
        READERS["bijie"](tmp_path)


def test_a_landslide_of_bijie_whose_mask_was_lost_is_no_tile_without_landslides(
    tmp_path, write_picture, scene
):
    for stem in ("ls_0001", "ls_0002", "nls_0001"):
        image, mask = scene(1, 61)
        write_picture(tmp_path / "images" / f"{stem}.png", image)
        if stem == "ls_0001":
            write_picture(tmp_path / "masks" / f"{stem}.png", mask * 255)
    rows = "id,county,bijie_name\nls_0001,df,df001\nls_0002,{},hz002\nnls_0001,,\n"
    (tmp_path / "tiles.csv").write_text(rows.format("hz"))
    with pytest.raises(ModelError, match=r"ls_0002\.png: has no mask ls_0002"):
        READERS["bijie"](tmp_path)
    (tmp_path / "tiles.csv").write_text(rows.format(""))
    assert [e.event for e in READERS["bijie"](tmp_path)] == ["df", "", ""]


@pytest.mark.parametrize(
    ("name", "truth", "says"),
    [
        ("hr-gldd", np.zeros((2, 128, 128), np.uint8), "n, rows, columns, 1"),
        ("l4s_rgb", np.zeros((2, 128, 16), bool), "not uint8"),
        ("l4s_rgb", np.zeros((2, 2048), np.uint8), "not uint8"),
    ],
)
def test_masks_of_another_layout_are_refused_by_name(tmp_path, name, truth, says):
    if name == "hr-gldd":
        np.save(tmp_path / "trainX.npy", np.zeros((2, 128, 128, 4), np.uint8))
        np.save(tmp_path / "trainY.npy", truth)
    else:
        pixels = np.zeros((2, 128, 128, 3), np.uint8)
        for split in ("train", "validation"):
            np.savez(tmp_path / f"{split}.npz", x=pixels, y=truth)
    with pytest.raises(ModelError, match=says):
        [entry.read() for entry in READERS[name](tmp_path)]


@pytest.mark.parametrize(
    "pixels", [np.zeros((1, 128, 128, 4), "U3"), np.zeros((1, 128, 128, 4), complex), "archive"]
)
def test_arrays_of_no_numbers_and_archives_of_arrays_are_refused_by_name(tmp_path, pixels):
    with (tmp_path / "trainX.npy").open("wb") as file:
        (np.savez if isinstance(pixels, str) else np.save)(file, pixels)
    np.save(tmp_path / "trainY.npy", np.zeros((1, 128, 128, 1)))
    with pytest.raises(ModelError, match=r"trainX.npy: is missing, .* no array of numbers"):
        READERS["hr-gldd"](tmp_path)


def test_an_array_in_place_of_an_archive_is_refused_by_name(tmp_path):
    with (tmp_path / "train.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ModelError, match="train.npz: not a Landslide4Sense archive"):
        READERS["l4s_rgb"](tmp_path)


@pytest.fixture
def georeferenced(tmp_path, write_picture, scene):
    """A 5 m scene of 100 × 64 pixels with one landslide, drawn in degrees, and what was seen."""
    image, mask = scene(3, 64)
    image = np.concatenate([image, image[:, :, :36]], axis=2)
    grid = Affine(5, 0, 600000, 0, -5, 4700000)
    write_picture(tmp_path / "after.tif", image, crs="EPSG:32654", transform=grid)

    def ground(top, bottom, left, right):
        west, north = grid * (left, top)
        east, south = grid * (right, bottom)
        frame = gpd.GeoDataFrame(geometry=[box(west, south, east, north)], crs="EPSG:32654")
        return frame.to_crs("EPSG:4326")

    ground(20, 40, 10, 34).to_file(tmp_path / "drawn.gpkg", layer="scars")
    ground(0, 64, 0, 80).to_file(tmp_path / "drawn.gpkg", layer="interpreted_area")
    return tmp_path, image


def test_a_geotiff_with_polygons_is_a_dataset(georeferenced):
    folder, image = georeferenced
    (entry,) = scenes(folder)
    sample = check(entry)
    assert sample.gsd_m == 5 and sample.event == "after" and sample.split == "train"
    assert sample.mask.sum() == 20 * 24 and sample.mask[20:40, 10:34].all()
    assert sample.valid.sum() == pytest.approx(64 * 80, abs=64)
    assert np.allclose(sample.footprint, (142.22, 42.44), atol=0.02)
    whole = sample.scene(("blue", "red"), (2.0, 6.0))
    red_blue = image[[2, 0]]
    assert whole.mean == pytest.approx(red_blue.mean((1, 2)), rel=0.05)
    assert whole.std == pytest.approx(red_blue.std((1, 2)), rel=0.05)
    cuts = scenes(folder, size=32)
    assert len(cuts) == 8 and sum(c.read().mask.sum() for c in cuts) == 20 * 24
    with pytest.raises(ModelError, match="holds no GeoTIFF"):
        scenes(folder.parent / "none")
    (folder / "drawn.gpkg").unlink()
    with pytest.raises(ModelError, match="after.tif: has no polygons"):
        scenes(folder)


def test_where_the_ground_came_to_lie_is_landslide_too(georeferenced):
    folder, _ = georeferenced
    (entry,) = scenes(folder)
    scar = gpd.read_file(folder / "drawn.gpkg", layer="scars").to_crs("EPSG:32654")
    below = scar.translate(0, -100)  # 20 rows of 5 m
    below.to_crs("EPSG:4326").to_file(folder / "drawn.gpkg", layer="deposits")
    drawn.cache_clear()
    assert entry.read().mask.sum() == 2 * 20 * 24 and entry.read().mask[40:60, 10:34].all()


def test_cuts_of_a_scene_are_held_out_two_by_two(georeferenced):
    folder, _ = georeferenced
    learnt, held, _ = split_entries(scenes(folder, size=16))
    corner = {"after/32-57", "after/32-71", "after/48-57", "after/48-71"}
    assert {e.name for e in held} == corner, "the last that somebody saw, whole"
    assert len(learnt) == 20 and {e.read().split for e in held} == {"validation"}
    few = scenes(folder, size=64)
    assert len({group_of(entry) for entry in few}) == len(few) == 2, "or none could be held out"


def test_two_images_of_one_stem_are_refused(georeferenced):
    folder, _ = georeferenced
    (folder / "after.tiff").write_bytes((folder / "after.tif").read_bytes())
    with pytest.raises(ModelError, match="after.tiff and after.tif have one stem"):
        scenes(folder)


def test_cuts_cover_a_raster_once_or_with_overlap():
    count = np.zeros((700, 1100), int)
    for place in tiles_of(count.shape, 512):
        count[place] += 1
    assert (count == 1).all()
    cuts = tiles_of((700, 1100), 512, 0.1)
    assert {(r.stop - r.start, c.stop - c.start) for r, c in cuts} == {(512, 512)}
    assert {c.start for _, c in cuts} == {0, 461, 588}
    assert tiles_of((61, 94), 512, 0.1) == [(slice(0, 61), slice(0, 94))]


def test_bad_files_are_named(tmp_path, write_picture, scene):
    np.save(tmp_path / "trainX.npy", np.zeros((2, 128, 128, 4), np.float32))
    np.save(tmp_path / "trainY.npy", np.full((2, 128, 128, 1), 2, np.uint8))
    (entry, _) = READERS["hr-gldd"](tmp_path)
    with pytest.raises(ModelError, match=r"trainY.npy\[0\]: the mask holds the values 2"):
        entry.read()
    datasets._npy.cache_clear()
    content = (tmp_path / "trainX.npy").read_bytes()
    (tmp_path / "trainX.npy").write_bytes(content[:-1000])
    with pytest.raises(ModelError, match="trainX.npy: is missing, truncated or no array"):
        READERS["hr-gldd"](tmp_path)
    np.save(tmp_path / "trainX.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ModelError, match="trainX.npy: is missing, truncated or no array"):
        READERS["hr-gldd"](tmp_path)
    for name in READERS:
        (tmp_path / name).mkdir()
        with pytest.raises(ModelError, match=str(tmp_path / name)):
            READERS[name](tmp_path / name)


def test_datasets_are_named_on_the_command_line(tmp_path):
    for words, says in (
        (["bijie"], "give a dataset as NAME=DIR"),
        (["bijei=x"], "did you mean bijie"),
        ([f"bijie={tmp_path / 'none'}"], "none: no such folder"),
    ):
        with pytest.raises(ModelError, match=says):
            read_data(words)


def test_evaluate_takes_a_dataset(georeferenced, tmp_path):
    words = ["evaluate", "--data", f"scenes={georeferenced[0]}", "--json"]
    found = CliRunner().invoke(app, [*words, "--split", "train"], catch_exceptions=False)
    summary = json.loads(found.stdout)
    assert summary["n_tiles"] == 1 and summary["objects"]["unit"] == "m2"
    assert summary["objects"]["by_size"][3]["true"] == 1, "12,000 m² in the class from 10,000"
    empty = CliRunner().invoke(app, words)
    assert "the split 'test' is empty; the data hold train 1" in str(empty.exception)


@needs_data
def test_the_real_data_read():
    for name, counts in (
        ("bijie", {"train": 931, "validation": 70, "test": 102}),
        ("l4s_rgb", {"train": 1385, "validation": 396, "test": 0}),
    ):
        entries = READERS[name](DATA / name)
        assert splits(entries) == counts
        check(entries[0])
    bijie = READERS["bijie"](DATA / "bijie")
    tested = {entry.event for entry in of_split(bijie, "test")}
    assert tested == {"hz"} and tested.isdisjoint(e.event for e in of_split(bijie, "train"))
    assert sum(not entry.event for entry in bijie) == 480
    ortho = READERS["uav_ortho"](DATA / "uav_ortho")
    samples = [check(entry) for entry in ortho]
    assert all(sample.valid.any() for sample in samples) and all(splits(ortho).values())
    means = {sample.scene(RGB, (2.0, 6.0)).mean for sample in samples}
    lit = np.concatenate([s.image[:, s.valid][:, ::97] for s in samples], axis=1)
    assert len(means) == 1 and means.pop() == pytest.approx(lit.mean(1), rel=0.02), "black apart"
    share = sum(s.mask.sum() for s in samples) / sum(s.valid.sum() for s in samples)
    assert share == pytest.approx(0.219, abs=0.001), "as the data's description says"


@needs_data
def test_hokkaido_is_a_test_event_where_it_was_interpreted():
    entries = hokkaido2018(DATA / "hokkaido2018")
    assert splits(entries)["train"] == 0 and entries
    samples = [check(entry) for entry in entries]
    looked = sum(s.valid.sum() for s in samples) * 9 / 1e6
    assert looked == pytest.approx(23.5, abs=0.5)
    landslide = sum(s.mask.sum() for s in samples) / sum(s.valid.sum() for s in samples)
    assert landslide == pytest.approx(0.258, abs=0.001), "scars and deposits together"
    assert all(s.gsd_m == pytest.approx(3) for s in samples)


@pytest.mark.parametrize("of_test", ["test_dataset", "test_data"])
def test_gdcld_is_split_as_its_archives_are_named(tmp_path, write_picture, scene, of_test):
    for folder in ("train_dataset", "val_dataset", of_test):
        image, mask = scene(1, 64)
        write_picture(tmp_path / folder / "images" / "scene_1.tif", image)
        write_picture(tmp_path / folder / "labels" / "scene_1.tif", mask)
    entries = READERS["gdcld"](tmp_path)
    assert splits(entries) == {"train": 1, "validation": 1, "test": 1}
    assert {entry.event for entry in entries} == {""}


def test_scenes_to_test_on_of_gdcld_lie_in_a_folder_an_event(tmp_path, write_picture, scene):
    image, mask = scene(1, 64)
    write_picture(tmp_path / "train_dataset" / "images" / "1.tif", image)
    write_picture(tmp_path / "train_dataset" / "labels" / "1.tif", mask)
    unseen = mask.copy()
    unseen[:4] = 3
    for event in ("Lushan", "Sumarta"):
        write_picture(tmp_path / "test_data" / "test_data" / event / f"{event}_1.tif", image)
        label = tmp_path / "test_data" / "test_label" / event / f"{event}_1.tif"
        write_picture(label, unseen, nodata=3)
    entries = READERS["gdcld"](tmp_path)
    assert splits(entries) == {"train": 1, "validation": 0, "test": 2}
    assert {entry.event for entry in entries} == {"", "Lushan", "Sumarta"}
    sample = check(entries[0])
    assert sample.mask.sum() == mask.sum() and not sample.valid[:4].any() and sample.valid[4:].all()
    assert len({entry.name for entry in entries}) == 3


def test_a_landslide_of_bijie_is_never_learnt_from_by_mistake(tmp_path, write_picture, scene):
    table = tmp_path / "tiles.csv"
    for stem in ("ls_1", "ls_2"):
        write_picture(tmp_path / "images" / f"{stem}.png", scene(1, 61)[0])
        write_picture(tmp_path / "masks" / f"{stem}.png", scene(1, 61)[1])
    table.write_text("id,county\nls_1,WN\nls_2,hz\n", encoding="utf-8-sig")
    assert [entry.split for entry in READERS["bijie"](tmp_path)] == ["validation", "test"]
    for rows in ("ls_1,wn\n", "ls_1,wn\nls_2\n"):
        table.write_text(f"id,county\n{rows}")
        with pytest.raises(ModelError, match=r"ls_2\.png: its county is unknown.*tiles\.csv"):
            READERS["bijie"](tmp_path)
    table.write_bytes("id,county\nls_1,w\u00e4\n".encode("latin-1"))
    with pytest.raises(ModelError, match=r"tiles\.csv: is no table in UTF-8"):
        READERS["bijie"](tmp_path)
    table.write_text("id;county\nls_1;wn\n")
    with pytest.raises(ModelError, match="has no columns id and county; it has id;county"):
        READERS["bijie"](tmp_path)


def test_names_of_bijie_in_capitals_tell_the_county_too(tmp_path, write_picture, scene):
    image, mask = scene(1, 61)
    for stem in ("HZ001", "WN001"):
        picture = write_picture(tmp_path / f"{stem}.png", image)
        truth = write_picture(tmp_path / f"{stem}_mask.png", mask)
        for path, kind in ((picture, "image"), (truth, "mask")):
            (tmp_path / "landslide" / kind).mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "landslide" / kind / f"{stem}.PNG")
    entries = READERS["bijie"](tmp_path)
    assert [(e.name, e.event, e.split) for e in entries] == [
        ("HZ001", "hz", "test"), ("WN001", "wn", "validation"),
    ]  # fmt: skip
    for kind in ("image", "mask"):
        (tmp_path / "landslide" / kind / "WN001.PNG").rename(
            tmp_path / "landslide" / kind / "1.PNG"
        )
    with pytest.raises(ModelError, match=r"1\.PNG: its county is unknown"):
        READERS["bijie"](tmp_path)


def test_a_file_of_polygons_that_is_none_is_named(georeferenced):
    folder, _ = georeferenced
    (folder / "drawn.gpkg").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"drawn\.gpkg: is no file of polygons"):
        scenes(folder)[0].read()


def test_polygons_without_a_crs_are_refused_with_what_can_be_done(georeferenced):
    folder, _ = georeferenced
    frame = gpd.read_file(folder / "drawn.gpkg", layer="scars")
    (folder / "drawn.gpkg").unlink()
    frame.to_file(folder / "drawn.shp")
    (folder / "drawn.prj").unlink()
    with pytest.raises(ModelError, match=r"drawn\.shp, layer drawn, has no CRS.*ogr2ogr -a_srs"):
        scenes(folder)[0].read()


@pytest.fixture
def landslide4sense(tmp_path):
    """Landslide4Sense as in the competition: two tiles of each split, masks of those to learn."""
    folder = tmp_path / "l4s"
    for name, kind, shape in (
        ("TrainData", "img", (128, 128, 14)), ("TrainData", "mask", (128, 128)),
        ("ValidData", "img", (128, 128, 14)),
    ):  # fmt: skip
        (folder / name / kind).mkdir(parents=True)
        for number in (1, 2):
            stem = f"{'image' if kind == 'img' else 'mask'}_{number}"
            with h5py.File(folder / name / kind / f"{stem}.h5", "w") as file:
                file.create_dataset(kind, data=np.zeros(shape, np.uint8))
    return folder


def test_tiles_of_landslide4sense_whose_masks_were_kept_back_are_left_out(landslide4sense):
    entries = READERS["landslide4sense"](landslide4sense)
    assert splits(entries) == {"train": 2, "validation": 0, "test": 0}
    (landslide4sense / "TrainData" / "mask" / "mask_2.h5").unlink()
    with pytest.raises(ModelError, match=r"image_2\.h5: has no mask .*mask_2\.h5"):
        READERS["landslide4sense"](landslide4sense)


def test_what_a_mac_puts_into_an_archive_is_no_tile(
    tmp_path, write_picture, scene, landslide4sense
):
    image, mask = scene(1, 64)
    write_picture(tmp_path / "cas" / "Palu" / "img" / "1.tif", image)
    write_picture(tmp_path / "cas" / "Palu" / "mask" / "1.tif", mask)
    write_picture(tmp_path / "scenes" / "after.tif", image)
    (tmp_path / "scenes" / "after.gpkg").touch()
    for folder in (tmp_path / "cas", tmp_path / "scenes", landslide4sense):
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            for twin in (path.parent, folder / "__MACOSX" / path.parent.relative_to(folder)):
                twin.mkdir(parents=True, exist_ok=True)
                (twin / f"._{path.name}").write_bytes(b"Mac OS X")
    assert [entry.event for entry in READERS["cas"](tmp_path / "cas")] == ["Palu"]
    (image,) = images_of(tmp_path / "scenes")
    assert (image.name, polygons_of(image).name) == ("after.tif", "after.gpkg")
    assert len(READERS["landslide4sense"](landslide4sense)) == 2


def test_extensions_in_capitals_are_found(tmp_path, write_picture, scene, landslide4sense):
    (tmp_path / "hr-gldd").mkdir()
    np.save(tmp_path / "hr-gldd" / "trainX.npy", np.zeros((1, 128, 128, 4), np.uint8))
    np.save(tmp_path / "hr-gldd" / "trainY.npy", np.zeros((1, 128, 128, 1), np.uint8))
    image, mask = scene(1, 64)
    write_picture(tmp_path / "gvlm" / "Kupang" / "im2.png", image)
    write_picture(tmp_path / "gvlm" / "Kupang" / "ref.png", mask)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.rename(path.with_suffix(path.suffix.upper()))
    for name, folder, count in (
        ("hr-gldd", tmp_path / "hr-gldd", 1), ("gvlm", tmp_path / "gvlm", 1),
        ("landslide4sense", landslide4sense, 2),
    ):  # fmt: skip
        assert len([check(entry) for entry in READERS[name](folder)]) == count


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_three_bands_that_nothing_is_said_of_are_red_green_and_blue_in_scenes_too(
    georeferenced, write_picture, dtype
):
    folder, image = georeferenced
    grid = Affine(5, 0, 600000, 0, -5, 4700000)
    (entry,) = scenes(folder)
    said = entry.read().scene(RGB, (2.0, 6.0)), entry.read().scene(RGB, (10.0, 20.0))
    plain = write_picture(
        folder / "plain.tif", image.astype(dtype), crs="EPSG:32654", transform=grid
    )
    (folder / "after.tif").unlink()
    (entry,) = scenes(folder)
    sample = check(entry)
    assert sample.bands == RGB
    assert sample.scene(RGB, (2.0, 6.0)) == said[0]
    assert sample.scene(RGB, (10.0, 20.0)).mean == pytest.approx(said[1].mean, abs=0.5)
    write_picture(plain, image.astype(dtype), crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 0))
    with pytest.raises(RasterError, match=r"plain\.tif: the image must be in a projected CRS"):
        scene_statistics(plain, RGB, (1.0, 2.0))


def test_polygons_of_other_ground_are_refused_with_both_names(georeferenced):
    folder, _ = georeferenced
    (entry,) = scenes(folder)
    elsewhere = gpd.read_file(folder / "drawn.gpkg", layer="scars").to_crs("EPSG:32654")
    elsewhere = elsewhere.translate(10_000, 0)
    elsewhere.to_file(folder / "drawn.gpkg", layer="scars")
    assert not entry.read().mask.any(), "somebody looked here, and found nothing"
    elsewhere.to_file(folder / "drawn.gpkg", layer="interpreted_area")
    for _ in range(2):
        drawn.cache_clear()
        with pytest.raises(ModelError, match=r"drawn\.gpkg: covers no pixel of .*after\.tif"):
            entry.read()
        (folder / "drawn.gpkg").unlink()
        elsewhere.to_file(folder / "drawn.gpkg", layer="scars")


def test_where_somebody_looked_and_drew_nothing_there_is_no_landslide(georeferenced):
    folder, _ = georeferenced
    empty = gpd.GeoDataFrame({"id": []}, geometry=[], crs="EPSG:32654")
    empty.to_file(folder / "drawn.gpkg", layer="scars", geometry_type="Polygon")
    drawn.cache_clear()
    (entry,) = scenes(folder)
    assert not entry.read().mask.any() and entry.read().valid.any()


def test_points_are_no_landslides(georeferenced):
    folder, _ = georeferenced
    points = gpd.read_file(folder / "drawn.gpkg", layer="scars").to_crs("EPSG:32654").centroid
    points.to_file(folder / "drawn.gpkg", layer="landslides")
    with pytest.raises(ModelError, match=r"drawn\.gpkg, layer landslides, holds a Point"):
        scenes(folder)[0].read()


def test_tiles_of_two_folders_under_one_name_are_no_group_and_a_folder_counts_once(
    tmp_path, write_picture, scene
):
    for place in ("a", "b"):
        image, mask = scene()
        write_picture(tmp_path / place / "test" / "images" / "0-0.tif", image)
        write_picture(tmp_path / place / "test" / "masks" / "0-0.tif", mask)
    one, two = (f"chips={tmp_path / place}" for place in ("a", "b"))
    entries = read_data([one, two])
    assert len({group_of(entry) for entry in entries}) == len(entries) == 2
    with pytest.raises(ModelError, match=f"cas=.*: {one} is the same folder; give it once"):
        read_data([one, f"cas={tmp_path / 'b' / '..' / 'a'}"])
