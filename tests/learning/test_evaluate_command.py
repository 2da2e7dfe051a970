"""`scarp evaluate --images --masks`: what it prints, what it writes, what it refuses."""

import json
import pickle
import shutil
import struct
import warnings
from dataclasses import replace
from unicodedata import normalize

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from matplotlib.figure import Figure
from rasterio.errors import NotGeoreferencedWarning
from typer.testing import CliRunner

from console.cli import app
from models.cards import PRETRAINED
from models.errors import ModelError
from models.ldmnet import ldmnet
from models.pictures import opened, pair_entries, read_image, read_mask
from models.samples import RGB, Entry, Sample
from models.weights import load, save
from tasks.errors import BadInputError, StorageError
from tasks.learning.evaluation import evaluate
from tasks.mapping.sureness import sureness_of
from tasks.publish.evaluation_figures import Example, _draw_example


@pytest.fixture
def folders(tmp_path, write_picture, scene):
    """A GeoTIFF with a scar, a PNG with one, and a JPEG without any; masks beside them."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    utm = {"crs": "EPSG:32654", "transform": Affine(5, 0, 600000, 0, -5, 4700000)}
    for stem, kind, seed, scar in (
        ("a", ".tif", 1, (20, 44, 8, 40)),
        ("b", ".png", 2, (4, 30, 30, 60)),
        ("c", ".jpg", 3, (0, 0, 0, 0)),
    ):  # fmt: skip
        image, mask = scene(seed, 64, scar)
        write_picture(images / f"{stem}{kind}", image, **(utm if kind == ".tif" else {}))
        write_picture(masks / f"{stem}.png", mask)
    return images, masks


def judge(images, masks, *more):
    words = ["evaluate", "--images", str(images), "--masks", str(masks), "--json", *map(str, more)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_scores_follow_the_definitions_and_files_of_every_kind_count(folders, tmp_path):
    found = judge(*folders, "--out", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["n_tiles"] == 3 and found["n_excluded"] == 1
    assert found["macro"].keys() == found["micro"].keys() == {"precision", "recall", "f1", "iou"}
    rows = {row["name"]: row for row in written["tiles"]}
    for name in ("precision", "recall", "f1", "iou"):
        mean = (rows["a"][name] + rows["b"][name]) / 2
        assert found["macro"][name] == pytest.approx(mean)
    assert found["pr_auc"] == pytest.approx((rows["a"]["pr_auc"] + rows["b"]["pr_auc"]) / 2)
    assert rows["c"]["f1"] in (None, 0)
    assert found["guessed_gsd_m"][""] in (2.0, 1.0, 0.5), "b and c say nothing of it"
    tp = sum(row["landslide_px"] * (row["recall"] or 0) for row in rows.values())
    assert found["micro"]["recall"] == pytest.approx(tp / (24 * 32 + 26 * 30))
    assert found["micro"]["f1"] > 0.5, "the shipped weights see a bright scar on green ground"
    low, high = found["intervals"]["micro"]["f1"]
    assert low <= found["micro"]["f1"] <= high
    page = (tmp_path / "out" / "evaluation.md").read_text()
    assert f"| mean over tiles | {found['macro']['precision']:.3f} (" in page
    assert f"| pixel size, guessed | {found['guessed_gsd_m']['']:g} m |" in page
    for figure in ("examples.png", "curves.png"):
        assert (tmp_path / "out" / figure).read_bytes().startswith(b"\x89PNG")


def test_a_pixel_size_that_is_given_is_not_guessed(folders):
    found = judge(*folders, "--gsd-m", "5")
    assert found["guessed_gsd_m"] == {} and found["objects"]["unit"] == "m2"


def test_a_pixel_size_that_is_given_is_not_taken_for_that_of_a_file_that_says(folders):
    entries, _ = pair_entries(*folders, gsd_m=2)
    assert [entry.read().gsd_m for entry in entries] == [5, 2, 2]


def test_masks_of_0_and_255_score_as_masks_of_0_and_1(folders, write_picture):
    images, masks = folders
    before = judge(images, masks)
    for path in masks.iterdir():
        mask, _ = read_mask(path)
        write_picture(path, mask.astype(np.uint8) * 255)
    assert judge(images, masks) == before


def test_a_picture_without_a_crs_is_scored_as_scarp_map_scores_the_same_ground(
    tmp_path, write_picture, scene
):

    from tasks.learning.scoring import score_sample
    from tasks.mapping.segment import segment_scene
    from tasks.mapping.windows import WindowPlan

    image, mask = scene(4, 96)
    write_picture(
        tmp_path / "placed.tif", image, crs="EPSG:32654",
        transform=Affine(5, 0, 600000, 0, -5, 4700000),
    )  # fmt: skip
    network, card = load("ldm-net-tiny")
    plan = WindowPlan(64, 16)
    path = segment_scene(tmp_path / "placed.tif", network, card, tmp_path / "score.tif", plan=plan)
    with rasterio.open(path) as file:
        mapped = (file.read(1).astype(float) - 1) / 254
    sample = Sample("x", image, mask > 0, mask < 2, ("red", "green", "blue"))
    score = score_sample(sample, network, card, plan, torch.device("cpu"))
    assert np.abs(score - mapped).max() < 0.01
    tile, dull = Entry("x", lambda: sample), Entry("y", lambda: sample)
    scores = iter([score, score / 4])
    tally = evaluate([tile, dull], lambda _: next(scores), 0.5)
    one, other = (replace(tally, tiles=[t]).summary()["sureness"] for t in tally.tiles)
    assert one == pytest.approx(sureness_of(path), abs=0.005), "a card's, and a map's"
    assert other == pytest.approx(one / 4), "each dataset's is its own"
    assert other < tally.summary()["sureness"] < one


def test_ground_nobody_saw_counts_nowhere(folders, tmp_path, write_picture):
    images, masks = folders
    for path in sorted(images.iterdir())[1:]:
        path.unlink()
    image = read_image(images / "a.tif").pixels
    alpha = np.full(image.shape[1:], 255, np.uint8)
    alpha[:, 50:] = 0
    write_picture(images / "a.png", np.concatenate([image, alpha[None]]))
    (images / "a.tif").unlink()
    found = judge(images, masks)
    assert sum(row["pixels"] for row in found["calibration"]["bins"]) == 64 * 50


def test_tiles_nobody_saw_are_named_and_count_nowhere(folders, write_picture):
    images, masks = folders
    before = judge(images, masks)
    write_picture(images / "d.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    write_picture(masks / "d.png", np.zeros((64, 64), np.uint8))
    found = judge(images, masks, "-o", images.parent / "out")
    assert found == before | {"n_unseen": 1, "unseen": ["d"]}
    page = (images.parent / "out" / "evaluation.md").read_text()
    assert "| tiles nobody saw, left out | d |" in page
    for path in images.glob("[abc].*"):
        path.unlink()
    assert "no pixel is valid of d, which are all tiles" in refused(images, masks)


def test_tiles_without_any_landslide_have_no_scores_and_the_json_is_valid(folders):
    images, masks = folders
    (images / "a.tif").unlink()
    (images / "b.png").unlink()
    found = judge(images, masks)
    assert found["n_tiles"] == found["n_excluded"] == 1 and found["n_unpaired"] == 2
    assert set(found["macro"].values()) == {None} and found["pr_auc"] is None


def refused(images, masks, *more):
    words = ["evaluate", "--images", str(images), "--masks", str(masks), *map(str, more)]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ModelError | BadInputError), result.output
    return str(result.exception)


def test_a_mask_of_another_size_is_refused_by_name(folders, write_picture):
    images, masks = folders
    write_picture(masks / "b.png", np.zeros((64, 48), np.uint8))
    said = refused(images, masks)
    assert "b.png is 64×64 and its mask" in said and "48×64" in said


def test_a_mask_of_other_ground_is_refused_by_name(folders, write_picture, scene):
    images, masks = folders
    (masks / "a.png").unlink()
    mask = scene(1, 64, (20, 44, 8, 40))[1]
    utm = {"crs": "EPSG:32654", "transform": Affine(5, 0, 600320, 0, -5, 4700000)}
    write_picture(masks / "a.tif", mask, **utm)
    with pytest.raises(
        ModelError, match=r"a\.tif and its mask .*a\.tif lie about 6\d pixels apart"
    ):
        judge(images, masks)
    write_picture(
        masks / "a.tif", mask, **utm | {"transform": Affine(5, 0, 600000, 0, -5, 4700000)}
    )
    assert judge(images, masks)["n_tiles"] == 3


def test_tiles_on_the_same_ground_are_one_group_of_the_intervals(tmp_path, write_picture, scene):
    def tile(name, east):
        place = {"crs": "EPSG:32654", "transform": Affine(5, 0, east, 0, -5, 4700000)}
        image, mask = scene(1, 64, (20, 44, 8, 40))
        write_picture(tmp_path / "i" / f"{name}.tif", image, **place)
        write_picture(tmp_path / "m" / f"{name}.png", mask)

    for name, east in (("a", 600000), ("b", 600320), ("c", 601000), ("d", 601100), ("e", 601300)):
        tile(name, east)
    found = judge(tmp_path / "i", tmp_path / "m")
    assert found["n_groups"] == 3, "a and b are neighbours; d lies on c and on e"


@pytest.mark.parametrize("size", [250.0, 96.5])
def test_pixels_too_coarse_to_see_anything_in_are_refused(folders, size):
    with pytest.raises(ModelError, match=f"its pixels measure {size:g} m, too coarse"):
        judge(*folders, "--gsd-m", size)
    with pytest.raises(BadInputError, match="--gsd-m inf: give the size"):
        judge(*folders, "--gsd-m", "inf")


def test_a_local_grid_says_nothing_of_how_large_a_pixel_is(tmp_path, write_picture, scene):
    local = {"crs": 'LOCAL_CS["site grid",UNIT["metre",1]]', "transform": Affine(5, 0, 0, 0, -5, 9)}
    write_picture(tmp_path / "a.tif", scene()[0], **local)
    picture = read_image(tmp_path / "a.tif")
    assert picture.gsd_m is None and picture.footprint is None


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_scored(folders, monkeypatch):
    begun = "flows.evaluate_tiles.load_folded"
    monkeypatch.setattr(begun, lambda name: pytest.fail("it was begun"))
    (folders[0].parent / "file").write_text("")
    with pytest.raises(StorageError, match="is not a writable folder"):
        judge(*folders, "--out", folders[0].parent / "file")


@pytest.mark.parametrize(
    ("values", "says"),
    [((0, 1, 2), "0, 1, 2"), ((0, 1, 255), "0, 1, 255"), ((0, 7), "0, 7")],
)
def test_masks_of_other_values_are_refused_by_name(folders, write_picture, values, says):
    images, masks = folders
    mask = np.resize(np.array(values, np.uint8), (64, 64))
    write_picture(masks / "a.png", mask)
    said = refused(images, masks)
    assert "a.png: the mask holds the values " + says in said


def test_a_mask_that_declares_0_as_nodata_is_refused(folders, write_picture):
    images, masks = folders
    (masks / "a.png").unlink()
    write_picture(masks / "a.tif", np.ones((64, 64), np.uint8), nodata=0)
    assert "a.tif: the mask declares nodata 0" in refused(images, masks)


@pytest.mark.parametrize(("landslide", "nodata"), [(255, 255), (1, 1)])
def test_a_mask_whose_nodata_may_be_landslide_is_refused(folders, write_picture, landslide, nodata):
    images, masks = folders
    mask = read_mask(masks / "a.png")[0].astype(np.uint8) * landslide
    (masks / "a.png").unlink()
    write_picture(masks / "a.tif", mask, nodata=nodata)
    said = refused(images, masks)
    other = 256 - nodata
    assert f"a.tif: the mask declares nodata {nodata} and holds no {other}" in said
    assert "gdal_edit.py -unsetnodata" in said and "such as 2" in said


def test_a_mask_of_no_landslide_1_landslide_and_255_unseen_is_read_in_every_part(
    tmp_path, write_picture
):
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :8], mask[:, 56:] = 1, 255
    path = write_picture(tmp_path / "mask.tif", mask, nodata=255)
    landslides, valid = read_mask(path)
    assert (landslides == (mask == 1)).all() and (valid == (mask < 255)).all()
    landslides, valid = read_mask(path, (slice(0, 64), slice(32, 64)))
    assert not landslides.any() and (valid == (mask[:, 32:] < 255)).all()
    whole = write_picture(tmp_path / "stable.tif", mask * 0, nodata=255)
    assert not read_mask(whole)[0].any() and read_mask(whole)[1].all()


def test_a_mask_without_landslides_is_read_as_others_of_its_folder_are(tmp_path, write_picture):
    mask = np.zeros((8, 8), np.float32)
    mask[:, :2], mask[4, 4] = 255, np.nan
    stable = write_picture(tmp_path / "stable.tif", mask, nodata=255)
    with pytest.raises(ModelError, match="declares nodata 255 and holds no 1"):
        read_mask(stable)
    write_picture(tmp_path / "m" / "slid.tif", np.eye(8, dtype=np.uint8), nodata=255)
    stable = write_picture(tmp_path / "m" / "stable.tif", np.nan_to_num(mask), nodata=255)
    landslides, valid = read_mask(stable)
    assert not landslides.any() and (valid == (mask != 255)).all()


def test_subfolders_of_one_name_are_paired_too(folders, write_picture, scene):
    images, masks = folders
    image, mask = scene(4)
    for folder in ("one/x", "two", ".hidden", "here alone"):
        write_picture(images / folder / "a.png", image)
        if folder != "here alone":
            write_picture(masks / folder / "a.png", mask)
    entries, alone = pair_entries(images, masks)
    assert [entry.name for entry in entries] == ["a", "b", "c", "one/x/a", "two/a"] and not alone


def test_a_coloured_mask_is_refused(folders, write_picture, scene):
    images, masks = folders
    write_picture(masks / "a.png", scene(0, 64)[0])
    assert "a.png: is a coloured picture, not a mask" in refused(images, masks)


def test_what_is_no_number_is_refused_unless_it_is_declared_nodata(folders, write_picture):
    images, masks = folders
    pixels = read_image(images / "a.tif").pixels.astype(np.float32)
    pixels[:, :3, :3] = np.nan
    write_picture(images / "a.tif", pixels)
    assert "a.tif: 9 pixels are NaN or infinite" in refused(images, masks)
    write_picture(images / "a.tif", pixels.astype(np.complex64))
    assert "a.tif: holds complex numbers (complex64)" in refused(images, masks)
    write_picture(images / "a.tif", pixels, nodata=np.nan)
    assert judge(images, masks)["n_tiles"] == 3


@pytest.mark.parametrize("name", ["images/a.tif", "images/b.png", "images/c.jpg", "masks/a.png"])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_corrupt_files_are_refused_by_name(folders, tmp_path, name, damage):
    path = tmp_path / name
    content = path.read_bytes()
    broken = {"truncated": content[: len(content) * 6 // 10], "text": b"not an image", "empty": b""}
    path.write_bytes(broken[damage])
    assert f"{path}: is truncated or not an image" in refused(*folders)


def test_folders_without_a_pair_are_refused(folders, tmp_path, write_picture, scene):
    images, masks = folders
    write_picture(tmp_path / "other" / "z.png", scene()[1])
    assert "no image in" in refused(images, tmp_path / "other")
    assert "holds no image" in refused(images, tmp_path)
    assert "no such folder" in refused(images, tmp_path / "missing")
    write_picture(images / "a.png", scene(1, 64)[0])
    assert "have one stem" in refused(images, masks)


def test_weights_for_other_bands_are_refused_naming_both(folders, tmp_path):
    torch.manual_seed(0)
    network = ldmnet("compact", bands=4)
    _, like = load("ldm-net-tiny")
    bands = ("red", "green", "blue", "nir")
    card = replace(like, name="four", options=network.description, bands=bands)
    save(network, card, tmp_path)
    said = refused(*folders, "--weights", tmp_path / "four.safetensors")
    assert "a.tif: band 'nir' is missing" in said and "'four'" in said


def test_bands_of_the_images_can_be_named(folders, write_picture):
    images, masks = folders
    before = judge(images, masks)
    red, green, blue = read_image(images / "a.tif").pixels
    with_nir = np.stack([blue, green, red, red]).astype(np.uint16)
    write_picture(images / "a.tif", with_nir)
    assert "a.tif: band 'red' is missing" in refused(images, masks)
    only = [path for path in images.iterdir() if path.name != "a.tif"]
    for path in only:
        path.unlink()
    found = judge(images, masks, "--bands", "blue,Green,RED,nir")
    assert found["n_tiles"] == 1 and before["n_tiles"] == 3
    write_picture(images / "a.tif", with_nir, bands=("Blue", "GREEN", "Red", "NIR"))
    assert judge(images, masks) == found
    write_picture(images / "a.tif", with_nir, bands=("Band 1", "Band 2", "Band 3", "Band 4"))
    assert "it has band 1, band 2" in (said := refused(images, masks)) and "--bands" in said


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights"])
def test_a_pickle_is_refused_whatever_it_is_called(folders, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    assert "is a pickle, which can run code" in refused(*folders, "--weights", tmp_path / name)
    torch.save({"a": torch.zeros(1)}, tmp_path / name)
    assert "is a pickle, which can run code" in refused(*folders, "--weights", tmp_path / name)


def test_weights_whose_file_was_changed_are_refused(folders, tmp_path):
    for path in PRETRAINED.glob("ldm-net-tiny.*"):
        shutil.copy(path, tmp_path)
    path = tmp_path / "ldm-net-tiny.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert "truncated or was changed" in refused(*folders, "--weights", path)


def test_options_of_the_two_ways_do_not_mix(folders):
    assert "--reference does not go with tiles" in refused(*folders, "--reference", "1")
    runner = CliRunner()
    for words, says in (
        (["evaluate"], "nothing to judge"),
        (["evaluate", "some-event"], "--reference"),
        (["evaluate", "some-event", "--reference", "1", "--masks", "x"], "--masks does not go"),
        (["evaluate", "some-event", "--reference", "1", "--weights", "x"], "--weights does not go"),
        (["evaluate", "some-event", "--reference", "1", "--views", "4"], "--views does not go"),
        (["evaluate", "--images", "x", "--masks", "y", "--split", "train"], "--split does not go"),
        (["evaluate", "--images", "x", "--resolution-m", "3"], "--resolution-m does not go"),
    ):
        assert says in str(runner.invoke(app, words).exception)


def test_a_mask_kept_as_jpeg_is_black_and_white_again(tmp_path, write_picture, scene):
    mask = scene(1, 64, (11, 45, 9, 38))[1]
    path = write_picture(tmp_path / "mask.jpg", mask * 255)
    with opened(path) as file:
        assert len(np.unique(file.read(1))) > 2, "JPEG blurs edges"
    read, valid = read_mask(path)
    assert np.mean(read != mask) < 0.01 and valid.all()
    grey = write_picture(tmp_path / "grey.jpg", np.full((64, 64), 100, np.uint8))
    with pytest.raises(ModelError, match="grey.jpg: the mask holds the values 100"):
        read_mask(grey)


def painted(path, numbers, colours):
    """A PNG of the numbers (h, w) with a colour each."""
    height, width = numbers.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", "PNG", width, height, 1, dtype="uint8") as file:
            file.write(numbers[None])
            file.write_colormap(1, dict(enumerate(colours)))
    return path


def test_a_mask_whose_colours_contradict_its_numbers_is_refused(tmp_path, scene):
    _, mask = scene(1)
    white, black, red = (255, 255, 255), (0, 0, 0), (200, 0, 0)
    for ground, landslide in ((black, white), (black, red), (white, red)):
        found, _ = read_mask(painted(tmp_path / "m.png", mask, (ground, landslide)))
        assert (found == (mask > 0)).all()
    # Programs that reduce a mask of 0 and 255 to two colours may number white first.
    for numbers in (1 - mask, np.zeros_like(mask)):
        with pytest.raises(ModelError, match=r"m\.png: draws 0 in colour and landslides in black"):
            read_mask(painted(tmp_path / "m.png", numbers, (white, black)))


def test_a_photograph_that_is_shown_turned_is_refused(tmp_path, write_picture, scene):
    image, _ = scene(1)
    upright = read_image(write_picture(tmp_path / "upright.jpg", image)).pixels
    stored = write_picture(tmp_path / "turned.jpg", image)
    # As cameras put it: one tag of EXIF, the orientation, which is 3 for upside down.
    tag = struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + tag + bytes(4)
    picture = stored.read_bytes()
    stored.write_bytes(
        picture[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + picture[2:]
    )
    with pytest.raises(ModelError, match=r"turned\.jpg: is shown turned .*EXIF orientation 3"):
        read_image(stored)
    assert upright.shape == image.shape


def test_names_pair_however_their_umlauts_are_written(tmp_path, write_picture, scene):
    image, mask = scene(1)
    images, masks = tmp_path / "images", tmp_path / "masks"
    write_picture(images / normalize("NFC", "Rüfe.png"), image)
    write_picture(masks / normalize("NFD", "Rüfe.png"), mask)
    entries, alone = pair_entries(images, masks)
    assert [entry.name for entry in entries] == ["Rüfe"] and not alone


def test_of_few_tiles_none_is_shown_twice_and_a_large_one_no_larger_than_its_panel(
    folders, tmp_path, monkeypatch, scene
):
    shown = []
    monkeypatch.setattr(
        "flows.evaluate_tiles.examples_figure", lambda path, some, at: shown.extend(some)
    )
    judge(*folders, "-o", tmp_path / "out")
    assert [example.rank for example in shown] == ["best", "worst"], "two hold a landslide"
    image, mask = scene(1, 1300)
    large = Sample("large", image, mask > 0, mask < 2, RGB)
    panels = Figure().subplots(1, 4)
    _draw_example(panels, Example("best", large, mask.astype(np.float32), 1.0), 0.5)
    assert {panel.images[0].get_array().shape for panel in panels} == {(434, 434, 3)}
