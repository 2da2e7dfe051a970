"""Random changes of tiles: what a network must not be surprised by on the next disaster."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models.normalisation import Normalisation
from models.recipes import Recipe

NORMALISATION = Normalisation()


def augment(
    pixels: Tensor, truth: Tensor, valid: Tensor, standard: Tensor,
    recipe: Recipe, dice: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Randomly turn, flip, magnify, recolour, blur and roughen a batch of tiles.

    Args:
        pixels: float32 (n, bands, side, side), 0 where invalid; either standardised, or 0 or more
            and about 1 where bright.
        truth: bool (n, 1, side, side), False where invalid.
        valid: bool (n, 1, side, side).
        standard: bool (n, 1, 1, 1), True for tiles that are standardised by their scene.
        recipe: its crop, scales, jitter and the like.
        dice: source of every random number.

    Returns:
        Normalised pixels float32 (n, bands, crop, crop), 0 where invalid, truth and validity bool
        (n, 1, crop, crop).
    """
    n, bands = pixels.shape[:2]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice)

    gamma = torch.exp(0.25 * recipe.jitter * normal(n, 1, 1, 1))
    seen = valid.float()
    x = pixels.clamp_min(0) ** gamma
    if recipe.contrast and bands == 3:
        x = _freshen(x, truth.float(), recipe.contrast, dice)
    x = standardise_as_in_a_scene(x, truth.float(), seen, recipe, dice)
    x = torch.where(standard, pixels, x)
    x = x * torch.exp(recipe.jitter * (0.25 * normal(n, 1, 1, 1) + 0.1 * normal(n, bands, 1, 1)))
    x = x + recipe.jitter * (0.25 * normal(n, 1, 1, 1) + 0.1 * normal(n, bands, 1, 1))
    grey = x.mean(1, keepdim=True)
    x = grey + (1 - recipe.fade * torch.rand(n, 1, 1, 1, generator=dice)) * (x - grey)
    frame = [n, bands, recipe.crop, recipe.crop]
    # A mosaic is ground everywhere; a tile alone lies in the middle of what nobody saw.
    reach = torch.ones(n, 2, 1) if recipe.gsd_m else _reach(valid)
    grid = F.affine_grid(_placements(reach, recipe, x.shape[2], dice), frame, align_corners=False)
    x = F.grid_sample(x * seen, grid, align_corners=False)
    both = torch.cat([truth.float(), seen], 1)
    truth, valid = (F.grid_sample(both, grid, align_corners=False) > 0.5).split(1, 1)
    blurred = torch.rand(n, 1, 1, 1, generator=dice) < recipe.blur
    x = torch.where(blurred, _blur(x), x)
    x = x + recipe.noise * torch.rand(n, 1, 1, 1, generator=dice) ** 2 * normal(*x.shape)
    return x.clamp(-NORMALISATION.clip, NORMALISATION.clip) * valid, truth & valid, valid


def _freshen(x: Tensor, truth: Tensor, contrast: float, dice: torch.Generator) -> Tensor:
    """Most tiles as after a recent failure: landslides bright and red, the rest green and dark.

    Many landslides of a map are old and dull. Colours differ by multiples of a tile's deviation;
    the seam is soft.
    """
    n = len(x)

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=dice)

    chosen = (uniform() < 0.6).float()
    deviation = x.flatten(1).std(1).view(n, 1, 1, 1)
    soil = torch.tensor([1.0, 0.45, 0.25]).view(1, 3, 1, 1)
    soil = soil + 0.25 * torch.randn(n, 3, 1, 1, generator=dice)
    leaves = 0.6 * torch.tensor([-0.5, 0.25, -0.25]).view(1, 3, 1, 1)
    bare = x + chosen * contrast * uniform() * deviation * soil
    grown = x * (1 - 0.35 * chosen * uniform()) + chosen * uniform() * deviation * leaves
    soft = _blur(_blur(truth))
    return torch.lerp(grown, bare, soft).clamp_min(0)


def standardise(x: Tensor) -> Tensor:
    """Zero mean and unit deviation in each band of each tile (n, bands, h, w)."""
    std, mean = torch.std_mean(x, (2, 3), keepdim=True, correction=0)
    return (x - mean) / std.clamp_min(1e-6)


def standardise_as_in_a_scene(
    x: Tensor, truth: Tensor, seen: Tensor, recipe: Recipe, dice: torch.Generator
) -> Tensor:
    """Standardise tiles (n, bands, h, w) by the statistics of a scene with more or less landslides.

    Half of the tiles keep their own share of landslides, the others get one between 0 and
    `recipe.share`, where that is not 0: pixels of the tile's two kinds of ground weigh so much more
    or less.
    """
    own = truth.sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True).clamp_min(1)
    uniform = torch.rand(2, len(x), 1, 1, 1, generator=dice)
    kept = (uniform[0] < 0.5) | (own == 0) | (not recipe.share)
    share = torch.where(kept, own, recipe.share * uniform[1])
    # A tile of landslide alone has no other ground to imagine more of.
    share = torch.where(own == 1, own, share)
    weight = share * _spread(truth) + (1 - share) * _spread(seen - truth)
    z = x - (x * weight).sum((2, 3), keepdim=True)
    variance = (z.square() * weight).sum((2, 3), keepdim=True)
    return z / variance.sqrt().clamp_min(1e-6)


def _spread(chosen: Tensor) -> Tensor:
    """Weights (n, 1, h, w) of the pixels chosen, which add up to 1; none where none is."""
    return chosen / chosen.sum((2, 3), keepdim=True).clamp_min(1)


def _reach(valid: Tensor) -> Tensor:
    """Share of the half side to which something was seen from the middle, (n, 2, 1), x and y.

    1 where nothing was.
    """
    side = valid.shape[2]
    far = ((torch.arange(side) + 0.5) * 2 / side - 1).abs() + 1 / side
    reach = torch.stack([(valid.any(axis) * far).amax((1, 2)) for axis in (2, 3)], 1)[..., None]
    return torch.where(reach > 0, reach, 1.0)


def _placements(reach: Tensor, recipe: Recipe, side: int, dice: torch.Generator) -> Tensor:
    """Affine maps (n, 2, 3) from crop to tile: a quarter turn, a flip, a scale and a place.

    A crop lies within `reach`, or holds all of that where it is larger.
    """
    n = len(reach)
    low, high = (math.log(s) for s in recipe.scales)
    uniform = torch.rand(5, n, generator=dice)
    scale = torch.exp(low + (high - low) * uniform[0])
    scale = torch.where(uniform[1] < recipe.native, torch.ones(n), scale)
    turn = (uniform[2] * 4).floor() * (math.pi / 2) * recipe.turns
    flip = torch.where(uniform[3] < 1 - recipe.flips, 1.0, -1.0)
    cos, sin = turn.cos().round(), turn.sin().round()
    extent = (recipe.crop / side / scale).view(n, 1, 1)
    linear = torch.stack([cos * flip, -sin, sin * flip, cos], -1).view(n, 2, 2) * extent
    place = (reach - extent) * (2 * torch.rand(n, 2, 1, generator=dice) - 1)
    return torch.cat([linear, place], 2)


def _blur(x: Tensor) -> Tensor:
    """A 3×3 binomial filter; every band by itself."""
    kernel = torch.tensor([1.0, 2.0, 1.0])
    weight = (kernel[:, None] * kernel / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, groups=x.shape[1])
