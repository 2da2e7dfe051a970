"""Sentinel-1 scenes of a STAC catalog: terrain-corrected backscatter, by orbit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.ground import ground_sample_m
from tasks.errors import CatalogError
from tasks.imagery.hosts import is_remote
from tasks.imagery.items import (
    Reading,
    asset_path,
    assets_checksum,
    item_collection,
    item_footprint,
    item_times,
    licence,
    provider,
)
from tasks.imagery.rasters import band_href, open_raster
from tasks.imagery.sources import Access, profile_of
from tasks.imagery.stac import StacSource
from tasks.types import Scene

POLARISATIONS = ("vv", "vh")


def open_radar(source: str, access: Access) -> StacSource:
    """The STAC catalog or API, or the profile, that radar scenes are looked for in.

    Raises:
        AccessError: credentials it needs are missing.
        CatalogError: it is a profile that names no radar collection.
    """
    name, profile = profile_of(source, access.profiles)
    if profile is None:
        inside = Path(source) / "catalog.json"
        href = str(inside) if inside.is_file() else source
        if not is_remote(href) and not Path(href).is_file():
            raise CatalogError(f"{source} does not exist; give a STAC catalog of radar scenes")
        return StacSource(href, access.hosts, read=radar_scene)
    if not profile.radar:
        known = ", ".join(name for name, one in access.profiles.items() if one.radar)
        raise CatalogError(f"profile {name} names no radar collection; those that do: {known}")
    profile.read_files(name, access.environment)
    hosts = (*profile.allowed_hosts, *access.hosts)
    return StacSource(profile.url, hosts, profile.radar, read=radar_scene)


def radar_scene(item: dict[str, Any], reading: Reading) -> Scene | None:
    """The record of a radar item; None where it is another kind of data.

    Its bands are `vv` and `vh`, those of them it has, each an asset of that name; `orbit` is the
    direction of flight, and the relative orbit where the item gives it.

    Raises:
        CatalogError: the item does not say which way the satellite flew, or names files it may not.
        RasterError: a local asset is missing or shorter than declared.
    """
    keys = {key.lower(): key for key in item["assets"] if key.lower() in POLARISATIONS}
    if not keys:
        return None
    properties = item["properties"]
    direction = properties.get("sat:orbit_state")
    if direction not in ("ascending", "descending"):
        raise CatalogError(
            f"item {item['id']}: properties.sat:orbit_state {direction!r} is neither ascending nor "
            "descending; scenes of different geometry must not be compared"
        )
    hrefs = {}
    for band in POLARISATIONS:
        if band in keys:
            nodata = item["assets"][keys[band]].get("nodata")
            path = asset_path(item, keys[band], reading)
            hrefs[band] = band_href(path, nodata=None if nodata is None else float(nodata))
    first = next(iter(hrefs.values()))
    with open_raster(first, f"item {item['id']}") as dataset:
        crs, gsd_m = dataset.crs.to_string(), ground_sample_m(dataset)
    track = properties.get("sat:relative_orbit")
    collection = item_collection(item)
    return Scene(
        id=f"{collection}/{item['id']}",
        provider=provider(reading),
        collection=collection,
        item_id=item["id"],
        acquired_at=item_times(item)[0],
        gsd_m=gsd_m,
        bands=tuple(hrefs),
        crs=crs,
        footprint=item_footprint(item),
        hrefs=hrefs,
        checksum=assets_checksum(item, {band: item["assets"][keys[band]] for band in hrefs}),
        licence=licence(item),
        orbit=direction if track is None else f"{direction} {track}",
    )
