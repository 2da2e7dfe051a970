"""Tiles of a susceptibility map as it is stored, whichever map the products of its event show."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from fastapi import Depends, HTTPException

from console.service.products import EventId, raster_tiles
from console.web.access import needs
from flows.world import open_world
from tasks.susceptibility.store import StoredSusceptibility, list_susceptibility


def rasters_of(stored: StoredSusceptibility) -> dict[str, str]:
    """Where the tiles of a map are asked for, by layer, what is shown first at the top.

    A raster that the map does not have, or that is gone from the disk, is not among them.
    """
    at = f"/events/{stored.event_id}/susceptibility/maps/{stored.id}"
    return {layer: f"{at}/{layer}" for layer in _paths(stored)}


def _paths(stored: StoredSusceptibility) -> dict[str, Path]:
    paths = {
        "susceptibility_classes": stored.classes_path,
        "susceptibility": stored.path,
        "susceptibility_uncertainty": stored.uncertainty_path,
        "susceptibility_applicability": stored.applicability_path,
    }
    return {layer: path for layer, path in paths.items() if path and path.is_file()}


def _raster(event_id: EventId, map_id: UUID, layer: str) -> str:
    with open_world().engine.connect() as connection:
        maps = list_susceptibility(connection, event_id)
    found = next((_paths(one) for one in maps if one.id == map_id), {})
    if layer not in found:
        raise HTTPException(404, f"event {event_id} has no map {map_id} with the raster {layer!r}")
    return str(found[layer])


router = raster_tiles(
    "/events/{event_id}/susceptibility/maps/{map_id}/{layer}", _raster, [Depends(needs("viewer"))]
)
