"""The STAC Item that describes an event's products to other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pystac
from shapely.geometry import mapping

from tasks.publish.products import write_text
from tasks.types import AreaOfInterest, Event, Scene

_COG, _PNG = pystac.MediaType.COG, pystac.MediaType.PNG
VERSION_FIELD = "scarp:inventory_version"
ASSETS = {
    "score.tif": (_COG, "Landslide score, 0-1", "data"),
    "mask.tif": (_COG, "Landslide mask: 1 landslide, 0 none", "data"),
    "before.tif": (_COG, "Picture of the ground before the event", "visual"),
    "after.tif": (_COG, "Picture of the ground after the event", "visual"),
    "hillshade.tif": (_COG, "Hillshade of the terrain", "visual"),
    "inventory.gpkg": (pystac.MediaType.GEOPACKAGE, "Landslide inventory", "data"),
    "inventory.qgz": ("application/x-qgis-project", "QGIS project of the inventory", "visual"),
    "inventory.parquet": (pystac.MediaType.PARQUET, "Landslide inventory, GeoParquet", "data"),
    "susceptibility.tif": (_COG, "Landslide susceptibility, 0-1", "data"),
    "susceptibility_classes.tif": (_COG, "Landslide susceptibility, classes, 1 the least", "data"),
    "susceptibility_uncertainty.tif": (_COG, "Spread of the susceptibility models, 0-1", "data"),
    "susceptibility_applicability.tif": (_COG, "Where susceptibility applies", "data"),
    "susceptibility.json": (pystac.MediaType.JSON, "Every number about susceptibility", "metadata"),
    "evidence.tif": (_COG, "Change of radar backscatter: evidence, not landslides", "data"),
    "evidence.png": (_PNG, "Change of radar backscatter: evidence, not landslides", "overview"),
    "report.html": (pystac.MediaType.HTML, "Report", "metadata"),
    "map.png": (_PNG, "Map of the landslides", "overview"),
    "size_distribution.png": (_PNG, "Sizes of the landslides", "overview"),
    "match.png": (_PNG, "Where the inventory and one that people made agree", "overview"),
    "susceptibility.png": (_PNG, "Map of susceptibility", "overview"),
    "roc.png": (_PNG, "ROC curves of susceptibility", "overview"),
    "importance.png": (_PNG, "Importance of the factors", "overview"),
    "skill.png": (_PNG, "Precision, calibration and rates of susceptibility", "overview"),
    "dependence.png": (_PNG, "What susceptibility makes of each factor", "overview"),
    "correlation.png": (_PNG, "How much the factors say the same", "overview"),
    "before_after.png": (_PNG, "Susceptibility before and after the inventory", "overview"),
}


def write_stac_item(
    path: Path,
    event: Event,
    aoi: AreaOfInterest,
    scenes: Sequence[Scene],
    *,
    created_at: datetime,
    digest: str,
    version: int,
) -> Path:
    """Describe the products that lie beside `path` in a STAC Item.

    The item spans the AOI and the time of the scenes used, or that of the event where no scene is
    dated. It uses no extension; `scarp:event_id`, `scarp:inventory_version` and `scarp:digest` say
    what it was made from.

    Args:
        path: JSON to make or replace, in the folder of the products.
        event: the event.
        aoi: its area of interest.
        scenes: the scenes used.
        created_at: when the products were made, aware.
        digest: of the provenance.
        version: of the inventory that the products show.

    Returns:
        `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    times = sorted(scene.acquired_at for scene in scenes if scene.acquired_at)
    start, end = (times[0], times[-1]) if times else (event.occurred_at, event.occurred_at)
    item = pystac.Item(
        id=f"{event.id}-landslides",
        geometry=mapping(aoi.geometry),
        bbox=_bbox(aoi),
        datetime=None,
        start_datetime=start,
        end_datetime=end,
        properties={
            "title": f"Landslides: {event.title}",
            "created": pystac.utils.datetime_to_str(created_at),
            "scarp:event_id": event.id,
            "scarp:digest": digest,
            VERSION_FIELD: version,
        },
    )
    for name, (media_type, title, role) in ASSETS.items():
        if (path.parent / name).exists():
            asset = pystac.Asset(f"./{name}", title, media_type=media_type, roles=[role])
            item.add_asset(Path(name).stem if role == "overview" else name.replace(".", "_"), asset)
    text = json.dumps(item.to_dict(include_self_link=False), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")
    return path


def version_of(path: Path) -> int | None:
    """The version of the inventory that an item's products show; None where nobody said it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["properties"].get(VERSION_FIELD)
    except (OSError, ValueError, KeyError):
        return None
    return int(found) if found else None


def _bbox(aoi: AreaOfInterest) -> list[float]:
    """West, south, east, north; west is greater than east across the antimeridian (RFC 7946)."""
    west, south, east, north = aoi.geometry.bounds
    if west == -180 and east == 180:
        parts = [part.bounds for part in aoi.geometry.geoms]
        west = min(bounds[0] for bounds in parts if bounds[0] > 0)
        east = max(bounds[2] for bounds in parts if bounds[2] < 0)
    return [west, south, east, north]
