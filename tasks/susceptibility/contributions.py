"""Why a model says what it says of one place: what each factor adds, by Shapley values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility.model import Model

ORDERS = 100


def contributions(
    model: Model,
    place: NDArray[np.float32],
    others: NDArray[np.float32],
    seed: int = 0,
    orders: int = ORDERS,
) -> tuple[float, NDArray[np.float64]]:
    """How much each factor moves the prediction from that of ground on average to that of a place.

    Factors are changed one after the other from those of another cell to those of the place; what
    each change does is averaged over cells and orders (Štrumbelj and Kononenko 2014, Knowl. Inf.
    Syst. 41, 647-665, algorithm 1), each order taken backwards as well, which halves the noise.

    Args:
        model: fitted.
        place: factors of one cell, (factors,), or of it and its surroundings,
            (factors, side, side).
        others: the same of the cells it is compared with, (n, factors, ...).
        seed: of the cells and orders drawn; equal seeds give equal values.
        orders: how many are drawn.

    Returns:
        The mean prediction of the cells compared with, and what each factor adds to it, (factors,);
        all together are the prediction of the place.
    """
    draw = np.random.default_rng(seed)
    factors = len(place)
    there = others[draw.integers(len(others), size=orders)].repeat(2, axis=0)
    forth = np.argsort(draw.random((orders, factors)), axis=1)
    order = np.stack([forth, forth[:, ::-1]], axis=1).reshape(2 * orders, factors)
    steps = np.repeat(there[:, None], factors + 1, axis=1)
    walks = np.arange(2 * orders)
    for taken in range(factors):
        changed = order[:, taken]
        steps[walks, taken + 1 :, changed] = place[changed][:, None]
    flat = steps.reshape(-1, *place.shape)
    said = np.asarray(model.predict(flat), dtype=np.float64).reshape(2 * orders, factors + 1)
    added = np.zeros((2 * orders, factors))
    np.put_along_axis(added, order, np.diff(said, axis=1), axis=1)
    return float(said[:, 0].mean()), added.mean(axis=0)
