"""Tiles as training takes them: batches of one size, whatever the sizes of the tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.composed import Landslide, Patch, compose, resampled, roll, uniform
from models.datasets import Tiles
from models.recipes import Recipe
from models.samples import Entry, Sample

# Room for tiles that were read, of the memory of a small machine.
KEPT_BYTES = 2 << 30
_HALVINGS, _DOUBLINGS = 3, 2
_TRIES = 4
_RIVALS = 3
_WHOLE = (slice(None), slice(None))


# Pixels, truth, validity and whether they are standardised, as `models.augmentation` has them.
Drawn = tuple[Tensor, Tensor, Tensor, Tensor]
# What standardises a tile: float32 (bands, h, w) of its bands wanted, None for the tile by itself.
Standardise = Callable[[Sample], NDArray[np.float32] | None]


class TileSet(Protocol):
    """What training learns from."""

    @property
    def sources(self) -> Sequence[str]:
        """The source of each tile, for drawing them equally often."""

    def draw(self, chosen: NDArray[np.int64], recipe: Recipe, dice: torch.Generator) -> Drawn:
        """Tiles by number, as `models.augmentation.augment` takes them."""


class Stack:
    """Tiles of one size held in memory; all of each is taken."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self.sources = [""] * len(tiles)

    def draw(self, chosen: NDArray[np.int64], recipe: Recipe, dice: torch.Generator) -> Drawn:
        """Tiles by number, all of them valid."""
        pixels = torch.from_numpy(self._tiles.pixels[chosen]).permute(0, 3, 1, 2) / 255.0
        truth = torch.from_numpy(self._tiles.masks[chosen])[:, None]
        return pixels, truth, torch.ones_like(truth), _none_of(len(chosen))


