"""Dense U-Net, U-Net+++ (also written UNet 3+) and TransUNet: U-Nets that no kept library holds.

All map (n, bands, h, w), h and w multiples of 16, to logits (n, 1, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d


class DenseUNet(nn.Module):
    """Fully dense U-Net (Guan et al. 2020): every level is a dense block that doubles its input.

    Five levels of 64 to 1024 features, four layers a block, growth an eighth of its output.
    """

    def __init__(self, bands: int, width: int = 64, levels: int = 5) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.stem = nn.Conv2d(bands, width // 2, 3, padding=1)
        self.down = nn.ModuleList([_DenseBlock(outputs // 2) for outputs in widths])
        self.rise = nn.ModuleList(
            [nn.ConvTranspose2d(outputs * 2, outputs, 2, stride=2) for outputs in widths[:-1]]
        )
        self.merge = nn.ModuleList([_conv(outputs * 2, outputs // 2, 1) for outputs in widths[:-1]])
        self.up = nn.ModuleList([_DenseBlock(outputs // 2) for outputs in widths[:-1]])
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the image's size."""
        x, skips = self.stem(x), []
        for level, block in enumerate(self.down):
            x = block(max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = torch.cat([skips[level], self.rise[level](x)], dim=1)
            x = self.up[level](self.merge[level](x))
        logits: Tensor = self.head(x)
        return logits


class UNet3Plus(nn.Module):
    """U-Net with full-scale skips (Huang et al. 2020), without its deep supervision.

    Each decoder level takes 64 features from every scale: finer ones max-pooled, coarser ones
    upsampled, where the decoder has been already from its own output.
    """

    def __init__(self, bands: int, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        levels, inputs = len(widths), (bands, *widths[:-1])
        self.down = nn.ModuleList(
            [
                nn.Sequential(_conv(before, after), _conv(after, after))
                for before, after in zip(inputs, widths, strict=True)
            ]
        )
        full = 64 * levels
        self.up = nn.ModuleList(
            [
                _FullScale([*widths[: level + 1], *[full] * (levels - level - 2), widths[-1]])
                for level in range(levels - 1)
            ]
        )
        self.head = nn.Conv2d(full, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the image's size."""
        scales = []
        for level, block in enumerate(self.down):
            x = block(max_pool2d(x, 2) if level else x)
            scales.append(x)
        for level in reversed(range(len(self.up))):
            scales[level] = self.up[level](scales, scales[level].shape[2:])
        logits: Tensor = self.head(scales[0])
        return logits


class TransUNet(nn.Module):
    """R50-ViT-B/16 (Chen et al. 2021): a hybrid of ResNet-50 and a vision transformer, in a U-Net.

    The position embedding is kept for 14 x 14 patches, as published, and resampled to the image.
    """

    def __init__(self, bands: int, width: int = 768, layers: int = 12, heads: int = 12) -> None:
        super().__init__()
        self.encoder = _HybridEncoder(bands, width, layers, heads)
        self.neck = _conv(width, 512, bias=False)
        shapes = ((512 + 512, 256), (256 + 256, 128), (128 + 64, 64), (64, 16))
        self.up = nn.ModuleList(
            [
                nn.Sequential(_conv(before, after, bias=False), _conv(after, after, bias=False))
                for before, after in shapes
            ]
        )
        self.head = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the image's size."""
        half, quarter, eighth, deepest = self.encoder(x)
        x = self.neck(deepest)
        for block, skip in zip(self.up, (eighth, quarter, half, None), strict=True):
            x = interpolate(x, scale_factor=2, mode="bilinear")
            x = block(x if skip is None else torch.cat([x, skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


class _HybridEncoder(nn.Module):
    """Features (64, h/2), (256, h/4), (512, h/8) of the ResNet and (width, h/16) of the ViT."""

    def __init__(self, bands: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _StandardisedConv(bands, 64, 7, stride=2, padding=3, bias=False),
            nn.GroupNorm(32, 64, eps=1e-6),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    _PreNormedBottleneck(before, after, stride),
                    *[_PreNormedBottleneck(after, after, 1) for _ in range(depth - 1)],
                )
                for depth, before, after, stride in (
                    (3, 64, 256, 1),
                    (4, 256, 512, 2),
                    (9, 512, 1024, 2),
                )
            ]
        )
        self.patches = nn.Conv2d(1024, width, 1)
        self.positions = nn.Parameter(torch.zeros(1, width, 14, 14))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.1, "gelu", 1e-6, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(width, eps=1e-6), enable_nested_tensor=False
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        half = self.stem(x)
        quarter = self.stages[0](max_pool2d(half, 3, stride=2, padding=1))
        eighth = self.stages[1](quarter)
        tokens = self.patches(self.stages[2](eighth))
        size = tokens.shape[2:]
        tokens = tokens + interpolate(self.positions, size=size, mode="bilinear")
        seen = self.transformer(tokens.flatten(2).transpose(1, 2))
        return half, quarter, eighth, seen.transpose(1, 2).unflatten(2, size)


class _StandardisedConv(nn.Conv2d):
    """Convolution with weights standardised a filter, as the published ResNetV2 of BiT has it."""

    def forward(self, input: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return conv2d(input, weight, self.bias, self.stride, self.padding)


class _PreNormedBottleneck(nn.Module):
    """ResNetV2 bottleneck with group norms, in the order of the published code."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = outputs // 4
        self.body = nn.Sequential(
            _StandardisedConv(inputs, width, 1, bias=False),
            nn.GroupNorm(32, width, eps=1e-6),
            nn.ReLU(inplace=True),
            _StandardisedConv(width, width, 3, stride, padding=1, bias=False),
            nn.GroupNorm(32, width, eps=1e-6),
            nn.ReLU(inplace=True),
            _StandardisedConv(width, outputs, 1, bias=False),
            nn.GroupNorm(32, outputs, eps=1e-6),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(
                _StandardisedConv(inputs, outputs, 1, stride, bias=False),
                nn.GroupNorm(outputs, outputs),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class _DenseBlock(nn.Module):
    """Four layers, each fed with all before it; c features become 2 c."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        growth = inputs // 4
        self.layers = nn.ModuleList(
            [
                nn.Sequential(_conv(inputs + n * growth, inputs, 1), _conv(inputs, growth))
                for n in range(4)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class _FullScale(nn.Module):
    """64 features from each scale, brought to one size and merged (Huang et al. 2020, Eq. 1)."""

    def __init__(self, sources: list[int]) -> None:
        super().__init__()
        self.skips = nn.ModuleList([_conv(source, 64) for source in sources])
        self.merge = _conv(64 * len(sources), 64 * len(sources))

    def forward(self, scales: list[Tensor], size: torch.Size) -> Tensor:
        parts = [
            skip(_to_size(scale, size)) for skip, scale in zip(self.skips, scales, strict=True)
        ]
        merged: Tensor = self.merge(torch.cat(parts, dim=1))
        return merged


def _to_size(x: Tensor, size: torch.Size) -> Tensor:
    if x.shape[2] > size[0]:
        return max_pool2d(x, x.shape[2] // size[0])
    return x if x.shape[2:] == size else interpolate(x, size=size, mode="bilinear")


def _conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
