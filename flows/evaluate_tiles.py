"""Judging weights on labelled tiles, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.progress import report
from flows.weights import locate_weights
from flows.world import require_room
from models.folding import load_folded
from models.samples import Entry, Sample
from tasks.learning.closeness import guess_gsd_m
from tasks.learning.evaluation import Tally, evaluate
from tasks.learning.scoring import score_sample
from tasks.mapping.memory import reuse_freed_memory
from tasks.mapping.scoring import device_of
from tasks.mapping.windows import WindowPlan
from tasks.publish.evaluation_figures import (
    Example,
    as_markdown,
    curves_figure,
    examples_figure,
)
from tasks.publish.products import write_json, write_text


def evaluate_tiles(
    entries: Sequence[Entry],
    data: str,
    weights: str,
    out: Path | None = None,
    threshold: float | None = None,
    plan: WindowPlan | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Score weights on tiles; with `out`, write table, examples and curves there.

    Args:
        entries: the tiles.
        data: what the tiles are called in the table.
        weights: name or path.
        out: folder for evaluation.json, evaluation.md, examples.png and curves.png.
        threshold: score of a landslide; None for the weights' own.
        plan: windows of large tiles; None for the default.
        device: where the network runs, as torch names it.

    Raises:
        ModelError: the weights or a tile cannot be used.
        BadInputError: the device cannot be used.
        StorageError: `out` cannot be written.
    """
    where = device_of(device)
    if out:
        require_room(out)
    reuse_freed_memory()
    network, card = load_folded(locate_weights(weights))
    score = partial(
        score_sample, network=network.to(where), card=card, plan=plan or WindowPlan(), device=where
    )
    guessed_m: dict[str, float | None] = {}

    def scores(sample: Sample) -> NDArray[np.float32]:
        if sample.gsd_m:
            return score(sample)
        source = sample.source
        if source not in guessed_m:
            alike = [entry for entry in entries if entry.source == source]
            guessed_m[source] = guess_gsd_m(alike, card, score)
        return score(replace(sample, gsd_m=guessed_m[source]))

    level = threshold or card.threshold
    tally = evaluate(entries, scores, level, partial(report, "scoring tiles"))
    summary = {
        **tally.summary(),
        "weights": card.name,
        "digest": card.digest,
        "regions_seen_in_training": list(card.regions),
        "data": data,
        "guessed_gsd_m": {source: size for source, size in guessed_m.items() if size},
    }
    if out:
        _write(out, tally, summary, scores)
    return summary


def _write(
    out: Path,
    tally: Tally,
    summary: dict[str, Any],
    scores: Callable[[Sample], NDArray[np.float32]],
) -> None:
    document = summary | {"tiles": [tile.record for tile in tally.tiles]}
    write_json(out / "evaluation.json", document)
    write_text(out / "evaluation.md", as_markdown(summary))
    curves_figure(out / "curves.png", tally.counts.pr_curve(), summary)
    if ranked := tally.ranked():
        examples = []
        # Of few tiles one may be several of these.
        places = {len(ranked) // 2: "median", len(ranked) - 1: "worst", 0: "best"}
        for place, rank in sorted(places.items()):
            tile = ranked[place]
            sample = tile.entry.read()
            examples.append(Example(rank, sample, scores(sample), tile.pixels.f1))
        examples_figure(out / "examples.png", examples, tally.threshold)
