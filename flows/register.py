"""Registering an event: where to look is decided at once, and both are stored together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.world import open_world
from tasks.errors import AreaError
from tasks.events.aoi import read_aoi
from tasks.events.registry import register
from tasks.events.shaken import magnitude_distance_aoi
from tasks.types import AreaOfInterest, Event


@dataclass(frozen=True)
class Registration:
    """What registering did: `unchanged` if the same event and AOI were there already."""

    event: Event
    aoi: AreaOfInterest
    change: Literal["registered", "updated", "unchanged"]


def register_event(event: Event, aoi_file: Path | None = None) -> Registration:
    """Store an event with its area of interest; the same input twice changes nothing.

    Raises:
        AreaError: the file holds no usable area, or a rainfall event comes without one.
    """
    aoi = _area_of(event, aoi_file)
    with open_world().engine.begin() as connection:
        return Registration(event, aoi, register(connection, event, aoi))


def _area_of(event: Event, aoi_file: Path | None) -> AreaOfInterest:
    if aoi_file is not None:
        return read_aoi(aoi_file, near=event)
    if event.kind == "earthquake":
        return magnitude_distance_aoi(event)
    raise AreaError(
        f"rainfall event {event.id} has no area of interest; give one with --aoi FILE "
        "(GeoJSON or GeoPackage)"
    )
