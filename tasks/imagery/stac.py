"""Scenes from a STAC API or a static STAC catalog, on disk or over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pystac.errors import STACError
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import mapping

from tasks.errors import BadInputError, CatalogError, ScarpError, TransientError
from tasks.imagery.items import (
    check_fields,
    item_footprint,
    item_scene,
    item_times,
    lacking_bands,
    resolved_href,
)
from tasks.imagery.rasters import is_remote
from tasks.types import AreaOfInterest, Scene

log = logging.getLogger(__name__)

TIMEOUT_S = (10.0, 60.0)
MAX_ITEMS = 50_000


@dataclass(frozen=True)
class _Query:
    """What is asked of a source."""

    aoi: AreaOfInterest
    start: datetime
    end: datetime
    collections: tuple[str, ...]

    def is_met_by(self, item: dict[str, Any]) -> bool:
        """Whether an item lies in the time, the collections and the area."""
        first, last = item_times(item)
        if first > self.end or last < self.start:
            return False
        if self.collections and item.get("collection") not in self.collections:
            return False
        return bool(item_footprint(item).intersects(self.aoi.geometry))


def search_stac(
    source: str | Path,
    aoi: AreaOfInterest,
    start: datetime,
    end: datetime,
    collections: Sequence[str] | None = None,
) -> list[Scene]:
    """Find the scenes of a STAC source that meet an area and a span of time.

    Args:
        source: URL of a STAC API or static catalog, or path of a static `catalog.json`.
        aoi: the area the scenes must meet.
        start: first moment of acquisition, with its time zone.
        end: last moment of acquisition ("as of"), with its time zone.
        collections: collection ids to look in; all if None.

    Returns:
        Scenes with at least red, green and blue, in order of acquisition, each item once (the
        version updated last). `hrefs` are absolute; reflectance scale, offset and nodata given by
        the item go with them (see `tasks.imagery.rasters.band_href`). Items of other kinds of
        data are left out with a line in the log.

    Raises:
        CatalogError: the source is not STAC, is damaged, refers to local files from afar, or an
            item lacks assets, geometry or time; the sentence names item and field.
        RasterError: a local asset is missing, shorter than declared, or without CRS.
        TransientError: the server timed out, dropped or answered 429 or 5xx.
    """
    if start.utcoffset() is None or end.utcoffset() is None:
        raise BadInputError(f"search from {start} to {end}: give both times with their zone")
    href = str(source) if is_remote(str(source)) else str(Path(source).resolve())
    query = _Query(aoi, start, end, tuple(collections or ()))
    try:
        found = [item for item in _unique(_items(href, query)) if query.is_met_by(item)]
        scenes = [item_scene(item, href) for item in _optical(found, href)]
    except (STACError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise CatalogError(f"{href} is not valid STAC: {error!r}; mend the catalog") from error
    return sorted(scenes, key=lambda scene: (scene.acquired_at or start, scene.id))


class _Reader(StacApiIO):
    """Reads STAC over HTTP with a deadline, or from disk; a remote catalog stays remote."""

    def __init__(self, remote: bool) -> None:
        super().__init__(timeout=TIMEOUT_S, max_retries=None)
        self._remote = remote

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        href = str(getattr(source, "href", source))
        if self._remote and not is_remote(href):
            raise CatalogError(
                f"a remote catalog refers to {href}; only http(s) links are followed"
            )
        try:
            if is_remote(href):
                return str(super().read_text(source, *args, **kwargs))
            return Path(href).read_text(encoding="utf-8")
        except APIError as error:
            raise _server_error(href, error) from error
        except OSError as error:
            reason = error.strerror or error
            raise CatalogError(f"{href} cannot be read: {reason}; mend the catalog") from error
        except UnicodeDecodeError as error:
            raise CatalogError(f"{href} is not text: {error}; fetch it again") from error

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        text = self.read_text(source, *args, **kwargs)
        href = getattr(source, "href", source)
        try:
            content = json.loads(text)
        except ValueError as error:
            raise CatalogError(f"{href} is not whole JSON: {error}; fetch it again") from error
        if not isinstance(content, dict):
            raise CatalogError(f"{href} holds no JSON object; give a STAC catalog")
        return content


def _server_error(href: str, error: APIError) -> ScarpError:
    """Tell a failure that another try may mend from one that it cannot."""
    status = getattr(error, "status_code", None)
    if status is None:
        return TransientError(f"{href} is out of reach: {error}; try again later")
    if status == 429 or status >= 500:
        return TransientError(f"{href} answered HTTP {status}; try again later")
    return CatalogError(f"{href} answered HTTP {status}; check the address and your access")


def _items(href: str, query: _Query) -> Iterator[dict[str, Any]]:
    """Every item the source offers, as JSON with `self_href` and `catalog` added."""
    root = _Reader(is_remote(href)).read_json(href)
    _check_type(root, href)
    if any(link.get("rel") == "search" for link in root["links"]):
        yield from _api_items(href, query)
    else:
        yield from _static_items(href)


def _check_type(content: dict[str, Any], href: str) -> None:
    """Refuse a document that is no catalog."""
    if content.get("type") not in ("Catalog", "Collection") or "links" not in content:
        raise CatalogError(f"{href} is not a STAC catalog; give its catalog.json or API root")


def _api_items(href: str, query: _Query) -> Iterator[dict[str, Any]]:
    client = Client.open(href, stac_io=_Reader(remote=True))
    search = client.search(
        intersects=mapping(query.aoi.geometry),
        datetime=(query.start, query.end),
        collections=list(query.collections) or None,
        limit=500,
    )
    for number, item in enumerate(search.items_as_dicts()):
        if number >= MAX_ITEMS:
            raise CatalogError(f"{href} offers over {MAX_ITEMS} items; name collections or dates")
        links = {link["rel"]: link["href"] for link in item.get("links", [])}
        home = resolved_href(href, links.get("self", href), f"item {item.get('id')}")
        yield {**item, "self_href": home, "catalog": client.id}


def _static_items(href: str) -> Iterator[dict[str, Any]]:
    """Walk a static catalog; each document is read once, however catalogs link to each other.

    Written here and not left to pystac, which hides why a file cannot be read, recurses for ever
    on a catalog that links to itself, and cannot open a path with `#` in it.
    """
    reader = _Reader(is_remote(href))
    waiting, seen, name = [href], set(), ""
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        if len(seen) > MAX_ITEMS:
            raise CatalogError(f"{href} holds over {MAX_ITEMS} documents; give a smaller catalog")
        content = reader.read_json(place)
        name = name or str(content.get("id"))
        if content.get("type") == "Feature":
            yield {**content, "self_href": place, "catalog": name}
        else:
            _check_type(content, place)
            links = [link for link in content["links"] if link["rel"] in ("child", "item")]
            waiting += [resolved_href(place, link["href"], place) for link in reversed(links)]


def _unique(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each item once, in its version updated last; pages of a live API overlap."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for item in items:
        check_fields(item)
        key = (str(item.get("collection")), item["id"])
        known = latest.get(key)
        if known is None or _updated(item) >= _updated(known):
            latest[key] = item
    return list(latest.values())


def _updated(item: dict[str, Any]) -> str:
    return str(item["properties"].get("updated", ""))


def _optical(items: list[dict[str, Any]], href: str) -> list[dict[str, Any]]:
    """The items that have red, green and blue; other kinds of data are logged."""
    lacking = [", ".join(lacking_bands(item)) for item in items]
    if items and all(lacking):
        first = items[0]
        raise CatalogError(
            f"item {first['id']} of {href}: its assets ({', '.join(first['assets'])}) hold no "
            f"{lacking[0]} band; name an optical collection"
        )
    for item, bands in zip(items, lacking, strict=True):
        if bands:
            log.info("item %s left out: no %s band", item["id"], bands)
    return [item for item, bands in zip(items, lacking, strict=True) if not bands]
