"""A small network that looks at the ground around a cell, and how it is fitted.

It has no padding: a patch of `SIDE` x `SIDE` cells gives one logit, and a window of any size gives
for each of its inner cells what that cell's own patch gives, many times faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

HALO = 4
SIDE = 2 * HALO + 1
_MOST_DEVIATIONS = 5.0  # a cliff among slopes is not to outshout all else


@dataclass(frozen=True)
class Recipe:
    """How to fit: AdamW under one cycle of the learning rate."""

    epochs: int = 20
    batch: int = 64
    rate: float = 5e-3
    decay: float = 0.1


class Encoder(nn.Module):
    """Factors as a network takes them: amounts standardised, a class as indicators.

    What is unknown is 0 in all of them, and a last channel tells where all is known.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
        levels: Mapping[int, NDArray[np.float32]],
    ) -> None:
        """Take mean and standard deviation of each factor, (factors,), and the levels of classes.

        `levels` holds, by the number of its factor, the values of each class.
        """
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean)[:, None, None])
        self.register_buffer("deviation", torch.from_numpy(deviation)[:, None, None])
        self.amounts = [number for number in range(len(mean)) if number not in levels]
        self.levels = {number: torch.from_numpy(each) for number, each in levels.items()}

    @property
    def channels(self) -> int:
        """How many there are in the end."""
        return len(self.amounts) + sum(map(len, self.levels.values())) + 1

    def forward(self, x: Tensor) -> Tensor:
        """Factors (n, factors, h, w), NaN where unknown, as channels (n, channels, h, w)."""
        amounts = ((x - self.mean) / self.deviation)[:, self.amounts]
        amounts = amounts.clamp(-_MOST_DEVIATIONS, _MOST_DEVIATIONS).nan_to_num(0.0)
        indicators = [
            (x[:, number, None] == levels[:, None, None]).to(x.dtype)
            for number, levels in self.levels.items()
        ]
        known = x.isfinite().all(dim=1, keepdim=True).to(x.dtype)
        return torch.cat([amounts, *indicators, known], dim=1)


class PatchNet(nn.Module):
    """Mixes the factors of each cell, then looks at 9 x 9 mixtures, beside the cell's own."""

    def __init__(self, encoder: Encoder, width: int = 16, dropped: float = 0.3) -> None:
        super().__init__()
        self.encoder = encoder
        self.mixed = nn.Sequential(nn.Conv2d(encoder.channels, width, 1), nn.ReLU())
        self.around = nn.Sequential(
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, dilation=2),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(dropped), nn.Conv2d(2 * width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Factors (n, factors, h + 2 HALO, w + 2 HALO) to logits (n, h, w)."""
        mixed = self.mixed(self.encoder(x))
        own = mixed[:, :, HALO:-HALO, HALO:-HALO]
        logits: Tensor = self.head(torch.cat([own, self.around(mixed)], dim=1))
        return logits[:, 0]


def fit(
    encoder: Encoder,
    patches: NDArray[np.float32],
    failed: NDArray[np.bool_],
    seed: int,
    recipe: Recipe = Recipe(),
) -> PatchNet:
    """Fit a network to labelled patches; equal seeds fit equal networks on one machine.

    Args:
        encoder: of the patches' factors.
        patches: factors around each sample, (n, factors, `SIDE`, `SIDE`), NaN where unknown.
        failed: whether its middle failed, (n,).
        seed: of the weights, the order of the samples and what is dropped out.
        recipe: how.

    Returns:
        The network, in eval mode.
    """
    x, y = torch.from_numpy(patches), torch.from_numpy(failed.astype(np.float32))
    steps = recipe.epochs * -(-len(x) // recipe.batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PatchNet(encoder)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=recipe.decay)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
        for _ in range(recipe.epochs):
            for rows in torch.randperm(len(x)).split(recipe.batch):
                logits = network(x[rows])[:, 0, 0]
                loss = binary_cross_entropy_with_logits(logits, y[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                pace.step()
    return network.eval()
