"""Judging an inventory where a worker has the time: the deployment `evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.evaluate import evaluate_inventory
from flows.steps import step

NAME = "evaluate"


@flow(name=NAME)
def evaluate(
    event_id: str,
    reference: Annotated[int, Field(ge=1)],
    version: Annotated[int | None, Field(ge=1)] = None,
    resolution_m: Annotated[float | None, Field(gt=0)] = None,
) -> dict[str, Any]:
    """Compare two inventory versions of an event on the ground both looked at.

    Args:
        event_id: the event both belong to.
        reference: version taken as true, such as an import.
        version: version to judge; by default the published one.
        resolution_m: pixel of the comparison; by default the scene's.

    Raises:
        EventError, InventoryError: an inventory is not stored, or they share no ground.
    """
    found = step(evaluate_inventory, hours=2)(event_id, reference, version, resolution_m)
    pair = f"version {found.version} against {found.reference}"
    rows = "\n".join(f"| {name.replace('_', ' ')} | {v:.3f} |" for name, v in found.scores.items())
    create_markdown_artifact(
        f"## {event_id}: {pair}\n\n| score | |\n|---|---|\n{rows}\n\n"
        f"{found.agreement.compared_km2:.2f} km² compared.\n",
        key="evaluation",
        description=f"{event_id}: {pair}",
    )
    return {"version": found.version, "reference": found.reference, **found.scores}
