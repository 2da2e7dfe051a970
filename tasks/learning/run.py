"""One training run in one folder: config, log, checkpoint, curves, weights with their card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.batches import Cuts
from models.cards import Card
from models.errors import ModelError
from models.metrics import Confusion, confusion
from models.registry import build
from models.samples import Entry, Sample, group_of, moved
from models.training import Progress, train
from models.weights import load, save
from tasks.learning.catalog import of_split
from tasks.learning.drafting import drafted
from tasks.learning.evaluation import evaluate
from tasks.learning.leaks import check_apart
from tasks.learning.protocol import Protocol, Serial
from tasks.learning.scoring import by_scene, score_sample
from tasks.learning.thresholds import best_threshold, check_choosable, holds_landslide
from tasks.mapping.memory import reuse_freed_memory
from tasks.mapping.windows import WindowPlan
from tasks.publish.products import held as held_folder
from tasks.publish.products import storage_error, write_json, write_text
from tasks.publish.training_figures import learning_figure

_HELD_EVERY = 10
# What of a run's config is a digest, and of what.
_CHANGED = {"tiles": "tiles, masks or reviews", "weights": "weights"}
Told = Callable[[str, int, int], None]
Score = NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """What is to be trained, where, on what; the same run given again goes on.

    Attributes:
        protocol: how.
        data: the datasets as given, `NAME=DIR`.
        folder: of everything that comes out.
        start: weights to go on from, a name or a file; empty begins anew.
        teachers: weights whose scores are learnt beside the labels.
        device: where.
        commit: of the code.
    """

    protocol: Protocol
    data: tuple[str, ...]
    folder: Path
    start: str = ""
    teachers: tuple[str, ...] = ()
    device: str = "cpu"
    commit: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """What decides the outcome, for JSON."""
        return {
            "protocol": json.loads(json.dumps(self.protocol.record)),
            "data": list(self.data),
            "start": self.start,
            **({"teachers": list(self.teachers)} if self.teachers else {}),
        }

    @property
    def named(self) -> dict[str, Any]:
        """The record without folders, for what leaves this machine."""
        data = [word.partition("=")[0] for word in self.data]
        return {**self.record, "data": data, "start": Path(self.start).stem}


def split_entries(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Tiles to learn from, to choose on and to test on.

    Where no dataset keeps tiles for validation, every tenth group of those to learn from is held
    out: tiles of a group lie on the same ground.

    Raises:
        ModelError: there is nothing to learn from, or too little to hold some of it out.
    """
    learnt = of_split(entries, "train")
    held = [entry for entry in entries if entry.split == "validation"]
    if not held:
        groups = list(dict.fromkeys(group_of(entry) for entry in learnt))
        chosen = set(groups[_HELD_EVERY - 1 :: _HELD_EVERY] or groups[1:][-1:])
        held = [moved(e, split="validation") for e in learnt if group_of(e) in chosen]
        learnt = [entry for entry in learnt if group_of(entry) not in chosen]
    if not held:
        raise ModelError(
            "the split 'validation' is empty and the data are one group of tiles, so that none can "
            "be held out; add a dataset"
        )
    return learnt, held, [entry for entry in entries if entry.split == "test"]


def _check_teachable(learnt: Sequence[Entry]) -> None:
    """See, before anything is trained, that there is a landslide to learn.

    Weights that are gone on from know landslides, and may learn from ground that shows none.

    Raises:
        ModelError: no tile to learn from holds a landslide.
    """
    if not holds_landslide(learnt):
        raise ModelError(
            f"none of the {len(learnt)} tiles to learn from holds a landslide; see that the "
            "masks are theirs, or add tiles that do"
        )


