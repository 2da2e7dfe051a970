"""Scenes that never were, made of small tiles: ground without a seam, and landslides laid into it.

A tile of a published set shows one landslide in its middle and ends beyond it. Tiles side by side
keep both, so that a network learns to look for a middle and for seams; ground that has neither, as
a scene after an earthquake, it then scores too low.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

_HOSTS = 3
_COLOURS = 3
_MOST_LANDSLIDES = 40
# Of a scene: few landslides as often as this, else up to many.
_SELDOM, _FEW, _MANY = 0.4, 0.05, 0.4
_SMALLEST_PX, _MARGIN_PX, _LARGEST_PX = 6, 3, 600
_SOFT_PX = 0.7
_RELIEF = 0.25
_DARK = 1e-3


@dataclass(frozen=True)
class Patch:
    """Ground.

    Attributes:
        image: float32 (bands, h, w), bright from 0 to about 1.
        mask: landslides, bool (h, w).
        valid: bool (h, w).
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]

    @property
    def ground(self) -> NDArray[np.bool_]:
        """Where no landslide is, bool (h, w)."""
        return np.asarray(self.valid & ~self.mask)

    def part(self, cut: tuple[slice, slice]) -> Self:
        """Rows and columns of it."""
        return type(self)(self.image[:, *cut], self.mask[cut], self.valid[cut])

    def turned(self, dice: torch.Generator) -> Self:
        """One of its eight turned and mirrored selves."""
        turns, flip = roll(4, dice), slice(None, None, 1 - 2 * roll(2, dice))

        def turned(layer: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(np.rot90(layer, turns, (-2, -1))[..., flip])

        return type(self)(turned(self.image), turned(self.mask), turned(self.valid))

    def resized(self, shape: Sequence[int]) -> Self:
        """Resampled to rows and columns."""
        return type(self)(*resampled(self.image, self.mask, self.valid, shape))


@dataclass(frozen=True)
class Landslide:
    """The landslides of a tile.

    Attributes:
        cut: rows and columns that hold them.
        light: mean of each band over the ground around them.
        freshness: how far they stand out from it in red minus green, where the bands are three:
            red, green and blue; and a little in brightness.
    """

    cut: tuple[slice, slice]
    light: NDArray[np.float32]
    freshness: float

    @classmethod
    def of(cls, tile: Patch) -> Self | None:
        """None where there are hardly any, or nothing is around them."""
        if min(tile.mask.sum(), tile.ground.sum()) < _SMALLEST_PX:
            return None
        rows, columns = (
            slice(max(0, int(at.min()) - _MARGIN_PX), int(at.max()) + 1 + _MARGIN_PX)
            for at in np.nonzero(tile.mask)
        )
        light = _light(tile)
        contrast = tile.image[:, tile.mask].mean(1) - light
        redder = contrast[0] - contrast[1] if len(contrast) == _COLOURS else 0.0
        freshness = float(redder + 0.3 * contrast.mean())
        return cls((rows, columns), light, freshness)


def resampled(
    image: NDArray[Any], mask: NDArray[np.bool_], valid: NDArray[np.bool_], shape: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels, landslides and validity at another size, each pixel the mean of what was seen of it.

    Args:
        image: (bands, h, w), any number type; what it holds where nothing was seen does not count.
        mask: landslides, (h, w).
        valid: what was seen, (h, w).
        shape: rows and columns wanted.

    Returns:
        Float32 pixels, 0 where less than half was seen, and what is then landslide, and valid.
    """
    layers = [np.where(valid, image, 0), mask[None], valid[None]]
    x = torch.from_numpy(np.concatenate(layers).astype(np.float32))[None]
    y = interpolate(x, size=list(shape), mode="bilinear", antialias=True)[0].numpy()
    pixels, share = y[:-2], y[-1]
    seen = share > 0.5
    if not valid.all():
        pixels = np.where(seen, pixels / np.where(seen, share, 1), 0)
    return pixels, (y[-2] > 0.5) & seen, seen


def compose(
    host: Callable[[], Patch],
    landslide: Callable[[], tuple[Patch, Landslide] | None],
    side: int,
    times: float,
    dice: torch.Generator,
) -> Patch:
    """A square of `side` pixels of ground with landslides in it.

    Up to three tiles, each continued by its mirror images, meet along smooth borders; landslides
    cut from others are laid in, of one range of sizes and all lit alike; light and shade change
    over the whole.

    Args:
        host: draws a tile to be ground.
        landslide: draws landslides to be laid in, and the part of their tile that holds them.
        side: of the scene.
        times: how often larger than the tiles drawn it is to be seen.
        dice: source of every random number but of those two.
    """
    scene = _continued(host(), side, times, dice)
    light = _light(scene)
    for _ in range(roll(_HOSTS, dice)):
        other = _continued(host(), side, times, dice)
        _overlay(scene, _relit(other, _light(other), light, uniform(dice)), dice)
    wanted = (_FEW if uniform(dice) < _SELDOM else _MANY) * uniform(dice)
    lit, small = uniform(dice), 0.35 + 0.65 * uniform(dice)
    for _ in range(_MOST_LANDSLIDES):
        if scene.mask.mean() >= wanted:
            break
        if drawn := landslide():
            part, known = drawn
            size = times * small * (0.7 + 0.6 * uniform(dice))
            shape = [min(_LARGEST_PX, max(3, round(size * n))) for n in part.mask.shape]
            part = _relit(part.resized(shape), known.light, light, lit)
            _plant(scene, part.turned(dice), dice)
    scene.image[:] *= np.exp(_RELIEF * uniform(dice) * _field(side, dice))
    return scene


def _light(patch: Patch) -> NDArray[np.float32]:
    """Mean of each band over ground without landslides, or over all where there is none."""
    where = patch.ground if patch.ground.any() else np.ones_like(patch.valid)
    return np.asarray(patch.image[:, where].mean(1).clip(_DARK))


def _relit(
    patch: Patch, light: NDArray[np.float32], other: NDArray[np.float32], share: float
) -> Patch:
    """As under another light, by a share of the way."""
    ratio = (other / light) ** share
    return Patch(patch.image * ratio[:, None, None], patch.mask, patch.valid)


def _continued(tile: Patch, side: int, times: float, dice: torch.Generator) -> Patch:
    """A tile begun anywhere and continued by its mirror images."""
    tile = tile.turned(dice)
    places = []
    for length in tile.mask.shape:
        at = (np.arange(int(np.ceil(side / times))) + roll(2 * length, dice)) % (2 * length)
        places.append(np.minimum(at, 2 * length - 1 - at))
    there = np.ix_(*places)
    scene = Patch(
        np.ascontiguousarray(tile.image[:, there[0], there[1]]), tile.mask[there], tile.valid[there]
    )
    return scene if times == 1 else scene.resized([side, side])


def _overlay(scene: Patch, other: Patch, dice: torch.Generator) -> None:
    """Let other ground into a scene, along smooth lines."""
    side = len(scene.mask)
    field = _field(side, dice)
    border = np.quantile(field, 0.3 + 0.6 * uniform(dice))
    share = np.clip(0.5 + (field - border) * side * 0.3, 0, 1)
    scene.image[:] += share * (other.image - scene.image)
    scene.mask[:] = np.where(share > 0.5, other.mask, scene.mask)
    scene.valid[:] = np.where(share > 0.5, other.valid, scene.valid)


def _plant(scene: Patch, landslide: Patch, dice: torch.Generator) -> None:
    """Lay landslides, without what is around them, anywhere into a scene; the seam is soft."""
    into, of = [], []
    for length, side in zip(landslide.mask.shape, scene.mask.shape, strict=True):
        start = roll(side, dice) - length // 2
        into.append(slice(max(0, start), min(side, start + length)))
        of.append(slice(into[-1].start - start, into[-1].stop - start))
    part, room = landslide.part((of[0], of[1])), (into[0], into[1])
    share = gaussian_filter(part.mask.astype(np.float32), _SOFT_PX)
    scene.image[:, *room] += share * (part.image - scene.image[:, *room])
    scene.mask[room] |= part.mask & scene.valid[room]


def _field(side: int, dice: torch.Generator) -> NDArray[np.float32]:
    """Smooth noise, float32 (side, side), of mean 0 and deviation 1."""
    coarse = 3 + roll(10, dice)
    noise = torch.randn(1, 1, coarse, coarse, generator=dice)
    fine = interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)[0, 0]
    return np.asarray(((fine - fine.mean()) / fine.std().clamp_min(1e-6)).numpy())


def uniform(dice: torch.Generator) -> float:
    """A number between 0 and 1."""
    return float(torch.rand((), generator=dice))


def roll(sides: int, dice: torch.Generator) -> int:
    """A whole number from 0 to one less than `sides`."""
    return int(torch.randint(sides, (), generator=dice))
