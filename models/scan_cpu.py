"""Selective scan on a CPU: numba kernels over 16-channel blocks, forward and backward.

Pixels are channels-last, so one step of one block is one AVX-512 register (two of AVX2). The
recurrence is walked in chunks of `CHUNK` steps whose inputs, step sizes and outputs sit in the
first-level cache; only the state at the start of each chunk is kept for the backward pass, which
recomputes the rest. Exponentials are a polynomial in exp2: the numba wheel has no vector math
library, and a call per element would cost eight times the whole scan.

Threads come from a pool of our own rather than numba's: its portable layer aborts the process when
two Python threads scan at once, and these kernels compile in a third of the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from models.lanes import (
    LANES,
    exp2,
    fma,
    inline,
    load,
    sigmoid,
    softplus,
    splat,
    store,
    total,
)

CHUNK = 64
LOG2E = np.float32(1.4426950408889634)
LN2 = np.float32(0.6931471805599453)


@inline
def _load(source, b, group, first, path, t0, steps, into):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Copy one block of channels of `steps` pixels, in scan order, into `into` (steps, LANES)."""
    width = min(LANES, source.shape[3] - first)
    for t in range(steps):
        row = source[b, path[t0 + t], group]
        if width == LANES:
            store(into[t], 0, load(row, first))
        else:
            for j in range(width):
                into[t, j] = row[first + j]


@inline
def _add(block, steps, into, b, group, first, path, t0, replace):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add a block to, or put it in place of, its pixels of `into`: the inverse of `_load`."""
    width = min(LANES, into.shape[3] - first)
    for t in range(steps):
        row = into[b, path[t0 + t], group]
        if width == LANES:
            value = load(block[t], 0)
            store(row, first, value if replace else value + load(row, first))
        else:
            for j in range(width):
                row[first + j] = block[t, j] + (np.float32(0.0) if replace else row[first + j])


@inline
def _project(low, b, k, first, path, t0, steps, weight, into):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Step sizes of one block from their low-rank form: into[t] = low[b, p, k] @ weight[k]."""
    for t in range(steps):
        row = low[b, path[t0 + t], k]
        size = splat(np.float32(0.0))
        for r in range(weight.shape[1]):
            size = fma(splat(row[r]), load(weight[k, r], first), size)
        store(into[t], 0, size)