def run_training(run: Run, entries: Sequence[Entry], told: Told) -> Card:
    """Train by a protocol, score on what was held out, and write weights with their card.

    Everything lies in the run's folder: config.json, training.jsonl and curves.png (after every
    epoch; stage-0.jsonl, stage-0.png and so on of a serial one), the checkpoints from which a
    killed run goes on, and <name>.safetensors with its card.

    Args:
        run: what and where.
        entries: the tiles of its data.
        told: stage, done, total.

    Raises:
        ModelError: the data or the protocol cannot be used, tiles of two splits lie on each other,
            or the folder holds another run, or one that is under way.
        StorageError: the folder cannot be written.
    """
    protocol, recipe = run.protocol, run.protocol.recipe
    reuse_freed_memory()
    learnt, held, tests = split_entries(entries)
    before = _loaded(run.start, protocol) if run.start else None
    teachers = [_loaded(name, protocol) for name in run.teachers]
    torch.manual_seed(recipe.seed)
    network = build(protocol.network, len(protocol.bands), **protocol.options)
    if before:
        _continue_from(network, before[0], run.start)
    if not before:
        _check_teachable(learnt)
    if not protocol.threshold:
        check_choosable(held)
    tiles = check_apart(
        [*learnt, *held, *tests], partial(told, "comparing tiles"), protocol.bands,
        f"weights {protocol.name!r}",
    )  # fmt: skip
    cards = [card for _, card in ([before] if before else []) + teachers]
    claim(run, tiles, [card.digest for card in cards])
    draft = drafted(
        protocol, {**run.named, "commit": run.commit}, network, learnt,
        before[1] if before else None, [card for _, card in teachers],
    )  # fmt: skip
    nets = [net for net, _ in teachers]
    with writing_in(run.folder):
        for number, stage in enumerate(_stages(protocol.serial, learnt)):
            _train_stage(run, network, draft, number, stage, held, nets, told)
        if not protocol.threshold:
            score = scorer(network, draft, run.device)
            draft = replace(draft, threshold=best_threshold(held, score))
        scores = {
            name: scores_of(network, draft, some, run.device, partial(told, f"scoring {name}"))
            for name, some in (("validation", held), ("test", tests))
            if some
        }
        return save(network.cpu(), judged(draft, scores), run.folder)


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Keep others from a folder until the block ends, and say why it cannot be written.

    Raises:
        ModelError: another command is at work there.
        StorageError: the folder cannot be written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held_folder(folder):
            yield
    except BlockingIOError as error:
        raise ModelError(
            f"{folder}: another command is at work there; wait until it ends, or give another "
            "folder"
        ) from error
    except OSError as error:
        raise storage_error(folder, error) from error


def _stages(serial: Serial | None, learnt: Sequence[Entry]) -> list[list[Entry]]:
    """All tiles at once, or source by source, and event by event where there is one source."""
    if serial is None:
        return [list(learnt)]
    several = len({entry.source for entry in learnt}) > 1
    stages: dict[str, list[Entry]] = {}
    for entry in learnt:
        stages.setdefault(entry.source if several else entry.event, []).append(entry)
    return list(stages.values())


def _train_stage(
    run: Run, network: nn.Module, card: Card, number: int, tiles: list[Entry],
    held: list[Entry], teachers: list[nn.Module], told: Told,
) -> None:  # fmt: skip
    protocol, serial = run.protocol, run.protocol.serial
    recipe = protocol.recipe
    if serial:
        side = max(tiles[0].read().mask.shape)
        recipe = replace(recipe, crop=min(side, recipe.crop))
        if number:
            # Of the seed alone, so that a run that was killed draws the same.
            torch.manual_seed(recipe.seed + number)
            _restart_input(network, serial.input)
            _freeze(network, serial.shallow[:number])
    name = f"stage-{number}" if serial else "training"
    cuts = Cuts(tiles, protocol.bands, protocol.resize, partial(by_scene, card=card))
    progress = Progress(
        judge=lambda judged: _f1(judged, card, held, run.device),
        epoch=partial(_log, run.folder, name),
        step=partial(told, f"training {number + 1}" if serial else "training"),
    )
    checkpoint = run.folder / f"{name}.checkpoint"
    train(network, cuts, recipe, checkpoint, torch.device(run.device), progress, teachers)


def scorer(network: nn.Module, card: Card, device: str) -> Callable[[Sample], Score]:
    where = torch.device(device)
    ready = network.eval().to(where)
    return partial(score_sample, network=ready, card=card, plan=WindowPlan(), device=where)


def _f1(network: nn.Module, card: Card, held: Sequence[Entry], device: str) -> float:
    """Pooled F1 of the landslide class on validation; 0 where it is undefined."""
    score = scorer(network, card, device)
    pooled = Confusion(0, 0, 0, 0)
    for entry in held:
        sample = entry.read()
        mapped = score(sample) >= card.threshold
        pooled += confusion(sample.mask & sample.valid, mapped, sample.valid)
    return 0.0 if isnan(pooled.f1) else pooled.f1


