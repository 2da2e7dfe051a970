"""Several networks that answer as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Tiles and validity in as every network takes them, the mean of the members' logits out.

    A logarithmic pool of their scores (Genest and Zidek 1986): one that is sure counts for more
    than one that is not.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(n, bands, h, w) and (n, 1, h, w) or None to (n, 1, h, w); raises as the members do."""
        return torch.stack([member(x, valid).float() for member in self.members]).mean(0)
