"""USGS ComCat: GeoJSON summaries, answers of the FDSN event service, and the page of one event.

Times are milliseconds since 1970 in UTC, before 1970 negative; `ids` is a list wrapped in commas;
the longitude of a place near the antimeridian may lie beyond 180.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tasks.errors import EventError, FeedError
from tasks.events.fetch import fetch, unpacked
from tasks.events.reports import (
    Alert,
    EventReport,
    ShakeMapVersion,
    Source,
    Status,
    WatchState,
    source_version,
)
from tasks.events.request import event_from_fields

log = logging.getLogger(__name__)

SOURCE: Source = "usgs"
# `phase-data` is an origin with the arrivals it was made from.
_PLACES = ("origin", "phase-data")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALTERNATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_STATUSES: dict[object, Status] = {
    "automatic": "automatic",
    "reviewed": "reviewed",
    "deleted": "deleted",
}
_ALERTS: dict[object, Alert] = {
    "green": "green",
    # PAGER's yellow stands between GDACS' green and orange; what it asks for is closer to orange.
    "yellow": "orange",
    "orange": "orange",
    "red": "red",
}


def look(url: str, state: WatchState, now: datetime) -> tuple[list[EventReport], WatchState]:
    """Read a ComCat feed once.

    Args:
        url: a summary feed, an FDSN query in GeoJSON, or one event's page; or a file of these.
        state: of the last look.
        now: the watcher's clock.

    Returns:
        A report an entry, none if nothing changed, and the state to keep.

    Raises:
        FeedError: the answer as a whole cannot be used; the sentence says what it is instead.
        TransientError: the feed cannot be reached just now.
    """
    fetched = fetch(url, state, now)
    if fetched.content is None:
        return [], fetched.state
    answer = _parsed(url, unpacked(fetched.content, url))
    generated = _mapping(answer.get("metadata")).get("generated")
    feed_time = _time(generated) if generated is not None else None
    reports = [read_feature(feature) for feature in _features(url, answer)]
    memory = _remembered(reports[0]) if answer.get("type") == "Feature" else {}
    return reports, replace(fetched.state, feed_time=feed_time, memory=memory)


def page_of(state: WatchState) -> tuple[str, datetime] | None:
    """The event whose page a URL was at the last look, and when it was updated; None if none."""
    event_id, updated = state.memory.get("page_of"), _time(state.memory.get("updated"))
    return (str(event_id), updated) if event_id and updated else None


def is_deleted(error: FeedError) -> bool:
    """Whether an event's page could not be read since ComCat has deleted the event (409, 410)."""
    return error.status in (httpx.codes.CONFLICT, httpx.codes.GONE)


def deleted_report(event_id: str, error: FeedError, when: datetime) -> EventReport:
    """What it says of an event that its page is gone."""
    problem = f"{event_id}: ComCat deleted it, its page answers HTTP {error.status}"
    report = _useless(event_id, when, problem)
    return replace(report, status="deleted")


def read_feature(feature: object) -> EventReport:
    """What one GeoJSON feature of ComCat says; an unusable one becomes a report with a problem."""
    if not isinstance(feature, dict):
        return _useless("", _EPOCH, f"an entry is {type(feature).__name__} instead of a feature")
    properties = _mapping(feature.get("properties"))
    event_id = _text(feature.get("id"))
    updated = _time(properties.get("updated"))
    if updated is None:
        given = json.dumps(properties.get("updated"))
        return _useless(
            event_id, _EPOCH, f"{event_id or 'an entry'}: updated {given} is not ms since 1970"
        )
    report = _useless(event_id, updated, "")
    report = replace(
        report,
        alternate_ids=tuple(name for name in _ids(properties) if name != event_id),
        status=_STATUSES.get(str(properties.get("status")).lower(), ""),
        alert=_ALERTS.get(str(properties.get("alert"))),
        detail_url=_text(properties.get("detail"), 2000),
    )
    if report.status == "deleted":
        return replace(report, problem=f"{event_id}: ComCat deleted it")
    if _all_withdrawn(_mapping(properties.get("products"))):
        problem = f"{event_id}: every origin of it has been withdrawn"
        return replace(report, status="deleted", problem=problem)
    kind = properties.get("type")
    if kind not in ("earthquake", None):
        return replace(
            report, status="deleted", problem=f"{event_id} is of type {kind!r}, not an earthquake"
        )
    return _described(report, feature, properties)


def _remembered(report: EventReport) -> Mapping[str, object]:
    """What to keep of an event's page, since one that is gone does not say whose it was."""
    updated = (report.reported_at - _EPOCH) / timedelta(milliseconds=1)
    return {"page_of": report.id, "updated": round(updated)}


def _described(
    report: EventReport, feature: Mapping[str, Any], properties: Mapping[str, Any]
) -> EventReport:
    """Add the event, its version and its ShakeMaps, or the reason why it cannot be told."""
    products = _mapping(properties.get("products"))
    version = _origin_version(products) or report.source_version
    try:
        event = event_from_fields(
            _fields(report, feature, properties) | {"source_version": version},
            report.event_id or "an entry",
        )
    except EventError as error:
        return replace(report, problem=str(error))
    return replace(
        report,
        event=event,
        source_version=version,
        shakemaps=tuple(_shakemaps(products)),
        lists_products="shakemap" in products or any(products.values()),
    )


