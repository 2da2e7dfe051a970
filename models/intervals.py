"""How far scores would differ on other tiles of the same kind: percentile bootstrap."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import Confusion

LEVEL = 0.95
RESAMPLES = 1000
_AT_ONCE = 50
_NAMES = ("precision", "recall", "f1", "iou")
Interval = tuple[float, float] | None


def bootstrap(
    tiles: Sequence[Confusion],
    pr_aucs: Sequence[float],
    groups: Sequence[str] | Sequence[int],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Intervals that hold 95 % of the scores when groups of tiles are drawn anew.

    Args:
        tiles: one confusion a tile.
        pr_aucs: of the tiles, in the same order; NaN where the truth is empty.
        groups: what is drawn as one: tiles beside each other on the ground are no independent
            witnesses.
        resamples: how often.
        seed: of the draws.

    Returns:
        `macro` and `micro`, each (low, high) by score, and `pr_auc`; None where there are fewer
        than two groups or a score is undefined in every draw.
    """
    counts = np.array([[t.tp, t.fp, t.fn] for t in tiles], float).reshape(-1, 3)
    held = np.array([tile.has_landslide for tile in tiles], bool)
    single = np.array([[getattr(tile, name) for name in _NAMES] for tile in tiles], float)
    values = np.column_stack([single.reshape(-1, 4), np.asarray(pr_aucs, float)])
    values = np.where(held[:, None], values, 0.0)
    macro, micro = [], []
    for drawn in _draws(groups, resamples, seed):
        with np.errstate(divide="ignore", invalid="ignore"):
            macro.append(drawn @ values / (drawn @ held)[:, None])
            micro.append(_pooled(drawn @ counts))
    low_high = [_percentiles(np.concatenate(rows)) if rows else None for rows in (macro, micro)]
    each, pooled = (rows or [None] * 5 for rows in low_high)
    return {
        "macro": dict(zip(_NAMES, each, strict=False)),
        "micro": dict(zip(_NAMES, pooled, strict=False)),
        "pr_auc": each[4],
    }


def _draws(
    groups: Sequence[str] | Sequence[int], resamples: int, seed: int
) -> Iterator[NDArray[Any]]:
    """How often each tile is drawn, (draws, tiles), a few draws at a time; none for one group."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return
    dice = np.random.default_rng(seed)
    for first in range(0, resamples, _AT_ONCE):
        size = min(_AT_ONCE, resamples - first)
        drawn = dice.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        yield drawn[:, member].astype(float)


def _pooled(counts: NDArray[Any]) -> NDArray[Any]:
    tp, fp, fn = counts.T
    precision = np.where((tp + fp == 0) & (fn > 0), 0.0, tp / (tp + fp))
    return np.column_stack([precision, tp / (tp + fn), 2 * tp / (2 * tp + fp + fn),
                            tp / (tp + fp + fn)])  # fmt: skip


def _percentiles(values: NDArray[Any]) -> list[Interval]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN
        low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
    return [
        (float(a), float(b)) if np.isfinite(a) and np.isfinite(b) else None
        for a, b in zip(low, high, strict=True)
    ]
