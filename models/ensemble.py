"""Several networks that answer as one: the mean of their scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class Ensemble(nn.Module):
    """Tiles and validity in as every network takes them, logits of the members' mean score out."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(n, bands, h, w) and (n, 1, h, w) or None to (n, 1, h, w); raises as the members do."""
        logits = torch.stack([member(x, valid) for member in self.members]).float()
        return logsigmoid(logits).logsumexp(0) - logsigmoid(-logits).logsumexp(0)
