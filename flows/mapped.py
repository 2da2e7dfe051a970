"""What a mapping leaves behind for what follows it."""

from __future__ import annotations

from dataclasses import dataclass

from flows.scores import Rasters
from models.cards import Card
from tasks.imagery.waits import Wait
from tasks.inventory.store import StoredInventory
from tasks.types import AreaOfInterest, Event, Provenance, Scene, SceneJudgement


@dataclass(frozen=True)
class Imagery:
    """What was looked at, and the scenes that show the ground before the event, latest first."""

    judgements: tuple[SceneJudgement, ...]
    before: tuple[Scene, ...]
    incidents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mapped:
    """An inventory, and everything that was looked at for it.

    `before` are the scenes that show the ground before the event, the one preferred first.
    """

    event: Event
    aoi: AreaOfInterest
    judgements: tuple[SceneJudgement, ...]
    card: Card
    provenance: Provenance
    rasters: Rasters
    inventory: StoredInventory
    wait: Wait | None = None
    before: tuple[Scene, ...] = ()
