"""What a network costs: parameters, multiply-accumulates, seconds and memory, over image sizes.

Two counts of multiply-accumulates are given. `gmacs_ptflops` follows ptflops, whose figure the
LDM-Net paper prints as "FLOPs": convolutions, linear layers, norms and activations, but nothing of
the selective scan nor of its step, B and C projections. `gmacs_full` counts every convolution and
matrix product that runs, whoever calls it, plus the scan at 9 B L D N / 2.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from models.errors import ModelError
from models.vss import SS2D

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")

_CONVOLUTION = nn.Conv1d | nn.Conv2d | nn.Conv3d
_TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
_ELEMENTWISE = {
    **dict.fromkeys((F.relu, F.gelu, torch.relu, Tensor.relu, F.max_pool2d, F.avg_pool2d), 2),
    **dict.fromkeys((F.adaptive_avg_pool2d, F.adaptive_max_pool2d), 2),
    **dict.fromkeys((F.silu, F.softmax, F.layer_norm, torch.mul, torch.add), 1),
}
_NORMS = (F.batch_norm, F.instance_norm, F.group_norm)
_PRODUCTS = (torch.matmul, torch.bmm, torch.mm)


@dataclass(frozen=True)
class Counts:
    """Parameters in millions and multiply-accumulates in 10⁹ for one image; None: no encoder."""

    params_m: float
    encoder_params_m: float | None
    gmacs_ptflops: float
    encoder_gmacs_ptflops: float | None
    gmacs_full: float


@dataclass(frozen=True)
class Measurement:
    """A forward pass on a machine: median seconds, and MB beside weights and image.

    `peak_memory_mb` is None where the system does not tell (anything but Linux and CUDA).
    """

    seconds: float
    peak_memory_mb: float | None
    device: str
    threads: int


@dataclass(frozen=True)
class Profile:
    """One network at one image size (`size` x `size` pixels, `bands` bands, batch 1)."""

    network: str
    size: int
    bands: int
    counts: Counts
    measured: Measurement


def profile(
    network: nn.Module,
    name: str,
    size: int,
    bands: int = 3,
    device: str = "cpu",
    repeats: int = 5,
) -> Profile:
    """Count and measure one forward pass of a network on a square image.

    Args:
        network: maps (1, bands, size, size) float32 to logits; left as it was.
        name: what to call it.
        size: pixels a side, at least 1.
        bands: bands of the image.
        device: where to run, as torch names it.
        repeats: forward passes to take the median of, at least 1.

    Raises:
        ModelError: `size` or `repeats` is below 1, or the device is not there.
    """
    return Profile(
        name,
        size,
        bands,
        count(network, size, bands),
        measure(network, size, bands, device, repeats),
    )


def count(network: nn.Module, size: int, bands: int = 3) -> Counts:
    """Count on torch's meta device: any size costs neither memory nor arithmetic.

    The encoder is `network.encoder`; networks without that attribute, or with None, have no figure.
    Counted with gradients enabled, in the modules of the paper: inference may take shorter ways.

    Raises:
        ModelError: `size` is below 1.
    """
    _at_least_one(size=size)
    shadow = copy.deepcopy(network).to("meta").eval()
    encoder: nn.Module | None = getattr(shadow, "encoder", None)
    scans = _skip_scans(shadow)
    with (
        torch.enable_grad(),
        FlopCounterMode(display=False) as products,
        _Ptflops(encoder) as ptflops,
    ):
        shadow(torch.zeros(1, bands, size, size, device="meta"))
    return Counts(
        params_m=_params_m(shadow),
        encoder_params_m=None if encoder is None else _params_m(encoder),
        gmacs_ptflops=ptflops.macs / 1e9,
        encoder_gmacs_ptflops=None if encoder is None else ptflops.encoder_macs / 1e9,
        gmacs_full=(products.get_total_flops() / 2 + sum(scans)) / 1e9,
    )


@torch.no_grad()
def measure(
    network: nn.Module, size: int, bands: int = 3, device: str = "cpu", repeats: int = 5
) -> Measurement:
    """Time forward passes in evaluation mode and weigh the first of them.

    A pass over a small image goes before, so that compiled kernels are loaded; memory is that of
    the first pass at full size, since later ones find buffers kept from it.

    Raises:
        ModelError: `size` or `repeats` is below 1, or the device is not there.
    """
    _at_least_one(size=size, repeats=repeats)
    where, was_training = _device(device), network.training
    home = next(network.parameters()).device
    network.to(where).eval()
    try:
        network(torch.zeros(1, bands, 64, 64, device=where))
        image = torch.randn(1, bands, size, size, generator=torch.Generator().manual_seed(0))
        image = image.to(where)
        memory = peak_memory_mb(lambda: network(image), where)
        seconds = median(_seconds(lambda: network(image), where) for _ in range(repeats))
    finally:
        network.to(home).train(was_training)
    return Measurement(seconds, memory, str(where), torch.get_num_threads())


def table(profiles: Iterable[Profile]) -> str:
    """A Markdown table, one line a network and size."""
    lines = [
        "| network | size | params M (encoder) | GMAC ptflops (encoder) | GMAC full | s | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in profiles:
        counts, measured = row.counts, row.measured
        memory = measured.peak_memory_mb
        lines.append(
            f"| {row.network} | {row.size} "
            f"| {counts.params_m:.2f} ({_or_dash(counts.encoder_params_m)}) "
            f"| {counts.gmacs_ptflops:.2f} ({_or_dash(counts.encoder_gmacs_ptflops)}) "
            f"| {counts.gmacs_full:.2f} | {measured.seconds:.3f} "
            f"| {'-' if memory is None else f'{memory:.0f}'} |"
        )
    return "\n".join(lines)


def check_figure(path: Path) -> None:
    """See, before anything is timed, that a figure can be written.

    Raises:
        ModelError: its folder does not exist, or its suffix names no kind of picture.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in kinds:
        raise ModelError(f"{path}: its suffix names no picture; use one of {', '.join(kinds)}")
    if not path.parent.is_dir():
        raise ModelError(f"{path}: there is no folder {path.parent}; make it first")


