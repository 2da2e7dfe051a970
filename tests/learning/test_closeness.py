"""How closely pictures of unknown pixel size are looked at."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from models.cards import ANY_GSD_M, PRETRAINED, read_card
from models.samples import RGB, Entry, Sample
from models.weights import load
from tasks.learning.catalog import read_data
from tasks.learning.closeness import guess_gsd_m
from tasks.learning.scoring import score_sample
from tasks.mapping.windows import WindowPlan
from tests.conftest import DATA

CARD = read_card(PRETRAINED / "ensemble-rgb.safetensors")  # 2 to 6 m


def tile(gsd_m=None):
    half = np.zeros((8, 8), bool)
    half[:4] = True
    whole = np.ones_like(half)
    sample = Sample("x", np.zeros((3, 8, 8), np.uint8), half, whole, RGB, gsd_m)
    return Entry("x", lambda: sample)


@pytest.mark.parametrize("sure_at", [2.0, 1.0, 0.5])
def test_the_size_is_taken_at_which_the_map_tells_most(sure_at):
    def score(sample):
        doubt = 0.05 if sample.gsd_m == sure_at else 0.4
        return np.where(sample.mask, 1 - doubt, doubt).astype(np.float32)

    assert guess_gsd_m([tile()], CARD, score) == sure_at


def test_being_sure_of_one_class_everywhere_tells_nothing():
    def score(sample):
        if sample.gsd_m == 0.5:
            return np.zeros(sample.mask.shape, np.float32)
        return np.where(sample.mask, 0.7, 0.3 if sample.gsd_m == 1 else 0.4).astype(np.float32)

    assert guess_gsd_m([tile()], CARD, score) == 1


def test_nothing_is_guessed_of_tiles_that_name_their_size_or_for_a_network_that_takes_any():
    def never(sample):
        raise AssertionError("scored")

    assert guess_gsd_m([tile(0.8)], CARD, never) is None
    assert guess_gsd_m([tile()], replace(CARD, gsd_range_m=ANY_GSD_M), never) is None


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data may not be shipped")
def test_satellite_pictures_of_80_cm_are_not_looked_at_as_if_a_pixel_were_2_m():
    tiles = read_data([f"bijie={DATA / 'bijie'}"])
    of_unknown_size = [
        replace(tile, read=partial(lambda read: replace(read(), gsd_m=None), tile.read))
        for tile in tiles
        if tile.split == "validation"
    ][::7]
    network, card = load("ensemble-rgb")
    score = partial(
        score_sample, network=network, card=card, plan=WindowPlan(), device=torch.device("cpu")
    )
    assert guess_gsd_m(of_unknown_size, card, score) in (0.5, 1.0)
