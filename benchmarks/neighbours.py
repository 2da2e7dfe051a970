"""Two processes at once on one machine: what each takes for what it would do alone.

    python benchmarks/neighbours.py             # on a machine that does nothing else meanwhile
    python benchmarks/neighbours.py --rounds 1  # to see that it runs; writes nothing

The default network scores windows, or learns from small tiles, alone and beside another process
that does the same, with threads that wait as OpenMP has it and as Scarp sets it
(`models/__init__.py`). `slower` is the median time of two at once over that of one alone: 2 where
one alone keeps every core busy. Writes neighbours.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

import record
import torch

from models.weights import load

VARIABLE = "GOMP_SPINCOUNT"
WAITS = {"as OpenMP has it": "300000", "as Scarp sets it": os.environ[VARIABLE]}
ROUNDS, PASSES = 5, 10


def score() -> None:
    """Score one window of 512 pixels."""
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, 512, 512))


def learn() -> None:
    """Learn a step from 8 tiles of 96 pixels."""
    network.train()(torch.zeros(8, 3, 96, 96)).square().mean().backward()
    network.zero_grad()


WORK = {"score": score, "learn": learn}


def seconds(work: str, spins: str, processes: int) -> float:
    """What the slowest of some processes takes for its passes, all of them begun together."""
    words = [sys.executable, __file__, "--work", work]
    environment = {**os.environ, VARIABLE: spins}
    running = [
        subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return max(float(process.communicate()[0]) for process in running)


def wait_and_work(work: str) -> None:
    """A process of its own: be ready, wait for a word, work, tell how long it took."""
    WORK[work]()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    for _ in range(PASSES):
        WORK[work]()
    print(time.perf_counter() - start)


def compare(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Median seconds of one alone and of two at once, every way taking its turn in every round."""
    taken: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(rounds):
        for work in WORK:
            for wait, spins in WAITS.items():
                for processes in (1, 2):
                    one = seconds(work, spins, processes)
                    taken.setdefault((work, wait, processes), []).append(one)
                    print(f"{work}, {wait}, {processes} at once: {one:.2f} s", flush=True)
    return {
        work: {
            wait: {
                "alone_s": (alone := median(taken[work, wait, 1])),
                "two_s": (two := median(taken[work, wait, 2])),
                "slower": two / alone,
            }
            for wait in WAITS
        }
        for work in WORK
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        network = load("unet-rgb")[0].float()
        wait_and_work(chosen.work)
    else:
        machine = record.machine()
        measured = compare(chosen.rounds)
        print(json.dumps(measured, indent=2))
        if chosen.rounds >= ROUNDS:
            record.write("neighbours", {"machine": machine, "passes": PASSES, "work": measured})
