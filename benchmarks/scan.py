"""How fast the selective scan is, beside what one would use without it.

The stage-1 scan of LDM-Net at 512x512 (four directions, 192 channels, 16,384 pixels). Each method
runs in a process of its own, so that its peak memory is its own, and all in one run, so that the
ratios hold whatever else the machine does.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import record
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.selective_scan import using  # noqa: E402
from models.vss import SS2D  # noqa: E402

SIDE, CHANNELS = 128, 96
THREADS = 2


def materialised(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """mamba-ssm's reference loop, which lays out exp(δA) and δBu for all steps beforehand."""
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, a))
    grouped = b.repeat_interleave(u.shape[1] // b.shape[1], 1)
    driven = torch.einsum("bdl,bdnl,bdl->bdln", delta, grouped, u)
    out = c.repeat_interleave(u.shape[1] // c.shape[1], 1)
    h = u.new_zeros(u.shape[0], u.shape[1], a.shape[1])
    outputs = []
    for t in range(u.shape[2]):
        h = decay[:, :, t] * h + driven[:, :, t]
        outputs.append((h * out[..., t]).sum(-1))
    return torch.stack(outputs, -1)


def blocked(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, block: int = 128) -> Tensor:
    """The best pure-torch scan that autograd can differentiate: blocks abreast, then their joints.

    All blocks take step t together, from a zero state; then each block's first state is found from
    its predecessor's last, and its decayed trace is added.
    """
    batch, wide, length = u.shape
    scans, states = b.shape[1:3]
    x, step = (t.view(batch, scans, wide // scans, -1, block) for t in (delta * u, delta))
    rates = a.view(scans, -1, 1, states)
    maps_in, maps_out = (t.view(batch, scans, states, -1, block).transpose(2, 3) for t in (b, c))
    h = u.new_zeros(batch, scans, wide // scans, length // block, states)
    locals_ = []
    for t in range(block):
        decay = torch.exp(step[..., t, None] * rates)
        h = decay * h + x[..., t, None] * maps_in[:, :, None, ..., t]
        locals_.append((h * maps_out[:, :, None, ..., t]).sum(-1))
    whole = torch.exp(step.sum(-1)[..., None] * rates)
    carried, starts = torch.zeros_like(h[..., 0, :]), []
    for i in range(length // block):
        starts.append(carried)
        carried = whole[..., i, :] * carried + h[..., i, :]
    start = torch.stack(starts, -2)
    outputs = []
    for t, so_far in enumerate(step.cumsum(-1).unbind(-1)):
        trace = torch.exp(so_far[..., None] * rates) * start
        outputs.append(locals_[t] + (trace * maps_out[:, :, None, ..., t]).sum(-1))
    return torch.stack(outputs, -1).reshape(batch, wide, length)


def scan_inputs(states: int) -> tuple[Tensor, ...]:
    """u, δ, A, B, C of the stage-1 scan, in mamba-ssm's layout."""
    dice = torch.Generator().manual_seed(0)
    wide, length = 4 * 2 * CHANNELS, SIDE * SIDE

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice)

    rates = -torch.arange(1.0, states + 1).expand(wide, -1).contiguous()
    steps = F.softplus(normal(1, wide, length) - 4)
    maps = [normal(1, 4, states, length) for _ in range(2)]
    return normal(1, wide, length), steps, rates, *maps


def our_scan(states: int) -> Callable[[], None]:
    """The fused core of SS2D, which also projects the steps and merges the directions."""
    mixer, x = SS2D(CHANNELS, states), torch.randn(1, SIDE, SIDE, 2 * CHANNELS)

    def run() -> None:
        with torch.no_grad():
            mixer.scan(x, None)

    return run


def torch_scan(states: int, method: Callable[..., Tensor]) -> Callable[[], None]:
    """`method` on the bare scan, without projection and merging."""
    given = scan_inputs(states)

    def run() -> None:
        with torch.no_grad():
            method(*given)

    return run


def training_step(ours: bool) -> Callable[[], None]:
    """Forward and backward of the stage-1 SS2D with 16 states."""
    mixer, x = SS2D(CHANNELS, 16), torch.randn(1, SIDE, SIDE, CHANNELS)

    def run() -> None:
        mixer.zero_grad()
        mixer(x).square().mean().backward()

    def run_in_torch() -> None:
        import models.vss

        def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor,
                 bias: Tensor) -> Tensor:  # fmt: skip
            return blocked(u, F.softplus(delta + bias[:, None]), a, b, c) + d[:, None] * u

        models.vss.selective_scan = scan  # type: ignore[assignment]
        with using("reference"):
            run()

    return run if ours else run_in_torch


CASES: dict[str, tuple[Callable[[], Callable[[], None]], int]] = {
    "ours, N=16": (lambda: our_scan(16), 9),
    "mamba-ssm reference, N=16": (lambda: torch_scan(16, materialised), 1),
    "blocked torch, N=16": (lambda: torch_scan(16, blocked), 2),
    "ours, N=1": (lambda: our_scan(1), 9),
    "mamba-ssm reference, N=1": (lambda: torch_scan(1, materialised), 3),
    "blocked torch, N=1": (lambda: torch_scan(1, blocked), 3),
    "ours, training step": (lambda: training_step(True), 5),
    "blocked torch, training step": (lambda: training_step(False), 1),
}
RATIOS = [
    ("ours, N=16", "mamba-ssm reference, N=16"),
    ("ours, N=16", "blocked torch, N=16"),
    ("ours, N=1", "mamba-ssm reference, N=1"),
    ("ours, N=1", "blocked torch, N=1"),
    ("ours, training step", "blocked torch, training step"),
]


def measure(case: str) -> dict[str, float]:
    """Median and least seconds, and the memory that running adds to having the inputs."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    make, repeats = CASES[case]
    run = make()
    # the libraries' own memory, paid once a process, is no part of a scan's
    SS2D(16, 16)(torch.randn(1, 4, 4, 16)).sum().backward()
    before = _high_water_mib()
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    warm = seconds[1:] or seconds
    return {
        "median_s": round(statistics.median(warm), 4),
        "least_s": round(min(warm), 4),
        "extra_mib": round(_high_water_mib() - before, 1),
    }


def _high_water_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every case, print the record and write it to benchmarks/results/scan.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help="measure one case, print JSON and stop")
    case = parser.parse_args().case
    if case:
        print(json.dumps(measure(case)))
        return
    about = record.machine() | {"threads": THREADS, "torch": torch.__version__}
    _apart("ours, training step")  # leaves the compiled kernels on disk
    cases = {name: _apart(name) for name in CASES}
    ratios = {
        f"{ours} against {theirs}": {
            "times_faster": round(cases[theirs]["least_s"] / cases[ours]["least_s"], 1),
            "times_less_memory": round(cases[theirs]["extra_mib"] / cases[ours]["extra_mib"], 1),
        }
        for ours, theirs in RATIOS
    }
    result = {"machine": about, "cases": cases, "ratios": ratios}
    print(json.dumps(result, indent=2))
    print("written to", record.write("scan", result))


def _apart(case: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", case]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(out)
    return result


if __name__ == "__main__":
    main()
