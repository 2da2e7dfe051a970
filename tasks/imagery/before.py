"""The ground before an event, on the grid of the image of the ground after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio
from odc.geo.geobox import GeoBox

from tasks.imagery.coregister import Shift, measure_shift
from tasks.imagery.mosaic import prepare_mosaic
from tasks.types import AreaOfInterest, Doubt, Mosaic, Scene


@dataclass(frozen=True)
class Before:
    """The prepared image, and how far it lay off the one after; None where that is not known."""

    path: Path
    shift: Shift | None


def prepare_before(
    scenes: Sequence[Scene], aoi: AreaOfInterest, after: Path, folder: Path
) -> Before:
    """Put scenes from before the event on the grid of a mosaic of those after it.

    Where they lie over 0.3 px off it, they are read anew from where they lie, so that they are
    resampled once.

    Args:
        scenes: from before the event, the one preferred first.
        aoi: the area.
        after: the mosaic of the event.
        folder: where `mosaic.tif` and `scene_index.tif` are written or replaced.

    Raises: see `tasks.imagery.mosaic.prepare_mosaic`.
    """
    with rasterio.open(after) as image:
        grid = GeoBox(image.shape, image.transform, image.crs.to_wkt())
    mosaic: Mosaic = prepare_mosaic(scenes, aoi, folder, grid=grid)
    shift = measure_shift(mosaic.path, after)
    if shift and shift.is_worth_moving:
        moved = (shift.east_px, shift.south_px)
        mosaic = prepare_mosaic(scenes, aoi, folder, grid=grid, moved_px=moved)
    return Before(mosaic.path, shift)


def shift_doubt(before: Before) -> Doubt | None:
    """What a reader must know of how the images before and after lie on each other."""
    shift = before.shift
    if shift is None or not shift.is_sure:
        text = "how well the images before and after the event lie on each other cannot be told"
        return Doubt("images-displaced", text)
    if not shift.is_worth_moving:
        return None
    metres = shift.length_px * shift.pixel_m
    text = (
        f"the images before the event lay {shift.length_px:.1f} px ({metres:.1f} m) off those "
        "after it and were moved by as much"
    )
    return Doubt("images-displaced", text)