def figure(profiles: Iterable[Profile], path: Path) -> None:
    """Draw cost against image size, one line a network (LDM-Net Fig. 8, SCGC-Net Fig. 10).

    Args:
        profiles: at least one, of any networks and sizes; memory that is not known is not drawn.
        path: image file, its type by its suffix; replaced whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    rows = list(profiles)
    sizes = sorted({row.size for row in rows})
    drawing = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(drawing)
    panels: dict[str, Callable[[Profile], float | None]] = {
        "GMAC (ptflops)": lambda row: row.counts.gmacs_ptflops,
        "memory beside weights (MB)": lambda row: row.measured.peak_memory_mb,
        f"seconds ({rows[0].measured.device})": lambda row: row.measured.seconds,
    }
    for axes, (title, value) in zip(drawing.subplots(1, 3), panels.items(), strict=True):
        for name in dict.fromkeys(row.network for row in rows):
            costs = {row.size: value(row) for row in rows if row.network == name}
            known = {size: cost for size, cost in sorted(costs.items()) if cost is not None}
            if known:
                axes.plot(list(known), list(known.values()), marker="o", label=name)
        axes.set(xlabel="pixels a side", title=title, xscale="log", yscale="log")
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    axes.legend()  # of the last panel: seconds are known wherever a network ran
    aside = path.with_name(f".{path.stem}.part{path.suffix}")
    drawing.savefig(aside, dpi=150)
    aside.replace(path)


class _Ptflops(TorchFunctionMode):
    """Counts what ptflops 0.7 counts in a network built of torch.nn modules, one pass long.

    ptflops sees a call of nn.GELU, nn.ReLU or a pooling twice, as a module and as the function
    inside; its figures in papers hold both, so they count twice here, module or function. On the
    meta device no tensor has a truth value; checks of values in the network are taken to pass.
    """

    def __init__(self, encoder: nn.Module | None) -> None:
        super().__init__()
        self.macs = self.encoder_macs = 0
        self._encoder = encoder

    def __enter__(self) -> Self:
        self._hooks = [register_module_forward_hook(self._layer)]
        if self._encoder is not None:
            self._hooks.append(self._encoder.register_forward_pre_hook(self._encoder_starts))
            self._hooks.append(self._encoder.register_forward_hook(self._encoder_ends))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__bool__ and args[0].is_meta:
            return True
        answer = func(*args, **(kwargs or {}))
        if func in _ELEMENTWISE:
            self.macs += _ELEMENTWISE[func] * args[0].numel()
        elif func in _NORMS:
            self.macs += 2 * args[0].numel()
        elif func in _PRODUCTS:
            self.macs += args[0].numel() * args[1].shape[-1]
        elif func is F.interpolate:
            self.macs += answer.numel()
        return answer

    def _layer(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(layer, _CONVOLUTION | _TRANSPOSED | nn.Linear):
            return
        spread = inputs[0] if isinstance(layer, _TRANSPOSED) else output
        channels = layer.weight.shape[0]
        self.macs += layer.weight.numel() * spread.numel() // channels
        self.macs += output.numel() if layer.bias is not None else 0

    def _encoder_starts(self, *_: Any) -> None:
        self.encoder_macs -= self.macs

    def _encoder_ends(self, *_: Any) -> None:
        self.encoder_macs += self.macs


def _skip_scans(network: nn.Module) -> list[float]:
    """Replace the four scans of each SS2D by nothing; the list fills with what they would cost."""
    macs: list[float] = []

    def scan(block: SS2D, x: Tensor, valid: Tensor | None) -> Tensor:
        directions, outputs, inner = block.x_proj.shape
        projections = inner * outputs + block.dt_weight[0].numel()
        pixels = x.numel() // inner
        macs.append(pixels * directions * (projections + 9 * inner * block.n_states / 2))
        return torch.empty_like(x)

    for block in network.modules():
        if isinstance(block, SS2D):
            setattr(block, "scan", partial(scan, block))  # noqa: B010
    return macs


def _params_m(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {name!r} is not there: {error}") from error
    return device


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_mb(run: Callable[[], Any], device: torch.device) -> float | None:
    """How far memory in use rose above where it stood, in MB of 10⁶ bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if device.type != "cpu" or not _CLEAR_REFS.exists():
        return None
    gc.collect()
    with suppress(AttributeError):  # glibc only: freed memory it kept would hide what a pass takes
        ctypes.CDLL(None).malloc_trim(0)
    _CLEAR_REFS.write_text("5")  # sets the peak back to what is resident now (proc(5))
    before = _status_kb("VmRSS")
    run()
    return (_status_kb("VmHWM") - before) * 1024 / 1e6


def _status_kb(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def _at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ModelError(f"{name} is {value}; it must be at least 1")


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
