"""Scenes composed of tiles: no seam, and landslides where the mask says, as they were cut out."""

from dataclasses import replace

import numpy as np
import torch

from models.composed import Landslide, Patch, compose


def patch(level, side=40, mask=None, valid=True):
    truth = np.zeros((side, side), bool) if mask is None else mask
    image = np.broadcast_to(np.float32(level)[:, None, None], (3, side, side)).copy()
    return Patch(image, truth, np.full((side, side), valid))


def square(side, start, stop):
    mask = np.zeros((side, side), bool)
    mask[start:stop, start:stop] = True
    return mask


GREEN, RED = (0.1, 0.3, 0.1), (0.8, 0.2, 0.1)


def scar():
    tile = patch(GREEN, mask=square(40, 10, 30))
    tile.image[:, tile.mask] = np.float32(RED)[:, None]
    return tile


def composed(host, landslide, seed, side=96, times=1.0):
    return compose(host, landslide, side, times, torch.Generator().manual_seed(seed))


def test_ground_goes_on_without_a_seam():
    tile = patch((0.5, 0.5, 0.5), side=20)
    ramp = np.linspace(0.2, 0.8, 20, dtype=np.float32)
    tile.image[0] = np.add.outer(ramp, ramp)
    alone = 0
    for seed in range(24):
        hosts = []
        scene = composed(lambda hosts=hosts: hosts.append(tile) or tile, lambda: None, seed)
        assert scene.image.shape == (3, 96, 96) and scene.valid.all() and not scene.mask.any()
        if len(hosts) == 1:
            alone += 1
            unshaded = 0.5 * scene.image[0] / scene.image[1]
            steepest = max(np.abs(np.diff(unshaded, axis=axis)).max() for axis in (0, 1))
            assert steepest < 1.01 * (ramp[1] - ramp[0]), "its opposite sides differ by 0.6"
    assert alone > 2


def test_landslides_are_laid_in_where_the_mask_says():
    tile = scar()
    known = Landslide.of(tile)
    shares = []
    for seed in range(20):
        scene = composed(lambda: patch(GREEN), lambda: (tile.part(known.cut), known), seed)
        redder = scene.image[0] > scene.image[1]
        assert (redder == scene.mask).mean() > 0.97
        shares.append(scene.mask.mean())
    assert min(shares) < 0.05 and 0.2 < max(shares) < 0.6


def test_a_landslide_knows_what_is_around_it_and_how_fresh_it_looks():
    known = Landslide.of(scar())
    assert known.cut == (slice(7, 33), slice(7, 33))
    np.testing.assert_allclose(known.light, GREEN, rtol=1e-4)
    assert known.freshness > Landslide.of(replace(scar(), image=patch(GREEN).image)).freshness
    assert Landslide.of(patch(GREEN)) is None
    assert Landslide.of(patch(GREEN, mask=square(40, 0, 40))) is None, "nothing is around it"


def test_a_landslide_is_lit_as_the_scene_is_and_seen_as_large():
    bright = scar()
    known = Landslide.of(replace(bright, image=bright.image * 2))
    shown = replace(bright, image=bright.image * 2).part(known.cut)
    sizes = {}
    for times in (1.0, 4.0):
        scenes = [
            composed(lambda: patch(GREEN), lambda: (shown, known), seed, times=times)
            for seed in range(12)
        ]
        sizes[times] = np.median([scene.mask.any(1).sum() for scene in scenes if scene.mask.any()])
    assert sizes[4.0] > sizes[1.0]


def test_what_no_tile_shows_is_seen_by_nobody():
    blind = patch(GREEN, valid=False)
    scene = composed(
        lambda: blind, lambda: (scar().part(Landslide.of(scar()).cut), Landslide.of(scar())), 0
    )
    assert not scene.valid.any() and not scene.mask.any()
