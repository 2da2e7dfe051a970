"""Processes that share a machine: threads that wait let others run."""

import os
import subprocess
import sys

import pytest


def spins(module, **environment):
    """How many turns OpenMP's threads wait for each other, as it says itself when it is loaded."""
    told = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    words = [sys.executable, "-c", f"import {module}"]
    environment = {**told, **environment, "OMP_DISPLAY_ENV": "verbose"}
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in said.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert lines, "nothing loaded OpenMP"
    return {line.split("'")[1] for line in lines}


@pytest.mark.parametrize(
    "module",
    ["models.training", "tasks.mapping.scoring", "tasks.susceptibility.forest", "flows.scores"],
)
def test_threads_that_wait_give_way_soon(module):
    assert spins(module) == {"3000"}


def test_who_says_how_long_threads_wait_is_heard():
    assert spins("models.training", GOMP_SPINCOUNT="7") == {"7"}
