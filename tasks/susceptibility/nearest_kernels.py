"""The search for the nearest of many points, compiled."""

import numpy as np
from numba import njit

LEAF = 64  # points side by side, which the processor measures many at a time

# sums may be taken in any order; neither NaN nor infinity comes here
_FAST = {"reassoc", "contract", "nsz", "nnan", "ninf"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def search(cells, leaves, low, high, squared):
    """Write each cell's squared distance to its nearest point."""
    count, columns = leaves.shape[0], leaves.shape[1]
    bound, far = np.empty(count, np.float32), np.empty(LEAF, np.float32)
    leaf = point = 0
    for i in range(len(cells)):
        # what is nearest to one cell is near to the next, which rules most leaves out
        best = np.float32(0)
        for c in range(columns):
            best += (leaves[leaf, c, point] - cells[i, c]) ** 2
        _bound(cells[i], low, high, bound)
        for other in range(count):
            if bound[other] < best:
                found = _measure(cells[i], leaves[other], far)
                if found < best:
                    best, leaf, point = found, other, _place(far, found)
        squared[i] = best


@njit(nogil=True, cache=True, fastmath=_FAST)
def _bound(cell, low, high, bound):
    """Squared distances from a cell to the boxes about the leaves."""
    none = np.float32(0)
    bound[:] = none
    for c in range(len(cell)):
        own = cell[c]
        for leaf in range(len(bound)):
            below, above = low[c, leaf] - own, own - high[c, leaf]
            out = below if below > above else above
            out = out if out > none else none
            bound[leaf] += out * out


@njit(nogil=True, cache=True, fastmath=_FAST)
def _measure(cell, leaf, far):
    """Squared distances from a cell to the points of a leaf, and the least of them."""
    for j in range(LEAF):
        far[j] = np.float32(0)
    for c in range(len(cell)):
        own = cell[c]
        for j in range(LEAF):
            off = leaf[c, j] - own
            far[j] += off * off
    least = far[0]
    for j in range(LEAF):
        least = far[j] if far[j] < least else least
    return least


@njit(nogil=True, cache=True)
def _place(far, least):
    for j in range(LEAF):
        if far[j] == least:
            return j
    return 0
