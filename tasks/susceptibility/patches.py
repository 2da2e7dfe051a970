"""The network that looks at the ground around a cell, as a susceptibility model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.errors import AssessmentError
from tasks.susceptibility.sampling import Samples

if TYPE_CHECKING:
    from models.patchnet import PatchNet

_AT_ONCE = 4096


@dataclass(frozen=True)
class PatchModel:
    """A fitted network; see `Model`."""

    network: PatchNet
    explained: dict[str, Any]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Susceptibility 0-1 of every cell whose surroundings `x` holds.

        Args:
            x: factors of patches or of windows, (n, factors, h + 2 HALO, w + 2 HALO), NaN where
                unknown; of a patch h and w are 1.

        Returns:
            Cell by cell and row by row, (n h w,).
        """
        import torch

        # windows are mapped side by side, so each has one thread
        with torch.inference_mode(), threadpool_limits(1, user_api="openmp"):
            parts = torch.from_numpy(np.ascontiguousarray(x)).split(_AT_ONCE)
            scores = [torch.sigmoid(self.network(part)).ravel() for part in parts]
            return np.asarray(torch.cat(scores).numpy())

    def explain(self) -> dict[str, Any]:
        """How far it looks and how much it holds."""
        return self.explained


def patch_network(samples: Samples, seed: int) -> PatchModel:
    """Fit `models.patchnet` to the ground around samples.

    Scalers and classes are those of the samples' own cells.

    Raises:
        AssessmentError: the samples hold nothing of their surroundings.
    """
    from models import patchnet  # imports torch, which no other model needs

    if samples.halo != patchnet.HALO:
        raise AssessmentError(
            f"model cnn looks at {patchnet.SIDE} x {patchnet.SIDE} cells around each, of which "
            "labelled points tell nothing; take another model"
        )
    own, deviation = samples.own, samples.own.std(axis=0)
    levels = {
        number: np.unique(own[:, number])
        for number, name in enumerate(samples.names)
        if name in samples.categorical
    }
    encoder = patchnet.Encoder(own.mean(axis=0), np.where(deviation > 0, deviation, 1), levels)
    # batches this small are learned faster by one thread than by several that wait for each other
    with threadpool_limits(1, user_api="openmp"):
        network = patchnet.fit(encoder, samples.x, samples.y, seed)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return PatchModel(network, {"cells_across": patchnet.SIDE, "weights": weights})
