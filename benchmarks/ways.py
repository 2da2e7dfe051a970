"""Ways to make the full LDM-Net faster on a CPU that were tried, beside the way it runs.

    python benchmarks/ways.py            # on a machine that does nothing else meanwhile
    python benchmarks/ways.py --size 128 # to see that it runs; writes nothing

Every way takes its turn in every round, on the same image; `speedup` is the plain way's median time
over its own, and `error` the largest difference of its logits, as a share of the largest logit.
Those that need the process set up otherwise run in one of their own, with the plain way in turns.
Writes ways.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from statistics import median

import record
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import registry
from models.vss import Norm

THREADS, ROUNDS = 2, 7
# name: what is set in the environment of a process that runs the plain way
ENVIRONMENTS = {
    "plain in a process of its own": {},
    "glibc keeps freed memory": {
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "4000000000",
        "MALLOC_TOP_PAD_": "268435456",
    },
    "threads pinned to cores": {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"},
    "threads wait without spinning": {"OMP_WAIT_POLICY": "passive"},
}

Way = Callable[[Tensor], Tensor]


def bfloat16(network: nn.Module) -> Way:
    """Products in bfloat16 where autocast allows; the scan stays in float32."""

    def run(image: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out: Tensor = network(image)
        return out.float()

    return run


def int8(network: nn.Module) -> Way:
    """The encoder's linear layers in int8, quantised as the activations come."""
    layers = {
        f"encoder.{name}"
        for name, layer in network.get_submodule("encoder").named_modules()
        if isinstance(layer, nn.Linear)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves quantisation to another package
        quantised: Way = torch.ao.quantization.quantize_dynamic(network, layers, dtype=torch.qint8)
    return quantised


def compiled(network: nn.Module) -> Way:
    """TorchInductor: fuses norms, gates and activations; the scan stays one operator."""
    return torch.compile(network)


def norms_in_place(network: nn.Module) -> Way:
    """LayerNorm without the conversions to float32 that other precisions need."""
    for module in network.modules():
        if isinstance(module, Norm):
            module.forward = nn.LayerNorm.forward.__get__(module)  # type: ignore[method-assign]
    return network


def channels_first(network: nn.Module) -> Way:
    """Depthwise convolutions in torch's own layout; everywhere else channels stay last."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = lambda x, m=module: F.conv2d(  # type: ignore[method-assign, misc]
                x.contiguous(), m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups
            )
    return network


WAYS: dict[str, Callable[[nn.Module], Way]] = {
    "bfloat16 autocast": bfloat16,
    "int8 linear layers": int8,
    "torch.compile": compiled,
    "depthwise convolutions channels-first": channels_first,
    "norms without conversion": norms_in_place,
}


def take_turns(ways: dict[str, Way], image: Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds, speed-up and error of each way; the first is what they are held against."""
    outputs = {name: way(image) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(image)
            seconds[name].append(time.perf_counter() - start)
    plain, *_ = ways
    wanted = outputs[plain]
    return {
        name: {
            "seconds": median(taken),
            "speedup": median(seconds[plain]) / median(taken),
            "error": float((outputs[name] - wanted).abs().max() / wanted.abs().max()),
        }
        for name, taken in seconds.items()
    }


def in_process(size: int, rounds: int) -> dict[str, dict[str, float]]:
    """The ways that change the network, and the plain one."""
    network = plain_network()
    ways: dict[str, Way] = {"plain": network}
    ways |= {name: make(copy.deepcopy(network)) for name, make in WAYS.items()}
    return take_turns(ways, test_image(size), rounds)


def in_environments(size: int, rounds: int) -> dict[str, float]:
    """Median seconds of the plain way under each environment, rounds in turns."""
    command = [sys.executable, __file__, "--size", str(size), "--plain"]
    taken: dict[str, list[float]] = {name: [] for name in ENVIRONMENTS}
    for _ in range(rounds):
        for name, changes in ENVIRONMENTS.items():
            ran = subprocess.run(
                command, env=os.environ | changes, check=True, capture_output=True, text=True
            )
            taken[name].append(float(ran.stdout))
    return {name: median(seconds) for name, seconds in taken.items()}


def plain_network() -> nn.Module:
    """The full LDM-Net, its calibration switched on as training would."""
    torch.manual_seed(0)
    network = registry.build("ldm-net").eval()
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter, std=0.1)
    return network


def test_image(size: int) -> Tensor:
    """Pixels that depend on the size alone."""
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def main() -> None:
    """Run all of it, or one plain measurement for `in_environments`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    if asked.plain:
        own = take_turns({"plain": plain_network()}, test_image(asked.size), 5)
        print(own["plain"]["seconds"])
        return
    results = {
        "machine": record.machine() | {"threads": THREADS, "torch": torch.__version__},
        "size": asked.size,
        "ways": in_process(asked.size, ROUNDS),
        "seconds_in_environments": in_environments(asked.size, 3),
    }
    print(json.dumps(results, indent=2))
    if asked.size == parser.get_default("size"):
        print("written to", record.write("ways", results))


if __name__ == "__main__":
    main()