@inline
def _forward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    u, delta, dt_weight, bias, a, b_in, c_out, d_skip, order, keep, out, states, start, stop  # noqa: ANN001
):
    """Scan the (image, channel block) items start..stop; see `scan` and `fused_scan` for shapes."""
    length, groups, channels = u.shape[1:]
    directions, n_states = a.shape[:2]
    blocks = -(-channels // LANES)
    h = np.zeros((n_states, LANES), np.float32)
    x = np.zeros((CHUNK, LANES), np.float32)
    dt = np.zeros((CHUNK, LANES), np.float32)
    y = np.zeros((CHUNK, LANES), np.float32)
    for item in range(start, stop):
        b, block = item // blocks, item % blocks
        first = block * LANES
        for k in range(directions):
            group = k if groups > 1 else 0
            path = order[k]
            skip, offset = load(d_skip[k], first), load(bias[k], first)
            h[:] = np.float32(0.0)
            for chunk in range(-(-length // CHUNK)):
                t0 = chunk * CHUNK
                steps = min(CHUNK, length - t0)
                if states is not None:
                    states[b, k, block, chunk] = h
                _load(u, b, group, first, path, t0, steps, x)
                if dt_weight is None:
                    _load(delta, b, k, first, path, t0, steps, dt)
                else:
                    _project(delta, b, k, first, path, t0, steps, dt_weight, dt)
                for t in range(steps):
                    p = path[t0 + t]
                    input_maps, output_maps = b_in[b, p, k], c_out[b, p, k]
                    step = softplus(load(dt[t], 0) + offset)
                    if keep is not None and not keep[b, p]:
                        step = splat(np.float32(0.0))
                    seen = load(x[t], 0)
                    driven = step * seen
                    sum_y = skip * seen
                    for n in range(n_states):
                        decay = exp2(step * load(a[k, n], first))
                        state = fma(decay, load(h[n], 0), driven * splat(input_maps[n]))
                        store(h[n], 0, state)
                        sum_y = fma(splat(output_maps[n]), state, sum_y)
                    store(y[t], 0, sum_y)
                _add(y, steps, out, b, group, first, path, t0, k == 0 or groups > 1)


@inline
def _backward(  # type: ignore[no-untyped-def]  # noqa: ANN202
    u, delta, bias, a, b_in, c_out, d_skip, order, states, grad,  # noqa: ANN001
    g_u, g_delta, g_bias, g_a, g_b, g_c, g_d, start, stop,  # noqa: ANN001
):  # fmt: skip
    """Gradients of the items start..stop, chunk by chunk from the last to the first.

    With h_t = e_t h_{t-1} + δ_t B_t u_t and y_t = C_t·h_t + D u_t, the adjoint of the state is
    g_t = C_t dy_t + e_{t+1} g_{t+1}. `g_b` and `g_c` are the worker's own: they sum over channels.
    """
    length, groups, channels = u.shape[1:]
    directions, n_states = a.shape[:2]
    blocks = -(-channels // LANES)
    x = np.zeros((CHUNK, LANES), np.float32)
    raw = np.zeros((CHUNK, LANES), np.float32)
    dt = np.zeros((CHUNK, LANES), np.float32)
    dy = np.zeros((CHUNK, LANES), np.float32)
    h = np.zeros((CHUNK + 1, n_states, LANES), np.float32)
    decays = np.zeros((CHUNK, n_states, LANES), np.float32)
    carried = np.zeros((n_states, LANES), np.float32)
    for item in range(start, stop):
        b, block = item // blocks, item % blocks
        first = block * LANES
        for k in range(directions):
            group = k if groups > 1 else 0
            path = order[k]
            skip, offset = load(d_skip[k], first), load(bias[k], first)
            sum_d, sum_bias = splat(np.float32(0.0)), splat(np.float32(0.0))
            carried[:] = np.float32(0.0)
            for chunk in range(-(-length // CHUNK) - 1, -1, -1):
                t0 = chunk * CHUNK
                steps = min(CHUNK, length - t0)
                _load(u, b, group, first, path, t0, steps, x)
                _load(delta, b, k, first, path, t0, steps, raw)
                _load(grad, b, group, first, path, t0, steps, dy)
                h[0] = states[b, k, block, chunk]
                for t in range(steps):
                    input_maps = b_in[b, path[t0 + t], k]
                    step = softplus(load(raw[t], 0) + offset)
                    store(dt[t], 0, step)
                    driven = step * load(x[t], 0)
                    for n in range(n_states):
                        decay = exp2(step * load(a[k, n], first))
                        store(decays[t, n], 0, decay)
                        state = fma(decay, load(h[t, n], 0), driven * splat(input_maps[n]))
                        store(h[t + 1, n], 0, state)
                for t in range(steps - 1, -1, -1):
                    p = path[t0 + t]
                    input_maps, output_maps = b_in[b, p, k], c_out[b, p, k]
                    own_b, own_c = g_b[b, p, k], g_c[b, p, k]
                    seen, step, pull = load(x[t], 0), load(dt[t], 0), load(dy[t], 0)
                    driven = step * seen
                    through_b, through_a = splat(np.float32(0.0)), splat(np.float32(0.0))
                    for n in range(n_states):
                        g = fma(pull, splat(output_maps[n]), load(carried[n], 0))
                        own_c[n] += total(pull * load(h[t + 1, n], 0))
                        own_b[n] += total(driven * g)
                        through_b = fma(g, splat(input_maps[n]), through_b)
                        g = g * load(decays[t, n], 0)
                        store(carried[n], 0, g)
                        g = g * load(h[t, n], 0)
                        through_a = fma(g, load(a[k, n], first), through_a)
                        sum_a = g_a[b, k, n]
                        store(sum_a, first, fma(g, step, load(sum_a, first)))
                    slope = sigmoid(load(raw[t], 0) + offset)
                    g_raw = fma(through_b, seen, through_a * splat(LN2)) * slope
                    sum_bias = sum_bias + g_raw
                    sum_d = fma(pull, seen, sum_d)
                    store(raw[t], 0, g_raw)
                    store(x[t], 0, fma(through_b, step, skip * pull))
                _add(raw, steps, g_delta, b, k, first, path, t0, True)
                _add(x, steps, g_u, b, group, first, path, t0, k == 0 or groups > 1)
            store(g_d[b, k], first, sum_d)
            store(g_bias[b, k], first, sum_bias)


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


def _lanes(x: Tensor) -> np.ndarray:
    """`x` with its last axis padded by zeros to whole blocks, as a contiguous array."""
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % LANES)).contiguous().numpy()


def _state_shape(u: Tensor, a: Tensor) -> tuple[int, ...]:
    blocks, chunks = -(-u.shape[3] // LANES), -(-u.shape[1] // CHUNK)
    return (u.shape[0], a.shape[0], blocks, chunks, a.shape[2], LANES)


@torch.library.custom_op("scarp::scan", mutates_args=())
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
    states = u.new_empty(_state_shape(u, a) if keep_states else 0)
    arrays = _arrays(u, delta, a, b, c, d, bias, order)
    items = u.shape[0] * -(-u.shape[3] // LANES)
    u_, delta_, bias_, a_, b_, c_, d_, order_ = arrays
    out, kept = y.numpy(), states.numpy() if keep_states else None

    def work(worker: int, start: int, stop: int) -> None:
        _forward(
            u_, delta_, None, bias_, a_, b_, c_, d_, order_, None, out, kept, start, stop
        )  # fmt: skip

    _share(work, items, delta.numel() * a.shape[2])
    return y, states


def _arrays(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    return (
        u.detach().contiguous().numpy(),
        delta.detach().contiguous().numpy(),
        _lanes(bias.detach()),
        _lanes(a.detach().transpose(1, 2) * LOG2E),
        b.detach().contiguous().numpy(),
        c.detach().contiguous().numpy(),
        _lanes(d.detach()),
        order.numpy(),
    )


@scan.register_fake
def _(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, keep_states: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    shape = _state_shape(u, a) if keep_states else (0,)
    return torch.empty_like(u, memory_format=torch.contiguous_format), u.new_empty(shape)


@torch.library.custom_op("scarp::scan_backward", mutates_args=())
def scan_backward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, states: Tensor, grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of `scan` with respect to u, delta, a, b, c, d and bias."""
    batch, length, _, channels = u.shape
    directions, _, n_states = a.shape
    blocks = -(-channels // LANES)
    items, wide = batch * blocks, blocks * LANES
    effort = delta.numel() * n_states
    workers = _workers(items, effort)
    arrays = _arrays(u, delta, a, b, c, d, bias, order)
    g_u, g_delta = torch.empty_like(u), torch.empty_like(delta)
    g_bias, g_d = (u.new_zeros(batch, directions, wide) for _ in range(2))
    g_a = u.new_zeros(batch, directions, n_states, wide)
    g_b, g_c = (u.new_zeros(workers, batch, length, directions, n_states) for _ in range(2))
    u_, delta_, bias_, a_, b_, c_, d_, order_ = arrays
    kept, dy = states.numpy(), grad.detach().contiguous().numpy()
    sums = [g.numpy() for g in (g_u, g_delta, g_bias, g_a)]
    own_b, own_c, sum_d = g_b.numpy(), g_c.numpy(), g_d.numpy()

    def work(worker: int, start: int, stop: int) -> None:
        _backward(
            u_, delta_, bias_, a_, b_, c_, d_, order_, kept, dy,
            *sums, own_b[worker], own_c[worker], sum_d, start, stop,
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


@scan_backward.register_fake
def _(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, states: Tensor, grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    like = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (u, delta, a, b)]
    rest = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (c, d, bias)]
    return (like[0], like[1], like[2], like[3], rest[0], rest[1], rest[2])


def _remember(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    *tensors, _ = inputs
    ctx.save_for_backward(*tensors, output[1])


def _differentiate(ctx, grad, _) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    u, delta, a, b, c, d, bias, order, states = ctx.saved_tensors
    return (*scan_backward(u, delta, a, b, c, d, bias, order, states, grad), None, None)


scan.register_autograd(_differentiate, setup_context=_remember)


def fused_scan(
    u: Tensor, projected: Tensor, dt_weight: Tensor, a: Tensor, d: Tensor, bias: Tensor,
    order: Tensor, keep: Tensor | None = None,
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
        keep: bool (batch, L), False where a pixel must not write into the state.

    Returns:
        (batch, L, D), summed over the K scans. No gradient flows.
    """
    batch, length, channels = u.shape
    rank, n_states = dt_weight.shape[2], a.shape[2]
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    low = projected.detach().contiguous().numpy()
    b_in, c_out = low[..., rank : rank + n_states], low[..., rank + n_states :]
    inputs = u.detach().contiguous().numpy()[:, :, None]
    weight, bias_, skip = (_lanes(t.detach()) for t in (dt_weight.transpose(1, 2), bias, d))
    a_ = _lanes(a.detach().transpose(1, 2) * LOG2E)
    out, order_ = y.numpy()[:, :, None], order.numpy()
    seen = None if keep is None else keep.contiguous().numpy()

    def work(worker: int, start: int, stop: int) -> None:
        _forward(
            inputs, low, weight, bias_, a_, b_in, c_out, skip, order_, seen, out, None, start, stop
        )

    _share(work, batch * -(-channels // LANES), u.numel() * a.shape[0] * n_states)
    return y
