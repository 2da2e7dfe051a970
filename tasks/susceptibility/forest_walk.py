"""The walk of cells through a packed forest, compiled."""

import numpy as np
from numba import njit

FACTOR_BITS = 8
LEFT_BITS = 24
_CHUNK = 512  # cells that go through one tree while it lies in the processor's nearest cache
_LANES = 4  # cells walked side by side, which hides how long each waits for its next node


@njit(nogil=True, cache=True)
def walk(first, nodes, share, x, total, square):
    """Add each tree's share, and its square, to every cell's sums."""
    for start in range(0, len(x), _CHUNK):
        stop = min(start + _CHUNK, len(x))
        for tree in range(len(first) - 1):
            own, shares = nodes[first[tree] : first[tree + 1]], share[first[tree] : first[tree + 1]]
            for i in range(start, stop, _LANES):
                # the last lanes of the last chunk may walk its last cell again, and are not counted
                j, k, m = min(i + 1, stop - 1), min(i + 2, stop - 1), min(i + 3, stop - 1)
                a, b, c, d = _leaves(own, x[i], x[j], x[k], x[m])
                for cell, leaf in ((i, a), (i + 1, b), (i + 2, c), (i + 3, d)):
                    if cell < stop:
                        total[cell] += shares[leaf]
                        square[cell] += shares[leaf] ** 2


@njit(nogil=True, cache=True)
def _leaves(nodes, p, q, r, s):
    """The leaves in which four cells end."""
    a = b = c = d = np.uint64(0)
    while True:
        e, f, g, h = _next(nodes[a], p), _next(nodes[b], q), _next(nodes[c], r), _next(nodes[d], s)
        if (e == a) & (f == b) & (g == c) & (h == d):
            return a, b, c, d
        a, b, c, d = e, f, g, h


@njit(nogil=True, cache=True)
def _next(word, x):
    """The child of a node that a cell goes to."""
    bits = np.uint64(word)
    left = (bits >> np.uint64(FACTOR_BITS)) & np.uint64((1 << LEFT_BITS) - 1)
    return left + np.uint64(x[bits & np.uint64((1 << FACTOR_BITS) - 1)] > (word >> 32))
