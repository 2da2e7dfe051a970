"""SCGC-Net: spatial context guided calibration for landslide segmentation.

Reads as the paper: hybrid multi-scale information extraction (HMIE, Eq. 3-12), context-aware
modulator (CAM, Eq. 13-17), progressive calibration (PSCCS, Eq. 18-20). The paper gives neither
widths nor depths; what is inferred here meets its 3066 G at 2048 x 2048 with the preset `paper`.

Where the paper's text contradicts itself, the code follows its sense: Eq. 6 needs a projection on
the shortcut where shapes change; Eq. 8 nests Eq. 9, whose projection, depthwise convolution and
norm are applied once; Eq. 18 gives two channels, one offset an axis; in line 2 of Eq. 19 it is F_i
that is warped; of the identical rows B6 and B7 of Table III the dilations are those of B6.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, grid_sample, interpolate, max_pool2d, silu

from models.errors import ModelError
from models.tiles import prepare
from models.vss import SS2D


@dataclass(frozen=True)
class Preset:
    """Features at 1/4, 1/8, 1/16 and 1/32, of the decoder, and whether SCFE splits its channels."""

    widths: tuple[int, int, int, int]
    decoder: int
    split: bool = False


PRESETS = {
    "lite": Preset((64, 128, 256, 512), 128),
    "base": Preset((256, 512, 512, 512), 128),
    "paper": Preset((256, 512, 1024, 2048), 288, split=True),
}
DILATIONS = (((2, 2, 2), (3, 3, 3)), ((3, 3, 3), (5, 5, 5)))


class SCGCNet(nn.Module):
    """The whole network: HMIE, a lateral and a CAM at each scale, three calibration units, head.

    Args:
        bands: bands of the image.
        preset: `lite` (30.0 M), `base` (49.5 M) or `paper` (151.8 M parameters).
        query: multiply the modulator with the query, as FocalNet does and Eq. 17 leaves out.
        global_level: give CAM the mean over the image as a further level, as FocalNet does and
            Eq. 16 leaves out; then the answer depends on the size of the window.

    Raises:
        ModelError: there is no such preset.
    """

    def __init__(
        self, bands: int = 3, preset: str = "base", query: bool = True, global_level: bool = False
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ModelError(f"SCGC-Net has no preset {preset!r}; choose from {', '.join(PRESETS)}")
        shape = PRESETS[preset]
        self.bands = bands
        self.encoder = HMIE(bands, shape)
        self.laterals = nn.ModuleList(
            [nn.Conv2d(width, shape.decoder, 1) for width in shape.widths]
        )
        self.modulators = nn.ModuleList(
            [CAM(shape.decoder, query, global_level) for _ in shape.widths]
        )
        self.calibrations = nn.ModuleList([CalibrationUnit(shape.decoder) for _ in range(3)])
        self.head = nn.Sequential(
            _conv(shape.decoder, shape.decoder, act=nn.SiLU()), nn.Conv2d(shape.decoder, 1, 1)
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Score a batch of tiles.

        Args:
            x: standardised pixels (n, bands, h, w), float32, any h and w.
            valid: bool (n, 1, h, w), None where all is valid. Invalid pixels are read as 0 and
                write nothing into the scans; convolutions do see what lies beyond the border.

        Returns:
            Logits (n, 1, h, w). Those of invalid pixels mean nothing.

        Raises:
            ModelError: the tiles cannot be used; see `tiles.prepare`.
        """
        height, width = x.shape[-2:]
        x, valid = prepare(x, valid, self.bands, 32)
        *scales, calibrated = [
            modulate(lateral(features), _shrink(valid, features))
            for modulate, lateral, features in zip(
                self.modulators, self.laterals, self.encoder(x, valid), strict=True
            )
        ]
        for calibrate, finer in zip(self.calibrations, reversed(scales), strict=True):  # Eq. 20
            calibrated = calibrate(calibrated, finer)
        logits = interpolate(self.head(calibrated), size=x.shape[2:], mode="bilinear")
        return logits[:, :, :height, :width]


