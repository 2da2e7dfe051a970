"""Score shipped weights anew on Landslide4Sense, beside brightness and red minus green.

    python benchmarks/first_weights.py --data ../shared/data/l4s_rgb

Each tile is normalised by its own statistics. Thresholds come from the train split alone: the
network's is on its card, those of the one-line mappers are tuned here. Writes
benchmarks/results/first_weights.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import record
import torch

from models.datasets import hold_out, landslide4sense
from models.first_weights import compare
from models.weights import load


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
    about = record.machine()
    result = {
        "machine": about | {"threads": torch.get_num_threads(), "torch": torch.__version__},
        "weights": {"name": card.name, "digest": card.digest},
        "magnified": magnify,
        "tiles": len(test),
        "seconds": round(time.perf_counter() - began, 1),
        "scores": scores,
    }
    print(json.dumps(result, indent=2))
    print("written to", record.write("first_weights", result))


if __name__ == "__main__":
    main()
