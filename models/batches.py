"""Tiles as training takes them: batches of one size, whatever the sizes of the tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from models.datasets import Tiles
from models.recipes import Recipe
from models.samples import Entry, Sample

_KEPT_BYTES = 2 << 30


class TileSet(Protocol):
    """What training learns from."""

    @property
    def sources(self) -> Sequence[str]:
        """The source of each tile, for drawing them equally often."""

    def draw(
        self, chosen: NDArray[np.int64], recipe: Recipe, dice: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tiles by number, as `models.augmentation.augment` takes them."""


class Stack:
    """Tiles of one size held in memory; all of each is taken."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self.sources = [""] * len(tiles)

    def draw(
        self, chosen: NDArray[np.int64], recipe: Recipe, dice: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tiles by number, all of them valid."""
        pixels = torch.from_numpy(self._tiles.pixels[chosen]).permute(0, 3, 1, 2) / 255.0
        truth = torch.from_numpy(self._tiles.masks[chosen])[:, None]
        return pixels, truth, torch.ones_like(truth)


class Cuts:
    """Tiles of any sizes, read when needed and kept while there is room; a random cut of each.

    Cuts are as large as the largest that augmentation can ask for; what a tile lacks of that is
    invalid.

    Args:
        entries: the tiles.
        bands: the ones wanted, in order.
        resize: the longer side to which each tile is resampled first, in pixels; 0 leaves it.
        kept_bytes: room for tiles that were read.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        bands: Sequence[str],
        resize: int = 0,
        kept_bytes: int = _KEPT_BYTES,
    ) -> None:
        self._entries, self._bands, self._resize = list(entries), tuple(bands), resize
        self.sources = [entry.source for entry in entries]
        self._kept: dict[int, tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]] = {}
        self._room = kept_bytes

    def draw(
        self, chosen: NDArray[np.int64], recipe: Recipe, dice: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A cut of each tile by number.

        Raises:
            ModelError: a tile cannot be read or lacks a band; it is named.
        """
        side = math.ceil(recipe.crop / min(recipe.scales[0], 1.0))
        n = len(chosen)
        pixels = torch.zeros(n, len(self._bands), side, side)
        truth, valid = torch.zeros(2, n, 1, side, side, dtype=torch.bool)
        places = torch.rand(n, 2, generator=dice).tolist()
        for i, (number, place) in enumerate(zip(chosen, places, strict=True)):
            image, mask, seen = self._tile(int(number))
            cut, room = zip(
                *(_overlap(length, side, share)
                  for length, share in zip(mask.shape, place, strict=True)), strict=True,
            )  # fmt: skip
            pixels[i, :, *room] = torch.from_numpy(_bright(image[:, *cut]) * seen[cut])
            truth[i, 0][room] = torch.from_numpy(mask[cut])
            valid[i, 0][room] = torch.from_numpy(seen[cut])
        return pixels, truth, valid

    def _tile(self, number: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
        if number in self._kept:
            return self._kept[number]
        sample = self._entries[number].read()
        image = np.asarray(sample.pick(self._bands, "the protocol's bands"))
        tile = image, sample.mask & sample.valid, sample.valid
        if self._resize:
            tile = _resized(tile, sample, self._resize)
        size = sum(part.nbytes for part in tile)
        if size <= self._room:
            self._room -= size
            self._kept[number] = tile
        return tile


def order_of(tiles: TileSet, recipe: Recipe, dice: torch.Generator) -> NDArray[np.int64]:
    """Numbers of the tiles of one epoch, (steps, batch): each once, or every source equally often.

    What does not fill a batch is left for another epoch.
    """
    n = len(tiles.sources)
    if recipe.balance:
        names, member = np.unique(tiles.sources, return_inverse=True)
        weights = 1 / np.bincount(member)[member] / len(names)
        drawn = torch.multinomial(torch.from_numpy(weights), n, replacement=True, generator=dice)
    else:
        drawn = torch.randperm(n, generator=dice)
    numbers: NDArray[np.int64] = drawn.numpy()
    return numbers[: n // recipe.batch * recipe.batch].reshape(-1, recipe.batch)


def _overlap(length: int, side: int, share: float) -> tuple[slice, slice]:
    """Where to cut a tile along one axis, and where that comes to lie in the square.

    A tile that is smaller lies in the middle, where most of what is taken of the square sees it.
    """
    size = min(length, side)
    start, room = round(share * (length - size)), (side - size) // 2
    return slice(start, start + size), slice(room, room + size)


def _bright(image: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels from 0 to about 1, whatever the sensor counts in."""
    if image.dtype == np.uint8:
        return np.asarray(image / np.float32(255), np.float32)
    x = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    return np.asarray(x / max(float(x.max(initial=0)), 1e-6), np.float32)


def _resized(
    tile: tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]], sample: Sample, longer: int
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    image, mask, valid = tile
    shape = [max(1, round(side * longer / max(mask.shape))) for side in mask.shape]
    known = np.where(valid, image, 0).astype(np.float32)
    x = torch.from_numpy(np.concatenate([known, mask[None], valid[None]]).astype(np.float32))
    y = interpolate(x[None], size=shape, mode="bilinear", align_corners=False, antialias=True)
    *bands, truth, seen = y[0].numpy()
    pixels = np.stack(bands)
    if image.dtype == np.uint8:
        pixels = np.rint(pixels).clip(0, 255).astype(np.uint8)
    return pixels, (truth > 0.5) & (seen > 0.5), seen > 0.5
