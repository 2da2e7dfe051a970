"""GDACS: alerts of the Global Disaster Alert and Coordination System, as RSS or as GeoJSON.

Both layouts are brought to one `_Entry`, so every rule about an entry stands here once. GDACS
writes times in UTC, `georss:point` as latitude longitude, and `gdacs:bbox` as lonmin lonmax latmin
latmax.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from tasks.errors import EventError, FeedError
from tasks.events.fetch import fetch, unpacked
from tasks.events.reports import Alert, EventReport, WatchState
from tasks.events.request import event_from_fields
from tasks.types import Event

_GDACS = "{http://www.gdacs.org}"
_GEO = "{http://www.w3.org/2003/01/geo/wgs84_pos#}"
_GEORSS = "{http://www.georss.org/georss}"

_HAZARDS = {
    "DR": "a drought",
    "FL": "a flood",
    "TC": "a tropical cyclone",
    "TS": "a tsunami",
    "VO": "a volcano",
    "WF": "a wildfire",
}
_ALERTS: dict[str, Alert] = {"green": "green", "orange": "orange", "red": "red"}
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_MAGNITUDE = re.compile(rf"Magnitude\s*{_NUMBER}\s*M", re.IGNORECASE)
_DEPTH = re.compile(rf"Depth\s*:?\s*{_NUMBER}\s*km", re.IGNORECASE)
_GLIDE = re.compile(r"[A-Z]{2}-\d{4}-\d{6}-[A-Z]{3}")
_COMCAT_PAGE = re.compile(r"usgs\.gov/earthquakes/eventpage/([a-z]+\w+)")
# The attribute and the text are one number, once rounded.
_ROUNDING = 0.051


@dataclass(frozen=True)
class _Entry:
    """One alert in the words of either layout; what is missing is an empty text."""

    eventtype: str
    eventid: str
    episodeid: str
    version: str
    alertlevel: str
    country: str
    fromdate: str
    datemodified: str
    longitude: str
    latitude: str
    severity: str
    severityunit: str
    severitytext: str
    glide: str
    bbox: tuple[str, ...]
    other_ids: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.eventtype}{self.eventid}"


def look(url: str, state: WatchState, now: datetime) -> tuple[list[EventReport], WatchState]:
    """Read a GDACS feed once.

    Args:
        url: an RSS feed (`https://www.gdacs.org/xml/rss_7d.xml`), a GeoJSON answer of
            `gdacsapi/api/events` (an event list or `geteventdata`), or a file of either.
        state: of the last look at this URL.
        now: the watcher's clock, UTC.

    Returns:
        A report of every entry, none where the feed is as it was, and the state to keep.

    Raises:
        TransientError: the feed cannot be reached now.
        FeedError: what was read is no GDACS feed, or is cut short.
    """
    fetched = fetch(url, state, now)
    if fetched.content is None:
        return [], fetched.state
    reports, made_at = read_feed(unpacked(fetched.content, url), url, now)
    return reports, replace(fetched.state, feed_time=made_at)


def read_feed(
    content: bytes, where: str, now: datetime
) -> tuple[list[EventReport], datetime | None]:
    """Turn a GDACS feed into reports, and say when it was made.

    An entry that cannot be used becomes a report with a `problem`, and so does one of another
    hazard than an earthquake. A version is named by event, episode and version number, and by
    `datemodified` where GDACS gives it: `pubDate` names nothing, since it is the origin time of
    every earthquake, and moves with each run of the feed for a drought whose episode stays.

    Args:
        content: RSS 2.0 or GeoJSON.
        where: what to call it in messages.
        now: stands in for an update time where the feed gives none at all.

    Returns:
        Reports in the order of the feed, and the feed's own time in UTC if it has one.

    Raises:
        FeedError: it is neither, is cut short, or defines XML entities.
    """
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise FeedError(f"{where} is a web page, not a GDACS feed; give the feed's own address")
    if start.startswith((b"{", b"[")):
        entries, made_at = _json_entries(content, where)
    else:
        entries, made_at = _rss_entries(content, where)
    return [_report(read, made_at or now) for read in entries], made_at


def _report(read: Callable[[], _Entry], made_at: datetime) -> EventReport:
    """A report of one entry; whatever is wrong with it becomes the problem it states."""
    unusable = EventReport(None, source="gdacs", source_version="gdacs", reported_at=made_at)
    try:
        entry = read()
        _check_identity(entry)
    except EventError as error:
        return replace(unusable, problem=str(error))
    name = ":".join(("gdacs", entry.id, entry.episodeid, entry.version)).rstrip(":")
    known = replace(
        unusable,
        event_id=entry.id,
        source_version=name,
        alternate_ids=_alternate_ids(entry),
        alert=_ALERTS.get(entry.alertlevel.lower()),
    )
    try:
        if entry.datemodified:
            modified_at = _time(entry, "datemodified")
            name = f"{name}:{modified_at:%Y%m%dT%H%M%SZ}"
            known = replace(known, source_version=name, reported_at=modified_at)
        event = replace(_event(entry), source_version=name)
    except EventError as error:
        return replace(known, problem=str(error))
    return replace(known, event=event, status="automatic")


def _check_identity(entry: _Entry) -> None:
    if not re.fullmatch(r"[A-Z]{2}", entry.eventtype) or not re.fullmatch(r"\d+", entry.eventid):
        raise EventError(
            f"GDACS entry with eventtype {entry.eventtype!r} and eventid {entry.eventid!r}: two "
            "capital letters and a number are needed to tell it from others; it is passed over"
        )


def _event(entry: _Entry) -> Event:
    if entry.eventtype != "EQ":
        hazard = _HAZARDS.get(entry.eventtype, f"of type {entry.eventtype}")
        raise EventError(
            f"{entry.id} is {hazard}, and gives no rain amount; Scarp responds to earthquakes, and "
            "to rain it measures itself (--source rain)"
        )
    _check_bbox(entry)
    fields = {
        "id": entry.id,
        "kind": "earthquake",
        "title": None,
        "occurred_at": _time(entry, "fromdate"),
        "longitude": entry.longitude or None,
        "latitude": entry.latitude or None,
        "magnitude": _magnitude(entry),
        "depth_km": _depth_km(entry),
        "source": "gdacs",
        "alternate_ids": _alternate_ids(entry),
    }
    if entry.country and fields["magnitude"] is not None:
        fields["title"] = f"M {fields['magnitude']:g} earthquake, {entry.country}"
    return event_from_fields(fields, where=f"GDACS {entry.id}")


def _magnitude(entry: _Entry) -> float | None:
    """The magnitude, where the number and the text of the severity agree on it."""
    number = _float(entry, "severity")
    stated = _MAGNITUDE.search(entry.severitytext)
    if number is not None and entry.severityunit not in ("M", ""):
        raise EventError(
            f"GDACS {entry.id}: severity is in {entry.severityunit!r}, not a magnitude (M)"
        )
    if number is not None and stated and abs(number - float(stated[1])) > _ROUNDING:
        raise EventError(
            f"GDACS {entry.id}: severity {number:g} contradicts its text {entry.severitytext!r}"
        )
    if stated:
        return number if number is not None else float(stated[1])
    # The API writes 0 without a unit where it knows no severity.
    return number if entry.severityunit == "M" else None


def _depth_km(entry: _Entry) -> float | None:
    stated = _DEPTH.search(entry.severitytext)
    return float(stated[1]) if stated else None


def _check_bbox(entry: _Entry) -> None:
    """Refuse a point outside its own box, as one with swapped coordinates is."""
    if not entry.bbox or not entry.longitude or not entry.latitude:
        return
    try:
        west, east, south, north = map(float, entry.bbox)
        lon, lat = float(entry.longitude), float(entry.latitude)
    except ValueError as error:
        raise EventError(
            f"GDACS {entry.id}: point {entry.latitude} {entry.longitude} or bbox "
            f"{' '.join(entry.bbox)!r} is not made of numbers"
        ) from error
    width = east - west + (360 if east < west else 0)
    if not (south <= lat <= north and (lon - west) % 360 <= width):
        raise EventError(
            f"GDACS {entry.id}: its point (latitude {lat:g}, longitude {lon:g}) lies outside its "
            f"bbox (longitude {west:g} to {east:g}, latitude {south:g} to {north:g})"
        )


def _alternate_ids(entry: _Entry) -> tuple[str, ...]:
    glide = (entry.glide,) if _GLIDE.fullmatch(entry.glide) else ()
    return tuple(dict.fromkeys((*entry.other_ids, *glide)))


def _qualified(name: str, source: str) -> str:
    """An agency's id; a bare number, which others use too, is given the agency's name."""
    return f"{source.strip().lower().replace(' ', '-')}:{name}" if name.isdigit() else name


def _float(entry: _Entry, field: str) -> float | None:
    text = getattr(entry, field)
    try:
        return float(text) if text else None
    except ValueError as error:
        raise EventError(f"GDACS {entry.id}: {field} {text!r} is not a number") from error


def _time(entry: _Entry, field: str) -> datetime:
    """A time as RFC 822 or ISO 8601 writes it; without a zone it is UTC."""
    text = getattr(entry, field)
    moment = _parsed_time(text)
    if moment is None:
        raise EventError(f"GDACS {entry.id}: {field} {text!r} is not a time")
    return moment


def _parsed_time(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
            aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            return aware.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _rss_entries(
    content: bytes, where: str
) -> tuple[Iterator[Callable[[], _Entry]], datetime | None]:
    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise FeedError(f"{where} defines XML entities and is refused; feeds need none") from error
    except (ParseError, ValueError) as error:
        raise FeedError(
            f"{where} is not XML, or was cut short ({error}); look again or give a GDACS feed"
        ) from error
    channel = root.find("channel")
    if channel is None:
        raise FeedError(f"{where} is XML without an RSS channel; give a GDACS feed")
    made_at = _parsed_time(channel.findtext("pubDate", ""))
    return (lambda item=item: _rss_entry(item) for item in channel.findall("item")), made_at


def _rss_entry(item: Element) -> _Entry:
    def text(name: str) -> str:
        return (item.findtext(f"{_GDACS}{name}") or "").strip()

    severity = item.find(f"{_GDACS}severity")
    given = severity.attrib if severity is not None else {}
    point = (item.findtext(f"{_GEORSS}point") or "").split()
    if len(point) != 2:
        point = [item.findtext(f".//{_GEO}{name}", "").strip() for name in ("lat", "long")]
    return _Entry(
        eventtype=text("eventtype"),
        eventid=text("eventid"),
        episodeid=text("episodeid"),
        version=text("version"),
        alertlevel=text("alertlevel"),
        country=text("country"),
        fromdate=text("fromdate"),
        datemodified=text("datemodified"),
        latitude=point[0],
        longitude=point[1],
        severity=given.get("value", "").strip(),
        severityunit=given.get("unit", "").strip(),
        severitytext=text("severity"),
        glide=text("glide"),
        bbox=tuple(text("bbox").split()),
        other_ids=tuple(_rss_ids(item)),
    )


def _rss_ids(item: Element) -> Iterator[str]:
    """The ids of the agencies behind an entry: named ones, and that of its ComCat page."""
    for identifier in item.iter(f"{_GDACS}identifier"):
        value = (identifier.text or "").strip()
        if identifier.get("id", "").endswith("id") and value:
            yield _qualified(value, identifier.get("src", ""))
    for resource in item.iter(f"{_GDACS}resource"):
        if page := _COMCAT_PAGE.search(resource.get("url", "")):
            yield page[1]


def _json_entries(
    content: bytes, where: str
) -> tuple[Iterator[Callable[[], _Entry]], datetime | None]:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise FeedError(f"{where} is not JSON, or was cut short ({error}); look again") from error
    features = answer.get("features", [answer]) if isinstance(answer, dict) else None
    if not isinstance(features, list):
        raise FeedError(f"{where} holds no GeoJSON features; give a GDACS event list")
    modified = [_parsed_time(_member(feature, "datemodified")) for feature in features]
    made_at = max((moment for moment in modified if moment), default=None)
    return (lambda feature=feature: _json_entry(feature) for feature in features), made_at


def _member(feature: object, name: str) -> str:
    """A property of a feature as text; empty where there is none."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    value = properties.get(name) if isinstance(properties, dict) else None
    return "" if value is None else str(value).strip()


