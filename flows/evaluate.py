"""Judging one stored inventory by another."""

from __future__ import annotations

from dataclasses import dataclass

from flows.world import open_world
from tasks.inventory.compare import as_compared
from tasks.inventory.store import finest_gsd_m, get_inventory
from tasks.mapping.evaluate import Agreement, compare_inventories

DEFAULT_RESOLUTION_M = 10.0


@dataclass(frozen=True)
class Evaluation:
    """Which versions were compared, and how well they agree; `scores` repeats the headline."""

    event_id: str
    version: int
    reference: int
    scores: dict[str, float]
    agreement: Agreement


def evaluate_inventory(
    event_id: str, reference: int, version: int | None = None, resolution_m: float | None = None
) -> Evaluation:
    """Compare two inventory versions of an event where both looked, `as_compared`.

    Raises:
        EventError, InventoryError: an inventory is not stored, or they share no ground.
    """
    with open_world().engine.connect() as connection:
        judged = get_inventory(connection, event_id, version)
        truth = get_inventory(connection, event_id, reference)
        agreement = compare_inventories(
            *as_compared(connection, judged, truth),
            judged.observed & truth.observed,
            resolution_m or finest_gsd_m(connection, judged) or DEFAULT_RESOLUTION_M,
        )
    pixels = agreement.pixels
    scores = {name: getattr(pixels, name) for name in ("precision", "recall", "f1", "iou")}
    scores["object_recall"] = agreement.object_recall
    return Evaluation(judged.event_id, judged.version, truth.version, scores, agreement)
