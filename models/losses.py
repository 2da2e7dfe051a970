"""Losses on logits for one class, landslide against the rest; ground nobody saw teaches nothing.

Every loss takes `logits` (n, 1, h, w) float, `truth` of the same shape (bool, or a number type of 0
and 1) and `valid` (bool, same shape, None for all seen), and returns a scalar in float32 or better.
With no valid pixel it is 0 and its gradient is 0. kornia and torchmetrics have no loss that takes a
validity mask, hence these.

Raises (all of them): ModelError when the shapes differ.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from models.errors import ModelError

_LARGEST_WEIGHT = 10.0


def bce(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, LDM-Net Eq. 5, over valid pixels; truth may lie between 0 and 1."""
    z, y, seen = _masked(logits, truth, valid)
    return _mean(binary_cross_entropy_with_logits(z, y, reduction="none"), seen)


def dynamic_weighted_ce(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Cross-entropy with class weights from each image's own class shares, SCGC-Net Eq. 27.

    The paper leaves the weights w0(x), w1(x) undefined. Here w_c = N / (2 N_c) over the image's
    valid pixels, at most 10, so that one landslide pixel does not outweigh its whole tile.
    """
    z, y, seen = _masked(logits, truth, valid)
    count = seen.flatten(1).sum(1)
    landslide = (y * seen).flatten(1).sum(1)
    w1, w0 = (
        (count / (2 * members.clamp(min=1))).clamp(max=_LARGEST_WEIGHT).view(-1, 1, 1, 1)
        for members in (landslide, count - landslide)
    )
    return _mean(_cross_entropy(z, y) * torch.where(y > 0, w1, w0), seen)


def focal(
    logits: Tensor, truth: Tensor, valid: Tensor | None = None, exponent: float = 2.0
) -> Tensor:
    """Focal loss, SCGC-Net Eq. 28, averaged over valid pixels (the paper's exponent is 2)."""
    z, y, seen = _masked(logits, truth, valid)
    error = torch.sigmoid(torch.where(y > 0, -z, z))
    return _mean(error**exponent * _cross_entropy(z, y), seen)


def lovasz(logits: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Lovász-Softmax loss, SCGC-Net Eq. 29, over the valid pixels of the whole batch.

    The mean over landslide and background of the Lovász extension of 1 - IoU (Berman et al. 2018,
    Eq. 9-12); as in their code, a class with no pixel in the truth is left out of the mean.
    """
    z, y, seen = _masked(logits, truth, valid)
    z, y = z[seen], y[seen]
    error, order = (y - torch.sigmoid(z)).abs().sort(descending=True)
    ranked = y[order]
    classes = [members for members in (ranked, 1 - ranked) if members.any()]
    return sum((error @ _jaccard_steps(members) for members in classes), z.sum() * 0) / max(
        len(classes), 1
    )


def _jaccard_steps(members: Tensor) -> Tensor:
    """By how much each pixel, worst first, lowers the class IoU (Berman et al. 2018, Eq. 9)."""
    total = members.sum()
    union = total + (1 - members).cumsum(0)
    loss = 1 - (total - members.cumsum(0)) / union
    return loss.diff(prepend=loss.new_zeros(1))


def _cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return -logsigmoid(torch.where(y > 0, z, -z))


def _mean(values: Tensor, seen: Tensor) -> Tensor:
    return values[seen].sum() / seen.sum().clamp(min=1)


def _masked(logits: Tensor, truth: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The three as (n, 1, h, w): float logits, 0 where unseen; float truth; bool validity."""
    seen = torch.ones_like(logits, dtype=torch.bool) if valid is None else valid
    if not logits.shape == truth.shape == seen.shape:
        raise ModelError(
            f"logits {tuple(logits.shape)}, truth {tuple(truth.shape)} and valid "
            f"{tuple(seen.shape)} differ in shape; all are (n, 1, h, w)"
        )
    z = logits if logits.dtype == torch.float64 else logits.float()
    return z.masked_fill(~seen, 0), truth.to(z.dtype).masked_fill(~seen, 0), seen
