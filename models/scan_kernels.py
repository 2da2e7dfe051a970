"""The selective scan's inner loops, forward and backward, over blocks of sixteen channels.

Pixels are channels-last, so one step of one block is one vector. The recurrence is walked in chunks
of `CHUNK` steps whose inputs, step sizes and outputs sit in the first-level cache; only the state
at the start of each chunk is kept for the backward pass, which recomputes the rest.
"""

import numpy as np

from models.lanes import (
    LANES,
    exp2,
    fma,
    fold,
    kernel,
    load,
    load_quad,
    repeat,
    sigmoid,
    softplus,
    splat,
    spread,
    store,
    total,
)

CHUNK = 64
LOG2E = 1.4426950408889634
LN2 = np.float32(0.6931471805599453)


@kernel
def _room(shape):
    """Zeros that start on a cache line: a vector across two of them takes twice the time."""
    count = 1
    for side in shape:
        count *= side
    floats = np.zeros(count + LANES, np.float32)
    first = (-(floats.ctypes.data // 4)) % LANES
    return floats[first : first + count].reshape(shape)


@kernel
def _load(source, b, group, first, path, t0, steps, into):
    """Copy one block of channels of `steps` pixels, in scan order, into `into` (steps, LANES).

    Lanes beyond the last channel become 0: what an earlier block left there would reach the sums.
    """
    width = min(LANES, source.shape[3] - first)
    for t in range(steps):
        row = source[b, path[t0 + t], group]
        if width == LANES:
            store(into[t], 0, load(row, first))
        else:
            into[t] = np.float32(0.0)
            for j in range(width):
                into[t, j] = row[first + j]


@kernel
def _add(block, steps, into, b, group, first, path, t0, replace):
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


@kernel
def _project(low, b, k, first, path, t0, steps, weight, into):
    """Step sizes of one block from their low-rank form: into[t] = low[b, p, k] @ weight[k]."""
    last, zero = steps - 1, repeat(splat(np.float32(0.0)))
    for t in range(0, steps, 8):  # eight sums abreast, since one waits four cycles for each term
        row0, row1, row2, row3 = _rows(low, b, k, path, t0, t, last)
        row4, row5, row6, row7 = _rows(low, b, k, path, t0, t + 4, last)
        early, late = zero, zero
        for r in range(weight.shape[1]):
            column = repeat(load(weight[k, r], first))
            early = fma(spread(row0[r], row1[r], row2[r], row3[r]), column, early)
            late = fma(spread(row4[r], row5[r], row6[r], row7[r]), column, late)
        store(into[t], 0, early)
        store(into[t + 4], 0, late)


@kernel
def _rows(low, b, k, path, t0, t, last):
    """Four pixels' rows of `low`; beyond the last step, the last one's."""
    t1, t2, t3 = min(t + 1, last), min(t + 2, last), min(t + 3, last)
    row0, row1 = low[b, path[t0 + min(t, last)], k], low[b, path[t0 + t1], k]
    return row0, row1, low[b, path[t0 + t2], k], low[b, path[t0 + t3], k]


@kernel
def forward(
    u, delta, dt_weight, bias, a, b_in, c_out, d_skip, order, keep, out, states, start, stop
):
    """Scan the (image, channel block) items start..stop; see `scan` and `fused_scan` for shapes.

    What is not wanted (`dt_weight`, `keep`, `states`) is passed empty rather than None: the kernel
    is then compiled once for all its uses.
    """
    length, groups, channels = u.shape[1:]
    directions, _, n_states = a.shape[:3]
    blocks = -(-channels // LANES)
    h = _room((blocks, n_states, LANES))
    x = _room((CHUNK, LANES))
    dt = _room((CHUNK, LANES))
    y = _room((CHUNK, LANES))
    for b in range(start // blocks, -(-stop // blocks)):
        low, high = max(start - b * blocks, 0), min(stop - b * blocks, blocks)
        for k in range(directions):
            group = k if groups > 1 else 0
            path = order[k]
            h[:] = np.float32(0.0)
            for chunk in range(-(-length // CHUNK)):
                t0 = chunk * CHUNK
                steps = min(CHUNK, length - t0)
                for block in range(low, high):  # while the chunk's pixels are in the cache
                    first = block * LANES
                    if states.size:
                        states[b, k, block, chunk] = h[block]
                    _load(u, b, group, first, path, t0, steps, x)
                    if dt_weight.size:
                        _project(delta, b, k, first, path, t0, steps, dt_weight, dt)
                    else:
                        _load(delta, b, k, first, path, t0, steps, dt)
                    _step_sizes(dt, bias[k], keep, b, first, path, t0, steps)
                    _recur(
                        x, dt, a[k, block], b_in, c_out, d_skip[k], b, k, first, path, t0, steps,
                        h[block], y,
                    )  # fmt: skip
                    _add(y, steps, out, b, group, first, path, t0, k == 0 or groups > 1)


@kernel
def _step_sizes(dt, bias, keep, b, first, path, t0, steps):
    """Replace raw step sizes by softplus(dt + bias), and by 0 at invalid pixels.

    Apart from the recurrence, whose loops would not hide its latency.
    """
    offset = repeat(load(bias, first))
    for t in range(0, steps, 4):
        store(dt[t], 0, softplus(load_quad(dt[t], 0) + offset))
    if keep.size:
        for t in range(steps):
            if not keep[b, path[t0 + t]]:
                store(dt[t], 0, splat(np.float32(0.0)))


@kernel
def _recur(x, dt, a, b_in, c_out, d_skip, b, k, first, path, t0, steps, h, y):
    """Carry the states `h` (N, LANES) over a chunk and write its outputs; `a` is laid out alike."""
    skip = load(d_skip, first)
    n_states = a.shape[0]
    quads = n_states - n_states % 4
    for t in range(steps):
        p = path[t0 + t]
        input_maps, output_maps = b_in[b, p, k], c_out[b, p, k]
        seen, step = load(x[t], 0), load(dt[t], 0)
        driven = step * seen
        sum_y = skip * seen
        if quads:
            steps4, driven4 = repeat(step), repeat(driven)
            sum4 = repeat(splat(np.float32(0.0)))
            for n in range(0, quads, 4):
                decay4 = exp2(steps4, load_quad(a[n], 0))
                inputs = spread(
                    input_maps[n], input_maps[n + 1], input_maps[n + 2], input_maps[n + 3]
                )
                state4 = fma(decay4, load_quad(h[n], 0), driven4 * inputs)
                store(h[n], 0, state4)
                outputs = spread(
                    output_maps[n], output_maps[n + 1], output_maps[n + 2], output_maps[n + 3]
                )
                sum4 = fma(outputs, state4, sum4)
            sum_y = sum_y + fold(sum4)
        for n in range(quads, n_states):
            decay = exp2(step, load(a[n], 0))
            state = fma(decay, load(h[n], 0), driven * splat(input_maps[n]))
            store(h[n], 0, state)
            sum_y = fma(splat(output_maps[n]), state, sum_y)
        store(y[t], 0, sum_y)


@kernel
def backward(
    u, delta, bias, a, b_in, c_out, d_skip, order, states, grad,
    g_u, g_delta, g_bias, g_a, g_b, g_c, g_d, start, stop,
):  # fmt: skip
    """Gradients of the (image, channel block) items start..stop, chunk by chunk from the last.

    With h_t = e_t h_{t-1} + δ_t B_t u_t and y_t = C_t·h_t + D u_t, the adjoint of the state is
    g_t = C_t dy_t + e_{t+1} g_{t+1}. `g_b` and `g_c` are the worker's own, because they sum over
    channels; the sum over lanes waits until a chunk's blocks are all done, being the dearest part.
    """
    length, groups, channels = u.shape[1:]
    directions, _, n_states = a.shape[:3]
    blocks = -(-channels // LANES)
    sum_b = _room((CHUNK, n_states, LANES))
    sum_c = _room((CHUNK, n_states, LANES))
    carried = _room((blocks, n_states, LANES))
    h = _room((CHUNK + 1, n_states, LANES))
    decays = _room((CHUNK, n_states, LANES))
    x = _room((CHUNK, LANES))
    raw = _room((CHUNK, LANES))
    dt = _room((CHUNK, LANES))
    dy = _room((CHUNK, LANES))
    for b in range(start // blocks, -(-stop // blocks)):
        low, high = max(start - b * blocks, 0), min(stop - b * blocks, blocks)
        for k in range(directions):
            group = k if groups > 1 else 0
            path = order[k]
            carried[:] = np.float32(0.0)
            for chunk in range(-(-length // CHUNK) - 1, -1, -1):
                t0 = chunk * CHUNK
                steps = min(CHUNK, length - t0)
                sum_b[:], sum_c[:] = np.float32(0.0), np.float32(0.0)
                for block in range(low, high):
                    first = block * LANES
                    _load(u, b, group, first, path, t0, steps, x)
                    _load(delta, b, k, first, path, t0, steps, raw)
                    _load(grad, b, group, first, path, t0, steps, dy)
                    h[0] = states[b, k, block, chunk]
                    _replay(
                        x, raw, bias[k], a[k, block], b_in, b, k, first, path, t0, steps,
                        dt, decays, h,
                    )  # fmt: skip
                    _adjoint(
                        x, raw, dt, dy, decays, h, bias[k], a[k, block], b_in, c_out, d_skip[k],
                        b, k, first, path, t0, steps, carried[block], sum_b, sum_c,
                        g_bias[b, k], g_a[b, k], g_d[b, k],
                    )  # fmt: skip
                    _add(raw, steps, g_delta, b, k, first, path, t0, True)
                    _add(x, steps, g_u, b, group, first, path, t0, k == 0 or groups > 1)
                for t in range(steps):
                    to_b, to_c = g_b[b, path[t0 + t], k], g_c[b, path[t0 + t], k]
                    for n in range(n_states):
                        to_b[n] = total(load(sum_b[t, n], 0))
                        to_c[n] = total(load(sum_c[t, n], 0))


@kernel
def _replay(x, raw, bias, a, b_in, b, k, first, path, t0, steps, dt, decays, h):
    """The forward pass over a chunk again, keeping what `forward` throws away."""
    offset = load(bias, first)
    for t in range(steps):
        store(dt[t], 0, softplus(load(raw[t], 0) + offset))
    for t in range(steps):
        input_maps = b_in[b, path[t0 + t], k]
        step = load(dt[t], 0)
        driven = step * load(x[t], 0)
        for n in range(a.shape[0]):
            decay = exp2(step, load(a[n], 0))
            store(decays[t, n], 0, decay)
            store(h[t + 1, n], 0, fma(decay, load(h[t, n], 0), driven * splat(input_maps[n])))


@kernel
def _adjoint(
    x, raw, dt, dy, decays, h, bias, a, b_in, c_out, d_skip,
    b, k, first, path, t0, steps, carried, sum_b, sum_c, g_bias, g_a, g_d,
):  # fmt: skip
    """Walk a chunk backwards; `x` and `raw` are replaced by their gradients."""
    skip, offset = load(d_skip, first), load(bias, first)
    sum_d, sum_bias = load(g_d, first), load(g_bias, first)
    for t in range(steps - 1, -1, -1):
        p = path[t0 + t]
        input_maps, output_maps = b_in[b, p, k], c_out[b, p, k]
        seen, step, pull = load(x[t], 0), load(dt[t], 0), load(dy[t], 0)
        driven = step * seen
        through_b, through_a = splat(np.float32(0.0)), splat(np.float32(0.0))
        for n in range(a.shape[0]):
            g = fma(pull, splat(output_maps[n]), load(carried[n], 0))
            store(sum_c[t, n], 0, fma(pull, load(h[t + 1, n], 0), load(sum_c[t, n], 0)))
            store(sum_b[t, n], 0, fma(driven, g, load(sum_b[t, n], 0)))
            through_b = fma(g, splat(input_maps[n]), through_b)
            g = g * load(decays[t, n], 0)
            store(carried[n], 0, g)
            g = g * load(h[t, n], 0)
            through_a = fma(g, load(a[n], 0), through_a)
            store(g_a[n], first, fma(g, step, load(g_a[n], first)))
        sum_d = fma(pull, seen, sum_d)
        store(dt[t], 0, fma(through_b, seen, through_a * splat(LN2)))
        store(x[t], 0, fma(through_b, step, skip * pull))
    for t in range(steps):
        g_raw = load(dt[t], 0) * sigmoid(load(raw[t], 0) + offset)
        store(raw[t], 0, g_raw)
        sum_bias = sum_bias + g_raw
    store(g_d, first, sum_d)
    store(g_bias, first, sum_bias)