def _json_entry(feature: Any) -> _Entry:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        name = f"{_member(feature, 'eventtype')}{_member(feature, 'eventid')}"
        raise EventError(f"GDACS feature {name or 'without an id'} has no point to stand for it")
    place = geometry.get("coordinates")
    lon, lat = map(str, place[:2]) if isinstance(place, list) and len(place) >= 2 else ("", "")
    severity = feature["properties"].get("severitydata")
    given: Mapping[str, Any] = severity if isinstance(severity, dict) else {}
    source_id = _member(feature, "sourceid")
    return _Entry(
        eventtype=_member(feature, "eventtype"),
        eventid=_member(feature, "eventid"),
        episodeid=_member(feature, "episodeid"),
        version=_member(feature, "version"),
        alertlevel=_member(feature, "alertlevel"),
        country=_member(feature, "country"),
        fromdate=_member(feature, "fromdate"),
        datemodified=_member(feature, "datemodified"),
        longitude=lon,
        latitude=lat,
        severity=str(given.get("severity") or ""),
        severityunit=str(given.get("severityunit") or ""),
        severitytext=str(given.get("severitytext") or ""),
        glide=_member(feature, "glide"),
        bbox=(),
        other_ids=(_qualified(source_id, _member(feature, "source")),) if source_id else (),
    )
