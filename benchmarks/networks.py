"""LDM-Net beside SegFormer-B4 and beside itself on the reference scan, in one run.

    python benchmarks/networks.py            # on a machine that does nothing else meanwhile
    python benchmarks/networks.py --quick    # small images, to see that it runs, into a temporary
                                             # folder instead of benchmarks/results
    python benchmarks/networks.py --draw     # the figure alone

Writes networks.json, networks_by_size.json and networks.png. Times that are compared are taken in
turns, so that a slower machine, or a busy one, moves both. Growth is measured in a fresh process a
size, where no buffer is left from before.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import record
import torch
from torch import nn

from models import registry
from models.profile import Measurement, Profile, count, figure, measure, profile, table
from models.selective_scan import using

THREADS = 2
SIZES = (256, 512, 768, 1024, 1536, 2048)
DRAWN_SIZES = (256, 512, 1024, 2048)
PATIENCE_S = 6  # after a size that took longer, a network's larger ones are left out
QUICK = (64, 96, 128)
DRAWN = ("ldm-net", "vmamba", "scgc-net-base", "segformer-b4")


def in_turns(networks: dict[str, nn.Module], size: int, rounds: int) -> dict[str, Measurement]:
    """Median seconds of one pass a round; memory of the first round."""
    taken: dict[str, list[Measurement]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            taken[name].append(measure(network, size, repeats=1))
    return {
        name: Measurement(
            median(m.seconds for m in runs), runs[0].peak_memory_mb, "cpu", runs[0].threads
        )
        for name, runs in taken.items()
    }


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of log(value) over log(pixels): 1 where cost is proportional to the image's area."""
    return float(np.polyfit(np.log(np.square(sizes)), np.log(values), 1)[0])


def alone(name: str, size: int) -> Measurement:
    """Measure a network in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure_by_name, name, size).result()


def growth(name: str, sizes: Sequence[int]) -> dict[str, Any]:
    """How time and memory of a forward pass grow from the smallest size to the largest."""
    rows = {size: alone(name, size) for size in sizes}
    memory = [row.peak_memory_mb for row in rows.values() if row.peak_memory_mb]
    return {
        "rows": {size: asdict(row) for size, row in rows.items()},
        "seconds_exponent": exponent(sizes, [row.seconds for row in rows.values()]),
        "memory_exponent": exponent(sizes, memory) if len(memory) == len(sizes) else None,
    }


def _measure_by_name(name: str, size: int) -> Measurement:
    torch.set_num_threads(THREADS)
    return measure(registry.build(name), size, repeats=3)


def compare(size: int, rounds: int) -> dict[str, Any]:
    """Full LDM-Net against SegFormer-B4 with a head of 256, and against its own reference scan."""
    networks = {
        "ldm-net": registry.build("ldm-net"),
        "segformer-b4-256": registry.build("segformer-b4", head=256),
    }
    measured = in_turns(networks, size, rounds)
    with using("reference"):
        reference = measure(networks["ldm-net"], size, repeats=1)
    ours = measured["ldm-net"]
    return {
        "size": size,
        "measured": {name: asdict(row) for name, row in measured.items()},
        "reference_scan": asdict(reference),
        "counts": {name: asdict(count(network, size)) for name, network in networks.items()},
        "seconds_over_segformer": ours.seconds / measured["segformer-b4-256"].seconds,
        "times_faster_than_reference": reference.seconds / ours.seconds,
    }


def draw(names: Sequence[str], sizes: Sequence[int], path: Path) -> list[Profile]:
    """Cost of networks over sizes, as a figure and a table on the terminal."""
    profiles: list[Profile] = []
    for name in names:
        network = registry.build(name)
        for size in sizes:
            profiles.append(profile(network, name, size, repeats=1))
            if profiles[-1].measured.seconds > PATIENCE_S:
                break
    figure(profiles, path)
    print(table(profiles))
    return profiles


def main() -> None:
    """Run all of it, or a quick look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images, to see that it runs")
    parser.add_argument("--draw", action="store_true", help="only costs over sizes")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    about = record.machine() | {"threads": THREADS, "torch": torch.__version__}
    folder = Path(tempfile.mkdtemp()) if asked.quick else record.RESULTS
    if not asked.draw:
        results = {
            "machine": about,
            "compare": compare(64 if asked.quick else 512, rounds=2 if asked.quick else 7),
            "growth": growth("ldm-net", QUICK if asked.quick else SIZES),
        }
        print(json.dumps(results, indent=2))
        if not asked.quick:
            print("written to", record.write("networks", results))
    drawn = draw(DRAWN, QUICK if asked.quick else DRAWN_SIZES, folder / "networks.png")
    if not asked.quick:
        costs = {"machine": about, "profiles": [asdict(row) for row in drawn]}
        print("written to", record.write("networks_by_size", costs))


if __name__ == "__main__":
    main()
