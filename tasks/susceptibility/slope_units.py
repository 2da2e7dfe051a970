"""Channels, what lies above them, and the slope units between them.

A slope unit is a half-basin: the ground that drains from one side to one stretch of channel between
junctions (Carrara et al. 1991, Earth Surface Processes and Landforms 16). Ridges and channels bound
it, so that a fold of a spatial cross-validation that keeps it whole cuts no slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility import flow_kernels as flow
from tasks.susceptibility.drainage import Drainage, Pulled, pull_upstream
from tasks.susceptibility.planes import read_around

CHANNEL_M2 = 250_000.0
_LEAST_CELLS = 50


@dataclass(frozen=True)
class Channels:
    """The channels of a terrain: cells that at least `least_cells` drain through.

    Where water leaves the ground before that, the last cell on its way counts as a channel, so
    that every slope has one.
    """

    drainage: Drainage
    cell_m: float
    least_cells: float

    @classmethod
    def of(cls, drainage: Drainage, cell_m: float) -> Channels:
        """Channels that begin at `CHANNEL_M2`, or at 50 cells where these are larger."""
        return cls(drainage, cell_m, max(CHANNEL_M2 / cell_m**2, _LEAST_CELLS))

    def foot(self) -> Pulled:
        """Elevation in m, depressions filled, of the channel cell each cell drains to.

        The height above it is HAND (Rennó et al. 2008, Remote Sensing of Environment 112).
        """

        def seeds(number: int) -> NDArray[np.float64]:
            filled = self.drainage.filled.read(self.drainage.windows[number])
            return np.where(self._are(number), filled, np.nan).astype(np.float64)

        return pull_upstream(self.drainage, seeds)

    def distance(self) -> Pulled:
        """Horizontal length in m of the way water takes to its channel."""
        return pull_upstream(
            self.drainage, lambda number: np.where(self._are(number), 0.0, np.nan), self.cell_m
        )

    def link(self) -> Pulled:
        """The stretch of channel between junctions each cell drains to: flat index of its end."""

        def seeds(number: int) -> NDArray[np.float64]:
            window, (_, cols) = self.drainage.windows[number], self.drainage.filled.shape
            own = np.add.outer(
                (np.arange(window.height) + window.row_off) * cols,
                np.arange(window.width) + window.col_off,
            )
            return np.where(self._links(number)[0], own, np.nan)

        return pull_upstream(self.drainage, seeds)

    def units(self) -> Callable[[int], NDArray[np.int64]]:
        """A function of a tile's number that gives the code of each cell's slope unit.

        Codes, (rows, cols), are twice the flat index of the end of the unit's channel, plus the
        side; -1 is unknown.
        """
        link, side = self.link(), self.side()

        def of_tile(number: int) -> NDArray[np.int64]:
            code = 2 * link.of_tile(number) + side.of_tile(number)
            return np.nan_to_num(code, nan=-1).astype(np.int64)

        return of_tile

    def side(self) -> Pulled:
        """The side from which each cell reaches its channel, facing downstream: 0 left, 1 right."""
        return pull_upstream(self.drainage, lambda number: self._links(number)[1])

    def _are(self, number: int) -> NDArray[np.bool_]:
        window = self.drainage.windows[number]
        leaves = self.drainage.directions.read(window) == flow.OUT
        return np.asarray(leaves | (self.drainage.cells.read(window) >= self.least_cells))

    def _links(self, number: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        window = self.drainage.windows[number]
        directions = read_around(self.drainage.directions, window, 2, flow.UNKNOWN)
        cells = read_around(self.drainage.cells, window, 2, np.nan)
        last, side = flow.links(directions, cells, self.least_cells)
        return last, side
