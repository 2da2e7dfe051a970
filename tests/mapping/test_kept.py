"""What was scored before stays; only windows that show new ground are given to the network."""

import numpy as np
import rasterio
import torch

from tasks.mapping.segment import segment_scene
from tasks.mapping.windows import WindowPlan

PLAN = WindowPlan(64, 16)


class Counting(torch.nn.Module):
    """Counts the windows it sees; its answer depends on all that a window shows."""

    def __init__(self):
        super().__init__()
        self.windows = 0

    def forward(self, x, valid=None):
        self.windows += len(x)
        return x[:, :1] * 0.1 + x.mean(dim=(1, 2, 3), keepdim=True)


def levels(path):
    with rasterio.open(path) as score:
        return score.read(1)


def test_only_new_ground_is_scored_and_old_scores_stay_as_they_were(card, write_image, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (3, 200, 400)).astype(np.uint8)
    pixels[:, :, 300:] //= 4
    west = np.zeros((200, 400), bool)
    west[:, :300] = True
    first = segment_scene(
        write_image(pixels, west), Counting(), card, tmp_path / "a.tif", plan=PLAN
    )
    whole = write_image(pixels, np.ones_like(west))
    alone, after = Counting(), Counting()
    segment_scene(whole, alone, card, tmp_path / "b.tif", plan=PLAN)
    segment_scene(whole, after, card, tmp_path / "c.tif", plan=PLAN, kept=first)
    old, anew, joined = levels(first), levels(tmp_path / "b.tif"), levels(tmp_path / "c.tif")
    assert (joined[west] == old[west]).all()
    assert (joined[~west] == anew[~west]).all()
    assert (old[west] != anew[west]).mean() > 0.5
    assert after.windows < 0.5 * alone.windows


def test_a_score_of_a_smaller_grid_lies_where_it_lay(card, write_image, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 255, (3, 130, 170)).astype(np.uint8)
    place = rasterio.transform.from_origin(700000 + 400, 4912000 - 300, 10, 10)
    part = write_image(pixels[:, 30:90, 40:140], np.ones((60, 100), bool), transform=place)
    first = segment_scene(part, Counting(), card, tmp_path / "a.tif", plan=PLAN)
    old = levels(first)
    whole = write_image(pixels, np.ones((130, 170), bool))
    joined = levels(
        segment_scene(whole, Counting(), card, tmp_path / "b.tif", plan=PLAN, kept=first)
    )
    assert (joined[30:90, 40:140] == old).all()
    assert (joined > 0).all()
