"""How much factors say the same: associations of pairs, and variance inflation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A factor of whose variance the others leave less than this is told whole by them.
_SINGULAR = 1e-9


@dataclass(frozen=True)
class Collinearity:
    """Associations among factors, in the order of `names`.

    `association` is (factors, factors): Pearson's r (-1 to 1) of two numbers, the correlation ratio
    η (0 to 1) of a number and a class, Cramér's V (0 to 1) of two classes. `inflation` is the
    variance inflation factor of each, 1 where nothing else tells of it, infinite where others tell
    it whole; of a class with d + 1 labels the generalised one to the power 1/d (Fox & Monette 1992,
    JASA 87, 178-183), which compares. `samples` is how many cells they are from.
    """

    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    association: NDArray[np.float64]
    inflation: NDArray[np.float64]
    samples: int

    def as_json(self) -> dict[str, Any]:
        """As JSON holds it; an infinite inflation is null."""
        return {
            "names": list(self.names),
            "categorical": list(self.categorical),
            "association": np.round(self.association, 4).tolist(),
            "vif": [round(value, 3) if np.isfinite(value) else None for value in self.inflation],
            "samples": self.samples,
        }


def collinearity(
    x: NDArray[np.floating], names: Sequence[str], categorical: Collection[str] = ()
) -> Collinearity:
    """Find out how much factors say the same.

    Args:
        x: values of cells, (cells, factors), none NaN, no factor the same everywhere.
        names: the factors' names.
        categorical: which of them hold labels, as numbers.
    """
    columns = [
        _Column.of(values, name in categorical) for name, values in zip(names, x.T, strict=True)
    ]
    count = len(columns)
    association = np.eye(count)
    for first in range(count):
        for second in range(first):
            found = _association(columns[first], columns[second])
            association[first, second] = association[second, first] = found
    return Collinearity(
        tuple(names),
        tuple(column.categorical for column in columns),
        association,
        _inflation(columns),
        len(x),
    )


@dataclass(frozen=True)
class _Column:
    """A factor as centred columns of unit length: itself, or one for each label but the first."""

    categorical: bool
    design: NDArray[np.float64]
    label: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.floating], categorical: bool) -> _Column:
        if not categorical:
            design = values.astype(np.float64)[:, None]
            return cls(False, _standardised(design), np.zeros(0, np.int64))
        labels, label = np.unique(values, return_inverse=True)
        return cls(True, _standardised(np.eye(len(labels))[label][:, 1:]), label)


def _standardised(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = columns - columns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    return np.asarray(centred / np.where(length > 0, length, 1))


def _association(one: _Column, other: _Column) -> float:
    if one.categorical and other.categorical:
        return _cramers_v(one.label, other.label)
    if one.categorical or other.categorical:
        number, label = (other, one.label) if one.categorical else (one, other.label)
        return _correlation_ratio(number.design[:, 0], label)
    return float(np.clip(one.design[:, 0] @ other.design[:, 0], -1, 1))


def _correlation_ratio(number: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """η = √(variance between classes / variance) of a centred number."""
    cells = np.bincount(label)
    between = (np.bincount(label, number) ** 2 / cells).sum()
    total = (number**2).sum()
    return float(np.sqrt(between / total)) if total > 0 else 0.0


def _cramers_v(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """V = √(χ² / (n (min(rows, cols) - 1))) of the table of two labels (Cramér 1946)."""
    shape = (one.max() + 1, other.max() + 1)
    if min(shape) < 2:
        return 0.0
    table = np.bincount(one * shape[1] + other, minlength=shape[0] * shape[1]).reshape(shape)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi2 / (table.sum() * (min(shape) - 1))))


def _inflation(columns: Sequence[_Column]) -> NDArray[np.float64]:
    """Determinants of R_jj over (R_jj - R_jo R_oo⁺ R_oj), own and other columns' correlations R.

    Fox & Monette (1992), eq. 10, by the Schur complement, so that others may repeat each other.
    """
    design = np.hstack([column.design for column in columns])
    owner = np.repeat(np.arange(len(columns)), [column.design.shape[1] for column in columns])
    correlation = design.T @ design
    inflation = np.ones(len(columns))
    for number in np.unique(owner):
        own = owner == number
        alone, across = correlation[np.ix_(own, own)], correlation[np.ix_(own, ~own)]
        others = np.linalg.pinv(correlation[np.ix_(~own, ~own)], hermitian=True)
        left = np.linalg.det(alone - across @ others @ across.T) / np.linalg.det(alone)
        inflation[number] = left ** (-1 / own.sum()) if left > _SINGULAR else np.inf
    return inflation
