"""The selective scan: one contract, three ways to compute it.

    h_t = exp(δ_t A) h_{t-1} + δ_t B_t u_t,   y_t = C_t · h_t + D u_t   (Gu & Dao 2024, eq. 2a-2b)

`reference` is the definition, a loop over steps in any floating type. `cpu` is a numba kernel for
float32. `mamba` is mamba-ssm's CUDA kernel. Left to itself, `selective_scan` takes the fastest one
that can hold its input; `using` overrides that for a block of code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from models import scan_cpu
from models.errors import ModelError

Backend = Literal["reference", "cpu", "mamba"]

MAMBA_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_forced: ContextVar[Backend | None] = ContextVar("scan_backend", default=None)
_log = logging.getLogger(__name__)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    delta_bias: Tensor,
    backend: Backend | None = None,
) -> Tensor:
    """K independent selective scans, δ = softplus(delta + delta_bias).

    Args:
        u: inputs (batch, K·D, L), floating.
        delta: raw step sizes (batch, K·D, L).
        a: decay rates (K·D, N), negative.
        b: input maps (batch, K, N, L).
        c: output maps (batch, K, N, L).
        d: skip weights (K·D,).
        delta_bias: (K·D,).
        backend: how to compute it; by default what `choose` says.

    Returns:
        Outputs (batch, K·D, L), in the type of `u`.

    Raises:
        ModelError: the shapes do not fit together, or the backend cannot take this input.
    """
    _check(u, delta, a, b, c, d, delta_bias)
    match choose(u, backend):
        case "reference":
            return _reference(u, delta, a, b, c, d, delta_bias)
        case "cpu":
            return _cpu(u, delta, a, b, c, d, delta_bias)
        case "mamba":
            return _mamba(u, delta, a, b, c, d, delta_bias)


def choose(x: Tensor, backend: Backend | None = None) -> Backend:
    """The backend for `x`: the one asked for, else the one of `using`, else the fastest able.

    Raises:
        ModelError: the backend asked for does not exist or cannot take `x`, or `x` is float16 on
            a CPU, where a scan of thousands of steps would overflow.
    """
    if x.device.type == "cpu" and x.dtype in (torch.float16, torch.bfloat16):
        raise ModelError(f"{x.dtype} cannot be scanned on a CPU; convert the input to float32")
    backend = backend or _forced.get()
    if backend is None:
        backend = _fastest(x.device.type, x.dtype)
        _say_once(backend, x.device.type)
    if backend not in get_args(Backend):
        raise ModelError(f"no scan backend {backend!r}; use one of {', '.join(get_args(Backend))}")
    if backend == "cpu" and (x.device.type not in ("cpu", "meta") or x.dtype != torch.float32):
        raise ModelError(f"scan backend cpu takes float32 on a CPU, not {x.dtype} on {x.device}")
    if backend == "mamba":
        _require_mamba(x)
    return backend


@contextmanager
def using(backend: Backend) -> Iterator[None]:
    """Compute every scan inside the block with `backend`."""
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def _fastest(device: str, dtype: torch.dtype) -> Backend:
    if device == "cuda" and dtype in MAMBA_DTYPES and not _mamba_missing():
        return "mamba"
    return "cpu" if device in ("cpu", "meta") and dtype == torch.float32 else "reference"


def _require_mamba(x: Tensor) -> None:
    if x.device.type != "cuda" or x.dtype not in MAMBA_DTYPES:
        raise ModelError(
            "scan backend mamba takes float32, float16 or bfloat16 on CUDA, "
            f"not {x.dtype} on {x.device}"
        )
    if reason := _mamba_missing():
        raise ModelError(
            f"scan backend mamba: mamba-ssm does not import ({reason}); pip install "
            "--no-build-isolation 'scarp[mamba]' beside a CUDA compiler of torch's version"
        )


@lru_cache
def _mamba_missing() -> str:
    """Why mamba-ssm cannot be used, empty if it can; a build for another CUDA fails on import."""
    try:
        _mamba_scan()
    except (ImportError, OSError, RuntimeError) as error:
        return " ".join(str(error).split())[:300] or type(error).__name__
    return ""


def _mamba_scan() -> Callable[..., Any]:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return selective_scan_fn  # type: ignore[no-any-return]


@lru_cache
def _say_once(backend: Backend, device: str) -> None:
    _log.info("selective scan on %s: %s backend", device, backend)
    if device == "cuda" and (reason := _mamba_missing()):
        _log.warning("mamba-ssm does not import (%s): scans on CUDA are slow without it", reason)


def _reference(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, delta_bias: Tensor
) -> Tensor:
    batch, n_scans, n_states, _ = b.shape
    step = F.softplus(delta + delta_bias[:, None]).unflatten(1, (n_scans, -1))
    x = u.unflatten(1, (n_scans, -1))
    rates = a.unflatten(0, (n_scans, -1))
    h = u.new_zeros(batch, n_scans, x.shape[2], n_states)
    outputs = []
    for t in range(u.shape[2]):
        decay = torch.exp(step[..., t, None] * rates)
        h = decay * h + (step[..., t] * x[..., t])[..., None] * b[:, :, None, :, t]
        outputs.append((h * c[:, :, None, :, t]).sum(-1))
    return torch.stack(outputs, -1).flatten(1, 2) + d[:, None] * u


def _cpu(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, delta_bias: Tensor
) -> Tensor:
    n_scans = b.shape[1]
    in_order = torch.arange(u.shape[2], dtype=torch.int32).expand(n_scans, -1).contiguous()
    y: Tensor = scan_cpu.scan(
        u.unflatten(1, (n_scans, -1)).permute(0, 3, 1, 2),
        delta.unflatten(1, (n_scans, -1)).permute(0, 3, 1, 2),
        a.unflatten(0, (n_scans, -1)),
        b.permute(0, 3, 1, 2),
        c.permute(0, 3, 1, 2),
        d.unflatten(0, (n_scans, -1)),
        delta_bias.unflatten(0, (n_scans, -1)),
        in_order,
        torch.is_grad_enabled(),
    )[0]
    return y.permute(0, 2, 3, 1).flatten(1, 2)


def _mamba(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, delta_bias: Tensor
) -> Tensor:
    """mamba-ssm's kernel on float32 alone: its half-precision outputs overflow (mamba issue 6)."""
    u_, delta_, a_, b_, c_, d_, bias_ = (t.float() for t in (u, delta, a, b, c, d, delta_bias))
    scanned: Tensor = _mamba_scan()(
        u_, delta_, a_, b_, c_, D=d_, z=None, delta_bias=bias_.contiguous(), delta_softplus=True
    )
    return scanned.to(u.dtype)


def _check(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, delta_bias: Tensor
) -> None:
    if u.ndim != 3 or b.ndim != 4 or a.ndim != 2 or 0 in u.shape:
        raise ModelError(
            f"a scan takes u (batch, K·D, L), a (K·D, N) and b (batch, K, N, L), none empty; "
            f"got {tuple(u.shape)}, {tuple(a.shape)} and {tuple(b.shape)}"
        )
    batch, channels, length = u.shape
    n_scans, n_states = b.shape[1], a.shape[1]
    wanted = {
        "delta": (delta, (batch, channels, length)),
        "a": (a, (channels, n_states)),
        "b": (b, (batch, n_scans, n_states, length)),
        "c": (c, (batch, n_scans, n_states, length)),
        "d": (d, (channels,)),
        "delta_bias": (delta_bias, (channels,)),
    }
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape:
            raise ModelError(f"scan: {name} has shape {tuple(tensor.shape)}, expected {shape}")
    if channels % n_scans:
        raise ModelError(f"scan: {channels} channels do not divide into {n_scans} scans")
