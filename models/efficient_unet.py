"""A U-Net whose encoder has learnt to tell apart the photographs of ImageNet.

It is there to teach: its encoder brings what a thousand tiles of landslides cannot, and a compact
LDM-Net learns from its scores (Hinton et al. 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models.photographs import SCALE, SHIFT, WIDTHS, PhotographEncoder

_DECODER = (96, 64, 48, 32, 16)


class EfficientUNet(nn.Module):
    """Tiles (n, bands, h, w), sides multiples of 32, to logits (n, 1, h, w) at full resolution.

    Args:
        bands: of the tiles.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.encoder = PhotographEncoder(bands)
        ups = zip((WIDTHS[4], *_DECODER), (*WIDTHS[3::-1], bands), _DECODER, strict=False)
        self.ups = nn.ModuleList(Up(*widths) for widths in ups)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(_DECODER[-1], 1, 1)
        self.classify.bias = nn.Parameter(torch.full((1,), -2.0))  # landslides are rare

    def forward(self, x: Tensor) -> Tensor:
        """Standardised pixels to logits."""
        # a third faster on a processor
        x = (x * SCALE + SHIFT).contiguous(memory_format=torch.channels_last)
        *skips, y = self.encoder(x)
        for up, skip in zip(self.ups, (*skips[::-1], x), strict=True):
            y = up(y, skip)
        logits: Tensor = self.classify(self.dropout(y))
        return logits


class Up(nn.Module):
    """Upsample to a finer map, lay it beside, and convolve twice."""

    def __init__(self, below: int, beside: int, out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (below + beside, out):
            layers += [
                nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
            ]  # fmt: skip
        self.convolve = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(n, below, h, w) and (n, beside, 2 h, 2 w) to (n, out, 2 h, 2 w)."""
        x = interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        out: Tensor = self.convolve(torch.cat([x, skip], 1))
        return out
