"""The score of an event: what decides it, and the earlier scores that it goes on from.

When later scenes show ground that nobody had seen, the score made before stays as it is and only
the new ground is mapped: the score is the last of a chain, each link named by its own digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from flows.cluster import scorer
from flows.options import ResponseOptions
from flows.progress import report
from flows.world import World
from infra.settings import Settings
from models.cards import Card
from tasks.errors import BadInputError
from tasks.imagery.before import prepare_before, shift_doubt
from tasks.imagery.mosaic import find_mosaic, prepare_mosaic
from tasks.imagery.normalise import like_image, like_training
from tasks.inventory.runs import MadeBefore
from tasks.mapping.segment import segment_scene
from tasks.mapping.vectorise import write_mask
from tasks.mapping.windows import WindowPlan, usual_overlap
from tasks.types import AreaOfInterest, Doubt, Mosaic, Provenance, Scene

# Raised when a change of code changes what the same inputs give, so that old products are redone.
METHOD_VERSION = 2
# What a run's record calls the score its inventory was outlined from, and the one that goes on.
SCORE, GOES_ON = "score", "continues score"


@dataclass(frozen=True)
class Link:
    """A score by what decides it, and the scenes it is of, the one preferred first.

    `reference` are the scenes from before the event whose radiometry the image is given, if any.
    """

    provenance: Provenance
    scenes: tuple[Scene, ...]
    reference: tuple[Scene, ...] = ()


@dataclass(frozen=True)
class Rasters:
    """What an inventory is outlined from: the image, the score and the mask, all on disk."""

    mosaic: Mosaic
    score: Path
    mask: Path
    doubts: tuple[Doubt, ...] = ()


def score_chain(
    event_id: str,
    aoi: AreaOfInterest,
    used: Sequence[Scene],
    card: Card,
    options: ResponseOptions,
    before: Sequence[MadeBefore] = (),
    reference: tuple[Scene, ...] = (),
) -> list[Link]:
    """What decides the score of scenes, and the scores it goes on from, the oldest first.

    It goes on from the score of the newest inventory that was made in the same way from the first
    of these scenes; with no scenes beside those, it is that score.

    Args:
        event_id: the event.
        aoi: the area.
        used: scenes, the one preferred first.
        card: of the weights.
        options: what the operator chose.
        before: what inventories of the event were made from by these weights, the newest first.
        reference: scenes from before the event whose radiometry the image is given.
    """
    made_of = [scene.id for scene in used]
    for number, made in enumerate(before):
        first = used[: len(made.scene_ids)]
        if tuple(made_of[: len(first)]) != made.scene_ids:
            continue
        goes_on = made.inputs.get(GOES_ON)
        same = score_provenance(event_id, aoi, first, card, options, goes_on, reference)
        older = [one for one in before[number + 1 :] if one.parameters.get(SCORE) == goes_on]
        if same.digest != made.parameters.get(SCORE) or (goes_on and not older):
            continue
        chain = [Link(same, tuple(first), reference)]
        if goes_on:
            part = used[: len(older[0].scene_ids)]
            rest = before[before.index(older[0]) :]
            chain = [*score_chain(event_id, aoi, part, card, options, rest, reference), *chain]
        if len(first) == len(used):
            return chain
        whole = score_provenance(event_id, aoi, used, card, options, same.digest, reference)
        return [*chain, Link(whole, tuple(used), reference)]
    whole = score_provenance(event_id, aoi, used, card, options, None, reference)
    return [Link(whole, tuple(used), reference)]


def score_provenance(
    event_id: str,
    aoi: AreaOfInterest,
    used: Sequence[Scene],
    card: Card,
    options: ResponseOptions,
    goes_on: str | None = None,
    reference: Sequence[Scene] = (),
) -> Provenance:
    """Everything that decides score and mask; the order of the scenes used counts too."""
    inputs = {"aoi": aoi.digest}
    inputs |= {f"scene {i} {scene.id}": scene.checksum for i, scene in enumerate(used, start=1)}
    inputs |= {GOES_ON: goes_on} if goes_on else {}
    inputs |= {f"like {i} {scene.id}": scene.checksum for i, scene in enumerate(reference, start=1)}
    parameters: dict[str, Any] = {
        "method_version": METHOD_VERSION,
        "threshold": options.threshold or card.threshold,
        "window_px": options.window_px,
    }
    if options.normalise != "none":
        parameters["normalise"] = options.normalise
    return Provenance(event_id, inputs, parameters, card.digest)


def make_rasters(
    world: World,
    aoi: AreaOfInterest,
    chain: Sequence[Link],
    network: torch.nn.Module,
    card: Card,
) -> Rasters:
    """Prepare the mosaic, score it and threshold it; what is already on disk is kept."""
    *earlier, link = chain
    provenance = link.provenance
    folder = world.work(provenance.event_id, provenance.digest)
    report("preparing imagery", 0, 1)
    # Named by what decides it, scenes and area among them, so that what is there is of these.
    mosaic = find_mosaic(link.scenes, aoi, folder) or prepare_mosaic(link.scenes, aoi, folder)
    report("preparing imagery", 1, 1)
    image, doubts = _normalised(mosaic.path, aoi, link, card)
    score, mask = folder / "score.tif", folder / "mask.tif"
    tags = {"SCARP_EVENT": provenance.event_id, "SCARP_DIGEST": provenance.digest}
    size = provenance.parameters["window_px"]
    if not score.exists():
        kept = _kept(world, aoi, earlier, network, card)
        with scorer() as score_bands:
            segment_scene(
                image,
                network,
                card,
                score,
                plan=WindowPlan(size, usual_overlap(size)),
                tags=tags,
                progress=partial(report, "mapping landslides"),
                device=Settings().device,
                scorer=score_bands,
                kept=kept,
            )
    if not mask.exists():
        write_mask(score, mask, provenance.parameters["threshold"], tags)
    return Rasters(mosaic, score, mask, doubts)


def check_normalise(options: ResponseOptions, card: Card) -> None:
    """Refuse weights that do not say what their training pixels were like, where that is asked.

    Raises:
        BadInputError: see above.
    """
    if options.normalise == "training" and not card.normalisation.quantiles:
        raise BadInputError(
            f"--normalise training: the card of {card.name} holds no quantiles of its training "
            "pixels; choose none or before, or other weights"
        )


def _normalised(
    image: Path, aoi: AreaOfInterest, link: Link, card: Card
) -> tuple[Path, tuple[Doubt, ...]]:
    """The image with the radiometry that was asked for, which the network then reads."""
    how = link.provenance.parameters.get("normalise")
    made = image.with_name("normalised.tif")
    if how == "training":
        return like_training(image, card.bands, card.normalisation.quantiles, made), ()
    if how != "before":
        return image, ()
    if not link.reference:
        text = "no scene from before the event is clear: the image was mapped as it is"
        return image, (Doubt("not-normalised", text),)
    before = prepare_before(link.reference, aoi, image, image.parent / "before")
    return like_image(image, before.path, made), tuple(filter(None, [shift_doubt(before)]))


def _kept(
    world: World,
    aoi: AreaOfInterest,
    earlier: Sequence[Link],
    network: torch.nn.Module,
    card: Card,
) -> Path | None:
    """The score that a chain's last one goes on from, made again where somebody cleared it away."""
    if not earlier:
        return None
    last = earlier[-1].provenance
    score = world.work(last.event_id, last.digest) / "score.tif"
    return score if score.exists() else make_rasters(world, aoi, earlier, network, card).score
