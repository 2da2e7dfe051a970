from dataclasses import replace

import numpy as np
import pytest
import torch

from models.augmentation import augment
from models.batches import Stack
from models.datasets import Tiles, hold_out, landslide4sense
from models.errors import ModelError
from models.first_weights import best_threshold, report, scores
from models.ldmnet import ldmnet
from models.recipes import Recipe
from models.training import train
from tests.conftest import DATA

L4S = DATA / "l4s_rgb"
SHORT = Recipe(epochs=2, batch=4, crop=32, rate=1e-3, seed=3)

needs_l4s = pytest.mark.skipif(not L4S.is_dir(), reason="Landslide4Sense may not be shipped")


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    """Eight tiles of grey ground whose landslides are the bright squares."""
    dice = np.random.default_rng(0)
    masks = np.zeros((8, 64, 64), bool)
    for mask in masks:
        row, column = dice.integers(0, 40, 2)
        mask[row : row + 20, column : column + 20] = True
    pixels = dice.integers(40, 60, (8, 64, 64, 3)) + 120 * masks[..., None]
    return Tiles(pixels.astype(np.uint8), masks, ("red", "green", "blue"), 10.0)


def fresh():
    torch.manual_seed(0)
    return ldmnet("compact", drop_path=0.1)


def changed(tiles, seed):
    dice = torch.Generator().manual_seed(seed)
    batch = Stack(tiles).draw(np.arange(len(tiles)), SHORT, dice)
    return augment(*batch, SHORT, dice)


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(tiles, tmp_path):
    whole = train(fresh(), Stack(tiles), SHORT, tmp_path / "whole")

    killed = fresh()
    steps = iter([False, False, False, True])  # in the middle of the second epoch

    def kill(*_):
        if next(steps):
            raise KeyboardInterrupt

    killed.register_forward_hook(kill)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Stack(tiles), SHORT, tmp_path / "killed")
    resumed = train(fresh(), Stack(tiles), SHORT, tmp_path / "killed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_recipe_is_refused(tiles, tmp_path):
    train(fresh(), Stack(tiles), Recipe(epochs=1, batch=8, crop=32), tmp_path / "checkpoint")
    with pytest.raises(ModelError, match="made by another recipe"):
        train(fresh(), Stack(tiles), SHORT, tmp_path / "checkpoint")


def test_fewer_tiles_than_a_batch_are_refused(tiles, tmp_path):
    with pytest.raises(ModelError, match="8 tiles do not fill a batch of 9"):
        train(fresh(), Stack(tiles), Recipe(batch=9), tmp_path / "checkpoint")


def test_training_learns_to_map_bright_squares(tiles, tmp_path):
    recipe = Recipe(epochs=30, batch=8, crop=32, rate=3e-3, native=1.0)
    network = train(fresh(), Stack(tiles), recipe, tmp_path / "checkpoint")
    assert report(scores(network, tiles), tiles.masks, 0.5)["pooled"]["f1"] > 0.9


def test_a_network_learns_what_its_teacher_says_where_the_labels_say_nothing(tiles, tmp_path):
    class Dark(torch.nn.Module):
        """Takes what is dark for landslide."""

        def forward(self, x, valid=None):
            return -20 * x.mean(1, keepdim=True)

    recipe = Recipe(epochs=30, batch=8, crop=32, rate=3e-3, native=1.0, losses={"bce": 1.0})
    taught = replace(recipe, teaching=1.0)
    network = train(fresh(), Stack(tiles), taught, tmp_path / "taught", teachers=[Dark()])
    assert report(scores(network, tiles), ~tiles.masks, 0.5)["pooled"]["f1"] > 0.9
    labels = replace(recipe, teaching=0.0)
    network = train(fresh(), Stack(tiles), labels, tmp_path / "labels", teachers=[Dark()])
    assert report(scores(network, tiles), tiles.masks, 0.5)["pooled"]["f1"] > 0.9


def test_truth_moves_with_the_picture(tiles):
    x, truth, valid = changed(tiles, 0)
    assert valid.all()
    assert x.shape == (8, 3, 32, 32)
    assert truth.shape == (8, 1, 32, 32)
    for picture, mask in zip(x.mean(1), truth[:, 0], strict=True):
        if mask.any() and not mask.all():
            assert picture[mask].mean() > picture[~mask].mean() + 1


def test_augmentation_repeats_by_seed_alone(tiles):
    one, same, other = (changed(tiles, seed) for seed in (5, 5, 6))
    assert torch.equal(one[0], same[0])
    assert not torch.equal(one[0], other[0])


def test_the_best_threshold_is_where_f1_peaks():
    masks = np.array([[[False, False, True, True]]])
    values = np.array([[[0.1, 0.4, 0.6, 0.9]]])
    assert best_threshold(values, masks, [0.2, 0.5, 0.8]) == 0.5


def test_a_report_gives_pooled_and_image_wise_scores():
    masks = np.array([[[True, True]], [[True, False]]])
    values = np.array([[[0.9, 0.1]], [[0.9, 0.9]]])
    found = report(values, masks, 0.5)
    assert found["pooled"] == {"precision": 0.6667, "recall": 0.6667, "f1": 0.6667, "iou": 0.5}
    assert found["image_mean"]["recall"] == 0.75


def test_tiles_held_out_are_whole_runs_and_never_learnt_from(tiles):
    numbered = Tiles(
        np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1), np.zeros((100, 1, 1), bool),
        ("red",), 1.0,
    )  # fmt: skip
    learnt, held = hold_out(numbered, every=5, block=10)
    assert held.pixels.ravel().tolist() == [*range(40, 50), *range(90, 100)]
    assert set(learnt.pixels.ravel()) | set(held.pixels.ravel()) == set(range(100))
    assert len(learnt) + len(held) == 100


