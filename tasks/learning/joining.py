"""Weights that answer as one, at a threshold of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.cards import Card, check_name
from models.ensemble import Ensemble
from models.errors import ModelError
from models.samples import Entry
from models.weights import load, save
from tasks.learning.catalog import of_split
from tasks.learning.composing import composed_scenes
from tasks.learning.run import Told, judged, scorer, scores_of, writing_in
from tasks.learning.thresholds import best_threshold, holds_landslide


def join_weights(
    names: Sequence[str | Path], name: str, entries: Sequence[Entry], folder: Path, told: Told,
    device: str = "cpu", numbers: bool = False, composed: int = 0,
) -> Card:  # fmt: skip
    """Write weights that answer with the mean of others' scores (`models.ensemble`), or are a mean.

    Args:
        names: of the weights, by name or file; pixel sizes and normalisation are the first's, and
            of scores how much of a window is landslide is the first's to say.
        name: of what comes out.
        entries: tiles; those of validation choose the threshold, those of test are only scored.
        folder: of what comes out.
        told: stage, done, total.
        device: where.
        numbers: take the mean of the weights' own numbers, those of one named twice counted twice.
            Networks that began alike meet there in one that is no larger, and often better where
            they differ most (Wortsman et al. 2022, model soups).
        composed: scenes composed of each dataset's validation tiles by which the threshold is
            chosen as well (`tasks.learning.composing`); they are not scored.

    Raises:
        ModelError: there are fewer than two that differ, they take different bands, they are
            different networks and a mean of numbers was asked for, the tiles hold nothing to choose
            a threshold by, or there is something of that name already.
        StorageError: the folder cannot be written.
    """
    check_name(name, "--name")
    path = folder / f"{name}.safetensors"
    # The card is written last: without it a joining was killed, and may go on.
    if path.with_suffix(".json").exists():
        raise ModelError(f"{path}: is there already; give another folder or --name")
    networks, cards = zip(*map(load, names), strict=True)
    if len({card.digest for card in cards}) < 2:
        raise ModelError(
            f"{' '.join(map(str, names))}: one alone makes no mean; name two weights or more"
        )
    for each in cards:
        if each.bands != cards[0].bands:
            raise ModelError(
                f"{each.name}: takes {', '.join(each.bands)}, {cards[0].name} takes "
                f"{', '.join(cards[0].bands)}; both must be the same"
            )
    make = _averaged if numbers else _joined
    network, card = make(networks, _told_of(name, cards), cards)
    # In half precision, in which they are kept: several networks are large.
    network = network.eval().half().float()
    splits = {kind: [e for e in entries if e.split == kind] for kind in ("validation", "test")}
    _check_choosable(of_split(entries, "validation"))
    held = [*splits["validation"], *composed_scenes(splits["validation"], card.bands, composed)]
    card = replace(card, threshold=best_threshold(held, scorer(network, card, device)))
    scores = {
        kind: scores_of(network, card, tiles, device, partial(told, f"scoring {kind}"))
        for kind, tiles in splits.items()
        if tiles
    }
    with writing_in(folder):
        return save(network.cpu().half(), judged(card, scores), folder)


def _check_choosable(held: Sequence[Entry]) -> None:
    """See, before anything is scored, that there is something to choose a threshold by."""
    if not holds_landslide(held):
        raise ModelError(
            f"none of the {len(held)} validation tiles of --data holds a landslide to choose a "
            "threshold by; add a dataset whose validation does"
        )


def _told_of(name: str, cards: Sequence[Card]) -> Card:
    """What any of them has seen, the whole has seen."""
    return replace(
        cards[0],
        name=name,
        training_data="; ".join(dict.fromkeys(f"{c.name}: {c.training_data}" for c in cards)),
        licence="; ".join(dict.fromkeys(card.licence for card in cards)),
        regions=tuple(sorted({region for card in cards for region in card.regions})),
        scores={},
        digest="",
    )


def _made_of(cards: Sequence[Card]) -> list[dict[str, Any]]:
    return [{"name": c.name, "digest": c.digest, "recipe": c.recipe} for c in cards]


def _joined(
    networks: Sequence[nn.Module], whole: Card, cards: Sequence[Card]
) -> tuple[nn.Module, Card]:
    members = [{"architecture": c.architecture, "options": _structure(c)} for c in cards]
    return Ensemble(networks), replace(
        whole,
        architecture="ensemble",
        options={"bands": len(whole.bands), "members": members},
        recipe={"mean of": _made_of(cards)},
    )


def _averaged(
    networks: Sequence[nn.Module], whole: Card, cards: Sequence[Card]
) -> tuple[nn.Module, Card]:
    first, *others = ((card.architecture, _structure(card)) for card in cards)
    for card, other in zip(cards[1:], others, strict=True):
        if other != first:
            raise ModelError(
                f"{card.name}: is another network than {cards[0].name} ({card.architecture}, "
                f"{cards[0].architecture}, or its options); the mean of numbers is of weights of "
                "one, leave out --numbers for that of scores"
            )
    states = [network.float().state_dict() for network in networks]
    # What is counted, as batches seen, is no number to take a mean of.
    real = [key for key, value in states[0].items() if value.is_floating_point()]
    mean = {key: torch.stack([state[key] for state in states]).mean(0) for key in real}
    networks[0].load_state_dict(states[0] | mean)
    made = {"average of": _made_of(cards)}
    return networks[0], replace(whole, options=_structure(whole), recipe=made)


def _structure(card: Card) -> dict[str, Any]:
    """The options that say what arrays there are, not what they begin with."""
    return {key: value for key, value in card.options.items() if key != "photographs"}
