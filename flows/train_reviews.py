"""Better weights from what reviewers said: a candidate, judged on blocks held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from flows.progress import report
from flows.weights import locate_weights
from flows.world import code_version, open_world, require_room
from models.cards import CURRENT, Card
from models.samples import Entry
from models.weights import load
from tasks.errors import InventoryError
from tasks.imagery.mosaic import prepare_mosaic
from tasks.inventory.store import get_inventory, read_review_states, scenes_of
from tasks.learning.catalog import of_split
from tasks.learning.protocol import Protocol, read_protocol
from tasks.learning.reviews import review_blocks
from tasks.learning.run import Run, run_training, scores_of
from tasks.mapping.scoring import device_of
from tasks.publish.products import write_json
from tasks.types import AreaOfInterest


@dataclass(frozen=True)
class Candidate:
    """Weights that learnt from reviews, and how they and those before score on the same blocks."""

    weights: Path
    before: str
    learnt_blocks: int
    test_blocks: int
    candidate_scores: dict[str, Any]
    before_scores: dict[str, Any]

    @property
    def better(self) -> bool:
        """Whether the candidate's pooled F1 on held-out blocks is higher."""
        both = (self.candidate_scores, self.before_scores)
        ours, theirs = (float(scores["micro"]["f1"] or 0) for scores in both)
        return ours > theirs


def train_from_reviews(
    event_id: str,
    out: Path,
    version: int | None = None,
    start: str = CURRENT,
    changes: Sequence[str] = (),
    block_px: int = 128,
    device: str = "cpu",
) -> Candidate:
    """Go on from weights with an inventory's reviews, and judge both on blocks held out.

    Nothing else changes: the weights in use and the inventory stay until somebody promotes the
    candidate. The same call goes on with a run that was stopped.

    Args:
        event_id: whose inventory.
        out: folder of the run: mosaic, candidate with its card, candidate.json.
        version: of the inventory; None for the published one.
        start: weights to go on from.
        changes: of the protocol `reviews`, `KEY=VALUE`.
        block_px: side of a block of ground.
        device: where, as torch names it.

    Raises:
        EventError, InventoryError: there is no such version, or it was mapped from no scene.
        RasterError: a scene it was mapped from is no longer there.
        ModelError: too little was reviewed, or `out` holds another run.
        BadInputError: the device cannot be used.
        StorageError: `out` cannot be written.
    """
    device_of(device)
    require_room(out)
    with open_world().engine.connect() as connection:
        stored = get_inventory(connection, event_id, version)
        scenes, outlines = scenes_of(connection, stored), read_review_states(connection, stored.id)
    if not scenes:
        raise InventoryError(
            f"version {stored.version} of {event_id} was mapped from no scene here, so that there "
            "are no pixels to learn from; review an inventory that `scarp respond` made"
        )
    weights = locate_weights(start)
    network, card = load(weights)
    image = prepare_mosaic(scenes, AreaOfInterest(stored.observed, "given"), out).path
    entries = review_blocks(image, outlines, event_id, block_px)
    protocol = _protocol(card, entries[0], event_id, changes)
    data = (f"reviews of {event_id} version {stored.version}: {_counted(outlines)}",)
    run = Run(protocol, data, out, weights, device=device, commit=code_version())
    learnt = run_training(run, entries, report)
    tests = of_split(entries, "test")
    before = scores_of(network, card, tests, device, partial(report, "scoring the weights before"))
    found = Candidate(
        out / f"{learnt.name}.safetensors", card.name, len(entries) - len(tests), len(tests),
        dict(learnt.scores["test"]), before,
    )  # fmt: skip
    record = {
        "event": event_id, "version": stored.version, "better": found.better,
        "learnt_blocks": found.learnt_blocks, "test_blocks": found.test_blocks,
        "candidate": {"weights": learnt.name, "digest": learnt.digest,
                      "scores": found.candidate_scores},
        "before": {"weights": card.name, "digest": card.digest, "scores": before},
    }  # fmt: skip
    write_json(out / "candidate.json", record)
    return found


def _protocol(card: Card, block: Entry, event_id: str, changes: Sequence[str]) -> Protocol:
    """The protocol of the weights' own network, at the pixel size at which they look."""
    how = read_protocol("reviews", changes)
    sample = block.read()
    gsd = card.working_gsd_m(sample.gsd_m) if sample.gsd_m else None
    recipe = how.recipe
    if gsd and recipe.gsd_m:
        recipe = replace(recipe, gsd_m=(gsd, gsd))
    return replace(
        how.going_on_from(card),
        name=f"{card.name}-{event_id}",
        threshold=how.threshold or card.threshold,
        recipe=recipe,
    )


def _counted(outlines: Any) -> str:
    counts = outlines["review_state"].value_counts().to_dict()
    return ", ".join(f"{counts[state]} {state}" for state in sorted(counts))
