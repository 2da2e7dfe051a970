"""Elevation from STAC: the files of a collection such as Copernicus GLO-30 over an area."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pystac
import shapely
from pystac.errors import STACError, STACTypeError
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import MultiPolygon, mapping, shape

from tasks.errors import CatalogError, RasterError, TransientError
from tasks.imagery.hosts import host_of, is_allowed, is_remote, without_query

COLLECTION = "cop-dem-glo-30"
ASSETS = ("data", "elevation", "dem")
_TIMEOUT_S = (10.0, 60.0)
_BUCKET = "s3://"
_PUBLIC = ("*.s3.amazonaws.com", "*.s3.*.amazonaws.com", "*.blob.core.windows.net")


def stac_dem(source: str, aoi: MultiPolygon) -> tuple[str, ...]:
    """Find the elevation files of a STAC source that meet an area.

    Args:
        source: root of a STAC API, of which `COLLECTION` is asked; address of one of its
            collections; or address or path of a static `catalog.json` or `collection.json`.
        aoi: area in EPSG:4326.

    Returns:
        Paths or URLs of the first of `ASSETS` each item has, in order of the items' ids. What is in
        a public bucket is read over HTTPS.

    Raises:
        CatalogError: the source is not STAC, or refers to files of another host than its own or a
            public bucket.
        RasterError: no item over the area has elevation.
        TransientError: the server timed out or answered 429 or 5xx.
    """
    try:
        items = list(_items(source, aoi))
    except APIError as error:
        status = getattr(error, "status_code", None)
        if status is None or status == 429 or status >= 500:
            raise TransientError(
                f"DEM source {source} is out of reach: {error}; try again later"
            ) from error
        raise CatalogError(f"DEM source {source} answered HTTP {status}; check it") from error
    except (STACError, STACTypeError, LookupError, TypeError, ValueError, OSError) as error:
        raise CatalogError(
            f"DEM source {source} is not a STAC catalog that can be read: {error!r}"
        ) from error
    files = {item.id: href for item in items if (href := _href(item, source))}
    if not files:
        raise RasterError(
            f"DEM source {source} has no item over the area of interest with an asset "
            f"{', '.join(ASSETS)}; name a collection of elevation, as in .../collections/"
            f"{COLLECTION}"
        )
    return tuple(files[name] for name in sorted(files))


def _items(source: str, aoi: MultiPolygon) -> Iterable[pystac.Item]:
    if source.endswith(".json"):
        href = source if is_remote(source) else str(Path(source).resolve())
        catalog = pystac.Catalog.from_file(href, StacApiIO(timeout=_TIMEOUT_S))
        items = catalog.get_items(recursive=True)
        return [item for item in items if shape(item.geometry).intersects(aoi)]
    root, _, collection = source.rstrip("/").partition("/collections/")
    client = Client.open(root, stac_io=StacApiIO(timeout=_TIMEOUT_S))
    outline = mapping(shapely.simplify(aoi, 0.01))
    return client.search(
        collections=[collection or COLLECTION], intersects=outline, limit=500
    ).items()


def _href(item: pystac.Item, source: str) -> str:
    """Where an item's elevation lies, empty if it has none."""
    asset = next((item.assets[name] for name in ASSETS if name in item.assets), None)
    href = (asset and asset.get_absolute_href()) or ""
    if href.startswith(_BUCKET):
        bucket, _, key = href.removeprefix(_BUCKET).partition("/")
        href = f"https://{bucket}.s3.amazonaws.com/{key}"
    if href and is_remote(source) and not is_allowed(href, (host_of(source), *_PUBLIC)):
        raise CatalogError(
            f"DEM source {source}: item {item.id} refers to {without_query(href)}; only its own "
            "host and public buckets are read"
        )
    return href