class Cuts:
    """Tiles of any sizes, read when needed and kept while there is room; a random cut of each.

    A tile that `standardise` knows, as one cut from a scene, is normalised as it would be mapped;
    all others are when they are augmented, by what their cut shows.

    Cuts are as large as the largest that augmentation can ask for; what a tile lacks of that is
    invalid, or filled up with further tiles of its source if the recipe names pixel sizes.

    Args:
        entries: the tiles.
        bands: the ones wanted, in order.
        resize: the longer side to which each tile is resampled first, in pixels; 0 leaves it.
        standardise: what normalises a tile by more than itself.
        kept_bytes: room for tiles that were read.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        bands: Sequence[str],
        resize: int = 0,
        standardise: Standardise = lambda sample: None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._standardise = standardise
        self._entries, self._bands, self._resize = list(entries), tuple(bands), resize
        self.sources = [entry.source for entry in entries]
        names, member = np.unique(self.sources, return_inverse=True)
        self._peers = [np.flatnonzero(member == number) for number in range(len(names))]
        self._peers_of = member
        self._kept: dict[tuple[int, int], _Tile] = {}
        self._landslides: dict[tuple[int, int], Landslide | None] = {}
        self._room = kept_bytes

    def draw(self, chosen: NDArray[np.int64], recipe: Recipe, dice: torch.Generator) -> Drawn:
        """A cut of each tile by number.

        Raises:
            ModelError: a tile cannot be read or lacks a band; it is named.
        """
        side = recipe.canvas_px
        n = len(chosen)
        pixels = torch.zeros(n, len(self._bands), side, side)
        truth, valid = torch.zeros(2, n, 1, side, side, dtype=torch.bool)
        standard = _none_of(n)
        for i, number in enumerate(map(int, chosen)):
            canvas = _Tile(pixels[i].numpy(), truth[i, 0].numpy(), valid[i, 0].numpy(), None)
            if recipe.gsd_m:
                standard[i] = self._fill(canvas, number, recipe.gsd_m, recipe.composed, dice)
            else:
                standard[i] = self._place(canvas, number, dice)
        return pixels, truth, valid, standard

    def _place(self, canvas: _Tile, number: int, dice: torch.Generator) -> bool:
        """Lay a cut of one tile into the middle, where most of what is taken sees it.

        Returns whether it is standardised.
        """
        tile, side = self._tile(number, 0), canvas.mask.shape[0]
        cut = _random_cut(tile.mask.shape, (side, side), dice)
        room = tuple(
            slice((side - size) // 2, (side - size) // 2 + size)
            for size in (part.stop - part.start for part in cut)
        )
        canvas.paste(tile, cut, room)
        return tile.standard

    def _fill(
        self,
        canvas: _Tile,
        number: int,
        gsd_m: tuple[float, float],
        composed: float,
        dice: torch.Generator,
    ) -> bool:
        """Lay tiles of one source side by side, row by row, `number` first, at its pixel size.

        Half of the canvases are of tiles with landslides, as ground is after an earthquake. A share
        `composed` of those that nobody standardised is one scene made of such tiles instead.
        Returns whether they are standardised, as all tiles of a source are or none.
        """
        side = canvas.mask.shape[0]
        dense = roll(2, dice) == 1
        first = self._tile(number, 0)
        levels = levels_of(first.gsd_m, gsd_m)
        level = levels[roll(len(levels), dice)]
        peers = self._peers[self._peers_of[number]]
        if composed and not first.standard and uniform(dice) < composed:
            self._compose(canvas, number, (first.gsd_m, level), peers, dice)
            return False
        top = 0
        while top < side:
            left = height = 0
            while left < side:
                own = self._level(number, first.gsd_m, level)
                tile, cut = self._part(number, own, (side - top, side - left), dice)
                rows, columns = (part.stop - part.start for part in cut)
                canvas.paste(tile, cut, (slice(top, top + rows), slice(left, left + columns)))
                left, height = left + columns, max(height, rows)
                number = self._peer(peers, dense, dice)
            top += height
        return first.standard

    def _compose(
        self,
        canvas: _Tile,
        number: int,
        size: tuple[float | None, int],
        peers: NDArray[np.int64],
        dice: torch.Generator,
    ) -> None:
        """Make a scene of `number`, of large tiles of its source and of its freshest landslides.

        `size` is its pixel size, and how often that is halved.
        """
        own_m, halved = size
        times = 2.0 ** max(-halved, 0)
        numbers = [number]

        def level(n: int) -> int:
            return max(self._level(n, own_m, max(halved, 0)), 0)

        def host() -> Patch:
            rivals = [numbers.pop()] if numbers else []
            rivals += [int(peers[roll(len(peers), dice)]) for _ in range(_RIVALS)]
            best = max(rivals, key=lambda n: self._tile(n, level(n)).mask.size)
            return self._patch(best, level(best))

        def landslide() -> tuple[Patch, Landslide] | None:
            rivals = [self._peer(peers, True, dice) for _ in range(_RIVALS)]
            known = [(self._landslide(n, level(n)), n) for n in rivals]
            found = [(one, n) for one, n in known if one]
            if not found:
                return None
            one, n = max(found, key=lambda each: each[0].freshness)
            return self._patch(n, level(n), one.cut), one

        scene = compose(host, landslide, len(canvas.mask), times, dice)
        canvas.image[:] = scene.image * scene.valid
        canvas.mask[:], canvas.valid[:] = scene.mask, scene.valid

    def _patch(self, number: int, level: int, cut: tuple[slice, ...] = _WHOLE) -> Patch:
        tile = self._tile(number, level)
        return Patch(_bright(tile.image[:, *cut]), tile.mask[cut], tile.valid[cut])

    def _landslide(self, number: int, level: int) -> Landslide | None:
        """The landslides of a tile, kept."""
        if (number, level) not in self._landslides:
            self._landslides[number, level] = Landslide.of(self._patch(number, level))
        return self._landslides[number, level]

    def _level(self, number: int, gsd_m: float | None, level: int) -> int:
        """How often a tile is halved to be as coarse as one of pixels `gsd_m` halved `level` times.

        The nearest there is; the same where either size is unknown.
        """
        own_m = self._tile(number, 0).gsd_m
        if own_m is None or gsd_m is None:
            return level
        wanted = level + round(math.log2(gsd_m / own_m))
        return min(max(wanted, -_DOUBLINGS), _HALVINGS)

    def _peer(self, peers: NDArray[np.int64], dense: bool, dice: torch.Generator) -> int:
        """One of the tiles, with landslides if `dense` and some are soon found."""
        for _ in range(_TRIES):
            number = int(peers[roll(len(peers), dice)])
            if not dense or self._tile(number, 0).mask.any():
                break
        return number

    def _part(
        self, number: int, level: int, room: tuple[int, int], dice: torch.Generator
    ) -> tuple[_Tile, tuple[slice, ...]]:
        """A tile at its level, and which part of it is to fill `room`."""
        if level >= 0:
            tile = self._tile(number, level)
            return tile, _random_cut(tile.mask.shape, room, dice)
        times = 2**-level
        whole = self._tile(number, 0)
        cut = _random_cut(whole.mask.shape, (-(-room[0] // times), -(-room[1] // times)), dice)
        shape = [times * (part.stop - part.start) for part in cut]
        part = replace(
            whole, image=whole.image[:, *cut], mask=whole.mask[cut], valid=whole.valid[cut]
        )
        rows, columns = map(min, shape, room)
        return part.resized(shape), (slice(0, rows), slice(0, columns))

    def _tile(self, number: int, level: int) -> _Tile:
        """A tile with its sides halved `level` times, kept while there is room."""
        if (number, level) in self._kept:
            return self._kept[number, level]
        if level:
            whole = self._tile(number, 0)
            tile = whole.resized([max(1, side // 2**level) for side in whole.mask.shape])
        else:
            sample = self._entries[number].read()
            image = _counted(np.asarray(sample.pick(self._bands, "the protocol's bands")))
            known = self._standardise(sample)
            tile = _Tile(
                image if known is None else known, sample.mask & sample.valid, sample.valid,
                sample.gsd_m, known is not None,
            )  # fmt: skip
            if self._resize:
                longer = max(tile.mask.shape)
                tile = tile.resized(
                    [max(1, round(s * self._resize / longer)) for s in tile.mask.shape]
                )
        size = tile.image.nbytes + tile.mask.nbytes + tile.valid.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[number, level] = tile
        return tile


def order_of(tiles: TileSet, recipe: Recipe, dice: torch.Generator) -> NDArray[np.int64]:
    """Numbers of the tiles of one epoch, (steps, batch): each once, or every source equally often.

    What does not fill a batch is left for another epoch; where the recipe wants more steps than
    there are tiles, they come round again.
    """
    n = len(tiles.sources)
    wanted = recipe.steps * recipe.batch or n // recipe.batch * recipe.batch
    if recipe.balance:
        names, member = np.unique(tiles.sources, return_inverse=True)
        weights = 1 / np.bincount(member)[member] / len(names)
        drawn = torch.multinomial(
            torch.from_numpy(weights), wanted, replacement=True, generator=dice
        )
    else:
        rounds = range(max(1, -(-wanted // n)))
        drawn = torch.cat([torch.randperm(n, generator=dice) for _ in rounds])
    numbers: NDArray[np.int64] = drawn.numpy()
    return numbers[:wanted].reshape(-1, recipe.batch)


@dataclass(frozen=True)
class _Tile:
    """Pixels (bands, h, w), landslides and validity bool (h, w), and a pixel's size if known."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    gsd_m: float | None
    standard: bool = False

    def paste(self, tile: _Tile, cut: tuple[slice, ...], room: tuple[slice, ...]) -> None:
        """Lay a cut of another tile into this one, bright from 0 to about 1 if not standard."""
        seen, pixels = tile.valid[cut], tile.image[:, *cut]
        self.image[:, *room] = (pixels if tile.standard else _bright(pixels)) * seen
        self.mask[room], self.valid[room] = tile.mask[cut], seen

    def resized(self, shape: list[int]) -> _Tile:
        """The same resampled to rows and columns."""
        pixels, mask, valid = resampled(self.image, self.mask, self.valid, shape)
        if self.image.dtype == np.uint8:
            pixels = np.rint(pixels).clip(0, 255).astype(np.uint8)
        return _Tile(pixels, mask, valid, None, self.standard)


