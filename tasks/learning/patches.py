"""How large chips should be, which to keep, and which split each belongs to. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.samples import Split

SIZES_PX = (32, 64, 128, 224, 256)
WANTED_SHARE = 0.1
# LMHLD, section 2.3.
SHARES: dict[Split, float] = {"train": 0.7, "validation": 0.2, "test": 0.1}


@dataclass(frozen=True)
class Sizing:
    """Quartiles of landslide area in pixels, and the chip sizes that they suggest, ascending."""

    quartiles_px: tuple[float, float, float]
    candidates_px: tuple[int, ...]


def chip_sizes(areas_px: Sequence[float] | NDArray[Any]) -> Sizing:
    """LMHLD's rule (section 4.1): a chip in which a landslide of a quartile's size fills a tenth.

    Its side is √(10 Q); the nearest of the default sizes is a candidate. In Wenchuan 417, 1191 and
    4123 pixels suggest 64, 128 and 224.

    Args:
        areas_px: of each landslide, in pixels.

    Raises:
        ModelError: there are no landslides.
    """
    if not len(areas_px):
        raise ModelError("no landslide lies in the images, so that no chip size follows")
    quartiles = np.quantile(np.asarray(areas_px, float), [0.25, 0.5, 0.75])
    sides = np.sqrt(quartiles / WANTED_SHARE)
    nearest = {min(SIZES_PX, key=lambda size: abs(size - side)) for side in sides}
    one, two, three = (float(value) for value in quartiles)
    return Sizing((one, two, three), tuple(sorted(nearest)))


def hardest(bareness: NDArray[np.float64], count: int, dice: np.random.Generator) -> list[int]:
    """Numbers of the chips without landslides that are worth learning from.

    GDCLD's authors picked clouds, roads, buildings, bare land and rocks by eye (section 3.3). Here
    half are the barest, which is what those have in common, and half are drawn from the others.

    Args:
        bareness: of each chip; higher is barer.
        count: how many are wanted, at most.
        dice: of the draws.
    """
    order = np.argsort(-bareness, kind="stable")
    first = order[: -(-count // 2)]
    others = order[len(first) :]
    drawn = dice.permutation(others)[: count - len(first)]
    return sorted(int(number) for number in [*first, *drawn])


def assign(groups: Sequence[str], seed: int) -> dict[str, Split]:
    """A split for every group of chips, so that chips come near 70, 20 and 10 %.

    The largest group is train's, or of few it could get the least. The others are taken in an order
    drawn by `seed`, each to the split that lacks most of its share; every split gets one while
    there are any.

    Args:
        groups: of each chip: the ground or the event that must not be divided.
        seed: of the order.

    Raises:
        ModelError: there are fewer groups than splits.
    """
    names, counts = np.unique(np.asarray(groups), return_counts=True)
    if len(names) < len(SHARES):
        raise ModelError(
            f"the chips form {len(names)} groups, which cannot be divided into train, validation "
            "and test; split by smaller blocks, or add scenes"
        )
    drawn = np.random.default_rng(seed).permutation(len(names))
    order = sorted(drawn, key=lambda number: counts[number] < counts.max())
    total, filled = counts.sum(), dict.fromkeys(SHARES, 0)
    found: dict[str, Split] = {}
    for number in order:
        split = max(SHARES, key=lambda name: SHARES[name] - filled[name] / total)
        empty = [name for name in SHARES if not filled[name]]
        if len(empty) >= len(names) - len(found):
            split = empty[0]
        found[str(names[number])] = split
        filled[split] += int(counts[number])
    return found
