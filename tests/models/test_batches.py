"""Mosaics of tiles: every cut is full, of one source, at a pixel size that was asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.augmentation import augment
from models.batches import Cuts, order_of
from models.composed import resampled
from models.errors import ModelError
from models.recipes import Recipe
from models.samples import RGB, Entry, Sample

PLAIN = Recipe(batch=4, crop=32, scales=(1.0, 1.0), jitter=0.0, blur=0.0, noise=0.0)
NOT_STANDARD = torch.zeros(64, 1, 1, 1, dtype=torch.bool)
MOSAIC = Recipe(batch=4, crop=48, gsd_m=(0.5, 12.0), scales=(1.0, 1.0))


def entry(name, level, gsd_m, source, size=40, mask=None):
    image = np.full((3, size, size), level, np.uint8)
    truth = np.zeros((size, size), bool) if mask is None else mask
    sample = Sample(
        name, image, truth, np.ones((size, size), bool), RGB, gsd_m, source=source, split="train"
    )
    return Entry(name, lambda: sample, source=source, split="train")


def drawn(entries, recipe=MOSAIC, seed=0):
    dice = torch.Generator().manual_seed(seed)
    return Cuts(entries, RGB).draw(np.arange(len(entries)), recipe, dice)


def test_a_cut_is_filled_up_with_tiles_of_its_own_source():
    entries = [
        entry("a", 50, 3.0, "dark"),
        entry("b", 60, 3.0, "dark"),
        entry("c", 200, 3.0, "lit"),
    ]
    for seed in range(5):
        pixels, _, valid, _ = drawn(entries, seed=seed)
        assert valid.all()
        assert set((pixels[:2] * 255).round().unique().tolist()) <= {50, 60}
        assert set((pixels[2] * 255).round().unique().tolist()) == {200}


def test_a_tile_alone_lies_in_the_middle_and_the_rest_was_seen_by_nobody():
    pixels, _, valid, _ = drawn([entry("a", 50, 3.0, "dark")], replace(MOSAIC, gsd_m=None))
    assert valid.sum() == 40 * 40 and not valid[0, 0, :4].any() and not pixels[0, :, :4].any()


@pytest.mark.parametrize(("gsd_m", "side"), [(3.0, 20), (0.75, 5), (12.0, 80), (48.0, 80)])
def test_a_landslide_has_the_size_that_the_pixel_size_asked_for_gives_it(gsd_m, side):
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    tile = entry("a", 50, gsd_m, "one", mask=mask)
    recipe = replace(MOSAIC, gsd_m=(3.0, 3.0), crop=400)
    _, truth, _, _ = drawn([tile], recipe)
    edges = truth[0, 0].any(1).int().diff().abs().nonzero().flatten()
    # At most two doublings: of 12 m and 48 m alike a pixel becomes four by four.
    assert abs(int(edges[1] - edges[0]) - side) <= 1


@pytest.mark.parametrize("composed", [0.0, 1.0])
def test_tiles_of_one_source_lie_side_by_side_at_one_pixel_size(composed):
    mask = np.zeros((160, 160), bool)
    mask[60:100, 60:100] = True
    entries = [entry("a", 50, 3.0, "one"), entry("b", 60, 0.75, "one", size=160, mask=mask)]
    recipe = replace(MOSAIC, gsd_m=(3.0, 3.0), crop=400, composed=composed)
    _, truth, _, _ = drawn(entries, recipe)
    for number in (0, 1):
        bodies, _ = ndimage.label(truth[number, 0])
        sides = [rows.stop - rows.start for rows, _ in ndimage.find_objects(bodies)]
        assert 5 < np.median(sides) < 12


@pytest.mark.parametrize(("size", "expected"), [([4, 4], 200), ([16, 16], 200)])
def test_what_nobody_saw_darkens_nothing_beside_it(size, expected):
    valid = np.ones((8, 8), bool)
    valid[:, :3] = False
    image = np.where(valid, 200, 255).astype(np.uint8)[None]
    pixels, _, seen = resampled(image, valid, valid, size)
    assert pixels[0][seen] == pytest.approx(expected) and not pixels[0][~seen].any()
    assert seen.mean() == pytest.approx(5 / 8, abs=0.15)


def test_more_steps_than_tiles_come_round_again_each_as_often():
    tiles = Cuts([entry(str(n), 50, 3.0, "one") for n in range(6)], RGB)
    dice = torch.Generator().manual_seed(0)
    order = order_of(tiles, replace(MOSAIC, steps=3), dice)
    assert order.shape == (3, 4)
    assert np.bincount(order.ravel(), minlength=6).tolist() == [2] * 6
    assert order_of(tiles, MOSAIC, dice).shape == (1, 4)


def test_fading_draws_colours_together_and_leaves_their_mean():
    dice = np.random.default_rng(0)
    pixels = torch.from_numpy(dice.random((64, 3, 32, 32)).astype(np.float32))
    truth = torch.zeros(64, 1, 32, 32, dtype=torch.bool)
    both = [
        augment(pixels, truth, ~truth, NOT_STANDARD, recipe, torch.Generator().manual_seed(1))[0]
        for recipe in (PLAIN, replace(PLAIN, fade=1.0))
    ]
    spread = [x.std(1).mean() for x in both]
    assert spread[1] < 0.8 * spread[0]
    assert torch.allclose(both[0].mean(1), both[1].mean(1), atol=1e-5)


def test_what_a_scene_standardises_keeps_its_level_and_the_rest_is_standardised_by_itself():
    tiles = [entry(str(n), 50, 3.0, "one") for n in range(4)]

    def by_scene(sample):
        return np.full((3, 40, 40), -1.5, np.float32) if sample.name == "2" else None

    dice = torch.Generator().manual_seed(0)
    batch = Cuts(tiles, RGB, standardise=by_scene).draw(np.arange(4), PLAIN, dice)
    assert batch[3].flatten().tolist() == [False, False, True, False]
    pixels, _, valid = augment(*batch, PLAIN, dice)
    seen = valid.expand_as(pixels)
    assert torch.allclose(pixels[2][seen[2]], torch.tensor(-1.5), atol=1e-5)
    assert pixels[[0, 1, 3]][seen[[0, 1, 3]]].abs().max() < 0.1, "tiles without contrast"


def test_a_share_of_0_leaves_every_tile_normalised_by_itself_and_others_do_not():
    dice = np.random.default_rng(0)
    truth = torch.zeros(64, 1, 32, 32, dtype=torch.bool)
    truth[..., 8:24, 8:24] = True
    pixels = torch.from_numpy(dice.random((64, 3, 32, 32)).astype(np.float32)) + truth

    def levels(share):
        recipe, chance = replace(PLAIN, share=share), torch.Generator().manual_seed(1)
        seen = torch.ones_like(truth)
        return augment(pixels, truth, seen, NOT_STANDARD, recipe, chance)[0].mean((1, 2, 3))

    assert levels(0.0).abs().max() < 1e-4
    assert (levels(0.4).abs() > 0.02).float().mean() > 0.3


@pytest.mark.parametrize(("scale", "seen"), [(0.5, 16**2), (1.0, 32**2), (2.0, 32**2)])
def test_crops_of_a_tile_alone_lie_within_it_or_hold_all_of_it(scale, seen):
    tile = entry("a", 50, 3.0, "dark", size=32)
    batch = Cuts([tile], RGB).draw(
        np.zeros(64, int), replace(PLAIN, scales=(0.5, 2.0)), torch.Generator().manual_seed(0)
    )
    assert batch[0].shape[2:] == (64, 64) and batch[2][0].sum() == 32**2
    recipe = replace(PLAIN, scales=(scale, scale), native=0.0)
    _, _, valid = augment(*batch, recipe, torch.Generator().manual_seed(1))
    counts = valid.sum((1, 2, 3))
    assert ((counts - seen).abs() <= 2 * seen**0.5).all(), counts
    places = valid.float().argmax(3).amax((1, 2))
    assert scale > 0.5 or len(places.unique()) > 8, "not always in the middle"


def test_contrast_makes_landslides_brighter_and_redder_than_they_are():
    dice = np.random.default_rng(0)
    pixels = torch.from_numpy(dice.random((64, 3, 32, 32)).astype(np.float32))
    truth = torch.zeros(64, 1, 32, 32, dtype=torch.bool)
    truth[..., 8:24, 8:24] = True
    seen = torch.ones_like(truth)

    def gained(contrast):
        chance = torch.Generator().manual_seed(1)
        recipe = replace(PLAIN, contrast=contrast)
        x, mask, _ = augment(pixels, truth, seen, NOT_STANDARD, recipe, chance)
        red, green = ((x[:, band][mask[:, 0]].mean()) for band in (0, 1))
        return float(red), float(red - green)

    plain, fresh = gained(0.0), gained(2.0)
    assert fresh[0] > plain[0] + 0.2 and fresh[1] > plain[1] + 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"gsd_m": (0.0, 1.0)},
        {"gsd_m": (2.0, 1.0)},
        {"fade": 1.5},
        {"contrast": -1},
        {"teaching": 2},
        {"encoder_rate": -1},
        {"steps": -1},
        {"seed": 2**63 - 1},
        {"scales": (0.001, 1.0)},
        {"scales": (1e-320, 1.0)},
    ],
)
def test_wishes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ModelError, match="makes no sense"):
        Recipe(**wrong)


def test_cuts_of_small_tiles_are_composed_as_often_as_the_recipe_says():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    tiles = [entry(str(n), 50 + n, 3.0, "one", mask=mask if n % 2 else None) for n in range(6)]
    chosen = np.arange(6)

    def levels(share):
        recipe = replace(MOSAIC, composed=share, gsd_m=(3.0, 3.0))
        pixels, truth, valid, standard = Cuts(tiles, RGB).draw(
            chosen, recipe, torch.Generator().manual_seed(2)
        )
        assert valid.all() and not standard.any() and truth.any()
        return [len(cut.unique()) for cut in pixels]

    assert max(levels(0.0)) < 10 < min(levels(1.0)), "light and shade change pixel by pixel"
    first, again = (
        Cuts(tiles, RGB).draw(
            chosen, replace(MOSAIC, composed=1.0), torch.Generator().manual_seed(5)
        )[0]
        for _ in range(2)
    )
    assert torch.equal(first, again)
