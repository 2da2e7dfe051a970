"""`scarp dataset build`: the papers' rules, splits that hold, and chips that train."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import box
from typer.testing import CliRunner

from console.cli import app
from models.datasets import chips
from models.errors import ModelError
from tasks.errors import BadInputError, StorageError
from tasks.learning.building import _block_m
from tasks.learning.patches import assign, chip_sizes, hardest


def test_the_rule_gives_the_papers_sizes_for_wenchuan():
    assert chip_sizes([417, 417, 1191, 4123, 4123]).quartiles_px == (417, 1191, 4123)
    assert chip_sizes([417, 417, 1191, 4123, 4123]).candidates_px == (64, 128, 224)
    assert chip_sizes([5]).candidates_px == (32,)
    with pytest.raises(ModelError, match="no landslide"):
        chip_sizes([])


def test_half_of_the_negatives_are_the_barest():
    bareness = np.arange(100.0)
    chosen = hardest(bareness, 10, np.random.default_rng(0))
    assert len(set(chosen)) == 10 and set(range(95, 100)) <= set(chosen)
    assert min(chosen) < 90


def test_groups_come_near_seventy_twenty_and_ten_percent_and_stay_whole():
    groups = [f"g{n}" for n in range(100) for _ in range(1 + n % 5)]
    splits = assign(groups, seed=1)
    shares = {s: np.mean([splits[g] == s for g in groups]) for s in set(splits.values())}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.02)
    assert assign(groups, 1) == splits != assign(groups, 2)
    assert sorted(assign(["a", "b", "c"], 0).values()) == ["test", "train", "validation"]
    for seed in range(6):
        assert assign(["a", "b", "b", "c"], seed)["b"] == "train"
    with pytest.raises(ModelError, match="2 groups"):
        assign(["a", "b"], 0)


@pytest.fixture
def land(tmp_path, write_picture):
    """A 3 m scene of 512 × 640 pixels, striped with landslides; its west was not interpreted."""

    def make(folder="scenes", stem="after", north=4700000, seed=0, east=600000):
        dice = np.random.default_rng(seed)
        grid = Affine(3, 0, east, 0, -3, north)
        image = dice.integers(40, 90, (3, 512, 640)).astype(np.uint8)
        image[0, :, 600:] += 100  # a riverbed without landslides
        shapes = []
        for top in range(10, 500, 40):
            for left in range(140, 580, 40):
                image[:, top : top + 16, left : left + 16] += 100
                (west, up), (east, down) = grid * (left, top), grid * (left + 16, top + 16)
                shapes.append(box(west, down, east, up))
        write_picture(tmp_path / folder / f"{stem}.tif", image, crs="EPSG:32654", transform=grid)
        drawn = tmp_path / folder / f"{stem}.gpkg"
        gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32654").to_file(drawn, layer="landslides")
        (west, up), (east, down) = grid * (128, 0), grid * (640, 512)
        area = gpd.GeoDataFrame(geometry=[box(west, down, east, up)], crs="EPSG:32654")
        area.to_file(drawn, layer="observed_area")
        return tmp_path / folder

    return make


def build(*words):
    done = CliRunner().invoke(app, ["dataset", "build", *map(str, words), "--json"])
    if done.exception:
        raise done.exception
    return json.loads(done.stdout)


def test_chips_follow_the_rules_and_read_back(land, tmp_path, monkeypatch):
    card = build(land(), "-o", tmp_path / "chips", "--block-m", 400, "--negatives", 0.1)
    assert card["landslide_quartiles_px"] == [256, 256, 256]
    assert card["candidates_px"] == [64] and card["chip_px"] == 64, "√2560 is 51"
    assert card["chips_seen_whole"] == 8 * 8, "two columns of ten were not interpreted"
    entries = chips(tmp_path / "chips")
    assert len(entries) == card["chips"] == sum(s["chips"] for s in card["splits"].values())
    samples = [entry.read() for entry in entries]
    shares = np.array([sample.mask.mean() for sample in samples])
    assert ((shares == 0) | (shares >= 0.1)).all()
    assert (shares == 0).sum() == card["chips"] - card["with_landslides"] > 0
    for sample in samples:
        assert sample.image.shape == (3, 64, 64) and sample.gsd_m == 3 and sample.valid.all()
        assert sample.bands == ("red", "green", "blue") and sample.event == "after"
        bright = sample.image[1] > 100
        assert (bright == sample.mask).all(), "masks lie on the landslides"
    assert (tmp_path / "chips" / "map.png").read_bytes().startswith(b"\x89PNG")
    assert "| train |" in (tmp_path / "chips" / "card.md").read_text()
    assert json.loads((tmp_path / "chips" / "card.json").read_text()) == card
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    again = build(land(), "-o", ".", "--block-m", 400, "--negatives", 0.1)
    assert again == card
    assert len(chips(tmp_path / "again")) == card["chips"], "a folder without a name is one, too"


def test_three_events_are_kept_apart(land, tmp_path):
    for number in range(3):
        folder = land(stem=f"event{number}", north=4700000 + 9000 * number, seed=number)
    card = build(folder, "-o", tmp_path / "chips")
    assert card["split_by"] == "event"
    held = {entry.event: entry.split for entry in chips(tmp_path / "chips")}
    assert sorted(held.values()) == ["test", "train", "validation"]


def test_events_on_the_same_ground_are_refused(land, tmp_path):
    for number in range(3):
        folder = land(stem=f"event{number}", seed=number)
    with pytest.raises(ModelError, match="lies on the ground of"):
        build(folder, "-o", tmp_path / "chips")
    assert not (tmp_path / "chips").exists()
    build(folder, "-o", tmp_path / "chips", "--split", "block", "--block-m", 384)


def test_blocks_so_small_that_chips_are_split_at_random_are_refused(land, tmp_path):
    with pytest.raises(ModelError, match="--block-m 200 is less than 2 chips of 64.*give 384 or"):
        build(land(), "-o", tmp_path / "chips", "--block-m", 200)


def test_blocks_are_of_two_kilometres_or_of_two_chips_unless_somebody_says(land):
    image = land() / "after.tif"
    assert _block_m([image], 64, None) == 2000
    assert _block_m([image], 512, None) == 2 * 512 * 3
    assert _block_m([image], 64, 384.0) == 384


def test_a_scene_with_pixels_that_are_no_numbers_is_refused_by_its_name(land, tmp_path):
    folder = land()
    with rasterio.open(folder / "after.tif") as file:
        pixels, profile = file.read().astype("float32"), file.profile | {"dtype": "float32"}
    pixels[1, 70, 200:203] = np.nan
    with rasterio.open(folder / "after.tif", "w", **profile) as file:
        file.write(pixels)
    with pytest.raises(ModelError, match=r"scenes/after\.tif\[64:, 192:\]: 3 pixels are NaN"):
        build(folder, "-o", tmp_path / "chips", "--block-m", 400)


def test_neighbours_on_a_grid_turned_against_north_do_not_lie_on_each_other(land, tmp_path):
    card = build(land(east=900000), "-o", tmp_path / "chips", "--block-m", 400)
    assert card["splits"]["test"]["chips"] > 0


def test_chips_are_written_whole_or_not_at_all_and_never_over_others(land, tmp_path):
    with pytest.raises(ModelError, match="none is 90 %"):
        build(land(), "-o", tmp_path / "chips", "--least-share", 0.9)
    assert not (tmp_path / "chips").exists()
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="is not empty"):
        build(land(), "-o", tmp_path / "chips")
    with pytest.raises(ModelError, match="groups, which cannot be divided"):
        build(land(), "-o", tmp_path / "other", "--block-m", 100000)
    with pytest.raises(BadInputError, match="choose auto, event or block"):
        build(land(), "-o", tmp_path / "other", "--split", "random")


def test_every_dataset_is_listed():
    done = CliRunner().invoke(app, ["dataset", "list", "--json"])
    assert {"bijie", "gvlm", "chips", "scenes"} <= {row["name"] for row in json.loads(done.stdout)}


def test_a_scene_keeps_its_numbers(land, tmp_path):
    folder = land()
    build(folder, "-o", tmp_path / "chips", "--block-m", 400)
    path = next((tmp_path / "chips").rglob("images/*.tif"))
    row, column = map(int, path.stem.split("-"))
    with rasterio.open(path) as chip, rasterio.open(folder / "after.tif") as whole:
        window = rasterio.windows.Window(column, row, 64, 64)
        assert np.array_equal(chip.read(), whole.read(window=window))
        assert chip.transform == whole.window_transform(window) and chip.crs == whole.crs


@pytest.mark.parametrize("option", ["--least-share", "--negatives", "--block-m"])
@pytest.mark.parametrize("value", ["inf", "nan", "-1"])
def test_a_wish_that_is_no_finite_number_is_refused(tmp_path, option, value):
    words = ["dataset", "build", str(tmp_path), "-o", str(tmp_path / "chips"), option, value]
    done = CliRunner().invoke(app, words)
    refused = isinstance(done.exception, BadInputError) and option in str(done.exception)
    assert refused or (done.exit_code == 2 and option in done.output)
