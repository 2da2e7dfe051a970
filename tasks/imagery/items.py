"""What one STAC item says, of version 1.0 or 1.1 and as the great catalogs write them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import shapely
from shapely.errors import GEOSException
from shapely.geometry import MultiPolygon, shape

from models.ground import ground_sample_m
from tasks.errors import CatalogError, RasterError
from tasks.events.aoi import continuous_longitudes, split_at_antimeridian
from tasks.files import file_sha256
from tasks.imagery.hosts import climbs, host_of, is_allowed, is_remote
from tasks.imagery.masks import MASKS
from tasks.imagery.profiles import CollectionProfile
from tasks.imagery.rasters import band_href, open_raster
from tasks.imagery.viewing import known_number, off_nadir_deg, sun_elevation_deg
from tasks.types import Scene, SceneJudgement

NEEDED = ("red", "green", "blue")
WANTED = (*NEEDED, "nir", *MASKS)
# Common names and asset keys that mean a wanted band; Landsat's nir08 is the band nearest to nir.
BAND_NAMES = {
    "red": ("red", "B04", "B04_10m", "nbart_red"),
    "green": ("green", "B03", "B03_10m", "nbart_green"),
    "blue": ("blue", "B02", "B02_10m", "nbart_blue"),
    "nir": ("nir", "B08", "B08_10m", "nir08", "nbart_nir"),
    "scl": ("scl", "SCL", "SCL_20m"),
    "qa_pixel": ("qa_pixel", "QA_PIXEL", "QA_PIXEL.TIF"),
    "udm2": ("udm2", "ortho_udm2"),
    "fmask": ("fmask", "Fmask"),
    "oa_fmask": ("oa_fmask",),
}
# Pictures made for people: stretched to 8 bits, used only where no measured bands are given.
PICTURE_ROLES = frozenset({"visual", "overview", "thumbnail"})
PICTURE_KEYS = frozenset({"visual", "overview", "preview", "thumbnail", "rendered_preview"})
# From processing baseline 04.00 (25 January 2022) ESA adds 1000 to every stored number.
S2_OFFSET_BASELINE = "04.00"
S2_SCALE, S2_OFFSET = 0.0001, -0.1


@dataclass(frozen=True)
class Reading:
    """How the items of one source are read.

    `source` names it in every sentence; `hosts` are those its files may lie on; `collections` say
    what items leave unsaid.
    """

    source: str
    hosts: tuple[str, ...] = ()
    collections: dict[str, CollectionProfile] = field(default_factory=dict)

    def profile(self, item: dict[str, Any]) -> CollectionProfile:
        """What is known of an item's collection."""
        return self.collections.get(item_collection(item), CollectionProfile())


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
    if moment.tzinfo is None:
        raise CatalogError(
            f"item {item['id']}: properties.datetime {text!r} says no time zone; write {text}Z"
        )
    return moment.astimezone(UTC)


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


def item_scene(item: dict[str, Any], reading: Reading) -> Scene:
    """Make the record of an optical item.

    Raises:
        CatalogError: a band is missing, or a field or href of the item cannot be used.
        RasterError: a local asset is missing or shorter than declared.
        TransientError: a remote raster that must tell CRS or pixel size is out of reach.
    """
    chosen = _chosen_bands(item, reading)
    if lacking := [band for band in NEEDED if band not in chosen]:
        raise CatalogError(
            f"item {item['id']}: assets ({', '.join(item['assets'])}) hold no "
            f"{', '.join(lacking)} band; name another collection or describe its bands in a profile"
        )
    hrefs = {band: _asset_href(item, band, choice, reading) for band, choice in chosen.items()}
    assets = {band: item["assets"][candidate.key] for band, candidate in chosen.items()}
    red = assets["red"]
    collection = item_collection(item)
    return Scene(
        id=f"{collection}/{item['id']}",
        provider=provider(reading),
        collection=collection,
        item_id=item["id"],
        acquired_at=item_times(item)[0],
        gsd_m=_gsd_m(item, red, hrefs["red"], reading.profile(item)),
        bands=tuple(hrefs),
        crs=_crs(item, red, hrefs["red"]),
        footprint=item_footprint(item),
        hrefs=hrefs,
        cloud_cover=known_number(item["properties"].get("eo:cloud_cover"), 0, 100),
        checksum=assets_checksum(item, assets),
        licence=licence(item),
        sun_elevation_deg=sun_elevation_deg(item["properties"]),
        off_nadir_deg=off_nadir_deg(item["properties"]),
    )


