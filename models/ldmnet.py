"""LDM-Net: global landslide mapping with visual state spaces.

An encoder of four stages of G_VSS blocks at 1/4, 1/8, 1/16 and 1/32 of the input, and a light
all-MLP head. Equation numbers are the paper's. What the paper leaves open was settled by its own
figures: the encoder below has exactly its 55.7 M parameters and 19.0 GMAC at 512×512. Its three
figures for the head exclude each other (0.5 M parameters in the text, 3.2 M in Table 4, 194.3 GMAC
at 1600×1600): widths 256, 768 and 96 give one of them each, and 256 is the default.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import ModelError
from models.tiles import prepare
from models.vss import SS2D, Norm

STRIDE = 32
_EPSILON = 1e-6
_TINY = 1e-24


@dataclass(frozen=True)
class Options:
    """What distinguishes one LDM-Net from another; stored on the card of its weights.

    Attributes:
        bands: input bands.
        width: C, channels of the first stage; each stage doubles it.
        depths: blocks in each stage.
        n_states: N, state size of the scan.
        embedding: width of the head.
        ffn: `global` for G_FFN, `mlp` for VMamba's (ratio 4), the paper's ablation.
        tile_invariant_gate: pool by root mean square instead of the L2 norm of eq. 1, which grows
            with the tile; weights trained with one form do not work with the other.
        drop_path: probability of skipping the last block; the others' rise to it linearly.
        dropout: in G_FFN and the head.
        magnify: how many times larger than it is given the network looks at a tile. It decides at a
            quarter of what it sees, and a landslide is often but a few pixels wide.
    """

    bands: int = 3
    width: int = 96
    depths: tuple[int, int, int, int] = (2, 2, 15, 2)
    n_states: int = 16
    embedding: int = 256
    ffn: Literal["global", "mlp"] = "global"
    tile_invariant_gate: bool = False
    drop_path: float = 0.0
    dropout: float = 0.0
    magnify: int = 1

    def __post_init__(self) -> None:
        sizes = (self.bands, self.width, *self.depths, self.n_states, self.embedding, self.magnify)
        if len(self.depths) != 4 or min(sizes) < 1 or self.width % 2:
            raise ModelError(
                f"LDM-Net: sizes must be positive, width even, depths four; got {self}"
            )
        if self.ffn not in ("global", "mlp"):
            raise ModelError(f"LDM-Net: ffn is 'global' or 'mlp', not {self.ffn!r}")


CONFIGURATIONS: dict[str, Options] = {
    "full": Options(),
    "small": Options(width=64, depths=(2, 2, 9, 2), embedding=128),
    "tiny": Options(
        width=24, depths=(2, 2, 5, 2), n_states=8, embedding=64, tile_invariant_gate=True
    ),
    "compact": Options(
        width=16, depths=(1, 1, 2, 1), n_states=4, embedding=32, tile_invariant_gate=True
    ),
}


def ldmnet(configuration: str = "full", **changes: Any) -> LDMNet:
    """An LDM-Net by the name of its configuration, with options changed by keyword.

    Raises:
        ModelError: the configuration or an option does not exist.
    """
    if configuration not in CONFIGURATIONS:
        raise ModelError(
            f"no LDM-Net configuration {configuration!r}; use one of {', '.join(CONFIGURATIONS)}"
        )
    options = [option.name for option in fields(Options)]
    for name in changes:
        if name not in options:
            raise ModelError(
                f"LDM-Net {configuration} has no option {name!r}; there are {', '.join(options)}"
            )
    try:
        return LDMNet(replace(CONFIGURATIONS[configuration], **changes))
    except TypeError as error:
        raise ModelError(f"LDM-Net {configuration}: {error}") from error


class LDMNet(nn.Module):
    """Landslide logits for every pixel of a tile of any size."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.encoder = Encoder(options)
        self.head = SegHead(self.encoder.widths, options.embedding, options.dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Score a batch of tiles.

        Args:
            x: normalised pixels (n, bands, h, w), float32; anything where invalid.
            valid: bool (n, 1, h, w), False where nobody looked; None where every pixel is valid.

        Returns:
            Logits (n, 1, h, w). Those of invalid pixels mean nothing.

        Raises:
            ModelError: the tile is empty, has other bands, or a valid pixel is not finite.
        """
        height, width = x.shape[-2:]
        times = self.options.magnify
        x, valid = prepare(x, valid, self.options.bands, STRIDE // math.gcd(STRIDE, times))
        size = x.shape[-2:]
        x, valid = _magnified(x, valid, times)
        masks = _pyramid(valid)
        logits = self.head(self.encoder(x, masks), masks)
        logits = _upsample(logits, size, masks[1] if masks else None)
        return logits[..., :height, :width]

    @property
    def description(self) -> dict[str, Any]:
        """The options as JSON holds them, for a card."""
        return {**asdict(self.options), "depths": list(self.options.depths)}


class Encoder(nn.Module):
    """Patch embedding and four stages of blocks; each stage's output is normalised."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.widths = [options.width * 2**i for i in range(4)]
        self.stem = Stem(options.bands, options.width)
        rates = iter(np.linspace(0, options.drop_path, sum(options.depths)).tolist())
        self.stages = nn.ModuleList(
            nn.ModuleList(GVSS(width, options, next(rates)) for _ in range(depth))
            for width, depth in zip(self.widths, options.depths, strict=True)
        )
        self.downsamplings = nn.ModuleList(Downsampling(width) for width in self.widths[:3])
        self.norms = nn.ModuleList(Norm(width) for width in self.widths)

    def forward(self, x: Tensor, masks: list[Tensor]) -> list[Tensor]:
        """(n, bands, h, w) to four maps (n, h/s, w/s, width), s = 4, 8, 16, 32."""
        outputs = []
        x = self.stem(x, masks)
        for i, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            valid = masks[i + 1] if masks else None
            for block in cast(nn.ModuleList, stage):
                x = block(x, valid)
            outputs.append(norm(x))
            if i < 3:
                x = self.downsamplings[i](x, valid)
        return outputs


class GVSS(nn.Module):
    """Global Vision State Space block: x += SS2D(LN(x)), then x += G_FFN(LN(x))."""

    def __init__(self, channels: int, options: Options, drop_path: float) -> None:
        super().__init__()
        self.norm1 = Norm(channels)
        self.mixer = SS2D(channels, options.n_states)
        self.norm2 = Norm(channels)
        self.ffn = (
            GFFN(channels, options.tile_invariant_gate, options.dropout)
            if options.ffn == "global"
            else MLP(channels)
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(n, h, w, C) to the same shape."""
        x = x + self.drop_path(self.mixer(self.norm1(x), valid))
        out: Tensor = x + self.drop_path(self.ffn(self.norm2(x), valid))
        return out


class GFFN(nn.Module):
    """Global feed-forward network, eq. 1-4; the gate is computed on the pooled descriptor.

    Read literally, eq. 3 applies its two convolutions to every pixel; that cannot give both the
    paper's parameters and its FLOPs. The linear layer C→C after the gate is inferred as well.
    """

    def __init__(self, channels: int, tile_invariant: bool, dropout: float) -> None:
        super().__init__()
        self.tile_invariant = tile_invariant
        self.c2 = nn.Linear(channels, 4 * channels)
        self.c1 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.linear = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(n, h, w, C) to the same shape; invalid pixels are not pooled."""
        g = self.pool(x, valid)  # eq. 1
        normalised = g / (g.sum(-1, keepdim=True) + _EPSILON)  # eq. 2
        gate = self.c1(F.relu(self.c2(g * normalised)))[:, None, None]  # eq. 3
        # eq. 4, γ (x ⊙ F) + β + x, as one multiplication and one addition per pixel
        calibrated = torch.addcmul(self.beta, x, self.gamma * gate + 1)
        out: Tensor = self.dropout(self.linear(calibrated))
        return out

    def pool(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """L2 norm of each channel over the valid pixels, or its root mean square: (n, C)."""
        pixels = x.flatten(1, 2).float()
        if valid is not None:
            pixels = pixels * valid.flatten(1, 2)
        # torch's own norm takes four times as long along dim 1; the slope of a root is infinite at
        # 0, which a tile without a valid pixel gives
        g = pixels.square().sum(1).clamp_min(_TINY).sqrt()
        if not self.tile_invariant:
            return g
        if valid is None:
            return g / math.sqrt(pixels.shape[1])
        return g / valid.sum((1, 2)).clamp_min(1).to(g).sqrt()


class MLP(nn.Module):
    """VMamba's feed-forward network, the ablation of Table 2: C → 4C → GELU → C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(n, h, w, C) to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Stem(nn.Module):
    """Overlapping patch embedding to 1/4: two 3×3 convolutions of stride 2, normalised."""

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(bands, channels // 2, 3, 2, 1)
        self.norm1 = Norm(channels // 2)
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, 2, 1)
        self.norm2 = Norm(channels)

    def forward(self, x: Tensor, masks: list[Tensor]) -> Tensor:
        """(n, bands, h, w) to (n, h/4, w/4, C)."""
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.gelu(self.norm1(self.conv1(x).permute(0, 2, 3, 1)))
        if masks:
            x = x * masks[0]
        out: Tensor = self.norm2(self.conv2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out


class Downsampling(nn.Module):
    """3×3 convolution of stride 2 that doubles the channels, normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
        self.norm = Norm(2 * channels)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(n, h, w, C) to (n, h/2, w/2, 2C)."""
        if valid is not None:
            x = x * valid
        out: Tensor = self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out


class SegHead(nn.Module):
    """SegFormer's all-MLP decoder (Xie et al. 2021): project, upsample to 1/4, fuse, classify."""

    def __init__(self, widths: list[int], embedding: int, dropout: float) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(width, embedding) for width in widths)
        self.fuse = nn.Conv2d(4 * embedding, embedding, 1, bias=False)
        self.norm = nn.BatchNorm2d(embedding)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(embedding, 1, 1)

    def forward(self, features: list[Tensor], masks: list[Tensor]) -> Tensor:
        """Four maps (n, h/s, w/s, width) to logits (n, 1, h/4, w/4)."""
        if not (self.training or torch.is_grad_enabled()):
            return self._infer(features, masks)
        size = features[0].shape[1:3]
        maps = []
        for i, (feature, project) in enumerate(zip(features, self.projections, strict=True)):
            valid = masks[i + 1] if masks else None
            maps.append(_upsample(project(feature).permute(0, 3, 1, 2), size, valid))
        x = F.relu(self.norm(self.fuse(torch.cat(maps, 1))))
        out: Tensor = self.classify(self.dropout(x))
        return out

    def _infer(self, features: list[Tensor], masks: list[Tensor]) -> Tensor:
        """The same, each map projected, fused and normalised in one product at its own size.

        All three are linear and upsampling is too, so they change places: nothing of the four
        upsampled maps' size is laid out beside their sum.
        """
        size = features[0].shape[1:3]
        mean, variance = cast(Tensor, self.norm.running_mean), cast(Tensor, self.norm.running_var)
        scale = self.norm.weight / (variance + self.norm.eps).sqrt()
        x = self.norm.bias - scale * mean
        slices = self.fuse.weight.flatten(1).chunk(len(features), 1)
        for i, (feature, project, fuse) in enumerate(
            zip(features, cast(list[nn.Linear], self.projections), slices, strict=True)
        ):
            fused = scale[:, None] * fuse
            level = F.linear(feature, fused @ project.weight, fused @ project.bias)
            valid = masks[i + 1] if masks else None
            x = _upsample(level.permute(0, 3, 1, 2), size, valid).permute(0, 2, 3, 1).add_(x)
        out: Tensor = self.classify(x.relu_().permute(0, 3, 1, 2))
        return out


class DropPath(nn.Module):
    """Skip a residual branch for whole samples while training (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) to the same shape; expectation kept."""
        if not (self.training and self.probability):
            return x
        keep = 1 - self.probability
        kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep)
        return x * kept / keep


def _magnified(x: Tensor, valid: Tensor | None, times: int) -> tuple[Tensor, Tensor | None]:
    """Tiles and their validity with sides `times` as long; what is invalid lends nothing."""
    if times == 1:
        return x, valid
    size = x.shape[-2] * times, x.shape[-1] * times
    if valid is None:
        return _bilinear(x, size), None
    seen = F.interpolate(valid.to(x.dtype), size=size, mode="nearest") > 0
    return _upsample(x, size, valid.permute(0, 2, 3, 1)) * seen, seen


def _pyramid(valid: Tensor | None) -> list[Tensor]:
    """Validity at 1/2, 1/4 … 1/32, bool (n, h/s, w/s, 1): True where any pixel below is."""
    if valid is None or bool(valid.all()):
        return []
    masks, level = [], valid.float()
    for _ in range(5):
        level = F.max_pool2d(level, 2)
        masks.append(level.permute(0, 2, 3, 1).bool())
    return masks


def _upsample(x: Tensor, size: torch.Size | tuple[int, int], valid: Tensor | None) -> Tensor:
    """Bilinear, weighted by validity: invalid pixels lend nothing to their neighbours."""
    if valid is None:
        return _bilinear(x, size)
    weight = valid.permute(0, 3, 1, 2).to(x.dtype)
    return _bilinear(x * weight, size) / _bilinear(weight, size).clamp_min(_EPSILON)


def _bilinear(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
