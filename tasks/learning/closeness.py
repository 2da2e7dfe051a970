"""How closely to look at pictures of which nobody says how large a pixel is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from models.cards import ANY_GSD_M, Card
from models.samples import Entry, Sample

_TILES = 32
_COARSER = (1, 2, 4)


def guess_gsd_m(
    entries: Sequence[Entry], card: Card, score: Callable[[Sample], NDArray[np.float32]]
) -> float | None:
    """The pixel size to take for tiles that name none, so that the network sees them best.

    Where pixels are of unknown size they are mostly finer than the network was trained for. Tiles
    are scored as they are, twice and four times as coarse, and the size is taken at which the map
    tells most: the mutual information of place and class, entropy of the mean score less mean
    entropy of the scores (Bridle, Heading and MacKay 1991). No label is looked at.

    Args:
        entries: tiles, of which at most 32, evenly spread, are looked at.
        card: of the network.
        score: landslide score of a tile, float32 (h, w) in 0-1.

    Returns:
        Metres; None where every tile names its pixel size, or the network takes any.

    Raises:
        ModelError: a tile cannot be used; it is named.
    """
    if card.gsd_range_m == ANY_GSD_M:
        return None
    sizes = [card.gsd_range_m[0] / times for times in _COARSER]
    count, landslide, doubt = 0, np.zeros(len(sizes)), np.zeros(len(sizes))
    for entry in entries[:: -(-len(entries) // _TILES) or 1]:
        sample = entry.read()
        if sample.gsd_m is not None:
            continue
        for i, size in enumerate(sizes):
            p = score(replace(sample, gsd_m=size))[sample.valid].astype(np.float64)
            landslide[i] += p.sum()
            doubt[i] += _entropy(p).sum()
        count += int(sample.valid.sum())
    if not count:
        return None
    told = _entropy(landslide / count) - doubt / count
    return sizes[int(np.argmax(told))]


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a choice of two, in nats."""
    return np.asarray(entr(p) + entr(1 - p))