class HMIE(nn.Module):
    """Stem, residual blocks at 1/4 and 1/8, spatial-context blocks at 1/16 and 1/32."""

    def __init__(self, bands: int, shape: Preset) -> None:
        super().__init__()
        fine, middle, *coarse = shape.widths
        self.stem = nn.Sequential(
            _conv(bands, 64, stride=2), _conv(64, 64), _conv(64, 64, stride=2)
        )
        self.residual = nn.ModuleList(
            [
                nn.Sequential(Bottleneck(64, fine), *[Bottleneck(fine, fine) for _ in range(2)]),
                nn.Sequential(
                    Bottleneck(fine, middle, stride=2),
                    *[Bottleneck(middle, middle) for _ in range(3)],
                ),
            ]
        )
        self.down = nn.ModuleList(
            [_conv(*widths, stride=2) for widths in pairwise((middle, *coarse))]
        )
        self.scfe = nn.ModuleList(
            [
                SCFE(width, rates, shape.split)
                for width, dilations in zip(coarse, DILATIONS, strict=True)
                for rates in dilations
            ]
        )

    def forward(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        """Features (n, width, h/s, w/s) for s = 4, 8, 16, 32."""
        x = self.stem(x)
        scales = []
        for blocks in self.residual:
            x = blocks(x)
            scales.append(x)
        for level, down in enumerate(self.down):
            x = down(x)
            seen = _shrink(valid, x)
            for block in self.scfe[2 * level : 2 * level + 2]:
                x = block(x, seen)
            scales.append(x)
        return scales


class Bottleneck(nn.Module):
    """ResNet-50's bottleneck with GELU (Eq. 3-6), its shortcut projected if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        width = outputs // 4
        self.body = nn.Sequential(
            _conv(inputs, width, 1),
            _conv(width, width, stride=stride),
            _conv(width, outputs, 1, act=nn.Identity()),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else _conv(inputs, outputs, 1, stride=stride, act=nn.Identity())
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        return gelu(self.body(x) + self.shortcut(x))


class SCFE(nn.Module):
    """Spatial-context feature extractor: a context branch and a spatial branch (Fig. 1b).

    How the two meet is inferred. Without `split` both see all channels and are added; with it each
    sees half of them, and a 1x1 convolution mixes the halves.
    """

    def __init__(self, width: int, rates: tuple[int, int, int], split: bool) -> None:
        super().__init__()
        branch = width // 2 if split else width
        self.norm = nn.LayerNorm(branch)
        self.context = GatedSS2D(branch)
        self.spatial = MSLE(branch, rates)
        self.mix = nn.Conv2d(width, width, 1) if split else None

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Same shape (n, c, h, w); `valid` is bool (n, 1, h, w) or None."""
        if self.mix is None:
            added: Tensor = self._context(x, valid) + self.spatial(x)
            return added
        first, second = x.chunk(2, dim=1)
        halves = [first + self._context(first, valid), self.spatial(second)]
        mixed: Tensor = self.mix(torch.cat(halves, dim=1))
        return mixed

    def _context(self, x: Tensor, valid: Tensor | None) -> Tensor:
        seen = None if valid is None else valid.permute(0, 2, 3, 1)
        mixed: Tensor = self.context(self.norm(x.permute(0, 2, 3, 1)), seen).permute(0, 3, 1, 2)
        return mixed


class GatedSS2D(SS2D):
    """SS2D whose normed output is multiplied with SiLU(Linear(x)) (Eq. 7-10)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gate = nn.Linear(channels, self.in_proj.out_features, bias=False)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mix (n, h, w, channels) over all pixels; `valid` is bool (n, h, w, 1) or None."""
        path = self.in_proj(x)
        if valid is not None:
            path = path * valid
        path = silu(self.conv(path.permute(0, 3, 1, 2))).permute(0, 2, 3, 1).contiguous()
        mixed: Tensor = self.out_proj(self.out_norm(self.scan(path, valid)) * silu(self.gate(x)))
        return mixed


class MSLE(nn.Module):
    """Multi-scale local enhancement: three dilated convolutions, compressed, plus x (Eq. 11-12)."""

    def __init__(self, width: int, rates: tuple[int, int, int]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList([_conv(width, width, dilation=rate) for rate in rates])
        self.compress = _conv(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape (n, c, h, w)."""
        compressed: Tensor = self.compress(torch.cat([conv(x) for conv in self.dilated], dim=1))
        return compressed + x


class CAM(nn.Module):
    """Context-aware modulator (Eq. 13-17), after focal modulation (Yang et al. 2022)."""

    def __init__(self, width: int, query: bool = True, global_level: bool = False) -> None:
        super().__init__()
        kernels = (5, 7, 9)  # Eq. 14: from 5 up by 2; Eq. 15: a reach of 19 pixels
        self.width, self.query, self.global_level = width, query, global_level
        self.levels = len(kernels) + global_level
        self.project = nn.Conv2d(width, width * (1 + query) + self.levels, 1)
        self.context = nn.ModuleList(
            [
                nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
                for kernel in kernels
            ]
        )
        self.mix = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, width, 1) if query else nn.Identity()

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Same shape (n, width, h, w); the global level averages `valid`, bool (n, 1, h, w)."""
        gates, z, *query = self.project(x).split([self.levels, *[self.width] * (1 + self.query)], 1)
        total = torch.zeros_like(z)
        for level, convolve in enumerate(self.context):
            z = silu(convolve(z))
            total = total + gates[:, level : level + 1] * z
        if self.global_level:
            total = total + gates[:, -1:] * _mean(z, valid)
        modulator = self.mix(total)
        refined: Tensor = self.out(modulator * query[0] if self.query else modulator)
        return refined


class CalibrationUnit(nn.Module):
    """Aligns two neighbouring scales by learned offsets, both ways, and adds them (Eq. 18-19)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = OffsetBranch(width), OffsetBranch(width)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Calibrated sum (n, c, h, w) of `fine` (n, c, h, w) and `coarse` (n, c, h / 2, w / 2)."""
        coarse = interpolate(coarse, size=fine.shape[2:], mode="bilinear")
        both = torch.cat([coarse, fine], dim=1)
        towards_coarse = warp(fine, self.up(both)) + coarse
        towards_fine = warp(coarse, self.down(both)) + fine
        return towards_coarse + towards_fine


class OffsetBranch(nn.Module):
    """A residual block (Fig. 4b) that ends in offsets (n, 2, h, w) in pixels, at first all 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(2 * width, width, act=nn.SiLU()), _conv(width, width, act=nn.SiLU())
        )
        self.shortcut = nn.Conv2d(2 * width, width, 1)
        self.offset = nn.Conv2d(width, 2, 3, padding=1)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Offsets along x and y."""
        offset: Tensor = self.offset(self.body(x) + self.shortcut(x))
        return offset


def warp(features: Tensor, offset: Tensor) -> Tensor:
    """Read features (n, c, h, w) at each pixel plus its offset, bilinearly, the border repeated.

    Args:
        features: float, (n, c, h, w).
        offset: float, (n, 2, h, w), in pixels along x and y.
    """
    height, width = features.shape[2:]
    x = torch.arange(width, device=features.device) + 0.5
    y = torch.arange(height, device=features.device) + 0.5
    grid = torch.stack(
        [(x + offset[:, 0]) * (2 / width) - 1, (y[:, None] + offset[:, 1]) * (2 / height) - 1], -1
    )
    return grid_sample(
        features, grid.to(features.dtype), padding_mode="border", align_corners=False
    )


def _shrink(valid: Tensor | None, features: Tensor) -> Tensor | None:
    """Validity (n, 1, h, w) on the grid of `features`: true where any pixel below is."""
    if valid is None:
        return None
    return max_pool2d(valid.float(), valid.shape[3] // features.shape[3]).bool()


def _mean(x: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the valid pixels, (n, c, 1, 1); 0 where there is none."""
    if valid is None:
        return x.mean((2, 3), keepdim=True)
    total = (x * valid).sum((2, 3), keepdim=True)
    return total / valid.sum((2, 3), keepdim=True).clamp(min=1)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    act: nn.Module | None = None,
) -> nn.Sequential:
    """Convolution, batch norm, activation (GELU unless told)."""
    padding = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.GELU() if act is None else act,
    )
