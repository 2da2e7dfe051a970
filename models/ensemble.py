"""Several networks that answer as one: the mean of their scores, once they agree on how much."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

# Beyond a twentieth or twenty times the odds it is no longer the same answer.
_MOST = 3.0
_HALVINGS = 12


class Ensemble(nn.Module):
    """Tiles and validity in as every network takes them, logits of the members' mean score out.

    On ground of another kind some networks rank pixels well and score them all too low. How much
    of a tile is landslide is therefore the first member's to say: a constant is added to the logits
    of each other, which is what another prior does to them (Saerens et al. 2002, Eq. 2.4), so that
    its mean score over the valid pixels of the tile becomes that of the first.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(n, bands, h, w) and (n, 1, h, w) or None to (n, 1, h, w); raises as the members do."""
        first, *others = (member(x, valid).float() for member in self.members)
        seen = torch.ones_like(first) if valid is None else valid.to(first)
        logits = torch.stack([first, *(each + _shift(each, first, seen) for each in others)])
        return logsigmoid(logits).logsumexp(0) - logsigmoid(-logits).logsumexp(0)


@torch.no_grad()
def _shift(logits: Tensor, wanted: Tensor, seen: Tensor) -> Tensor:
    """What to add to logits so that their mean score is that of others: (n, 1, 1, 1), bisected."""
    share = (wanted.sigmoid() * seen).sum((1, 2, 3), keepdim=True)
    low = torch.full_like(share, -_MOST)
    high = -low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        less = ((logits + middle).sigmoid() * seen).sum((1, 2, 3), keepdim=True) < share
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return (low + high) / 2
