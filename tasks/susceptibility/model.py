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
        """Susceptibility 0-1, (n,), of rows of factors without NaN, (n, factors)."""

    def explain(self) -> dict[str, Any]:
        """What was learned, as JSON holds it; empty where the model can not say."""


Learner = Callable[[Samples, int], Model]