@needs_l4s
def test_landslide4sense_masks_lie_on_what_looks_like_landslides():
    tiles = landslide4sense(L4S, "validation")
    assert (len(tiles), tiles.gsd_m, tiles.bands) == (396, 10.0, ("red", "green", "blue"))
    red_minus_green = tiles.pixels[..., 0].astype(int) - tiles.pixels[..., 1]
    assert red_minus_green[tiles.masks].mean() > red_minus_green[~tiles.masks].mean() + 10


@pytest.mark.parametrize("content", [None, b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_an_archive_that_is_not_one_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "train.npz").write_bytes(content)
    with pytest.raises(ModelError, match="train.npz: not a Landslide4Sense archive"):
        landslide4sense(tmp_path, "train")


def test_an_archive_of_another_layout_is_named(tmp_path):
    np.savez(
        tmp_path / "train.npz",
        x=np.zeros((2, 128, 128, 4), np.uint8),
        y=np.zeros((2, 128, 16), np.uint8),
    )
    with pytest.raises(ModelError, match="does not fit"):
        landslide4sense(tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no checkpoint"),
        (b"junk", "is no checkpoint"),
        (b"\x00" * 64, "is no checkpoint"),
        (b"\x80\x02junk", "is no checkpoint"),
        ([], "is no checkpoint"),
        ({}, "is no checkpoint .*recipe"),
        ({"recipe": repr(SHORT)}, "does not hold this run .*network"),
        ({"recipe": repr(SHORT), "network": {}}, "does not hold this run .*Missing key"),
    ],
)
def test_a_checkpoint_that_is_none_is_named_with_what_to_do(tiles, tmp_path, content, says):
    if isinstance(content, bytes):
        (tmp_path / "checkpoint").write_bytes(content)
    else:
        torch.save(content, tmp_path / "checkpoint")
    with pytest.raises(ModelError, match=f"checkpoint: {says}.*; remove it to begin anew"):
        train(fresh(), Stack(tiles), SHORT, tmp_path / "checkpoint")
