"""Tiles of one split that show ground of another: refused, since a score on them means nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from shapely import STRtree, area, intersection, polygons

from models.errors import ModelError
from models.samples import Entry, Footprint

# Of the smaller. Neighbours share an edge, and grids of two projections a pixel or so.
_SHARED = 0.02


@dataclass(frozen=True)
class _Seen:
    entry: Entry
    digest: str
    ground: Footprint | None


def check_apart(
    learnt: Sequence[Entry],
    held: Sequence[Entry],
    each: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Refuse held-out tiles with the pixels or the ground of a tile that is learnt from.

    Every tile is read once.

    Args:
        learnt: to learn from.
        held: to choose or to test on.
        each: told how many of how many are done.

    Raises:
        ModelError: two tiles hold the same pixels, or lie on each other by more than 2 % of the
            smaller; both are named. Or a tile cannot be read.
    """
    total = len(learnt) + len(held)
    seen = []
    for done, entry in enumerate([*learnt, *held], start=1):
        seen.append(_look(entry))
        each(done, total)
    ours, theirs = seen[: len(learnt)], seen[len(learnt) :]
    digests = {tile.digest: tile for tile in ours if tile.digest}
    for tile in theirs:
        if tile.digest in digests:
            raise ModelError(
                f"{_name(tile)} ({tile.entry.split}) holds the same pixels as "
                f"{_name(digests[tile.digest])} (train); leave one of them out"
            )
    _check_ground([t for t in ours if t.ground], [t for t in theirs if t.ground])


def _check_ground(ours: Sequence[_Seen], theirs: Sequence[_Seen]) -> None:
    grounds = [tile.ground for tile in (*ours, *theirs) if tile.ground]
    for one, other in overlapping(grounds):
        if one < len(ours) <= other:
            tile, learnt = theirs[other - len(ours)], ours[one]
            raise ModelError(
                f"{_name(tile)} ({tile.entry.split}) lies on the ground of {_name(learnt)} "
                "(train); split by event or by blocks of ground"
            )


def overlapping(grounds: Sequence[Footprint]) -> list[tuple[int, int]]:
    """Pairs of footprints, by number, the lower first, that share over 2 % of the smaller."""
    tiles = polygons(np.asarray(grounds, float).reshape(-1, 4, 2))
    one, other = STRtree(tiles).query(tiles, predicate="intersects")
    one, other = one[one < other], other[one < other]
    both = area(intersection(tiles[one], tiles[other]))
    smaller = np.minimum(area(tiles)[one], area(tiles)[other])
    kept = both > _SHARED * smaller
    return list(zip(one[kept].tolist(), other[kept].tolist(), strict=True))


def _look(entry: Entry) -> _Seen:
    sample = entry.read()
    pixels = np.ascontiguousarray(sample.image)
    if not np.ptp(pixels):
        return _Seen(entry, "", sample.footprint)  # empty tiles are alike wherever they are
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return _Seen(entry, digest, sample.footprint)


def _name(tile: _Seen) -> str:
    return f"{tile.entry.source}/{tile.entry.name}".lstrip("/")
