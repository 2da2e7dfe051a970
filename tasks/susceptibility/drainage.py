"""Where water runs over a terrain of any size: filled, routed and summed tile by tile, exactly.

The result is that of the same steps on the whole grid at once, for a grid larger than memory; what
is held is one tile a thread and the perimeters of all:

1. Depressions are filled to their pour point by a flood of each tile and a graph of how the tiles'
   watersheds spill into each other (Barnes 2016, "Parallel Priority-Flood depression filling for
   trillion cell digital elevation models on desktops or clusters", Computers & Geosciences 96).
2. Flow follows the steepest of eight neighbours (O'Callaghan & Mark 1984); level ground drains to
   its nearest cell that has a lower neighbour.
3. Contributing cells are summed in each tile, then along the perimeters, then through the tiles
   (Barnes 2017, "Parallel non-divergent flow accumulation for trillion cell digital elevation
   models on desktops or clusters", Environmental Modelling & Software 92).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from tasks.susceptibility import flow_kernels as flow
from tasks.susceptibility.planes import Plane, read_around, side_by_side


@dataclass(frozen=True)
class Drainage:
    """How a terrain drains; planes of its grid, read window by window.

    `filled` is elevation in m with depressions filled, float32; `directions` as `flow_kernels`
    numbers them, uint8; `cells` counts those that drain through each, itself included, float32.
    Unknown ground is NaN, `flow_kernels.UNKNOWN` and NaN.
    """

    windows: tuple[Window, ...]
    filled: Plane
    directions: Plane
    cells: Plane

    @cached_property
    def perimeter(self) -> _Perimeter:
        """The outermost cells of every tile."""
        return _Perimeter.of(self.windows, self.filled.shape)

    @cached_property
    def entry(self) -> NDArray[np.int64]:
        """The cell of another tile that each cell of the perimeter flows to, -1 for none."""
        return self.perimeter.downstream(self.perimeter.read(self.directions))


def drain(elevation: Plane, windows: Sequence[Window], folder: Path) -> Drainage:
    """Find out how a terrain drains.

    Water leaves the ground wherever it meets unknown ground or the edge of the grid.

    Args:
        elevation: metres, float32, NaN where unknown.
        windows: tiles that cover the grid without overlap.
        folder: where to keep the planes.

    Raises:
        OSError: there is no room in `folder`.
    """
    shape = elevation.shape
    drainage = Drainage(
        tuple(windows),
        Plane.make(folder / "filled", shape, np.float32),
        Plane.make(folder / "directions", shape, np.uint8),
        Plane.make(folder / "cells", shape, np.float32),
    )
    _fill(elevation, drainage, folder)
    _direct(drainage, folder)
    _accumulate(drainage)
    return drainage


def _fill(elevation: Plane, drainage: Drainage, folder: Path) -> None:
    labels = Plane.make(folder / "labels", elevation.shape, np.int32)

    def flooded(window: Window) -> tuple[int, NDArray[Any], NDArray[Any]]:
        filled, label, highest = flow.flood(read_around(elevation, window, 1, np.nan))
        drainage.filled.write(filled, window)
        labels.write(label, window)
        return highest, *_skeleton(*_spills(label, filled), highest + 1)

    offsets, spills, levels, offset = [], [], [], 0
    for highest, pairs, level in side_by_side(flooded, drainage.windows):
        offsets.append(offset)
        spills.append(np.where(pairs == flow.OCEAN, flow.OCEAN, pairs + offset))
        levels.append(level)
        offset += highest
    across, level = _spills_across(drainage, labels, offsets)
    pairs, spill = np.concatenate([*spills, across], axis=1), np.concatenate([*levels, level])
    lowest = _lowest_way_out(pairs, spill, offset + 1)

    def raised(task: tuple[Window, int]) -> None:
        window, offset = task
        label, filled = labels.read(window), drainage.filled.read(window)
        label[label > 0] += offset
        filled = np.where(label < 0, filled, np.maximum(filled, lowest[label]))
        drainage.filled.write(filled, window)

    for _ in side_by_side(raised, zip(drainage.windows, offsets, strict=True)):
        pass
    labels.path.unlink()


def _spills_across(
    drainage: Drainage, labels: Plane, offsets: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """As `_spills`, between watersheds of different tiles."""
    perimeter = drainage.perimeter
    label, height = perimeter.read(labels).astype(np.int64), perimeter.read(drainage.filled)
    label[label > 0] += np.repeat(offsets, perimeter.counts)[label > 0]
    here, there = perimeter.neighbours()
    known = (label[here] >= 0) & (label[there] >= 0)
    here, there = here[known], there[known]
    return np.stack([label[here], label[there]]), np.maximum(height[here], height[there])


def _spills(
    label: NDArray[np.int32], filled: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pairs of watersheds that touch, (2, n), and the elevations at which they spill."""
    first, second, level = [], [], []
    for a, b in _touching(label.shape):
        here, there = label[a], label[b]
        apart = (here != there) & (here >= 0) & (there >= 0)
        first.append(here[apart])
        second.append(there[apart])
        level.append(np.maximum(filled[a], filled[b])[apart])
    pairs = np.stack([np.concatenate(first), np.concatenate(second)]).astype(np.int64)
    return pairs, np.concatenate(level)


