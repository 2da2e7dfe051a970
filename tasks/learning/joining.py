"""Weights that answer as one, at a threshold of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from models.cards import Card
from models.ensemble import Ensemble
from models.errors import ModelError
from models.samples import Entry
from models.weights import load, save
from tasks.learning.run import Told, scorer, scores_of
from tasks.learning.thresholds import best_threshold, check_choosable


def join_weights(
    names: Sequence[str | Path], name: str, entries: Sequence[Entry], folder: Path, told: Told,
    device: str = "cpu",
) -> Card:  # fmt: skip
    """Write weights that answer with the mean of others' scores (`models.ensemble`).

    Args:
        names: of the weights, by name or file; pixel sizes and normalisation are the first's, and
            how much of a window is landslide is the first's to say.
        name: of what comes out.
        entries: tiles; those of validation choose the threshold, those of test are only scored.
        folder: of what comes out.
        told: stage, done, total.
        device: where.

    Raises:
        ModelError: there are fewer than two, they take different bands, the tiles hold nothing to
            choose a threshold by, or there is something of that name already.
        StorageError: the folder cannot be written.
    """
    if len(names) < 2:
        raise ModelError(
            f"{' '.join(map(str, names))}: one alone makes no mean; name two weights or more"
        )
    if Path(name).name != name:
        raise ModelError(f"--name {name}: is a path; give a name, and the folder with -o")
    path = folder / f"{name}.safetensors"
    if path.exists():
        raise ModelError(f"{path}: is there already; give another folder or --name")
    networks, cards = zip(*map(load, names), strict=True)
    for each in cards:
        if each.bands != cards[0].bands:
            raise ModelError(
                f"{each.name}: takes {', '.join(each.bands)}, {cards[0].name} takes "
                f"{', '.join(cards[0].bands)}; both must be the same"
            )
    # In half precision, in which they are kept: several networks are large.
    network = Ensemble(networks).eval().half().float()
    card = _joined(name, cards)
    splits = {kind: [e for e in entries if e.split == kind] for kind in ("validation", "test")}
    check_choosable(splits["validation"])
    card = replace(
        card, threshold=best_threshold(splits["validation"], scorer(network, card, device))
    )
    scores = {
        kind: scores_of(network, card, tiles, device, partial(told, f"scoring {kind}"))
        for kind, tiles in splits.items()
        if tiles
    }
    return save(network.cpu().half(), replace(card, scores=scores), folder)


def _joined(name: str, cards: Sequence[Card]) -> Card:
    """What any of them has seen, the whole has seen."""
    return replace(
        cards[0],
        name=name,
        architecture="ensemble",
        options={
            "bands": len(cards[0].bands),
            "members": [{"architecture": c.architecture, "options": _structure(c)} for c in cards],
        },
        training_data="; ".join(f"{card.name}: {card.training_data}" for card in cards),
        licence="; ".join(dict.fromkeys(card.licence for card in cards)),
        regions=tuple(sorted({region for card in cards for region in card.regions})),
        scores={},
        recipe={
            "mean of": [{"name": c.name, "digest": c.digest, "recipe": c.recipe} for c in cards]
        },
        digest="",
    )


def _structure(card: Card) -> dict[str, Any]:
    """The options that say what arrays there are, not what they begin with."""
    return {key: value for key, value in card.options.items() if key != "photographs"}