def scores_of(
    network: nn.Module, card: Card, tiles: Sequence[Entry], device: str,
    each: Callable[[int, int], None],
) -> dict[str, Any]:  # fmt: skip
    """Scores of a network on tiles as a card keeps them, pooled and by dataset."""
    tally = evaluate(tiles, scorer(network, card, device), card.threshold, each)
    summary = tally.summary()
    kept = ("macro", "micro", "pr_auc", "sureness", "n_tiles", "n_excluded", "intervals")
    sources = {}
    for name in sorted({tile.source for tile in tiles}):
        own = [tile for tile in tally.tiles if tile.entry.source == name]
        found = replace(tally, tiles=own).summary()
        sources[name] = {key: found[key] for key in kept}
    return {
        "data": sorted(sources),
        "threshold": card.threshold,
        **{key: summary[key] for key in kept},
        "sources": sources,
    }


def judged(card: Card, scores: dict[str, Any]) -> Card:
    """A card with its scores, and with how sure the network is of ground held out of training."""
    held = scores.get("validation", {"sources": {}})["sources"].values()
    sure = mean(found["sureness"] for found in held) if held else None
    return replace(card, scores=scores, sureness=sure)


def claim(run: Run, tiles: str, weights: Sequence[str]) -> None:
    """Write what is run into its folder, or see that it is the same run.

    Args:
        run: what and where.
        tiles: digest of what its data hold.
        weights: digests of those that it goes on from, or is taught by.

    Raises:
        ModelError: the folder holds another run, or this one of what has changed since.
    """
    path = run.folder / "config.json"
    found = {"tiles": tiles, "weights": list(weights)}
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{path}: is not the config of a run ({error})") from error
        if not isinstance(there, dict):
            raise ModelError(f"{path}: is not the config of a run; give another folder")
        kept = {key: there.pop(key, None) for key in found}
        before = {key: value for key, value in there.items() if key not in ("device", "commit")}
        if differing := _differing(before, run.record):
            key, was, wanted = differing
            raise ModelError(
                f"{run.folder} holds another run: {key} = {json.dumps(was)} there and "
                f"{json.dumps(wanted)} here; give another folder, or the same command to go on"
            )
        changed = [what for key, what in _CHANGED.items() if kept[key] != found[key]]
        if changed:
            raise ModelError(
                f"{run.folder} was begun with other {' and other '.join(changed)} than now lie "
                "under the same names; put back those, or give another folder"
            )
        return
    write_json(path, run.record | found | {"device": run.device, "commit": run.commit})


def _differing(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key that two records differ in, dotted, and what each has; None of what is not."""
    for key in {**other, **one}:
        was, wanted = one.get(key), other.get(key)
        if isinstance(was, dict) and isinstance(wanted, dict):
            if inner := _differing(was, wanted):
                name, was, wanted = inner
                return f"{key}.{name}", was, wanted
        elif was != wanted:
            return key, was, wanted
    return None


def _log(folder: Path, name: str, history: list[dict[str, float]]) -> None:
    """The epochs so far as JSON lines, and drawn."""
    log = "training.jsonl" if name == "training" else f"{name}.jsonl"
    write_text(folder / log, "".join(json.dumps(row) + "\n" for row in history))
    learning_figure(folder / ("curves.png" if name == "training" else f"{name}.png"), history)


def _loaded(name: str, protocol: Protocol) -> tuple[nn.Module, Card]:
    network, card = load(name)
    if card.bands != protocol.bands:
        raise ModelError(
            f"{name}: takes {', '.join(card.bands)}, the protocol "
            f"{', '.join(protocol.bands)}; both must be the same"
        )
    return network, card


def _continue_from(network: nn.Module, before: nn.Module, name: str) -> None:
    try:
        network.load_state_dict(before.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{name}: does not fit the protocol's network ({reason})") from error


def _restart_input(network: nn.Module, name: str) -> None:
    try:
        layer = network.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"serial.input: the network has no part {name!r}") from error
    for part in layer.modules():
        if isinstance(part, nn.Conv2d):
            part.reset_parameters()


def _freeze(network: nn.Module, names: Sequence[str]) -> None:
    for name in names:
        try:
            block = network.get_submodule(name)
        except AttributeError as error:
            raise ModelError(f"serial.shallow: the network has no part {name!r}") from error
        block.requires_grad_(False)
