"""A fitted random forest packed so that two cores can ask it about a hundred million cells."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from tasks.susceptibility.forest_walk import FACTOR_BITS, walk

MOST_FACTORS = 1 << FACTOR_BITS
_LAST = np.iinfo(np.int32).max


class PackedForest(NamedTuple):
    """Trees as one word a node: threshold, number of the left child, factor.

    Children stand side by side, so the right one is one further; a leaf is its own left child and
    no value exceeds its threshold. Thresholds and values are float32 turned into integers of the
    same order, and each threshold is rounded down, so every cell ends in the leaf scikit-learn
    finds.

    `first` holds where each tree begins, (trees + 1,); `nodes` the words, int64; `share` the share
    of failed samples in each node, float64.
    """

    first: NDArray[np.int64]
    nodes: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, forest: RandomForestClassifier) -> Self:
        """Pack a forest fitted on two classes; more than `MOST_FACTORS` factors do not fit."""
        if forest.n_features_in_ > MOST_FACTORS:
            raise ValueError(f"{forest.n_features_in_} factors do not fit; pack {MOST_FACTORS}")
        packed = [_pack(estimator.tree_) for estimator in forest.estimators_]
        nodes, share = zip(*packed, strict=True)
        first = np.cumsum([0, *map(len, nodes)])
        return cls(first, np.concatenate(nodes), np.concatenate(share))

    def predict_with_spread(
        self, x: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation over the trees of the share of failed samples.

        Args:
            x: factors of n cells, (n, factors), without NaN.

        Returns:
            The probability of failure and the spread of the trees about it, each (n,).
        """
        total, square = np.zeros(len(x)), np.zeros(len(x))
        walk(self.first, self.nodes, self.share, _ordered(x), total, square)
        trees = len(self.first) - 1
        mean = total / trees
        return mean, np.sqrt(np.maximum(square / trees - mean**2, 0))


def _pack(tree: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Words and shares of one tree's nodes, breadth first."""
    order, left = _breadth_first(tree.children_left, tree.children_right)
    leaf = left == np.arange(len(order))
    threshold = np.where(leaf, _LAST, _ordered(_rounded_down(tree.threshold[order])))
    factor = np.where(leaf, 0, tree.feature[order])
    words = threshold.astype(np.int64) << 32 | left << FACTOR_BITS | factor
    return words, tree.value[order, 0, 1].astype(np.float64)


def _breadth_first(
    left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Old number and new left child of each node; a leaf is its own."""
    order, new_left = [0], []
    for place, node in enumerate(order):
        new_left.append(len(order) if left[node] >= 0 else place)
        if left[node] >= 0:
            order += [left[node], right[node]]
    return np.array(order), np.array(new_left)


def _rounded_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each number: x <= threshold and x <= this are then the same."""
    near = threshold.astype(np.float32)
    above = near.astype(np.float64) > threshold
    return np.where(above, np.nextafter(near, np.float32(-np.inf)), near)


def _ordered(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Integers that compare as the numbers do; both zeros are one."""
    bits = (np.ascontiguousarray(values, np.float32) + np.float32(0)).view(np.int32)
    return np.where(bits < 0, bits ^ np.int32(_LAST), bits)