def _none_of(count: int) -> Tensor:
    return torch.zeros(count, 1, 1, 1, dtype=torch.bool)


def levels_of(own_m: float | None, gsd_m: tuple[float, float]) -> list[int]:
    """How often a tile's sides may be halved, or doubled if negative, to stay within `gsd_m`.

    A tile whose pixel size nobody says is fine, as those of drones are, and is only halved. One
    that nothing brings within comes as near as it can.
    """
    if own_m is None:
        return list(range(_HALVINGS + 1))
    levels = range(-_DOUBLINGS, _HALVINGS + 1)
    middle = math.sqrt(gsd_m[0] * gsd_m[1])
    nearest = min(levels, key=lambda k: abs(math.log(own_m * 2**k / middle)))
    return [k for k in levels if gsd_m[0] <= own_m * 2**k <= gsd_m[1]] or [nearest]


def _random_cut(
    shape: tuple[int, ...], room: tuple[int, int], dice: torch.Generator
) -> tuple[slice, ...]:
    """A part of a raster no larger than `room`, anywhere in it."""
    places = torch.rand(2, generator=dice).tolist()
    cut = []
    for length, most, place in zip(shape, room, places, strict=True):
        size = min(length, most)
        start = round(place * (length - size))
        cut.append(slice(start, start + size))
    return tuple(cut)


def _counted(image: NDArray[Any]) -> NDArray[Any]:
    """Pixels as they are if 8-bit, else from 0 to 1, whatever the sensor counts in."""
    if image.dtype == np.uint8:
        return image
    x = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    return np.asarray(x / max(float(x.max(initial=0)), 1e-6), np.float32)


def _bright(image: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels of `_counted` from 0 to 1."""
    return np.asarray(image / np.float32(255) if image.dtype == np.uint8 else image, np.float32)
