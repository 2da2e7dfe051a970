"""A U-Net whose encoder, EfficientNet-Lite0, has learnt to tell apart the photographs of ImageNet.

Its encoder brings what a thousand tiles of landslides cannot: a compact LDM-Net learns from its
scores (Hinton et al. 2015), or is asked beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import interpolate

_NAME = "efficientnet-lite0"
_WIDTHS = (16, 24, 40, 112, 320)
_DECODER = (96, 64, 48, 32, 16)
# Standardised pixels to what the encoder was trained on, pixels / 127.5 - 1 of photographs, whose
# mean is -0.08 and whose deviation 0.45.
_SCALE, _SHIFT = 0.45, -0.08


class EfficientUNet(nn.Module):
    """Tiles (n, bands, h, w), sides multiples of 32, to logits (n, 1, h, w) at full resolution.

    Args:
        bands: of the tiles; three if photographs are to be known.
        photographs: file of the encoder's weights; None begins with random ones.
    """

    def __init__(self, bands: int, photographs: str | None = None) -> None:
        super().__init__()
        network = EfficientNet.from_name(_NAME, in_channels=bands)
        if photographs:
            state = torch.load(photographs, weights_only=True, map_location="cpu")
            network.load_state_dict(state, assign=True)
        self.encoder = Encoder(network)
        ups = zip((_WIDTHS[4], *_DECODER), (*_WIDTHS[3::-1], bands), _DECODER, strict=False)
        self.ups = nn.ModuleList(Up(*widths) for widths in ups)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(_DECODER[-1], 1, 1)
        self.classify.bias = nn.Parameter(torch.full((1,), -2.0))  # landslides are rare

    def forward(self, x: Tensor) -> Tensor:
        """Standardised pixels to logits."""
        # a third faster on a processor
        x = (x * _SCALE + _SHIFT).contiguous(memory_format=torch.channels_last)
        *skips, y = self.encoder(x)
        for up, skip in zip(self.ups, (*skips[::-1], x), strict=True):
            y = up(y, skip)
        logits: Tensor = self.classify(self.dropout(y))
        return logits


class Encoder(nn.Module):
    """The library's network without what classifies: maps at 1/2, 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem, self.norm, self.activate = network._conv_stem, network._bn0, network._swish
        self.blocks = network._blocks
        self.drop = network._global_params.drop_connect_rate or 0.0

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, bands, h, w) to five maps, finest first."""
        x = self.activate(self.norm(self.stem(x)))
        maps: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            y = block(x, drop_connect_rate=self.drop * number / len(self.blocks))
            if y.shape[-1] < x.shape[-1]:
                maps.append(x)
            x = y
        return [*maps, x]


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
