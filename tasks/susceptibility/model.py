"""What every susceptibility model is, and what fits one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.susceptibility.sampling import Samples


class Model(Protocol):
    """A fitted model of where the ground fails."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Susceptibility 0-1, (n,), of rows of factors without NaN, (n, factors).

        A model that looks around a cell takes patches, (n, factors, side, side), or whole windows,
        (1, factors, rows + 2 halo, cols + 2 halo), of which it tells every inner cell in turn.
        """

    def explain(self) -> dict[str, Any]:
        """What was learned, as JSON holds it; empty where the model can not say."""


Learner = Callable[[Samples, int], Model]
