"""Visual state space: four selective scans over an image (Liu et al. 2024, VMamba, fig. 3 and 5).

A pixel is visited row by row, column by column, and both backwards; the four outputs are added at
the pixel. Feature maps are channels-last, (batch, rows, columns, channels). A validity mask says
which pixels hold ground: the others carry zeros into every convolution and write nothing into the
state, so that a picture padded with nodata gives what the picture alone gives.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import scan_cpu
from models.selective_scan import choose, selective_scan

DIRECTIONS = 4
# softplus of this is 0 in float32: an invalid pixel takes a step of no length.
_NO_STEP = -1e4


class SS2D(nn.Module):
    """The two-dimensional selective scan of VMamba, form `v05_noz` (no gate, `SS2D` in its code).

    Linear C→D, depthwise 3×3, SiLU, four scans, LayerNorm, Linear D→C, with D = 2C. The
    projections to step sizes, B and C act on single pixels, so they commute with the scan order
    and are computed once per pixel.

    Args:
        channels: C.
        n_states: N, the size of the state of each channel.
        expand: D / C.
    """

    def __init__(self, channels: int, n_states: int = 16, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * channels, math.ceil(channels / 16)
        self.rank, self.n_states = rank, n_states
        self.in_proj = nn.Linear(channels, inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.x_proj = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * n_states, inner))
        self.dt_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, rank))
        self.dt_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.a_log = nn.Parameter(torch.empty(DIRECTIONS, inner, n_states))
        self.d = nn.Parameter(torch.ones(DIRECTIONS, inner))
        self.out_norm = Norm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as Mamba does: A = -1..-N, steps log-uniform in 0.001..0.1."""
        nn.init.uniform_(self.x_proj, -(bound := self.x_proj.shape[2] ** -0.5), bound)
        nn.init.uniform_(self.dt_weight, -(bound := self.rank**-0.5), bound)
        with torch.no_grad():
            steps = torch.exp(
                torch.empty_like(self.dt_bias).uniform_(math.log(1e-3), math.log(1e-1))
            ).clamp_min(1e-4)
            self.dt_bias.copy_(steps + torch.log(-torch.expm1(-steps)))
            self.a_log.copy_(torch.arange(1, self.n_states + 1).log().expand_as(self.a_log))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mix (batch, h, w, C) over all pixels; `valid` is bool (batch, h, w, 1) or None."""
        x = self.in_proj(x)
        if valid is not None:
            x = x * valid
        x = F.silu(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1).contiguous()
        y = self.scan(x, valid)
        out: Tensor = self.out_proj(self.out_norm(y))
        return out

    def scan(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """The four scans of (batch, h, w, D), added at each pixel: float32, also under autocast.

        In half precision the states of a long scan overflow or stop moving.
        """
        batch, height, width, inner = x.shape
        pixels = x.reshape(batch, height * width, inner).float()
        keep = None if valid is None else valid.reshape(batch, height * width)
        projected = (pixels @ self.x_proj.flatten(0, 1).T).float()
        projected = projected.unflatten(-1, (DIRECTIONS, -1))
        rates = -torch.exp(self.a_log.float())
        order = scan_order(height, width)
        if choose(pixels) != "cpu":
            y = self._plain(pixels, projected, rates, order.to(x.device), keep)
        elif torch.is_grad_enabled():
            y = self._differentiable(pixels, projected, rates, order, keep)
        else:
            y = scan_cpu.fused_scan(
                pixels, projected, self.dt_weight, rates, self.d, self.dt_bias, order, keep
            )
        return y.view(batch, height, width, inner)

    def _steps(self, projected: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Raw steps (batch, L, K, D), B and C (batch, L, K, N)."""
        low, b, c = projected.split([self.rank, self.n_states, self.n_states], -1)
        steps = torch.einsum("blkr,kdr->blkd", low, self.dt_weight).float()
        if keep is not None:
            steps = steps.masked_fill(~keep[..., None, None], _NO_STEP)
        return steps, b, c

    def _differentiable(
        self, pixels: Tensor, projected: Tensor, rates: Tensor, order: Tensor, keep: Tensor | None
    ) -> Tensor:
        steps, b, c = self._steps(projected, keep)
        y: Tensor = scan_cpu.scan(
            pixels[:, :, None], steps, rates, b, c, self.d, self.dt_bias, order, True
        )[0]
        return y[:, :, 0]

    def _plain(
        self, pixels: Tensor, projected: Tensor, rates: Tensor, order: Tensor, keep: Tensor | None
    ) -> Tensor:
        """Lay the four sequences out one after the other, scan them, and add them back up."""
        steps, b, c = self._steps(projected, keep)
        paths = order.long()

        def along(t: Tensor) -> Tensor:
            """(batch, L, K, m) in pixel order to (batch, K, m, L) in scan order."""
            return torch.stack([t[:, p, k] for k, p in enumerate(paths)], 1).transpose(2, 3)

        u = along(pixels[:, :, None].expand(-1, -1, DIRECTIONS, -1))
        scanned = selective_scan(
            u.flatten(1, 2),
            along(steps).flatten(1, 2),
            rates.flatten(0, 1),
            along(b),
            along(c),
            self.d.flatten(),
            self.dt_bias.flatten(),
        ).unflatten(1, (DIRECTIONS, -1))
        back = [scanned[:, k].index_select(2, p.argsort()) for k, p in enumerate(paths)]
        return torch.stack(back).sum(0).transpose(1, 2)


class Norm(nn.LayerNorm):
    """LayerNorm over channels, computed in float32 whatever the precision around it."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape and type."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


@lru_cache(maxsize=32)
def scan_order(height: int, width: int) -> Tensor:
    """Pixels in the order of each direction, int32 (4, h·w): rows, columns, and both reversed."""
    # Kept for later callers: on the CPU whatever the default device, and usable in training even
    # if inference asked first.
    with torch.inference_mode(False):
        rows = torch.arange(height * width, dtype=torch.int32, device="cpu").view(height, width)
        forward = torch.stack([rows.flatten(), rows.T.flatten()])
        return torch.cat([forward, forward.flip(1)]).contiguous()