def refused_scene(item: dict[str, Any], reading: Reading, reason: str) -> SceneJudgement:
    """The record of an item that cannot be used: what can be read of it, and why not.

    The pixel size is 0 and the footprint empty where the item does not give them.
    """
    taken, footprint, gsd = None, MultiPolygon(), None
    with suppress(CatalogError, KeyError, TypeError, AttributeError, OverflowError):
        taken = item_times(item)[0]
    with suppress(CatalogError, KeyError):
        footprint = item_footprint(item)
    with suppress(KeyError, TypeError):
        gsd = known_number(item["properties"]["gsd"], 0)
    scene = Scene(
        id=f"{item_collection(item)}/{item.get('id')}",
        provider=provider(reading),
        collection=item_collection(item),
        item_id=str(item.get("id")),
        acquired_at=taken,
        gsd_m=gsd or 0.0,
        bands=(),
        crs="",
        footprint=footprint,
        hrefs={},
    )
    return SceneJudgement(scene, None, False, f"{reading.source}: {reason}")


def optical_scene(item: dict[str, Any], reading: Reading) -> Scene | None:
    """The record of an item (see `item_scene`), or None where it is another kind of data."""
    return item_scene(item, reading) if _is_optical(item, reading) else None


def _is_optical(item: dict[str, Any], reading: Reading) -> bool:
    """Whether any asset of an item could be a red, green or blue band."""
    asked = set(reading.profile(item).bands) & set(NEEDED)
    return bool(asked or set(NEEDED) & set(_chosen_bands(item, reading)))


def provider(reading: Reading) -> str:
    """Who offers the items of a source."""
    return host_of(reading.source) or "local catalog"


def item_collection(item: dict[str, Any]) -> str:
    """The collection an item belongs to, or else the catalog that holds it."""
    return str(item.get("collection") or item["catalog"])


def licence(item: dict[str, Any]) -> str:
    """The credit its licence link is titled with, else the licence's name; empty if neither."""
    for link in item.get("links", []):
        if link.get("rel") == "license" and link.get("title"):
            return str(link["title"])
    return str(item["properties"].get("license", ""))


def _chosen_bands(item: dict[str, Any], reading: Reading) -> dict[str, _Candidate]:
    """The asset for each wanted band: the profile's, else the best by what the assets say.

    Measured goes before picture, and single before stacked.
    """
    if not item.get("assets"):
        raise CatalogError(f"item {item['id']}: assets are missing; mend the item or the catalog")
    profile = reading.profile(item)
    candidates: dict[str, _Candidate] = {}
    for band, key in profile.bands.items():
        if key not in item["assets"]:
            raise CatalogError(
                f"item {item['id']}: assets.{key} ({band}) is missing; it has "
                f"{', '.join(item['assets'])}"
            )
        candidates[band] = _Candidate((False, 0, 1), key, 1, 1)
    for band, candidate in () if candidates else _candidates(item["assets"]):
        if band not in candidates or candidate.rank < candidates[band].rank:
            candidates[band] = candidate
    known = {band: candidates[band] for band in WANTED if band in candidates}
    if profile.mask in known:
        return {
            band: one for band, one in known.items() if band not in MASKS or band == profile.mask
        }
    return known


def _candidates(assets: dict[str, dict[str, Any]]) -> Iterator[tuple[str, _Candidate]]:
    for key, asset in assets.items():
        if not str(asset.get("type", "image/tiff")).startswith("image/"):
            continue
        picture = key in PICTURE_KEYS or bool(PICTURE_ROLES & set(asset.get("roles") or ()))
        bands = _bands(asset)
        for number, described in enumerate(bands or [{}], start=1):
            names = {described.get(name) for name in ("eo:common_name", "common_name", "name")}
            # A mask of several bands is one mask.
            if len(bands) <= 1 or any(key in BAND_NAMES[mask] for mask in MASKS):
                names.add(key)
            for wanted, aliases in BAND_NAMES.items():
                place = min((aliases.index(name) for name in names if name in aliases), default=-1)
                if place >= 0:
                    yield wanted, _Candidate((picture, place, len(bands)), key, number, len(bands))


