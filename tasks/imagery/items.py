"""What one STAC item says, of version 1.0 or 1.1 and as the great catalogs write them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import shapely
from shapely.errors import GEOSException
from shapely.geometry import MultiPolygon, shape

from tasks.errors import CatalogError, RasterError
from tasks.events.aoi import continuous_longitudes, split_at_antimeridian
from tasks.imagery.rasters import (
    band_href,
    file_sha256,
    ground_sample_m,
    is_remote,
    open_raster,
)
from tasks.types import Scene

NEEDED = ("red", "green", "blue")
WANTED = (*NEEDED, "nir", "scl")
# Common names and asset keys that mean a wanted band; Landsat's nir08 is the band nearest to nir.
BAND_NAMES = {
    "red": ("red", "B04", "nbart_red"),
    "green": ("green", "B03", "nbart_green"),
    "blue": ("blue", "B02", "nbart_blue"),
    "nir": ("nir", "B08", "nir08", "nbart_nir"),
    "scl": ("scl", "SCL"),
}
# Pictures made for people: stretched to 8 bits, used only where no measured bands are given.
PICTURE_ROLES = frozenset({"visual", "overview", "thumbnail"})
PICTURE_KEYS = frozenset({"visual", "overview", "preview", "thumbnail", "rendered_preview"})
# From processing baseline 04.00 (25 January 2022) ESA adds 1000 to every stored number.
S2_OFFSET_BASELINE = "04.00"
S2_SCALE, S2_OFFSET = 0.0001, -0.1


@dataclass(frozen=True)
class _Candidate:
    """One band of one asset that could serve as a wanted band; lower `rank` is better."""

    rank: tuple[bool, int, int]
    key: str
    number: int
    of: int


def check_fields(item: dict[str, Any]) -> None:
    """Refuse an item without the fields that everything else reads."""
    for name, kind in (("id", str), ("properties", dict), ("assets", dict)):
        if not isinstance(item.get(name), kind):
            raise CatalogError(
                f"{item['self_href']}: {name} is missing or malformed; mend the item"
            )
    for key, asset in item["assets"].items():
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            raise CatalogError(f"item {item['id']}: assets.{key}.href is missing; mend the item")


def item_times(item: dict[str, Any]) -> tuple[datetime, datetime]:
    """First and last moment of an item, UTC; equal where the item gives one moment."""
    properties = item["properties"]
    moment = properties.get("datetime")
    first = moment or properties.get("start_datetime")
    last = moment or properties.get("end_datetime")
    if first is None or last is None:
        raise CatalogError(f"item {item['id']}: properties.datetime is missing; mend the item")
    return _utc(item, first), _utc(item, last)


def _utc(item: dict[str, Any], text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise CatalogError(
            f"item {item['id']}: properties.datetime {text!r} is not a time in ISO 8601"
        ) from error
    # RFC 3339 requires the zone; catalogs that leave it out mean UTC, as the STAC text says.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def item_footprint(item: dict[str, Any]) -> MultiPolygon:
    """An item's geometry as valid polygons in EPSG:4326."""
    if item.get("geometry") is None:
        raise CatalogError(f"item {item['id']}: geometry is missing; mend the item")
    try:
        outline = continuous_longitudes(shapely.force_2d(shape(item["geometry"])))
    except (GEOSException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogError(f"item {item['id']}: geometry is not GeoJSON: {error}") from error
    footprint = split_at_antimeridian(shapely.make_valid(outline))
    if footprint.is_empty:
        raise CatalogError(f"item {item['id']}: geometry is no polygon; mend the item")
    return footprint


def item_scene(item: dict[str, Any], source: str) -> Scene:
    """Make the record of an optical item."""
    properties = item["properties"]
    chosen = _chosen_bands(item)
    hrefs = {band: _asset_href(item, candidate) for band, candidate in chosen.items()}
    assets = {band: item["assets"][candidate.key] for band, candidate in chosen.items()}
    collection = item.get("collection") or item["catalog"]
    red = assets["red"]
    return Scene(
        id=f"{collection}/{item['id']}",
        provider=urlsplit(source).hostname or "local catalog",
        collection=collection,
        item_id=item["id"],
        acquired_at=item_times(item)[0],
        gsd_m=_gsd_m(item, red, hrefs["red"]),
        bands=tuple(hrefs),
        crs=_crs(item, red, hrefs["red"]),
        footprint=item_footprint(item),
        hrefs=hrefs,
        cloud_cover=properties.get("eo:cloud_cover"),
        checksum=_checksum(item, assets),
        licence=_licence(item),
    )


def _licence(item: dict[str, Any]) -> str:
    """The credit its licence link is titled with, else the licence's name; empty if neither."""
    for link in item.get("links", []):
        if link.get("rel") == "license" and link.get("title"):
            return str(link["title"])
    return str(item["properties"].get("license", ""))


def lacking_bands(item: dict[str, Any]) -> list[str]:
    """The needed bands that no asset of an item holds."""
    chosen = _chosen_bands(item)
    return [band for band in NEEDED if band not in chosen]


def _chosen_bands(item: dict[str, Any]) -> dict[str, _Candidate]:
    """The best asset for each wanted band: measured before picture, single before stacked."""
    if not item.get("assets"):
        raise CatalogError(f"item {item['id']}: assets are missing; mend the item or the catalog")
    candidates: dict[str, _Candidate] = {}
    for band, candidate in _candidates(item["assets"]):
        if band not in candidates or candidate.rank < candidates[band].rank:
            candidates[band] = candidate
    return {band: candidates[band] for band in WANTED if band in candidates}


def _candidates(assets: dict[str, dict[str, Any]]) -> Iterator[tuple[str, _Candidate]]:
    for key, asset in assets.items():
        if not str(asset.get("type", "image/tiff")).startswith("image/"):
            continue
        picture = key in PICTURE_KEYS or bool(PICTURE_ROLES & set(asset.get("roles") or ()))
        bands = _bands(asset)
        for number, described in enumerate(bands or [{}], start=1):
            names = {described.get(name) for name in ("eo:common_name", "common_name", "name")}
            if len(bands) <= 1:
                names.add(key)
            for wanted, aliases in BAND_NAMES.items():
                place = min((aliases.index(name) for name in names if name in aliases), default=-1)
                if place >= 0:
                    yield wanted, _Candidate((picture, place, len(bands)), key, number, len(bands))


def _bands(asset: dict[str, Any]) -> list[dict[str, Any]]:
    """The bands of an asset as STAC 1.1 (`bands`) or 1.0 (`eo:bands`) describe them."""
    bands = asset.get("bands") or asset.get("eo:bands") or []
    return [band for band in bands if isinstance(band, dict)]


def _asset_href(item: dict[str, Any], candidate: _Candidate) -> str:
    """An absolute href that carries the band's number, scale, offset and nodata."""
    asset = item["assets"][candidate.key]
    described = _bands(asset)[candidate.number - 1] if candidate.of else {}
    raster = (asset.get("raster:bands") or [{}] * candidate.number)[candidate.number - 1]
    scale, offset = _scale_offset(item, {**asset, **described}, raster)
    nodata = _first("nodata", described, asset, raster)
    return band_href(
        _absolute(item, asset),
        bands=(candidate.number,) if candidate.of > 1 else (),
        scale=scale,
        offset=offset,
        nodata=float(nodata) if nodata is not None else None,
    )


def _scale_offset(
    item: dict[str, Any], described: dict[str, Any], raster: dict[str, Any]
) -> tuple[float, float]:
    """Reflectance scale and offset, as declared or as the Sentinel-2 baseline implies.

    Earth Search declares an offset that its files no longer have where
    `earthsearch:boa_offset_applied` is true; the Planetary Computer declares none.
    """
    properties = item["properties"]
    scale = raster.get("scale", described.get("raster:scale"))
    offset = raster.get("offset", described.get("raster:offset"))
    if properties.get("earthsearch:boa_offset_applied"):
        return float(scale or S2_SCALE), 0.0
    baseline = properties.get("s2:processing_baseline")
    if offset is None and str(baseline or "") >= S2_OFFSET_BASELINE:
        return float(scale or S2_SCALE), S2_OFFSET
    return float(scale if scale is not None else 1.0), float(offset or 0.0)


def _absolute(item: dict[str, Any], asset: dict[str, Any]) -> str:
    """The absolute path or URL of an asset."""
    return resolved_href(item["self_href"], asset["href"], f"item {item['id']}")


def _checksum(item: dict[str, Any], assets: dict[str, dict[str, Any]]) -> str:
    """One digest over the bands' checksums, declared or of the local file; empty if unknown."""
    digests = {}
    for band, asset in assets.items():
        path = _absolute(item, asset)
        digest = asset.get("file:checksum")
        if not is_remote(path):
            _check_local(item, band, Path(path), asset.get("file:size"))
            digest = digest or file_sha256(Path(path))
        digests[band] = digest
    if None in digests.values():
        return ""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _check_local(item: dict[str, Any], band: str, path: Path, size: int | None) -> None:
    """Refuse a local asset that is not there or not as long as the item says."""
    where = f"item {item['id']}, band {band}"
    if not path.is_file():
        raise RasterError(f"{where}: {path} does not exist; fetch it again or mend the catalog")
    if size is not None and path.stat().st_size != size:
        raise RasterError(
            f"{where}: {path} has {path.stat().st_size} of {size} bytes (file:size); fetch it again"
        )


def _crs(item: dict[str, Any], asset: dict[str, Any], href: str) -> str:
    """The CRS an item declares, or else its raster's."""
    code = _first("proj:code", asset, item["properties"])
    if code:
        return str(code)
    epsg = _first("proj:epsg", asset, item["properties"])
    if epsg:
        return f"EPSG:{epsg}"
    with open_raster(href, f"item {item['id']}, which declares no proj:code") as dataset:
        return str(dataset.crs.to_string())


def _gsd_m(item: dict[str, Any], asset: dict[str, Any], href: str) -> float:
    """The ground size an item declares, or else its raster's, m."""
    declared = _first("gsd", asset, item["properties"])
    if declared:
        return float(declared)
    with open_raster(href, f"item {item['id']}, which declares no gsd") as dataset:
        return ground_sample_m(dataset)


def _first(name: str, *places: dict[str, Any]) -> Any:
    """The first value given for a field."""
    return next((place[name] for place in places if place.get(name) is not None), None)


def resolved_href(home: str, href: str, where: str) -> str:
    """An href of the document at `home` made absolute; a remote one may not name local files."""
    if is_remote(home):
        absolute = urljoin(home, href)
        if not is_remote(absolute) or href.startswith("/vsi"):
            raise CatalogError(f"{where}: href {href!r} is not http(s); mend the catalog")
        return absolute
    if is_remote(href):
        return href
    return os.path.normpath(Path(home).parent / href.removeprefix("file://"))
