"""The cells of a window of factors, as a model is asked about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WindowCells:
    """The cells of a window whose factors are all known.

    `known` marks them, (rows, cols); `own` are their factors, (cells, factors); `x` is what a model
    is asked with: the same, or for one that looks around a cell the window and what lies about it,
    (1, factors, rows + 2 halo, cols + 2 halo).
    """

    known: NDArray[np.bool_]
    own: NDArray[np.float32]
    x: NDArray[np.float32]

    @classmethod
    def of(cls, factors: NDArray[np.float32], halo: int) -> WindowCells:
        """Of factors (factors, rows + 2 halo, cols + 2 halo), NaN where unknown."""
        inner = factors[:, halo : factors.shape[1] - halo, halo : factors.shape[2] - halo]
        known = np.asarray(np.isfinite(inner).all(axis=0))
        own = np.ascontiguousarray(inner[:, known].T)
        return cls(known, own, factors[None] if halo else own)

    def placed(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Values of the known cells, or of all cells, in their places; NaN where unknown."""
        placed = np.full(self.known.shape, np.nan, np.float32)
        placed[self.known] = values[self.known.ravel()] if len(values) > len(self.own) else values
        return placed
