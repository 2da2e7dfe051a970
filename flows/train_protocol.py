"""Training by a protocol, and the papers' experiments, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.progress import report
from flows.weights import locate_weights
from flows.world import code_version, require_room
from models.cards import Card
from models.errors import ModelError
from models.samples import Entry
from models.weights import load
from tasks.learning.catalog import read_data
from tasks.learning.experiments import run_experiment
from tasks.learning.joining import join_weights
from tasks.learning.protocol import read_protocol
from tasks.learning.run import Run, run_training
from tasks.mapping.scoring import device_of


def train_protocol(
    protocol: str,
    data: Sequence[str],
    out: Path,
    changes: Sequence[str] = (),
    start: str = "",
    device: str = "cpu",
    teachers: Sequence[str] = (),
) -> Card:
    """Train by a protocol; the same call goes on with a run that was stopped.

    Args:
        protocol: name or TOML file.
        data: datasets, `NAME=DIR`.
        out: folder of the run.
        changes: of the protocol, `KEY=VALUE`.
        start: weights to go on from, a name or a file; empty begins anew.
        device: where, as torch names it.
        teachers: weights whose scores are learnt beside the labels, names or files.

    Raises:
        ModelError: protocol, data or weights cannot be used, or `out` holds another run.
        BadInputError: the device cannot be used.
        StorageError: `out` cannot be written.
    """
    run, entries = _prepared(protocol, data, out, changes, start, device, teachers)
    return run_training(run, entries, report)


def join(
    names: Sequence[str],
    data: Sequence[str],
    out: Path,
    name: str,
    device: str = "cpu",
    numbers: bool = False,
    composed: int = 0,
) -> Card:
    """Make one of several weights: the mean of their scores, at a threshold of its own.

    Args:
        names: of the weights, or their files.
        data: datasets whose validation chooses the threshold, `NAME=DIR`.
        out: folder of what comes out.
        name: of what comes out.
        device: where, as torch names it.
        numbers: the mean of the weights' own numbers instead.
        composed: scenes composed of validation tiles that choose the threshold with them.

    Raises:
        As `train_protocol`.
    """
    device_of(device)
    require_room(out)
    weights = [locate_weights(each) for each in names]
    return join_weights(weights, name, read_data(data), out, report, device, numbers, composed)


def experiment(
    name: str,
    protocol: str,
    data: Sequence[str],
    out: Path,
    changes: Sequence[str] = (),
    seeds: int = 3,
    start: str = "",
    device: str = "cpu",
) -> dict[str, Any]:
    """Run one of the papers' experiments; the same call goes on with one that was stopped.

    Args:
        name: networks, ffn, events, sources, tile-size, incremental or serial.
        protocol: name or TOML file; what its arms have in common.
        data: datasets, `NAME=DIR`.
        out: folder of all runs and of the table.
        changes: of the protocol, `KEY=VALUE`.
        seeds: trainings an arm.
        start: weights that every arm goes on from; empty begins anew.
        device: where, as torch names it.

    Raises:
        As `train_protocol`.
    """
    run, entries = _prepared(protocol, data, out, changes, start, device)
    first = run.protocol.recipe.seed
    return run_experiment(name, run, entries, range(first, first + seeds), report)


def _prepared(
    protocol: str, data: Sequence[str], out: Path, changes: Sequence[str], start: str, device: str,
    teachers: Sequence[str] = (),
) -> tuple[Run, list[Entry]]:  # fmt: skip
    device_of(device)
    how = read_protocol(protocol, changes)
    before = locate_weights(start) if start else ""
    if not how.network:
        if not before:
            raise ModelError(
                f"protocol {how.name!r} takes its network from weights; say with --start from which"
            )
        how = how.going_on_from(load(before)[1])
    entries = read_data(data)
    require_room(out)
    run = Run(
        how, tuple(data), out, before,
        tuple(locate_weights(name) for name in teachers), device, code_version(),
    )  # fmt: skip
    return run, entries
