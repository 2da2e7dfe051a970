"""What every network does to its input before it looks at it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.errors import ModelError


def prepare(
    x: Tensor, valid: Tensor | None, bands: int, multiple: int
) -> tuple[Tensor, Tensor | None]:
    """Check a batch of tiles, zero what is invalid, and fill up to a multiple with invalid pixels.

    Args:
        x: standardised pixels (n, bands, h, w), floating; anything where invalid.
        valid: bool (n, 1, h, w), False where nobody looked, or None where every pixel is valid.
        bands: how many bands the network was built for.
        multiple: what height and width must be multiples of; filled to the right and below.

    Returns:
        The tiles, and their validity, which stays None when nothing was filled up either.

    Raises:
        ModelError: the tiles are empty, have other bands, do not fit `valid`, are integers or
            float16 on a CPU, or hold NaN or infinity in a valid pixel.
    """
    if x.ndim != 4 or 0 in x.shape or x.shape[1] != bands:
        raise ModelError(f"tiles are {tuple(x.shape)}; give (n, {bands}, h, w), none of them 0")
    if not x.is_floating_point():
        raise ModelError(f"tiles are {x.dtype}; give standardised pixels as float32")
    if x.dtype == torch.float16 and x.device.type == "cpu":
        raise ModelError("tiles are float16 on a CPU, which overflows; convert them to float32")
    if valid is not None:
        wanted = (x.shape[0], 1, *x.shape[2:])
        if valid.dtype != torch.bool or valid.shape != wanted:
            raise ModelError(f"valid must be bool {wanted}, not {valid.dtype} {tuple(valid.shape)}")
        x = x.masked_fill(~valid, 0)
    if not x.is_meta and not x.isfinite().all():
        raise ModelError("tiles hold NaN or infinity in valid pixels; pass `valid` without them")
    margin = (0, -x.shape[3] % multiple, 0, -x.shape[2] % multiple)
    if not any(margin):
        return x, valid
    seen = torch.ones_like(x[:, :1], dtype=torch.bool) if valid is None else valid
    return pad(x, margin), pad(seen, margin)