def _touching(shape: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Two views of a grid for each of four directions: cells, and their neighbours that way."""
    every, head, tail = slice(None), slice(None, -1), slice(1, None)
    return [
        ((every, head), (every, tail)),
        ((head, every), (tail, every)),
        ((head, head), (tail, tail)),
        ((head, tail), (tail, head)),
    ]


def _least(
    pairs: NDArray[np.int64], level: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each pair once, at its lowest level."""
    order = np.lexsort([level, *pairs])
    pairs, level = pairs[:, order], level[order]
    new = np.ones(len(level), dtype=bool)
    new[1:] = (np.diff(pairs) != 0).any(axis=0)
    return pairs[:, new], level[new]


def _lowest_way_out(
    pairs: NDArray[np.int64], level: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Level to which each watershed must fill to reach the ocean, (count,)."""
    lowest = np.full(count, -np.inf, np.float32)
    pairs, level = _skeleton(pairs, level, count)
    tree = coo_array((np.arange(1, len(level) + 1), pairs), shape=(count, count)).tocsr()
    order, before = breadth_first_order(tree, flow.OCEAN, directed=False)
    way = _edge_of(pairs, count, order[1:], before[order[1:]])
    for node, spill in zip(order[1:], level[way], strict=True):
        lowest[node] = max(lowest[before[node]], spill)
    return lowest


def _skeleton(
    pairs: NDArray[np.int64], level: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The pairs that lowest ways between watersheds 0 to count - 1 go over, and their levels."""
    apart = pairs[0] != pairs[1]
    pairs, level = _least(np.sort(pairs[:, apart], axis=0), level[apart])
    # scipy takes a zero for no edge, and ranks are as good as levels; its trees take 32 bits alone
    levels, rank = np.unique(level, return_inverse=True)
    graph = coo_array((rank + 1, tuple(pairs.astype(np.int32))), shape=(count, count)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    return np.stack(tree.coords).astype(np.int64), levels[tree.data.astype(np.int64) - 1]


def _edge_of(
    pairs: NDArray[np.int64], count: int, one: NDArray[np.integer], other: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Where the pairs (one, other), either way round, are in `pairs`."""
    keys = pairs.min(axis=0) * count + pairs.max(axis=0)
    wanted = np.minimum(one, other).astype(np.int64) * count + np.maximum(one, other)
    order = np.argsort(keys)
    return np.asarray(order[np.searchsorted(keys, wanted, sorter=order)])


def _direct(drainage: Drainage, folder: Path) -> None:
    filled, directions = drainage.filled, drainage.directions
    steps = Plane.make(folder / "steps", filled.shape, np.int32)

    def descended(window: Window) -> bool:
        towards = flow.steepest(read_around(filled, window, 1, np.nan))
        directions.write(towards, window)
        level = towards == flow.FLAT
        if level.any():
            steps.write(np.where(level, flow.FAR, 0), window)
        return bool(level.any())

    def approached(window: Window) -> bool:
        nearer = read_around(steps, window, 1, flow.FAR)
        lowered = flow.approach(read_around(filled, window, 1, np.nan), nearer)
        if lowered:
            steps.write(nearer[1:-1, 1:-1], window)
        return bool(lowered)

    def crossed(window: Window) -> None:
        towards = directions.read(window)
        flow.cross_flats(
            read_around(filled, window, 1, np.nan), read_around(steps, window, 1, 0), towards
        )
        directions.write(towards, window)

    has_flats = list(side_by_side(descended, drainage.windows))
    level = [window for window, flat in zip(drainage.windows, has_flats, strict=True) if flat]
    # Each round reaches one tile further into flats that span several.
    while any(list(side_by_side(approached, level))):
        pass
    for _ in side_by_side(crossed, level):
        pass
    steps.path.unlink()


def _accumulate(drainage: Drainage) -> None:
    directions, perimeter = drainage.directions, drainage.perimeter

    def local(number: int) -> NDArray[np.int32]:
        window = drainage.windows[number]
        towards = directions.read(window)
        drainage.cells.write(flow.accumulate(towards), window)
        nowhere = np.zeros(towards.shape, dtype=bool)
        return np.asarray(flow.walk(towards, nowhere, perimeter.local(number))[0])

    ends = list(side_by_side(local, range(len(drainage.windows))))
    exits = perimeter.place(
        np.concatenate([perimeter.globally(number, end) for number, end in enumerate(ends)])
    )
    entry = drainage.entry
    total = np.nan_to_num(perimeter.read(drainage.cells).astype(np.float64))
    # Only what leaves a tile goes on; what enters one goes on from where it leaves again.
    following = np.where(entry >= 0, exits[entry], -1)
    leaving = exits == np.arange(len(exits))
    following[~leaving] = -1
    flow.add_downstream(following, total)
    inflow = np.zeros(len(total))
    goes_on = leaving & (entry >= 0)
    np.add.at(inflow, entry[goes_on], total[goes_on])

    def poured(number: int) -> None:
        window = drainage.windows[number]
        own = perimeter.part(number)
        entries = np.flatnonzero(inflow[own])
        if len(entries):
            cells = drainage.cells.read(window)
            starts = perimeter.local(number)[entries]
            flow.pour(directions.read(window), cells, starts, inflow[own][entries])
            drainage.cells.write(cells, window)

    for _ in side_by_side(poured, range(len(drainage.windows))):
        pass


@dataclass(frozen=True)
class Pulled:
    """What each cell takes over from the cell downstream, known along the tiles' perimeters.

    Some cells are seeds, with values of their own; any other has the value of the next cell
    downstream, plus `gain` times the length of the step in cells.
    """

    drainage: Drainage
    seeds: Callable[[int], NDArray[np.float64]]
    gain: float
    outermost: NDArray[np.float64]

    def of_tile(self, number: int) -> NDArray[np.float64]:
        """Values of a tile, (rows, cols), NaN on unknown ground."""
        window, perimeter = self.drainage.windows[number], self.drainage.perimeter
        ringed = np.full((window.height + 2, window.width + 2), np.nan)
        ringed[1:-1, 1:-1] = self.seeds(number)
        ring = _outermost(*ringed.shape)
        rows, cols = np.divmod(ring, ringed.shape[1])
        place = perimeter.place_of(rows + window.row_off - 1, cols + window.col_off - 1)
        ringed.flat[ring[place >= 0]] = self.outermost[place[place >= 0]]
        flow.pull(self.drainage.directions.read(window), ringed, self.gain)
        return ringed[1:-1, 1:-1]


def pull_upstream(
    drainage: Drainage, seeds: Callable[[int], NDArray[np.float64]], gain: float = 0.0
) -> Pulled:
    """Carry values up all slopes and channels.

    Args:
        drainage: how the terrain drains.
        seeds: values of a tile, by its number, (rows, cols), NaN where they are taken over; every
            cell that leaves the ground must have one.
        gain: what a step of one cell adds.
    """
    perimeter, count = drainage.perimeter, len(drainage.windows)

    def local(number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        own = seeds(number)
        towards = drainage.directions.read(drainage.windows[number])
        ends, length = flow.walk(towards, np.isfinite(own), perimeter.local(number))
        return perimeter.globally(number, ends), length, own.reshape(-1)[ends]

    walked = zip(*side_by_side(local, range(count)), strict=True)
    ends, length, value = (np.concatenate(parts) for parts in walked)
    directions = perimeter.read(drainage.directions)
    last = perimeter.place(ends)
    following = np.where(np.isnan(value) & (last >= 0), drainage.entry[last], -1)
    leap = np.where(directions[last] % 2 == 1, np.sqrt(2), 1.0)
    flow.carry_upstream(following, gain * (length + leap), outermost := value + gain * length)
    return Pulled(drainage, seeds, gain, outermost)


@dataclass(frozen=True)
class _Perimeter:
    """The outermost cells of every tile, tile by tile; arrays given and returned go along `cells`.

    `cells` are flat indices of the whole grid and `owner` the tile of each.
    """

    windows: tuple[Window, ...]
    shape: tuple[int, int]
    cells: NDArray[np.int64]
    owner: NDArray[np.int64]

    @classmethod
    def of(cls, windows: tuple[Window, ...], shape: tuple[int, int]) -> _Perimeter:
        locals_ = [_outermost(window.height, window.width) for window in windows]
        cells = [
            _globally(window, shape, local) for window, local in zip(windows, locals_, strict=True)
        ]
        owner = np.repeat(np.arange(len(windows)), [len(each) for each in cells])
        return cls(windows, shape, np.concatenate(cells), owner)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Cells of each tile."""
        return np.bincount(self.owner, minlength=len(self.windows))

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.cells)

    def part(self, number: int) -> slice:
        """Where a tile's cells are."""
        first, last = np.searchsorted(self.owner, [number, number + 1])
        return slice(int(first), int(last))

    def local(self, number: int) -> NDArray[np.int64]:
        """Flat indices of a tile's cells within the tile."""
        window = self.windows[number]
        return _outermost(window.height, window.width)

    def globally(self, number: int, local: NDArray[np.integer]) -> NDArray[np.int64]:
        """Flat indices of the whole grid from those within a tile."""
        return _globally(self.windows[number], self.shape, local)

    def read(self, plane: Plane) -> NDArray[Any]:
        """What a plane holds at the cells."""
        parts = [plane.at(self.cells[self.part(number)]) for number in range(len(self.windows))]
        return np.concatenate(parts)

    def place(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where flat indices of the whole grid are in `cells`, -1 for none."""
        found = np.searchsorted(self.cells, cells, sorter=self._order)
        found = self._order[found.clip(max=len(self.cells) - 1)]
        return np.where(self.cells[found] == cells, found, -1)

    def place_of(self, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.int64]:
        """Where cells of the whole grid, or off it, are in `cells`, -1 for none."""
        on_grid = (rows >= 0) & (rows < self.shape[0]) & (cols >= 0) & (cols < self.shape[1])
        return np.where(on_grid, self.place(rows * self.shape[1] + cols), -1)

    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of cells that touch across tiles, each pair both ways."""
        pairs = [self._step(np.full(len(self.cells), k)) for k in range(8)]
        here = [np.flatnonzero(there >= 0) for there in pairs]
        return np.concatenate(here), np.concatenate([there[there >= 0] for there in pairs])

    def downstream(self, directions: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The cell of another tile that each flows to, -1 where it stays or leaves the ground."""
        inside = directions < flow.OUT
        return np.where(inside, self._step(np.where(inside, directions, 0)), -1)

    def _step(self, direction: NDArray[np.integer]) -> NDArray[np.int64]:
        rows, cols = np.divmod(self.cells, self.shape[1])
        there = self.place_of(rows + flow.DOWN[direction], cols + flow.RIGHT[direction])
        return np.where((there >= 0) & (self.owner[there] != self.owner), there, -1)


def _outermost(rows: int, cols: int) -> NDArray[np.int64]:
    edge = np.ones((rows, cols), dtype=bool)
    edge[1:-1, 1:-1] = False
    return np.flatnonzero(edge)


def _globally(
    window: Window, shape: tuple[int, int], local: NDArray[np.integer]
) -> NDArray[np.int64]:
    rows, cols = np.divmod(local.astype(np.int64), window.width)
    return np.asarray((rows + window.row_off) * shape[1] + cols + window.col_off)
