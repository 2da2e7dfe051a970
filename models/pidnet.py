"""PIDNet-S (Xu et al. 2023): branches for detail, context and boundaries, named P, I and D there.

Maps (n, bands, h, w), h and w multiples of 32, to logits (n, 1, h / 8, w / 8). The heads that the
paper adds in training are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

WIDTH = 32
POOLED = 96
HEAD = 128


class PIDNet(nn.Module):
    """Detail and boundaries stay at an eighth of the size, context goes down to a 64th."""

    def __init__(self, bands: int, classes: int = 1) -> None:
        super().__init__()
        w = WIDTH
        self.stem = nn.Sequential(
            nn.Conv2d(bands, w, 3, 2, padding=1), nn.BatchNorm2d(w), nn.ReLU(inplace=True),
            nn.Conv2d(w, w, 3, 2, padding=1), nn.BatchNorm2d(w), nn.ReLU(inplace=True),
            _stage(w, w, 2, 1), nn.ReLU(inplace=True), _stage(w, 2 * w, 2, 2),
        )  # fmt: skip
        self.context = nn.ModuleList([_stage(2 * w, 4 * w, 3, 2), _stage(4 * w, 8 * w, 3, 2)])
        self.deepest = nn.Sequential(_Residual(8 * w, 16 * w, 2, 8 * w), _Residual(16 * w, 16 * w))
        self.pool = ParallelPooling(16 * w, 4 * w)
        self.detail = nn.ModuleList(
            [_stage(2 * w, 2 * w, 2, 1), _stage(2 * w, 2 * w, 2, 1), _Residual(2 * w, 4 * w)]
        )
        self.compress = nn.ModuleList([_conv(4 * w, 2 * w, 1), _conv(8 * w, 2 * w, 1)])
        self.guide = nn.ModuleList([Guidance(2 * w), Guidance(2 * w)])
        self.boundary = nn.ModuleList(
            [_basic(2 * w, w, 1), _Residual(w, 2 * w), _Residual(2 * w, 4 * w)]
        )
        self.difference = nn.ModuleList([_conv(4 * w, w, 3), _conv(8 * w, 2 * w, 3)])
        self.blend = BoundaryBlend(4 * w)
        self.head = nn.Sequential(
            _activated(4 * w, HEAD, 3),
            nn.BatchNorm2d(HEAD),
            nn.ReLU(inplace=True),
            nn.Conv2d(HEAD, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits at an eighth of the size."""
        context = relu(self.stem(x))
        size = context.shape[2:]
        detail, boundary = self.detail[0](context), self.boundary[0](context)
        for i in range(2):
            context = relu(self.context[i](context))
            detail = self.guide[i](detail, self.compress[i](context))
            boundary = boundary + _resized(self.difference[i](context), size)
            detail = self.detail[i + 1](relu(detail))
            boundary = self.boundary[i + 1](relu(boundary))
        context = _resized(self.pool(self.deepest(context)), size)
        logits: Tensor = self.head(self.blend(detail, context, boundary))
        return logits


class Guidance(nn.Module):
    """Detail takes over from the context where the two agree (Pag)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_detail, self.of_context = (_conv(width, width // 2, 1) for _ in range(2))

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """The shape of `detail`; `context` has as many channels on a coarser grid."""
        size = detail.shape[2:]
        likeness = self.of_detail(detail) * _resized(self.of_context(context), size)
        trust = torch.sigmoid(likeness.sum(1, keepdim=True))
        return torch.lerp(detail, _resized(context, size), trust)


class ParallelPooling(nn.Module):
    """Context averaged over five neighbourhoods, up to the whole image (PAPPM)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        pools = (
            nn.AvgPool2d(5, 2, padding=2),
            nn.AvgPool2d(9, 4, padding=4),
            nn.AvgPool2d(17, 8, padding=8),
            nn.AdaptiveAvgPool2d(1),
        )
        self.itself = _activated(inputs, POOLED, 1)
        self.wider = nn.ModuleList(
            nn.Sequential(pool, _activated(inputs, POOLED, 1)) for pool in pools
        )
        self.process = _activated(4 * POOLED, 4 * POOLED, 3, groups=4)
        self.compress = _activated(5 * POOLED, outputs, 1)
        self.shortcut = _activated(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h, w)."""
        itself = self.itself(x)
        wider = [_resized(pooled(x), x.shape[2:]) + itself for pooled in self.wider]
        seen = torch.cat([itself, self.process(torch.cat(wider, 1))], 1)
        out: Tensor = self.compress(seen) + self.shortcut(x)
        return out


class BoundaryBlend(nn.Module):
    """Detail along boundaries, context elsewhere (Light-Bag)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_detail, self.of_context = _conv(width, width, 1), _conv(width, width, 1)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        """All three of one shape, as is the result."""
        edge = torch.sigmoid(boundary)
        along: Tensor = self.of_detail(detail + (1 - edge) * context)
        elsewhere: Tensor = self.of_context(context + edge * detail)
        return along + elsewhere


class _Residual(nn.Module):
    """A residual block without activation at its end: a bottleneck, or `body` if one is given."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        width: int = 0,
        body: nn.Sequential | None = None,
    ) -> None:
        super().__init__()
        width = width or outputs // 2
        self.body = body or nn.Sequential(
            _conv(inputs, width, 1), nn.ReLU(inplace=True),
            _conv(width, width, 3, stride), nn.ReLU(inplace=True),
            _conv(width, outputs, 1),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


def _basic(inputs: int, outputs: int, stride: int) -> _Residual:
    body = nn.Sequential(
        _conv(inputs, outputs, 3, stride), nn.ReLU(inplace=True), _conv(outputs, outputs, 3)
    )
    return _Residual(inputs, outputs, stride, body=body)


def _stage(inputs: int, outputs: int, depth: int, stride: int) -> nn.Sequential:
    blocks: list[nn.Module] = [_basic(inputs, outputs, stride)]
    for _ in range(depth - 1):
        blocks += [nn.ReLU(inplace=True), _basic(outputs, outputs, 1)]
    return nn.Sequential(*blocks)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def _activated(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    """Norm and activation before the convolution."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
    )


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return interpolate(x, size=size, mode="bilinear")
