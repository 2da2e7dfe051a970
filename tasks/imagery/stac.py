"""Scenes from a STAC API or a static STAC catalog, on disk or over HTTP."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urljoin

from pystac import Link
from pystac.errors import STACError
from pystac_client import Client, ItemSearch
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import mapping

from tasks.errors import AccessError, CatalogError, RasterError, ScarpError, TransientError
from tasks.imagery.hosts import host_of, is_allowed, is_remote, without_query
from tasks.imagery.items import (
    Reading,
    check_fields,
    item_collection,
    item_footprint,
    item_times,
    optical_scene,
    refused_scene,
    resolved_href,
)
from tasks.imagery.profiles import CollectionProfile
from tasks.imagery.protocol import Found, Span
from tasks.types import AreaOfInterest, Scene, SceneJudgement

log = logging.getLogger(__name__)

TIMEOUT_S = (10.0, 60.0)
PAGE_ITEMS = 500
MAX_ITEMS = 20_000
# Waits before a page is asked for again; the first document is not: a source that is down now is
# better asked again later, one that fell over half way has already done most of the work.
RETRY_WAITS_S = (0.5, 1.0, 2.0)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
T = TypeVar("T")


@dataclass(frozen=True)
class StacSource:
    """A STAC API or static catalog.

    Attributes:
        href: URL of the API or catalog, or path of a static `catalog.json`, of an item, or of a
            folder of items.
        hosts: hosts beside its own on which its files may lie; `*` stands for any part of a name.
        collections: those to look in, with what their items leave unsaid; all if empty.
        read: makes the record of an item; None where it is another kind of data.
    """

    href: str
    hosts: tuple[str, ...] = ()
    collections: dict[str, CollectionProfile] = field(default_factory=dict)
    read: Callable[[dict[str, Any], Reading], Scene | None] = optical_scene
    paid: bool = False

    def search(self, aoi: AreaOfInterest, span: Span) -> Found:
        """Find the scenes that meet an area in a span of time.

        Args:
            aoi: the area the scenes must meet.
            span: when they were taken.

        Returns:
            Scenes with at least red, green and blue, each item once (the version updated last).
            `hrefs` are absolute; reflectance scale, offset and nodata given by the item go with
            them (see `tasks.imagery.rasters.band_href`). Items that are damaged, lack a band that
            is asked for, or name files they may not are refused. Items of other kinds of data are
            left out with a line in the log.

        Raises:
            CatalogError: the source is not STAC or is damaged, has no collection of a name asked
                for, offers more than 20,000 items, or everything it offers is refused.
            RasterError: as the last, where local files are missing or damaged.
            TransientError: the server timed out, dropped or answered 429 or 5xx.
        """
        href = self.href if is_remote(self.href) else str(Path(self.href).resolve())
        told = without_query(href) if is_remote(href) else href
        reading = Reading(told, (host_of(href), *self.hosts), self.collections)
        gathered = _Gathered(reading, aoi, span, self.read)
        try:
            for item in _items(href, gathered):
                gathered.take(item)
        except (STACError, LookupError, TypeError, AttributeError, ValueError) as error:
            raise CatalogError(f"{told} is not valid STAC: {error!r}; mend the catalog") from error
        return gathered.found()

    def fetch(self, scenes: Sequence[Scene], aoi: AreaOfInterest) -> Found:
        """Nothing is fetched: the windows asked for are read from where they lie."""
        return Found(tuple(scenes))


@dataclass
class _Gathered:
    """What was found so far: one version of each item, as a scene or as refused.

    Items are turned into records as they come, so that memory holds no page of JSON but the last.
    """

    reading: Reading
    aoi: AreaOfInterest
    span: Span
    read: Callable[[dict[str, Any], Reading], Scene | None]
    latest: dict[tuple[str, str], tuple[datetime, Scene | SceneJudgement | None]] = field(
        default_factory=dict
    )
    errors: list[ScarpError] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    collections: set[str] = field(default_factory=set)

    def take(self, item: dict[str, Any]) -> None:
        """Keep an item if it is the newest of its name; pages of a live API overlap."""
        key = (item_collection(item), str(item.get("id")))
        self.collections.add(key[0])
        updated = _updated(item)
        if key not in self.latest or updated >= self.latest[key][0]:
            self.latest[key] = (updated, self._read(item))

    def _read(self, item: dict[str, Any]) -> Scene | SceneJudgement | None:
        """The record of an item; None where it is elsewhere or another kind of data."""
        try:
            check_fields(item)
            if not self._is_met_by(item):
                return None
            scene = self.read(item, self.reading)
            if scene is None:
                log.info("item %s left out: it is another kind of data", item["id"])
                self.other.append(f"{item['id']} (assets {', '.join(item['assets'])})")
            return scene
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            reason = f"item {item['id']} is not valid STAC: {error!r}; mend the item"
            return self._refused(item, CatalogError(reason))
        except (CatalogError, RasterError) as error:
            return self._refused(item, error)

    def _refused(self, item: dict[str, Any], error: ScarpError) -> SceneJudgement:
        self.errors.append(error)
        return refused_scene(item, self.reading, str(error))

    def _is_met_by(self, item: dict[str, Any]) -> bool:
        first, last = item_times(item)
        if first > self.span.end or last < self.span.start:
            return False
        asked = self.reading.collections
        if asked and item_collection(item) not in asked:
            return False
        return bool(item_footprint(item).intersects(self.aoi.geometry))

    def refuse_link(self, href: str, reason: str) -> None:
        """Note a document that is not followed."""
        self.errors.append(CatalogError(reason))
        item = {"id": href, "catalog": "link", "self_href": self.reading.source}
        record = refused_scene(item, self.reading, reason)
        self.latest["link", href] = (_LONG_AGO, record)

    def found(self) -> Found:
        """Everything in order.

        Raises:
            CatalogError: nothing can be used, and something was wrong.
            RasterError: see above.
        """
        source, records = self.reading.source, [record for _, record in self.latest.values()]
        scenes = [record for record in records if isinstance(record, Scene)]
        refused = [record for record in records if isinstance(record, SceneJudgement)]
        if refused and not scenes:
            raise type(self.errors[0])(f"{source}: {self.errors[0]}")
        if self.other and not scenes and self.read is optical_scene:
            raise CatalogError(
                f"{source}: item {self.other[0]} holds no red, green and blue band; "
                "name an optical collection"
            )
        scenes.sort(key=lambda scene: (scene.acquired_at or self.span.end, scene.id))
        return Found(tuple(scenes), tuple(refused))


class _Reader(StacApiIO):
    """Reads STAC over HTTP with a deadline, or from disk; a remote catalog stays where it may.

    What fails after the first document is asked for again a few times.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__(timeout=TIMEOUT_S, max_retries=None)
        self._reading = reading
        self._begun = False

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        href = str(getattr(source, "href", source))
        remote = is_remote(self._reading.source) or is_remote(href)
        if remote and not is_allowed(href, self._reading.hosts):
            raise CatalogError(
                f"{self._reading.source} refers to {without_query(href)}, which is on no host of "
                "this source"
            )

        def read() -> str:
            try:
                if is_remote(href):
                    return str(super(_Reader, self).read_text(source, *args, **kwargs))
                return Path(href).read_text(encoding="utf-8")
            except APIError as error:
                raise _server_error(href, error) from error
            except OSError as error:
                reason = error.strerror or error
                raise CatalogError(f"{href} cannot be read: {reason}; mend the catalog") from error
            except UnicodeDecodeError as error:
                raise CatalogError(f"{href} is not text: {error}; fetch it again") from error

        text = persistently(read, RETRY_WAITS_S if self._begun else ())
        self._begun = True
        return text

    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        text = self.read_text(source, *args, **kwargs)
        href = without_query(str(getattr(source, "href", source)))
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CatalogError(f"{href} is not whole JSON: {error}; fetch it again") from error
        if not isinstance(content, dict):
            raise CatalogError(f"{href} holds no JSON object; give a STAC catalog")
        return content


