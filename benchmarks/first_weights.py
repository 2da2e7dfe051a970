"""Score shipped weights anew on Landslide4Sense, beside brightness and red minus green.

    python benchmarks/first_weights.py --data ../shared/data/l4s_rgb

Each tile is normalised by its own statistics. Thresholds come from the train split alone: the
network's is on its card, those of the one-line mappers are tuned here. Writes
benchmarks/results/first_weights.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from models.datasets import hold_out, landslide4sense
from models.training import compare
from models.weights import load

RESULTS = Path(__file__).parent / "results" / "first_weights.json"


def main() -> None:
    """Score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="ldm-net-tiny")
    options = parser.parse_args()
    network, card = load(options.weights)
    learnt, _ = hold_out(landslide4sense(options.data, "train"))
    test = landslide4sense(options.data, "validation")
    magnify = round(test.gsd_m / card.gsd_range_m[1])
    began = time.perf_counter()
    scores = compare(network, magnify, card.threshold, learnt, test)
    record = {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "machine": {"cpu": _cpu(), "threads": torch.get_num_threads(), "torch": torch.__version__},
        "weights": {"name": card.name, "digest": card.digest},
        "magnified": magnify,
        "tiles": len(test),
        "seconds": round(time.perf_counter() - began, 1),
        "scores": scores,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((x.split(":")[1].strip() for x in lines if "model name" in x), platform.processor())


if __name__ == "__main__":
    main()
