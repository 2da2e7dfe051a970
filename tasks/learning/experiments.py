"""The papers' experiments: arms that differ in one thing, trained and scored alike."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, permutations
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from models.batches import KEPT_BYTES
from models.errors import ModelError
from models.registry import build
from models.samples import Entry, Sample, Split, moved, tiles_of
from models.weights import load
from tasks.learning.catalog import of_split
from tasks.learning.leaks import digest_of
from tasks.learning.protocol import Protocol
from tasks.learning.run import Run, Told, claim, run_training, scorer, scores_of
from tasks.learning.scenes import TEST_EVENTS
from tasks.learning.thresholds import best_threshold
from tasks.publish.products import write_json, write_text

SHARES = (0.0, 0.01, 0.05, 0.1, 0.2)
_HELD_SHARE = 0.1
_MOST_ORDERS = 6
# Into how many a side a tile is cut, for the effect of its size.
_PARTS = (1, 2, 4)


@dataclass(frozen=True)
class Arm:
    """One training of an experiment.

    Attributes:
        name: what differs from the other arms.
        protocol: how to train.
        entries: the tiles, each in the split it has here; without any to learn from, the weights
            that the experiment starts from are scored as they are.
        chosen: whether weights that are scored as they are get their threshold from the tiles for
            validation instead of their card, as those that are trained may.
    """

    name: str
    protocol: Protocol
    entries: tuple[Entry, ...]
    chosen: bool = False


def networks(protocol: Protocol, entries: Sequence[Entry]) -> list[Arm]:
    """The protocol's network, the same with a plain feed-forward network, U-Net and SegFormer.

    The last two as wide as comes nearest the first in parameters.
    """
    target = _size(protocol.network, protocol)
    arms = ffn(protocol, entries)
    for name, more in (("unet", {}), ("segformer-b0", {"head": 64})):
        widths = range(4, 129, 2)
        options = [{"width": width, **more} for width in widths]
        sizes = [_size(name, replace(protocol, options=each)) for each in options]
        nearest = options[int(np.argmin([abs(size - target) for size in sizes]))]
        arms.append(Arm(name, replace(protocol, network=name, options=nearest), tuple(entries)))
    return arms


def ffn(protocol: Protocol, entries: Sequence[Entry]) -> list[Arm]:
    """LDM-Net with its G_FFN and with VMamba's feed-forward network (LDM-Net, Table 2).

    Raises:
        ModelError: the protocol's network is no LDM-Net.
    """
    if not protocol.network.startswith("ldm-net"):
        raise ModelError(
            f"{protocol.name}: trains {protocol.network!r}; G_FFN is a part of LDM-Net, "
            "so give a protocol of that"
        )
    kinds = {"G_FFN": "global", "plain FFN": "mlp"}
    return [
        Arm(name, replace(protocol, options={**protocol.options, "ffn": kind}), tuple(entries))
        for name, kind in kinds.items()
    ]


def events(protocol: Protocol, entries: Sequence[Entry]) -> list[Arm]:
    """Each event, or dataset that names none, tested on by what all others taught (Table 3).

    Tiles without an event in a dataset that names some, as Bijie's without landslides, are no
    event: nobody could say what was never seen of them. `TEST_EVENTS` are tested on by all.
    """
    naming = {entry.source for entry in entries if entry.event}
    events_of = [e.event or ("" if e.source in naming else e.source) for e in entries]
    names = sorted(set(events_of) - {""})
    if len(names) < 2:
        raise ModelError(f"the data hold one event alone ({', '.join(names)}); add another")
    return [
        Arm(
            f"never seen: {name}",
            protocol,
            tuple(
                moved(entry, split=_split_without(entry, event == name))
                for entry, event in zip(entries, events_of, strict=True)
            ),
        )
        for name in names
    ]


def _split_without(entry: Entry, is_unseen: bool) -> Split:
    if is_unseen or entry.source in TEST_EVENTS:
        return "test"
    return "train" if entry.split == "test" else entry.split


def sources(protocol: Protocol, entries: Sequence[Entry]) -> list[Arm]:
    """Each dataset alone and all together, scored on all of them (GDCLD, Tables 7-8)."""
    names = sorted({entry.source for entry in of_split(entries, "train")})
    if len(names) < 2:
        raise ModelError(f"the data are one dataset ({names[0]}); add another to mix")
    kept = {"all": set(names), **{f"{name} alone": {name} for name in names}}
    return [
        Arm(
            title,
            protocol,
            tuple(e for e in entries if e.split != "train" or e.source in chosen),
        )
        for title, chosen in kept.items()
    ]


def tile_size(protocol: Protocol, entries: Sequence[Entry]) -> list[Arm]:
    """Smaller tiles, as many more of them that a step sees as many pixels (LDM-Net, Table 5)."""
    recipe = protocol.recipe
    if recipe.crop < _PARTS[-1]:
        raise ModelError(
            f"crop = {recipe.crop} cannot be cut into {_PARTS[-1]} a side; set {_PARTS[-1]} or more"
        )
    return [
        Arm(
            f"{recipe.crop // part} px",
            replace(
                protocol,
                recipe=replace(recipe, crop=recipe.crop // part, batch=recipe.batch * part**2),
            ),
            tuple(entries),
        )
        for part in _PARTS
    ]


def incremental(protocol: Protocol, entries: Sequence[Entry], block_px: int = 128) -> list[Arm]:
    """0, 1, 5, 10 and 20 % of a new region's blocks to learn from (SCGC-Net, Fig. 8).

    The region is what the data keep for testing, cut into blocks of ground. A tenth of the blocks
    is validation; all arms of a seed are tested on the same others. Tiles are seen at the region's
    own pixel size. Where the protocol chooses the threshold, so does a second arm of 0 %: what
    blocks teach is what is gained on that one.
    """
    tests = of_split(entries, "test")
    blocks = _apart([block for entry in tests for block in blocks_of(entry, block_px)])
    order = np.random.default_rng(protocol.recipe.seed).permutation(len(blocks))
    shuffled = [blocks[number] for number in order]
    pool = shuffled[: round(max(SHARES) * len(blocks))]
    held = shuffled[len(pool) :][: max(1, round(_HELD_SHARE * len(blocks)))]
    rest = shuffled[len(pool) + len(held) :]
    if not pool or not rest:
        raise ModelError(f"the region is {len(blocks)} blocks of {block_px} pixels: too few")
    gsd = pool[0].read().gsd_m
    if gsd and protocol.recipe.gsd_m:
        protocol = replace(protocol, recipe=replace(protocol.recipe, gsd_m=(gsd, gsd)))
    arms = []
    for share in SHARES:
        count = max(1, round(share * len(blocks))) if share else 0
        entries_of = [
            *(moved(block, split="train") for block in pool[:count]),
            *(moved(block, split="validation") for block in held),
            *(moved(block, split="test") for block in rest),
        ]
        name = f"{share:.0%} of the blocks"
        arms.append(Arm(name, protocol, tuple(entries_of)))
        if not share and not protocol.threshold:
            arms.append(Arm(f"{name}, threshold chosen", protocol, tuple(entries_of), chosen=True))
    return arms


def serial(protocol: Protocol, entries: Sequence[Entry]) -> list[Arm]:
    """Datasets one after the other, in several orders (LMHLD, Table 7).

    Raises:
        ModelError: the protocol mixes its datasets, or there is one alone.
    """
    if protocol.serial is None:
        raise ModelError(f"{protocol.name}: mixes its datasets; give a serial one: lmhld-part")
    names = sorted({entry.source for entry in of_split(entries, "train")})
    if len(names) < 2:
        raise ModelError(f"the data are one dataset ({names[0]}); add another to order")
    return [
        Arm(
            " → ".join(order),
            protocol,
            tuple(sorted(entries, key=lambda e: order.index(e.source) if e.source in order else 0)),
        )
        for order in islice(permutations(names), _MOST_ORDERS)
    ]


EXPERIMENTS: dict[str, Callable[[Protocol, Sequence[Entry]], list[Arm]]] = {
    "networks": networks,
    "ffn": ffn,
    "events": events,
    "sources": sources,
    "tile-size": tile_size,
    "incremental": incremental,
    "serial": serial,
}


def run_experiment(
    name: str, run: Run, entries: Sequence[Entry], seeds: Sequence[int], told: Told
) -> dict[str, Any]:
    """Train and score every arm with every seed, each in a folder of its own.

    What is done is not done again, so that an experiment that was stopped goes on.

    Args:
        name: of `EXPERIMENTS`.
        run: what all arms have in common, and the folder of all.
        entries: the tiles of its data.
        seeds: one training an arm each.
        told: stage, done, total.

    Returns:
        The table, which also lies in the folder as <name>.json and <name>.md.

    Raises:
        ModelError: there is no such experiment, or it does not go with protocol, data or weights.
        StorageError: the folder cannot be written.
    """
    if name not in EXPERIMENTS:
        raise ModelError(f"no experiment is called {name!r}; choose from {', '.join(EXPERIMENTS)}")
    kept = remembered(entries)
    arms = [
        (seed, arm)
        for seed in seeds
        for arm in EXPERIMENTS[name](
            replace(run.protocol, recipe=replace(run.protocol.recipe, seed=seed)), kept
        )
    ]
    claim(run, digest_of(kept), [load(run.start)[1].digest] if run.start else [])
    rows = []
    folders = _folders({arm.name for _, arm in arms})
    for seed, arm in arms:
        folder = run.folder / f"{folders[arm.name]}-{seed}"
        one = replace(run, protocol=arm.protocol, folder=folder)
        found = _scores(arm, one, partial(_told, told, f"{arm.name}, seed {seed}"))
        rows.append({"arm": arm.name, "seed": seed, **found})
    summary = {"experiment": name, **run.named, "commit": run.commit, "arms": rows}
    _write(run.folder, summary)
    return summary


def remembered(entries: Sequence[Entry]) -> list[Entry]:
    """The same tiles, read once and kept while there is room: every arm reads them again."""
    kept: dict[int, Sample] = {}
    room = KEPT_BYTES

    def read(number: int) -> Sample:
        nonlocal room
        if number not in kept:
            sample = entries[number].read()
            size = sample.image.nbytes + sample.mask.nbytes + sample.valid.nbytes
            if size > room:
                return sample
            room -= size
            kept[number] = sample
        return kept[number]

    return [replace(entry, read=partial(read, i)) for i, entry in enumerate(entries)]


def _apart(blocks: Iterable[Entry]) -> list[Entry]:
    """Blocks without those that show ground of one before, as blocks of cuts that overlap do."""
    kept, seen = [], defaultdict[tuple[str, str], list[tuple[slice, slice]]](list)
    for block in blocks:
        if block.place:
            picture, *there = block.place
            before = seen[block.source, picture]
            if any(_overlap(there, other) for other in before):
                continue
            before.append((there[0], there[1]))
        kept.append(block)
    return kept


def _overlap(one: Sequence[slice], other: Sequence[slice]) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def blocks_of(entry: Entry, block_px: int) -> list[Entry]:
    """A tile cut into blocks, each with half a block around it; those nobody saw are left out."""
    sample = entry.read()
    places = tiles_of(sample.mask.shape, block_px)

    def cut(whole: Sample, place: tuple[slice, ...]) -> Sample:
        return replace(
            whole, name=f"{whole.name}[{place[0].start}:, {place[1].start}:]",
            image=whole.image[:, *place], mask=whole.mask[place], valid=whole.valid[place],
            footprint=None,
        )  # fmt: skip

    def read(place: tuple[slice, slice]) -> Sample:
        whole = entry.read()
        wide = tuple(slice(max(0, p.start - block_px // 2), p.stop + block_px // 2) for p in place)
        rows, columns = (
            slice(p.start - w.start, p.stop - w.start) for p, w in zip(place, wide, strict=True)
        )
        return replace(cut(whole, place), around=cut(whole, wide), within=(rows, columns))

    return [
        replace(entry, name=f"{entry.name}/{place[0].start}-{place[1].start}",
                read=partial(read, place), group="", place=_shifted(entry.place, place))
        for place in places
        if sample.valid[place].any()
    ]  # fmt: skip


def _shifted(
    whole: tuple[str, slice, slice] | None, part: tuple[slice, slice]
) -> tuple[str, slice, slice] | None:
    """Where a part of a cut lies in the picture."""
    if whole is None:
        return None
    picture, *there = whole
    rows, columns = (
        slice(w.start + p.start, w.start + p.stop) for w, p in zip(there, part, strict=True)
    )
    return picture, rows, columns


def _scores(arm: Arm, run: Run, told: Told) -> dict[str, Any]:
    """Train an arm, or score the weights it starts from, or read what was found before."""
    path = run.folder / "scores.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    if any(entry.split == "train" for entry in arm.entries):
        card = run_training(run, arm.entries, told)
        network, _ = load(run.folder / f"{card.name}.safetensors")
        scores = dict(card.scores)
    elif run.start:
        network, card = load(run.start)
        if arm.chosen:
            held = of_split(arm.entries, "validation")
            score = scorer(network, card, run.device)
            card = replace(card, threshold=best_threshold(held, score))
        tests = of_split(arm.entries, "test")
        scores = {"test": scores_of(network, card, tests, run.device, partial(told, "scoring"))}
    else:
        raise ModelError(f"{arm.name}: learns nothing; say with --start which weights to score")
    found = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "tiles": sum(entry.split == "train" for entry in arm.entries),
        "scores": scores,
    }
    write_json(path, found)
    return found


def _write(folder: Path, summary: dict[str, Any]) -> None:
    write_json(folder / f"{summary['experiment']}.json", summary)
    write_text(folder / f"{summary['experiment']}.md", as_table(summary))


def as_table(summary: dict[str, Any]) -> str:
    """Threshold, pooled F1 and IoU of every arm on every dataset: means over seeds, F1's range."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in summary["arms"]:
        for split, scores in row["scores"].items():
            for source, each in scores["sources"].items():
                found.setdefault((row["arm"], split, source), []).append(
                    each | {"threshold": scores["threshold"]}
                )
    lines = [
        f"# {summary['experiment']}\n",
        "Landslide class, pooled pixels: mean over seeds (range of seeds); 95 % of bootstraps over "
        "tiles, mean over seeds.\n",
        "| arm | split | dataset | seeds | threshold "
        "| F1 | F1 interval | IoU | macro F1 | macro PR-AUC |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (arm, split, source), runs in found.items():
        f1 = [r["micro"]["f1"] for r in runs if r["micro"]["f1"] is not None]
        ends = [pair for r in runs if (pair := r["intervals"]["micro"]["f1"])]
        low, high = zip(*ends, strict=True) if ends else ((), ())
        lines.append(
            f"| {arm} | {split} | {source} | {len(runs)} "
            f"| {np.mean([r['threshold'] for r in runs]):.2f} "
            f"| {_mean(f1)}{f' ({min(f1):.3f}-{max(f1):.3f})' if f1 else ''} "
            f"| {f'{_mean(low)}-{_mean(high)}' if ends else '–'} "
            f"| {_mean([r['micro']['iou'] for r in runs])} "
            f"| {_mean([r['macro']['f1'] for r in runs])} | {_mean([r['pr_auc'] for r in runs])} |"
        )
    return "\n".join(lines) + "\n"


def _mean(values: Iterable[float | None]) -> str:
    """Of those that are defined, as a cell; a dash where none is, which is no score of 0."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "–"


def _size(network: str, protocol: Protocol) -> int:
    with torch.device("meta"):
        built = build(network, len(protocol.bands), **protocol.options)
    return sum(p.numel() for p in built.parameters())


def _folders(names: Collection[str]) -> dict[str, str]:
    """What the folder of each arm is called: the name without odd letters, told from all others."""
    plain = {name: "".join(c if c.isalnum() else "-" for c in name) for name in names}
    alike = Counter(plain.values())
    return {
        name: short if alike[short] == 1 else f"{short}-{crc32(name.encode()):08x}"
        for name, short in plain.items()
    }


def _told(told: Told, arm: str, stage: str, done: int, total: int) -> None:
    told(f"{arm}: {stage}", done, total)
