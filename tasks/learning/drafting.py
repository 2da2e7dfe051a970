"""The card of weights that are to be trained: what they will have seen, before any score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.augmentation import NORMALISATION
from models.cards import ANY_GSD_M, Card
from models.datasets import REGIONS
from models.normalisation import quantiles_of
from models.samples import Entry, Sample
from tasks.learning.protocol import Protocol
from tasks.learning.scoring import normalised

# Of so many tiles, and of each so many pixels: all of large ones would take gigabytes.
_QUANTILE_TILES, _QUANTILE_PX = 200, 256 * 256


def drafted(
    protocol: Protocol, recipe: Mapping[str, Any], network: nn.Module, learnt: Sequence[Entry],
    before: Card | None, teachers: Sequence[Card],
) -> Card:  # fmt: skip
    """The card before any score; its normalisation keeps quantiles of tiles learnt from.

    Args:
        protocol: how weights are trained.
        recipe: what the card says of that.
        network: as built.
        learnt: the tiles.
        before: of the weights that are gone on from; None begins anew.
        teachers: of those that it is taught by.

    Raises:
        ModelError: a tile cannot be read or lacks a band.
    """
    draft = _of_protocol(protocol, recipe, network, learnt)
    return _with_teachers(_with_before(draft, before) if before else draft, teachers)


def _of_protocol(
    protocol: Protocol, recipe: Mapping[str, Any], network: nn.Module, learnt: Sequence[Entry]
) -> Card:
    described = getattr(network, "description", None)
    seen = [entry.read() for entry in islice(learnt, 0, None, -(-len(learnt) // _QUANTILE_TILES))]
    card = Card(
        name=protocol.name,
        architecture="ldm-net" if described else protocol.network,
        options=described or {"bands": len(protocol.bands), **protocol.options},
        bands=protocol.bands,
        gsd_range_m=_gsd_range(seen, protocol),
        training_data=", ".join(sorted({entry.source for entry in learnt})),
        licence=protocol.licence,
        regions=_regions(learnt),
        threshold=protocol.threshold or 0.5,
        normalisation=NORMALISATION,
        recipe=recipe,
    )
    return replace(card, normalisation=replace(NORMALISATION, quantiles=_quantiles(seen, card)))


def _with_before(draft: Card, before: Card) -> Card:
    """What the weights that were gone on from had seen is seen by what became of them."""
    ranges = draft.gsd_range_m, before.gsd_range_m
    return replace(
        draft,
        gsd_range_m=(min(low for low, _ in ranges), max(high for _, high in ranges)),
        training_data=f"{before.training_data}; then {draft.training_data}",
        regions=tuple(sorted({*before.regions, *draft.regions})),
        recipe={**draft.recipe, "before": {"name": before.name, "digest": before.digest}},
    )


def _with_teachers(draft: Card, teachers: Sequence[Card]) -> Card:
    """What teachers had seen is seen by whom they taught."""
    if not teachers:
        return draft
    taught = ", ".join(f"{card.name} ({card.training_data})" for card in teachers)
    return replace(
        draft,
        training_data=f"{draft.training_data}; taught by {taught}",
        regions=tuple(sorted({*draft.regions, *(r for card in teachers for r in card.regions)})),
        recipe={
            **draft.recipe,
            "teachers": [{"name": card.name, "digest": card.digest} for card in teachers],
        },
    )


def _quantiles(samples: Sequence[Sample], card: Card) -> tuple[tuple[float, ...], ...]:
    wide = replace(card, normalisation=replace(NORMALISATION, clip=np.inf))
    values = [_thinned(normalised(s, wide)[:, s.valid]) for s in samples if s.valid.any()]
    return quantiles_of(np.concatenate(values, axis=1))


def _thinned(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of pixels (bands, n) as many as are kept of a tile, evenly."""
    return pixels[:, :: -(-pixels.shape[1] // _QUANTILE_PX)].copy()


def _gsd_range(samples: Sequence[Sample], protocol: Protocol) -> tuple[float, float]:
    """Finest and coarsest pixel the network sees; any where no tile says."""
    if protocol.recipe.gsd_m:
        return protocol.recipe.gsd_m
    seen = [
        sample.gsd_m * (max(sample.mask.shape) / protocol.resize if protocol.resize else 1)
        for sample in samples
        if sample.gsd_m
    ]
    if not seen:
        return ANY_GSD_M
    low, high = protocol.recipe.scales
    return min(seen) / max(high, 1), max(seen) / min(low, 1)


def _regions(learnt: Sequence[Entry]) -> tuple[str, ...]:
    """Where tiles come from, so that nobody takes a map of there for an independent test."""
    named = {entry.event for entry in learnt if entry.event}
    if any(entry.source in ("l4s_rgb", "landslide4sense") for entry in learnt):
        named |= set(REGIONS)
    return tuple(sorted(named))
