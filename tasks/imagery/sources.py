"""Where scenes come from: a STAC API or catalog, a folder of images, or one image."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tasks.imagery.folder import read_folder
from tasks.imagery.rasters import is_remote
from tasks.imagery.stac import search_stac
from tasks.types import AreaOfInterest, Scene


def find_scenes(
    source: str,
    aoi: AreaOfInterest,
    start: datetime,
    end: datetime,
    collections: Sequence[str] | None = None,
) -> list[Scene]:
    """Find the scenes of any source that meet an area and a span of time.

    Args:
        source: URL of a STAC API or catalog; path of a `catalog.json`, of a folder that holds one,
            of a folder of GeoTIFFs, or of one GeoTIFF.
        aoi: the area the scenes must meet.
        start: first moment of acquisition, with its time zone.
        end: last moment of acquisition ("as of"), with its time zone.
        collections: STAC collection ids to look in; all if None.

    Returns:
        Scenes in order of acquisition. Images without a date are among them, last: the operator
        who names a file says that it is of the event.

    Raises:
        CatalogError: the source does not hold what it must.
        RasterError: a local file is missing, truncated or without CRS.
        TransientError: the server timed out, dropped or answered 429 or 5xx.
    """
    path = Path(source)
    if is_remote(source) or path.suffix == ".json":
        return search_stac(source, aoi, start, end, collections)
    if (path / "catalog.json").is_file():
        return search_stac(path / "catalog.json", aoi, start, end, collections)
    scenes = [
        scene
        for scene in read_folder(path)
        if scene.footprint.intersects(aoi.geometry)
        and (scene.acquired_at is None or start <= scene.acquired_at <= end)
    ]
    return sorted(scenes, key=lambda scene: (scene.acquired_at or end, scene.id))
