"""Overlapping windows over a grid, and the weights that blend them. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WindowPlan:
    """How a scene is cut into windows; sizes in pixels, `overlap` shared by neighbours."""

    size: int = 512
    overlap: int = 64

    def __post_init__(self) -> None:
        """Refuse a plan whose windows would never advance."""
        if self.size < 32 or not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f"window size {self.size} and overlap {self.overlap}: the size must be at least 32 "
                "and the overlap between 0 and half the size"
            )


def window_starts(length: int, plan: WindowPlan) -> list[int]:
    """First pixel of each window along one axis of `length` pixels.

    The windows cover [0, length) without stepping outside it: the last one is moved back to end
    at the border, and an axis shorter than a window has the single start 0.
    """
    if length <= plan.size:
        return [0]
    stride = plan.size - plan.overlap
    return [*range(0, length - plan.size, stride), length - plan.size]


def blend_weights(start: int, length: int, plan: WindowPlan) -> np.ndarray:
    """Weight of each pixel of the window at `start`, along one axis.

    A linear ramp over the overlap towards every neighbour, 1 elsewhere; the border of the scene
    keeps full weight, since no neighbour sees it better.

    Returns:
        float32, shape (min(plan.size, length),), values in (0, 1].
    """
    size = min(plan.size, length)
    weights = np.ones(size, np.float32)
    ramp = (np.arange(plan.overlap, dtype=np.float32) + 0.5) / max(plan.overlap, 1)
    if start > 0:
        weights[: plan.overlap] = ramp
    if start + size < length:
        weights[size - plan.overlap :] = np.minimum(weights[size - plan.overlap :], ramp[::-1])
    return weights
