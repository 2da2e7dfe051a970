"""Landslide by landslide: how many true ones were found, and how many of the mapped are true.

Landslides are bodies of pixels that touch at a side or a corner, inside one tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from models.metrics import Mask

# A landslide is found, or a mapped one true, from this IoU with one body of the other mask, or
# from this share of its own area inside the other mask, whatever the number of bodies there.
FOUND_IOU = 0.5
FOUND_OVERLAP = 0.3

# Upper ends of the size classes, in m², and in pixels where nobody knows a pixel's size.
CLASSES_M2 = (500, 2_000, 10_000, 50_000, inf)
CLASSES_PX = (100, 1_000, 10_000, inf)


@dataclass(frozen=True)
class Body:
    """One connected landslide of a mask against the other mask.

    Attributes:
        size: its area, in m² or in pixels.
        iou: with the body of the other mask that fits it best; 0 if none touches it.
        covered: share of its area inside the other mask.
    """

    size: float
    iou: float
    covered: float


@dataclass(frozen=True)
class Bodies:
    """The true and the mapped bodies of one tile."""

    true: tuple[Body, ...]
    mapped: tuple[Body, ...]

    def scaled(self, pixel_m2: float) -> Self:
        """The same with sizes in m² instead of pixels of that area."""
        true, mapped = (
            tuple(replace(body, size=body.size * pixel_m2) for body in side)
            for side in (self.true, self.mapped)
        )
        return type(self)(true, mapped)


def match(truth: Mask, mapped: Mask) -> Bodies:
    """Compare the bodies of two masks of one tile, both bool (h, w) and False where nobody looked.

    Their sizes are in pixels.
    """
    eight = np.ones((3, 3), int)
    (one, n), (other, m) = label(truth, eight), label(mapped, eight)
    pairs, shared = np.unique(one.astype(np.int64) * (m + 1) + other, return_counts=True)
    left, right = np.divmod(pairs, m + 1)
    sizes = [np.bincount(labels.ravel(), minlength=k + 1) for labels, k in ((one, n), (other, m))]
    both = (left > 0) & (right > 0)
    left, right, shared = left[both], right[both], shared[both]
    iou = shared / (sizes[0][left] + sizes[1][right] - shared)
    return Bodies(
        _bodies(left, shared, iou, sizes[0]),
        _bodies(right, shared, iou, sizes[1]),
    )


def _bodies(
    which: NDArray[Any], shared: NDArray[Any], iou: NDArray[Any], sizes: NDArray[Any]
) -> tuple[Body, ...]:
    best, covered = np.zeros(len(sizes)), np.zeros(len(sizes))
    np.maximum.at(best, which, iou)
    np.add.at(covered, which, shared)
    return tuple(
        Body(float(size), float(fit), float(inside / size))
        for size, fit, inside in zip(sizes[1:], best[1:], covered[1:], strict=True)
    )


def object_scores(tiles: Iterable[Bodies], classes: Sequence[float]) -> dict[str, Any]:
    """Recall, precision and F1 by each rule over all tiles, and recall by size of the true body.

    Args:
        tiles: of every tile.
        classes: upper ends of the size classes, ascending; a body of just that size is beyond.
    """
    every = list(tiles)
    true = [body for tile in every for body in tile.true]
    mapped = [body for tile in every for body in tile.mapped]
    edges = [0.0, *classes]
    by_size = [
        {
            "from": low,
            "to": None if high == inf else high,
            **_found([body for body in true if low <= body.size < high]),
        }
        for low, high in zip(edges, edges[1:], strict=False)
    ]
    rules = {
        f"iou_{FOUND_IOU:g}": [[b.iou >= FOUND_IOU for b in side] for side in (true, mapped)],
        f"overlap_{FOUND_OVERLAP:g}": [
            [b.covered >= FOUND_OVERLAP for b in side] for side in (true, mapped)
        ],
    }
    return {
        "true": len(true),
        "mapped": len(mapped),
        **{name: _rule(found, right) for name, (found, right) in rules.items()},
        "by_size": by_size,
    }


def _rule(found: list[bool], right: list[bool]) -> dict[str, float | int | None]:
    recall, precision = _share(sum(found), len(found)), _share(sum(right), len(right))
    f1 = None
    if recall is not None:
        precision = precision or 0.0
        f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "found": sum(found)}


def _found(bodies: list[Body]) -> dict[str, Any]:
    return {
        "true": len(bodies),
        f"recall_iou_{FOUND_IOU:g}": _share(sum(b.iou >= FOUND_IOU for b in bodies), len(bodies)),
        f"recall_overlap_{FOUND_OVERLAP:g}": _share(
            sum(b.covered >= FOUND_OVERLAP for b in bodies), len(bodies)
        ),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