def _fields(
    report: EventReport, feature: Mapping[str, Any], properties: Mapping[str, Any]
) -> dict[str, Any]:
    place = _mapping(feature.get("geometry")).get("coordinates")
    longitude, latitude, depth = [*(place if isinstance(place, list) else []), None, None, None][:3]
    occurred_at = _time(properties.get("time"))
    if occurred_at is None:
        given = json.dumps(properties.get("time"))
        raise EventError(f"{report.event_id}: time {given} is not ms since 1970")
    scale = re.sub("[^A-Za-z]", "", str(properties.get("magType") or ""))[:12]
    magnitude = properties.get("mag")
    return {
        "id": report.event_id,
        "kind": "earthquake",
        "title": _text(properties.get("title") or properties.get("place"), 300) or None,
        "occurred_at": occurred_at,
        "longitude": _within_180(longitude),
        "latitude": latitude,
        "magnitude": magnitude,
        "magnitude_type": scale or None if magnitude is not None else None,
        "depth_km": depth,
        "source": SOURCE,
        "alternate_ids": report.alternate_ids,
    }


def _origin_version(products: Mapping[str, Any]) -> str:
    """The version of the origin ComCat prefers; empty where the entry lists none.

    Of each contributor the last one counts, of those the one with the greatest `preferredWeight`.
    """
    standing = [
        (float(weight) if isinstance(weight := product.get("preferredWeight"), int) else 0.0, at)
        + key
        for key, (at, product) in _last_words(products, "origin").items()
        if not _withdrawn(product)
    ]
    if not standing:
        return ""
    _, updated, source, code = max(standing)
    return source_version(source, code, updated)


def _all_withdrawn(products: Mapping[str, Any]) -> bool:
    """Whether a page lists where the event was, and every contributor has taken that back."""
    last = [product for kind in _PLACES for _, product in _last_words(products, kind).values()]
    return bool(last) and all(map(_withdrawn, last))


def _last_words(
    products: Mapping[str, Any], kind: str
) -> dict[tuple[str, str], tuple[datetime, Mapping[str, Any]]]:
    """Of each contributor of a kind of product, by source and code, what it sent last and when."""
    last: dict[tuple[str, str], tuple[datetime, Mapping[str, Any]]] = {}
    for product in _products(products, kind):
        updated = _time(product.get("updateTime"))
        key = _text(product.get("source")), _text(product.get("code"))
        if updated is not None and (key not in last or updated > last[key][0]):
            last[key] = updated, product
    return last


def _withdrawn(product: Mapping[str, Any]) -> bool:
    return str(product.get("status")).upper() == "DELETE"


def _shakemaps(products: Mapping[str, Any]) -> Iterator[ShakeMapVersion]:
    for product in _products(products, "shakemap"):
        updated = _time(product.get("updateTime"))
        source, code = _text(product.get("source")), _text(product.get("code"))
        if updated is None or not source or not code:
            log.warning("a ShakeMap without source, code or updateTime is left out: %s", product)
            continue
        yield ShakeMapVersion(
            source=source,
            code=code,
            updated_at=updated,
            version=_text(_mapping(product.get("properties")).get("version")),
            status=_text(product.get("status")),
            contents={
                name: _text(_mapping(content).get("url"), 2000)
                for name, content in _mapping(product.get("contents")).items()
                if _mapping(content).get("url")
            },
        )


def _products(products: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    listed = products.get(kind)
    return [_mapping(product) for product in listed] if isinstance(listed, list) else []


def _useless(event_id: str, updated: datetime, problem: str) -> EventReport:
    # The network's code begins with its letters: `nc` of `nc72852151`.
    network = re.match("[a-z]*", event_id)
    version = source_version(network[0] if network else "", event_id, updated)
    return EventReport(None, SOURCE, version, updated, problem=problem, event_id=event_id)


def _parsed(url: str, content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        start = content[:200].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            raise FeedError(f"{url} is a web page, not GeoJSON; give a GeoJSON feed") from error
        raise FeedError(
            f"{url} is not whole GeoJSON ({len(content)} bytes, {error}); it is read again at the "
            "next look"
        ) from error
    if not isinstance(answer, dict):
        raise FeedError(f"{url} holds no GeoJSON object; give a ComCat feed in GeoJSON")
    return answer


def _features(url: str, answer: dict[str, Any]) -> list[object]:
    if answer.get("type") == "Feature":
        return [answer]
    features = answer.get("features")
    if answer.get("type") == "FeatureCollection" and isinstance(features, list):
        return features
    raise FeedError(
        f"{url} holds a GeoJSON {answer.get('type')!r}; give a ComCat FeatureCollection or Feature"
    )


def _ids(properties: Mapping[str, Any]) -> list[str]:
    names = (name.strip() for name in str(properties.get("ids") or "").split(","))
    return [name for name in dict.fromkeys(names) if _ALTERNATE.fullmatch(name)]


def _text(value: object, longest: int = 100) -> str:
    """A value as text that a database and a terminal can carry."""
    plain = str(value if value is not None else "").encode("utf-8", "replace").decode()
    return "".join(one if one.isprintable() else "?" for one in plain)[:longest]


def _time(value: object) -> datetime | None:
    """An instant from ms since 1970; None where the value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return None


def _within_180(longitude: object) -> object:
    if isinstance(longitude, int | float) and 180 < abs(longitude) <= 360:
        return (longitude + 180) % 360 - 180
    return longitude


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