def persistently(read: Callable[[], T], waits_s: Sequence[float]) -> T:
    """Try again after each wait (and up to half as much more) while the failure is transient."""
    for wait_s in waits_s:
        try:
            return read()
        except TransientError as error:
            log.info("%s; trying again", error)
            time.sleep(wait_s * random.uniform(1, 1.5))
    return read()


def _server_error(href: str, error: APIError) -> ScarpError:
    """Tell a failure that another try may mend from one that it cannot."""
    href = without_query(href)
    status = getattr(error, "status_code", None)
    if isinstance(error.__context__, ValueError):
        return CatalogError(f"{href} is no address that can be asked ({error}); check it")
    if status is None:
        return TransientError(
            f"{href} is out of reach: {without_query(str(error))}; try again later"
        )
    if status == 429 or status >= 500:
        return TransientError(f"{href} answered HTTP {status}; try again later")
    if status in (401, 403):
        return AccessError(f"{href} answered HTTP {status}; check your credentials for it")
    return CatalogError(f"{href} answered HTTP {status}; check the address")


def _items(href: str, gathered: _Gathered) -> Iterator[dict[str, Any]]:
    """Every item the source offers, as JSON with `self_href` and `catalog` added."""
    reader = _Reader(gathered.reading)
    if not is_remote(href) and Path(href).is_dir():
        yield from _folder_items(Path(href), reader, gathered)
        return
    root = reader.read_json(href)
    if _is_item(root):
        yield {**root, "self_href": href, "catalog": Path(href).parent.name}
        return
    _check_type(root, href)
    if _hrefs(root, "search"):
        yield from _api_items(href, reader, gathered)
    else:
        yield from _static_items(href, root, reader, gathered)


def _is_item(content: Any) -> bool:
    return isinstance(content, dict) and {"stac_version", "assets"} <= content.keys()


