"""FCN, CCNet, DANet and GCNet on a dilated ResNet: baselines that no kept library holds.

All map (n, bands, h, w) to logits (n, 1, h / 8, w / 8); `models.baselines` enlarges them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, softmax


class ResNet(nn.Module):
    """ResNet (He et al. 2016) without its classifier, dilated to an output stride of 8.

    Maps (n, bands, h, w) to (n, 2048, h / 8, w / 8). Depths (3, 4, 6, 3) make ResNet-50, and
    (3, 4, 23, 3) ResNet-101. With `context`, each block from the second stage on sees the whole
    image before its shortcut is added.
    """

    def __init__(
        self,
        bands: int,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        context: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks, inputs = [], 64
        shapes = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
        for depth, (width, stride, dilation) in zip(depths, shapes, strict=True):
            for index in range(depth):
                block = _Bottleneck(inputs, width, 1 if index else stride, dilation)
                inputs = width * 4
                if context and width > 64:
                    block.body.append(GlobalContext(inputs))
                blocks.append(block)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Features of an image."""
        features: Tensor = self.blocks(self.stem(x))
        return features


class FCN(nn.Module):
    """Fully convolutional network (Long et al. 2015) with its head on ResNet-50."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.encoder = ResNet(bands)
        self.head = nn.Sequential(_conv(2048, 512), nn.Dropout(0.1), nn.Conv2d(512, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at an eighth of the size."""
        logits: Tensor = self.head(self.encoder(x))
        return logits


class CCNet(nn.Module):
    """Criss-cross attention, twice, so that every pixel sees all others (Huang et al. 2019)."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.encoder = ResNet(bands)
        self.reduce = _conv(2048, 512)
        self.attention = CrissCrossAttention(512)
        self.expand = _conv(512, 512)
        self.head = nn.Sequential(_conv(2048 + 512, 512), nn.Dropout(0.1), nn.Conv2d(512, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at an eighth of the size."""
        features = self.encoder(x)
        context = self.attention(self.attention(self.reduce(features)))
        logits: Tensor = self.head(torch.cat([features, self.expand(context)], dim=1))
        return logits


class DANet(nn.Module):
    """Dual attention over positions and over channels, summed (Fu et al. 2019)."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.encoder = ResNet(bands)
        self.position = nn.Sequential(_conv(2048, 512), PositionAttention(512), _conv(512, 512))
        self.channel = nn.Sequential(_conv(2048, 512), ChannelAttention(), _conv(512, 512))
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(512, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at an eighth of the size."""
        features = self.encoder(x)
        logits: Tensor = self.head(self.position(features) + self.channel(features))
        return logits


class GCNet(nn.Module):
    """Global context blocks throughout ResNet-50 (Cao et al. 2019), with the head of FCN."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.encoder = ResNet(bands, context=True)
        self.head = nn.Sequential(_conv(2048, 512), nn.Dropout(0.1), nn.Conv2d(512, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at an eighth of the size."""
        logits: Tensor = self.head(self.encoder(x))
        return logits


class GlobalContext(nn.Module):
    """One weighted mean of all pixels, transformed and added to each (Cao et al. 2019)."""

    def __init__(self, width: int, ratio: int = 16) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(width, 1, 1, bias=False)  # the softmax would cancel a bias
        self.transform = nn.Sequential(
            nn.Linear(width, width // ratio),
            nn.LayerNorm(width // ratio),
            nn.ReLU(inplace=True),
            nn.Linear(width // ratio, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w), the context added."""
        weight = softmax(self.weigh(x).flatten(1), dim=1)
        context: Tensor = self.transform(torch.einsum("ncp,np->nc", x.flatten(2), weight))
        return x + context[:, :, None, None]


class CrissCrossAttention(nn.Module):
    """Each pixel attends to its own row and column (Huang et al. 2019, Eq. 1-2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(width, width // 8, 1), nn.Conv2d(width, width // 8, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w), the attended values added."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        height = x.shape[2]
        itself = torch.eye(height, dtype=torch.bool, device=x.device)[:, None, :]
        # the pixel itself lies on both arms of its cross and must count once
        column = torch.einsum("nchw,ncgw->nhwg", query, key).masked_fill(itself, -torch.inf)
        row = torch.einsum("nchw,nchv->nhwv", query, key)
        weight = softmax(torch.cat([column, row], dim=3), dim=3)
        seen = torch.einsum("nhwg,ncgw->nchw", weight[..., :height], value)
        seen = seen + torch.einsum("nhwv,nchv->nchw", weight[..., height:], value)
        return x + self.gain * seen


class PositionAttention(nn.Module):
    """Each pixel attends to all pixels (Fu et al. 2019, Eq. 1-2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(width, width // 8, 1), nn.Conv2d(width, width // 8, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w), the attended values added."""
        query, key, value = (
            project(x).flatten(2).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        seen = scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gain * seen.transpose(1, 2).reshape(x.shape)


class ChannelAttention(nn.Module):
    """Each channel attends to the channels least like it (Fu et al. 2019, Eq. 3-4, their code)."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w), the attended values added."""
        flat = x.flatten(2)
        likeness = flat @ flat.transpose(1, 2)
        weight = softmax(likeness.amax(dim=2, keepdim=True) - likeness, dim=2)
        return x + self.gain * (weight @ flat).view(x.shape)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * 4
        self.body = nn.Sequential(
            _conv(inputs, width, 1),
            _conv(width, width, 3, stride, dilation),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride,
            padding=kernel // 2 * dilation,
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
