"""Selective scan on a CPU as torch operators, for autograd, torch.compile and meta tensors.

Threads come from a pool of our own rather than numba's: its portable layer aborts the process when
two Python threads scan at once, and kernels compile faster without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ModelError
from models.lanes import LANES
from models.scan_kernels import CHUNK, LOG2E, backward, forward

Floats = NDArray[np.float32]

_NOTHING = (0,) * 6  # the shape of states that nobody keeps


@lru_cache(maxsize=4)
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """The process's scan threads; keyed by process id because threads do not survive a fork."""
    return ThreadPoolExecutor(workers, thread_name_prefix="scan")


def _share(kernel: Callable[[int, int, int], None], items: int, work: int) -> int:
    """Run kernel(worker, start, stop) over `items` on torch's number of threads.

    Returns:
        The number of workers used; small jobs stay on the calling thread.
    """
    workers = _workers(items, work)
    ends = [items * w // workers for w in range(workers + 1)]
    pool = _pool(os.getpid(), torch.get_num_threads()) if workers > 1 else None
    pending: list[Future[None]] = [
        pool.submit(kernel, w, ends[w], ends[w + 1]) for w in range(1, workers) if pool
    ]
    kernel(0, ends[0], ends[1])
    for future in pending:
        future.result()
    return workers


def _workers(items: int, work: int) -> int:
    return 1 if work < 100_000 else min(items, torch.get_num_threads())


def _lanes(x: Tensor) -> Floats:
    """`x` with its last axis padded by zeros to whole blocks, as a contiguous array."""
    return _rows(torch.nn.functional.pad(x, (0, -x.shape[-1] % LANES)).contiguous())


def _rates(a: Tensor) -> Floats:
    """Decay rates (K, D, N) to base 2, block by block as the states are: (K, blocks, N, LANES)."""
    padded = torch.nn.functional.pad(a * LOG2E, (0, 0, 0, -a.shape[1] % LANES))
    return _rows(padded.unflatten(1, (-1, LANES)).transpose(2, 3).contiguous())


def _rows(x: Tensor) -> Floats:
    """`x` as an array whose last axis is contiguous, without a copy where it already is.

    Raises:
        ModelError: it is not float32, which the kernels take every array for.
    """
    if x.dtype != torch.float32:
        raise ModelError(f"the CPU scan takes float32 throughout, not {x.dtype} beside it")
    x = x.detach()
    return np.asarray((x if x.stride(-1) == 1 else x.contiguous()).numpy())


def _empty_rows(x: Tensor) -> Tensor:
    """Room for the gradient of `x`, laid out as it is unless its last axis is not contiguous."""
    kept = torch.preserve_format if x.stride(-1) == 1 else torch.contiguous_format
    return torch.empty_like(x, memory_format=kept)


def _state_shape(u: Tensor, a: Tensor) -> tuple[int, ...]:
    blocks, chunks = -(-u.shape[3] // LANES), -(-u.shape[1] // CHUNK)
    return (u.shape[0], a.shape[0], blocks, chunks, a.shape[2], LANES)


def _operator(function: Callable[..., Any]) -> Any:
    """Make torch's operator scarp::<name> of a function of tensors on the CPU.

    `torch.library.custom_op` does the same, but its first call imports torch's compiler, 1.5 s.
    """
    name = f"scarp::{function.__name__}"
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "cpu", function)
    return getattr(torch.ops.scarp, function.__name__).default


@_operator
def scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, keep_states: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """K selective scans over the pixels of channels-last images, each in its own order.

    h = exp(δ A) h + δ B u, y = C·h + D u with δ = softplus(delta + bias) (Gu & Dao 2024, eq. 2).

    Args:
        u: inputs, float32 (batch, L, G, D); G is 1 where all K scans read the same pixels, else K.
        delta: raw step sizes (batch, L, K, D).
        a: decay rates (K, D, N), negative.
        b: input maps (batch, L, K, N).
        c: output maps (batch, L, K, N).
        d: skip weights (K, D).
        bias: added to `delta` (K, D).
        order: int32 (K, L), the pixel visited at each step.
        keep_states: keep what the backward pass needs.

    Returns:
        Outputs at the pixels that were read (batch, L, G, D), summed over K where G is 1, and the
        state at the start of every chunk (empty unless kept).
    """
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    states = u.new_empty(_state_shape(u, a) if keep_states else _NOTHING)
    arrays = _arrays(u, delta, a, b, c, d, bias, order)
    items = u.shape[0] * -(-u.shape[3] // LANES)
    u_, delta_, bias_, a_, b_, c_, d_, order_ = arrays
    out, kept = y.numpy(), states.numpy()
    no_weight, no_mask = np.empty((0, 0, 0), np.float32), np.empty((0, 0), np.bool_)

    def work(worker: int, start: int, stop: int) -> None:
        forward(
            u_, delta_, no_weight, bias_, a_, b_, c_, d_, order_, no_mask, out, kept, start, stop,
        )  # fmt: skip

    _share(work, items, delta.numel() * a.shape[2])
    return y, states


def _arrays(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor,
) -> tuple[Floats, ...]:  # fmt: skip
    return (
        _rows(u),
        _rows(delta),
        _lanes(bias),
        _rates(a),
        _rows(b),
        _rows(c),
        _lanes(d),
        order.numpy(),
    )


@torch.library.register_fake("scarp::scan")  # type: ignore[untyped-decorator]
def _(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, keep_states: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    shape = _state_shape(u, a) if keep_states else _NOTHING
    return torch.empty_like(u, memory_format=torch.contiguous_format), u.new_empty(shape)


@_operator
def scan_backward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, states: Tensor, grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of `scan` with respect to u, delta, a, b, c, d and bias.

    Raises:
        ModelError: the states were not kept.
    """
    if not states.numel():
        raise ModelError("the scan kept no states; ask for them to differentiate it")
    batch, length, _, channels = u.shape
    directions, _, n_states = a.shape
    blocks = -(-channels // LANES)
    items, wide = batch * blocks, blocks * LANES
    effort = delta.numel() * n_states
    workers = _workers(items, effort)
    arrays = _arrays(u, delta, a, b, c, d, bias, order)
    g_u, g_delta = _empty_rows(u), _empty_rows(delta)
    g_bias, g_d = (u.new_zeros(batch, directions, wide) for _ in range(2))
    g_a = u.new_zeros(batch, directions, n_states, wide)
    g_b, g_c = (u.new_zeros(workers, batch, length, directions, n_states) for _ in range(2))
    u_, delta_, bias_, a_, b_, c_, d_, order_ = arrays
    kept, dy = states.numpy(), _rows(grad)
    to_u, to_delta, to_bias, to_a = (g.numpy() for g in (g_u, g_delta, g_bias, g_a))
    to_b, to_c, to_d = (g.numpy() for g in (g_b, g_c, g_d))

    def work(worker: int, start: int, stop: int) -> None:
        backward(
            u_, delta_, bias_, a_, b_, c_, d_, order_, kept, dy,
            to_u, to_delta, to_bias, to_a, to_b[worker], to_c[worker], to_d, start, stop,
        )  # fmt: skip

    _share(work, items, effort)
    return (
        g_u,
        g_delta,
        g_a.sum(0)[..., :channels].transpose(1, 2).contiguous(),
        g_b.sum(0),
        g_c.sum(0),
        g_d.sum(0)[..., :channels].contiguous(),
        g_bias.sum(0)[..., :channels].contiguous(),
    )


@torch.library.register_fake("scarp::scan_backward")  # type: ignore[untyped-decorator]
def _(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, states: Tensor, grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    dense = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (a, b, c, d, bias)]
    return (_empty_rows(u), _empty_rows(delta), *dense)  # type: ignore[return-value]


def _remember(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    *tensors, _ = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.set_materialize_grads(False)  # else zeros are made for the states, larger than the input


def _differentiate(ctx, grad, _) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    u, delta, a, b, c, d, bias, order, states = ctx.saved_tensors
    return (*scan_backward(u, delta, a, b, c, d, bias, order, states, grad), None, None)


torch.library.register_autograd("scarp::scan", _differentiate, setup_context=_remember)


@_operator
def fused_scan(
    u: Tensor, projected: Tensor, dt_weight: Tensor, a: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, keep: Tensor | None,
) -> Tensor:  # fmt: skip
    """The inference form of `scan`: step sizes are projected inside the kernel, never stored.

    Args:
        u: inputs read by all K scans, float32 (batch, L, D).
        projected: per pixel and scan the low-rank step, B and C: (batch, L, K, R + 2N).
        dt_weight: (K, D, R), takes the low-rank step to D channels.
        a: decay rates (K, D, N).
        d: skip weights (K, D).
        bias: of the step sizes (K, D).
        order: int32 (K, L).
        keep: bool (batch, L), False where a pixel must not write into the state, or None.

    Returns:
        (batch, L, D), summed over the K scans. No gradient flows.
    """
    batch, length, channels = u.shape
    rank, n_states = dt_weight.shape[2], a.shape[2]
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    low = _rows(projected.contiguous())
    b_in, c_out = low[..., rank : rank + n_states], low[..., rank + n_states :]
    inputs = _rows(u.contiguous())[:, :, None]
    weight, bias_, skip = (_lanes(t) for t in (dt_weight.transpose(1, 2), bias, d))
    a_ = _rates(a)
    out, order_ = y.numpy()[:, :, None], order.numpy()
    seen = np.empty((0, 0), np.bool_) if keep is None else keep.contiguous().numpy()
    no_states = np.empty(_NOTHING, np.float32)

    def work(worker: int, start: int, stop: int) -> None:
        forward(
            inputs, low, weight, bias_, a_, b_in, c_out, skip, order_, seen, out, no_states,
            start, stop,
        )  # fmt: skip

    _share(work, batch * -(-channels // LANES), u.numel() * a.shape[0] * n_states)
    return y


@torch.library.register_fake("scarp::fused_scan")  # type: ignore[untyped-decorator]
def _(
    u: Tensor, projected: Tensor, dt_weight: Tensor, a: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, keep: Tensor | None,
) -> Tensor:  # fmt: skip
    return torch.empty_like(u, memory_format=torch.contiguous_format)
