"""Describing a stored inventory, and comparing it with another of the same event."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.world import open_world
from tasks.events.registry import find_aoi
from tasks.inventory.compare import as_compared
from tasks.inventory.quality import AreaMatch, Quality, describe, match_areas
from tasks.inventory.seen import seen_share
from tasks.inventory.store import finest_gsd_m, get_inventory, read_reviewed
from tasks.publish.map_figures import match_figure
from tasks.publish.size_figures import size_figure


@dataclass(frozen=True)
class QualityReport:
    """One version described, compared with another if one was named, and the figures drawn.

    `seen_share` is the part of the event's area of interest that it saw, 0-1.
    """

    event_id: str
    version: int
    seen_share: float
    quality: Quality
    against: int | None
    match: AreaMatch | None
    figures: tuple[Path, ...]


def describe_inventory(
    event_id: str,
    version: int | None = None,
    *,
    against: int | None = None,
    outline_error_m: float | None = None,
    folder: Path | None = None,
) -> QualityReport:
    """Describe an inventory version of an event; figures go to `folder` if there is one.

    Raises:
        EventError, InventoryError: an inventory is not stored, or the two share no ground.
        StorageError: a figure cannot be written.
    """
    with open_world().engine.connect() as connection:
        inventory = get_inventory(connection, event_id, version)
        landslides = read_reviewed(connection, inventory.id)
        other = get_inventory(connection, event_id, against) if against is not None else None
        pair = as_compared(connection, inventory, other) if other else None
        aoi = find_aoi(connection, inventory.event_id)
        gsd_m = finest_gsd_m(connection, inventory)
    error_m = gsd_m / 2 if outline_error_m is None and gsd_m else outline_error_m
    minimum_m2 = inventory.minimum_mapping_unit_m2
    quality = describe(landslides, minimum_m2, error_m)
    match, drawn = None, []
    if other is not None and pair is not None:
        ground = inventory.observed & other.observed
        match = match_areas(*pair, ground)
        if folder:
            names = (f"version {inventory.version}", f"version {other.version}")
            drawn.append(match_figure(folder / "match.png", *pair, ground, names))
    if folder and len(landslides):
        areas = landslides["area_m2"].to_list()
        name = folder / "size_distribution.png"
        drawn.append(size_figure(name, areas, minimum_m2, quality.sizes))
    seen = seen_share(aoi.geometry, inventory.observed)
    return QualityReport(
        inventory.event_id, inventory.version, seen, quality, against, match, tuple(drawn)
    )
