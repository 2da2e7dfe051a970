"""Training a network where a worker has the time: the deployment `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.ending import end_promptly
from flows.steps import step
from flows.world import open_world, require_room
from models.first_weights import fit
from models.recipes import Recipe

NAME = "train"


@flow(name=NAME)
def train(
    data: Path,
    out: Path | None = None,
    configuration: str = "tiny",
    epochs: Annotated[int, Field(ge=1, le=1000)] = Recipe.epochs,
    seed: Annotated[int, Field(ge=0)] = Recipe.seed,
    start: str = "",
) -> str:
    """Train an LDM-Net on Landslide4Sense; a run that was killed goes on after its last epoch.

    Args:
        data: folder of the tiles, train.npz and validation.npz, on the worker's machine.
        out: folder for weights and card; by default trained/<configuration> in SCARP_HOME.
        configuration: of LDM-Net: tiny, small, compact or full.
        epochs: passes over the tiles.
        seed: of everything random.
        start: weights to go on from, a name or a file; empty begins anew.

    Raises:
        ModelError: the data, the configuration or the weights to start from cannot be used.
        StorageError: the folder cannot be written.
    """
    end_promptly()
    folder = out or open_world().home / "trained" / configuration
    require_room(folder)
    card = step(fit, hours=168)(
        data, folder, configuration, Recipe(epochs=epochs, seed=seed), start
    )
    scored = card.scores["landslide4sense-validation"]["network"]
    rows = "\n".join(f"| {name} | {value} |" for name, value in scored.items())
    create_markdown_artifact(
        f"## {card.name}\n\n`{card.digest}` in `{folder}`\n\n| validation | |\n|---|---|\n{rows}\n",
        key="trained",
        description=f"{card.name}, {epochs} epochs",
    )
    return f"{card.name} sha256:{card.digest} in {folder}"
