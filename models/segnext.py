"""SegNeXt (Guo et al. 2022): convolutional attention in strips, and a matrix factorised as decoder.

Maps (n, bands, h, w), h and w multiples of 32, to logits (n, 1, h / 8, w / 8).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Widths and depths of the stages, and the width of the decoder.
SIZES = {
    "tiny": ((32, 64, 160, 256), (3, 3, 5, 2), 256),
    "small": ((64, 128, 320, 512), (2, 2, 4, 2), 256),
    "base": ((64, 128, 320, 512), (3, 3, 12, 3), 512),
    "large": ((64, 128, 320, 512), (3, 5, 27, 3), 1024),
}
EXPANSIONS = (8, 8, 4, 4)
STRIPS = (7, 11, 21)
RANK = 64


class SegNeXt(nn.Module):
    """The encoder's last three stages at 1/8, 1/16 and 1/32, decoded together."""

    def __init__(self, bands: int, size: str = "small", classes: int = 1) -> None:
        super().__init__()
        widths, depths, decoder = SIZES[size]
        self.encoder = Encoder(bands, widths, depths)
        self.squeeze = _normed(sum(widths[1:]), decoder)
        self.before = nn.Conv2d(decoder, decoder, 1)
        self.factorise = Factorisation(decoder)
        self.after = nn.Sequential(
            nn.Conv2d(decoder, decoder, 1, bias=False), nn.GroupNorm(32, decoder)
        )
        self.align = _normed(decoder, decoder)
        self.classify = nn.Conv2d(decoder, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at an eighth of the size."""
        _, *features = self.encoder(x)
        size = features[0].shape[2:]
        x = self.squeeze(torch.cat([F.interpolate(f, size, mode="bilinear") for f in features], 1))
        low_rank = self.factorise(F.relu(self.before(x)))
        x = F.relu(x + self.after(low_rank))
        logits: Tensor = self.classify(self.align(x))
        return logits


class Encoder(nn.Module):
    """MSCAN: four stages of blocks at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, bands: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        half = widths[0] // 2
        stem = nn.Sequential(_halved(bands, half), nn.GELU(), _halved(half, widths[0]))
        between = [_halved(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.reductions = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*[Block(width, expansion) for _ in range(depth)])
            for width, depth, expansion in zip(widths, depths, EXPANSIONS, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of an image, finest first."""
        features = []
        for reduce, stage, norm in zip(self.reductions, self.stages, self.norms, strict=True):
            x = norm(stage(reduce(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            features.append(x)
        return features


class Block(nn.Module):
    """Strip attention and a feed-forward network, each scaled a channel and added."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.enter, self.leave = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.attend = StripAttention(width)
        wide = width * expansion
        self.feed = nn.Sequential(
            nn.Conv2d(width, wide, 1),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            nn.GELU(),
            nn.Conv2d(wide, width, 1),
        )
        self.scale1 = nn.Parameter(torch.full((width, 1, 1), 1e-2))
        self.scale2 = nn.Parameter(torch.full((width, 1, 1), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w)."""
        normed = self.norm1(x)
        attended = self.leave(self.attend(F.gelu(self.enter(normed)))) + normed
        x = x + self.scale1 * attended
        out: Tensor = x + self.scale2 * self.feed(self.norm2(x))
        return out


class StripAttention(nn.Module):
    """Depthwise 5x5, strips of 7, 11 and 21 summed, mixed, and multiplied on (Eq. 1-2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.strips = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, (1, k), padding=(0, k // 2), groups=width),
                nn.Conv2d(width, width, (k, 1), padding=(k // 2, 0), groups=width),
            )
            for k in STRIPS
        )
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w)."""
        near = self.near(x)
        seen = near + torch.stack([strip(near) for strip in self.strips]).sum(0)
        out: Tensor = self.mix(seen) * x
        return out


class Factorisation(nn.Module):
    """Non-negative features as bases times coefficients of rank 64 (Geng et al. 2021).

    Multiplicative updates from fixed bases, so that an image is scored the same each time; no
    gradient flows but through the last coefficients, as they publish it.
    """

    def __init__(self, width: int, rounds: int = 6) -> None:
        super().__init__()
        self.rounds = rounds
        dice = torch.Generator().manual_seed(0)
        bases = torch.rand(width, RANK, generator=dice, device="cpu")
        self.register_buffer("bases", F.normalize(bases, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w), not negative, to its approximation of the same shape."""
        flat = x.flatten(2)
        with torch.no_grad():
            bases = torch.as_tensor(self.bases).expand(len(x), -1, -1)
            coefficients = torch.softmax(flat.transpose(1, 2) @ bases, dim=2)
            for _ in range(self.rounds):
                coefficients = _update(flat.transpose(1, 2), coefficients, bases)
                bases = _update(flat, bases, coefficients)
        coefficients = _update(flat.transpose(1, 2), coefficients, bases)
        return (bases @ coefficients.transpose(1, 2)).view(x.shape)


def _update(target: Tensor, factor: Tensor, other: Tensor) -> Tensor:
    """One multiplicative step of `factor` so that factor @ other.T comes closer to `target`."""
    return factor * (target @ other) / (factor @ (other.transpose(1, 2) @ other) + 1e-6)


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, padding=1), nn.BatchNorm2d(outputs))


def _normed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.GroupNorm(32, outputs), nn.ReLU(inplace=True)
    )
