"""Training by a protocol, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.progress import report
from flows.world import code_version, require_room
from models.cards import Card
from tasks.learning.catalog import read_data
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
) -> Card:
    """Train by a protocol; the same call goes on with a run that was stopped.

    Args:
        protocol: name or TOML file.
        data: datasets, `NAME=DIR`.
        out: folder of the run.
        changes: of the protocol, `KEY=VALUE`.
        start: weights to go on from, a name or a file; empty begins anew.
        device: where, as torch names it.

    Raises:
        ModelError: protocol, data or weights cannot be used, or `out` holds another run.
        BadInputError: the device cannot be used.
        StorageError: `out` cannot be written.
    """
    device_of(device)
    how = read_protocol(protocol, changes)
    entries = read_data(data)
    require_room(out)
    run = Run(how, tuple(data), out, start, device, code_version())
    return run_training(run, entries, report)
