"""Tiles that a score means nothing on: they show ground of another split, or nobody saw them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from shapely import STRtree, area, intersection, polygons

from models.errors import ModelError
from models.samples import Entry, Footprint, some_of

# Of the smaller. Neighbours share an edge, and grids of two projections a pixel or so.
_SHARED = 0.02


@dataclass(frozen=True)
class _Seen:
    entry: Entry
    digest: str
    content: str
    ground: Footprint | None
    valid: bool


def check_apart(
    entries: Sequence[Entry],
    each: Callable[[int, int], None] = lambda done, total: None,
    bands: Sequence[str] = (),
    whose: str = "",
) -> str:
    """Refuse tiles with the pixels or the ground of another split's, and held-out ones unseen.

    Every tile is read once.

    Args:
        entries: the tiles of all splits.
        each: told how many of how many are done.
        bands: that every tile must have.
        whose: who needs them.

    Returns:
        The digest of what they hold, as `digest_of` has it.

    Raises:
        ModelError: two tiles of different splits hold the same pixels, or lie on each other by more
            than 2 % of the smaller; both are named. No pixel is valid of a tile to choose or to
            test on. Or a tile cannot be read, or lacks a band.
    """
    seen = []
    for done, entry in enumerate(entries, start=1):
        seen.append(_look(entry, bands, whose))
        each(done, len(entries))
    _check_seen(seen)
    _check_pixels(seen)
    _check_ground(seen)
    return _digest(seen)


def digest_of(entries: Sequence[Entry]) -> str:
    """SHA-256 of tiles in their order: names, splits, pixels, landslides and what was seen.

    Raises:
        ModelError: a tile cannot be read.
    """
    return _digest([_look(entry) for entry in entries])


def _digest(seen: Sequence[_Seen]) -> str:
    return hashlib.sha256("\n".join(tile.content for tile in seen).encode()).hexdigest()


def _check_seen(tiles: Sequence[_Seen]) -> None:
    unseen = [_name(tile) for tile in tiles if not tile.valid and tile.entry.split != "train"]
    if unseen:
        raise ModelError(f"no pixel is valid of {some_of(unseen)}; leave out what nobody saw")


def _check_pixels(seen: Sequence[_Seen]) -> None:
    first: dict[str, _Seen] = {}
    for tile in seen:
        if not tile.digest:
            continue
        like = first.setdefault(tile.digest, tile)
        if like.entry.split != tile.entry.split:
            raise ModelError(
                f"{_name(tile)} holds the same pixels as {_name(like)}; leave one of them out"
            )


def _check_ground(seen: Sequence[_Seen]) -> None:
    placed = [tile for tile in seen if tile.ground]
    for one, other in overlapping([tile.ground for tile in placed if tile.ground]):
        if placed[one].entry.split != placed[other].entry.split:
            raise ModelError(
                f"{_name(placed[other])} lies on the ground of {_name(placed[one])}; "
                "leave one of them out, or keep both in one split"
            )


def overlapping(grounds: Sequence[Footprint]) -> list[tuple[int, int]]:
    """Pairs of footprints, by number, the lower first, that share over 2 % of the smaller."""
    corners = np.asarray(grounds, float).reshape(-1, 4, 2)
    # Longitudes of a tile across the 180th meridian go on counting; those east of it begin anew.
    across = np.flatnonzero(corners[..., 0].max(axis=1) > 180)
    number = np.concatenate([np.arange(len(corners)), across])
    tiles = polygons(np.concatenate([corners, corners[across] - (360, 0)]))
    one, other = STRtree(tiles).query(tiles, predicate="intersects")
    lower = number[one] < number[other]
    one, other = one[lower], other[lower]
    both = area(intersection(tiles[one], tiles[other]))
    smaller = np.minimum(area(tiles)[one], area(tiles)[other])
    kept = both > _SHARED * smaller
    pairs = np.column_stack([number[one[kept]], number[other[kept]]])
    return [(int(a), int(b)) for a, b in np.unique(pairs, axis=0)]


def _look(entry: Entry, bands: Sequence[str] = (), whose: str = "") -> _Seen:
    sample = entry.read()
    sample.pick(bands, whose)
    pixels = np.ascontiguousarray(sample.image)
    whole = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    digest = whole.hexdigest() if np.ptp(pixels) else ""  # empty tiles are alike wherever they are
    for layer in (sample.mask, sample.valid):
        whole.update(np.packbits(layer).tobytes())
    whole.update(f"{entry.source}/{entry.name} {entry.split}".encode())
    return _Seen(entry, digest, whole.hexdigest(), sample.footprint, bool(sample.valid.any()))


def _name(tile: _Seen) -> str:
    entry = tile.entry
    return f"{entry.source}/{entry.name}".lstrip("/") + f" ({entry.split})"