def _bands(asset: dict[str, Any]) -> list[dict[str, Any]]:
    """The bands of an asset as STAC 1.1 (`bands`) or 1.0 (`eo:bands`) describe them."""
    bands = asset.get("bands") or asset.get("eo:bands") or []
    return [band for band in bands if isinstance(band, dict)]


def _asset_href(item: dict[str, Any], band: str, candidate: _Candidate, reading: Reading) -> str:
    """An absolute href that carries the band's number, scale, offset and nodata."""
    asset = item["assets"][candidate.key]
    path = asset_path(item, candidate.key, reading)
    if band == "udm2":
        # All of its bands are read, and a 0 in one of them is an answer.
        return path
    described = dict(enumerate(_bands(asset), start=1)).get(candidate.number, {})
    raster = (asset.get("raster:bands") or [{}] * candidate.number)[candidate.number - 1]
    measured = {**asset, **described}
    scale, offset = (1.0, 0.0)
    if band not in MASKS:
        scale, offset = _scale_offset(item, measured, raster, reading.profile(item))
    nodata = _first("nodata", described, asset, raster)
    return band_href(
        path,
        bands=(candidate.number,) if candidate.of > 1 else (),
        scale=scale,
        offset=offset,
        nodata=float(nodata) if nodata is not None else None,
    )


def _scale_offset(
    item: dict[str, Any],
    described: dict[str, Any],
    raster: dict[str, Any],
    profile: CollectionProfile,
) -> tuple[float, float]:
    """Reflectance scale and offset: declared, or of the profile or the Sentinel-2 baseline.

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
    if scale is None:
        scale, offset = profile.scale, profile.offset if offset is None else offset
    return float(scale or 1.0), float(offset or 0.0)


def asset_path(item: dict[str, Any], key: str, reading: Reading) -> str:
    """The absolute path or URL of an asset.

    Raises:
        CatalogError: the catalog may not name such a file.
    """
    href = item["assets"][key]["href"]
    _check_href(item["self_href"], href, reading, f"item {item['id']}: assets.{key}.href")
    return resolved_href(item["self_href"], href)


def assets_checksum(item: dict[str, Any], assets: dict[str, dict[str, Any]]) -> str:
    """One digest over the bands' checksums, declared or of the local file; empty if unknown."""
    digests = {}
    for band, asset in assets.items():
        path = resolved_href(item["self_href"], asset["href"])
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


def _gsd_m(
    item: dict[str, Any], asset: dict[str, Any], href: str, profile: CollectionProfile
) -> float:
    """The ground size its asset declares, or else its item, its profile or its raster, m.

    An item of several sensors declares the finest of them.
    """
    transform = _first("proj:transform", asset, item["properties"]) or (0,)
    # Below this it is degrees.
    step = known_number(transform[0], 0.1)
    given = (_first("gsd", asset), step, _first("gsd", item["properties"]), profile.gsd_m)
    if declared := next(filter(None, (known_number(value, 0) for value in given)), None):
        return declared
    with open_raster(href, f"item {item['id']}, which declares no gsd") as dataset:
        return ground_sample_m(dataset)


def _first(name: str, *places: dict[str, Any]) -> Any:
    """The first value given for a field."""
    return next((place[name] for place in places if place.get(name) is not None), None)


def _check_href(home: str, href: str, reading: Reading, where: str) -> None:
    """Refuse an asset that a catalog may not name.

    A catalog from afar may name no local file, nor climb out of its folder; and no catalog may
    name a file on a host that neither it nor the operator vouches for.
    """
    if is_remote(home) and climbs(href):
        raise CatalogError(f"{where} {href!r} climbs out of its folder; mend the catalog")
    absolute = resolved_href(home, href)
    if is_remote(home) and (not is_remote(absolute) or href.startswith("/vsi")):
        raise CatalogError(f"{where} {href!r} is not http(s); mend the catalog")
    if is_remote(absolute) and not is_allowed(absolute, reading.hosts):
        raise CatalogError(
            f"{where} {href!r} lies on {host_of(absolute)}, which is no host of this source; "
            f"allow it with --allow-host {host_of(absolute)} if you trust it"
        )


def resolved_href(home: str, href: str) -> str:
    """An href of the document at `home` made absolute."""
    if is_remote(home):
        return urljoin(home, href)
    if is_remote(href):
        return href
    return os.path.normpath(Path(home).parent / href.removeprefix("file://"))