def holds_items(folder: Path) -> bool:
    """Whether any JSON file of a folder is a STAC item; sidecars of images are not."""
    for path in sorted(folder.glob("*.json")):
        try:
            if _is_item(json.loads(path.read_text(encoding="utf-8"))):
                return True
        except (OSError, ValueError, RecursionError):
            continue
    return False


def _folder_items(folder: Path, reader: _Reader, gathered: _Gathered) -> Iterator[dict[str, Any]]:
    """Every STAC item of a folder without a catalog; a file that is damaged is refused."""
    for path in sorted(folder.glob("*.json")):
        try:
            content = reader.read_json(str(path))
        except CatalogError as error:
            gathered.refuse_link(str(path), str(error))
            continue
        if _is_item(content):
            yield {**content, "self_href": str(path), "catalog": folder.name}


def _check_type(content: dict[str, Any], href: str) -> None:
    """Refuse a document that is no catalog."""
    if content.get("type") not in ("Catalog", "Collection") or "links" not in content:
        raise CatalogError(
            f"{without_query(href)} is not a STAC catalog; give its catalog.json or API root"
        )


def _api_items(href: str, reader: _Reader, gathered: _Gathered) -> Iterator[dict[str, Any]]:
    client = Client.open(href, stac_io=reader)
    asked = list(gathered.reading.collections)
    search = client.search(
        intersects=mapping(gathered.aoi.geometry),
        datetime=(gathered.span.start, gathered.span.end),
        collections=asked or None,
        limit=PAGE_ITEMS,
    )
    number = 0
    for page in _pages(search, reader):
        context = page.get("context") or {}
        matched = page.get("numberMatched") or context.get("matched") or 0
        number += len(page["features"])
        if max(number, matched) > MAX_ITEMS:
            raise CatalogError(
                f"{gathered.reading.source} offers {max(number, matched):,} items, over "
                f"{MAX_ITEMS:,}; name collections (--collection), or take a smaller area or fewer "
                "dates"
            )
        for item in page["features"]:
            home = next((link for link in _hrefs(item, "self") if is_remote(link)), href)
            yield {**item, "self_href": home, "catalog": client.id}
    for name in set(asked) - gathered.collections:
        _check_collection(href, name, reader)


def _pages(search: ItemSearch, reader: _Reader) -> Iterator[dict[str, Any]]:
    """Every page of a search; pystac-client's own ends at one without items, last or not."""
    parameters, seen = search.get_parameters(), list[dict[str, Any]]()
    page = reader.read_json(search.url, method=search.method, parameters=parameters)
    while True:
        yield page
        link = next((link for link in page.get("links") or () if link["rel"] == "next"), None)
        if link is None:
            return
        if link in seen:
            raise CatalogError(
                f"{without_query(search.url)} gives its pages in a circle; ask who runs it"
            )
        seen.append(link)
        following = Link.from_dict({**link, "href": urljoin(search.url, link["href"])})
        page = reader.read_json(following, parameters=parameters)


def _check_collection(href: str, name: str, reader: _Reader) -> None:
    """Refuse a name that the API does not know; one that holds nothing here and now is no error."""
    try:
        reader.read_json(f"{href.rstrip('/')}/collections/{quote(name)}")
    except CatalogError as error:
        told = without_query(href)
        raise CatalogError(f"{told} has no collection {name}; check --collection") from error


def _static_items(
    href: str, root: dict[str, Any], reader: _Reader, gathered: _Gathered
) -> Iterator[dict[str, Any]]:
    """Walk a static catalog; each document is read once, however catalogs link to each other.

    Written here and not left to pystac, which hides why a file cannot be read, recurses for ever
    on a catalog that links to itself, and cannot open a path with `#` in it.
    """
    waiting, seen, name = [href], set[str](), str(root.get("id"))
    source = gathered.reading.source
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        if len(seen) > MAX_ITEMS:
            raise CatalogError(
                f"{source} holds over {MAX_ITEMS:,} documents; give a smaller catalog"
            )
        try:
            content = root if place == href else reader.read_json(place)
            if content.get("type") == "Feature":
                yield {**content, "self_href": place, "catalog": name}
                continue
            _check_type(content, place)
            links = _hrefs(content, "child", "item")
            waiting += [resolved_href(place, link) for link in reversed(links)]
        except (AccessError, CatalogError) as error:
            if place == href:
                raise
            gathered.refuse_link(place, str(error))
    if unknown := sorted(set(gathered.reading.collections) - gathered.collections):
        known = ", ".join(sorted(gathered.collections))
        raise CatalogError(f"{source} has no collection {', '.join(unknown)}; it has {known}")


def _hrefs(document: dict[str, Any], *relations: str) -> list[str]:
    """Where the links of a document lead that are of one of these relations."""
    links = document.get("links")
    found = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    hrefs = [link.get("href") for link in found if link.get("rel") in relations]
    return [href for href in hrefs if isinstance(href, str)]


def _updated(item: dict[str, Any]) -> datetime:
    """When an item was last changed; long ago where it does not say."""
    properties = item.get("properties")
    text = properties.get("updated") if isinstance(properties, dict) else None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return _LONG_AGO
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
