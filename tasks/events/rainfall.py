"""The rain watcher: storms whose rain passes a landslide threshold become reports of events."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from pydantic import BaseModel, ConfigDict, Field, model_validator
from shapely.geometry import MultiPolygon, Point

from tasks.errors import AreaError, FeedError, RasterError
from tasks.events.aoi import read_aoi
from tasks.events.fetch import fetch
from tasks.events.land import on_land
from tasks.events.rain.files import Rain, read_rain
from tasks.events.rain.series import Reading
from tasks.events.rain.storms import Storm, Unknown, find_storms
from tasks.events.reports import EventReport, WatchState
from tasks.events.request import event_from_fields
from tasks.events.thresholds import CAINE_1980, THRESHOLDS, Threshold
from tasks.types import AreaOfInterest, geodesic_area_m2

# Less than any cell of a satellite product: what is left of one at a shore or a region's edge.
MIN_AREA_KM2 = 10.0
# A threshold of one's own holds for a minute to a year unless it says otherwise.
_ANY_SHORT_H, _ANY_LONG_H = 1 / 60, 24.0 * 366

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class RainRules:
    """How rain is read, and how much is too much.

    Attributes:
        threshold: intensity over duration that must be passed.
        region: where to look, EPSG:4326; None for everywhere the files cover.
        min_area_km2: parts of a storm's area smaller than this are left out.
        reading: what files do not say of themselves.
    """

    threshold: Threshold = CAINE_1980
    region: MultiPolygon | None = None
    min_area_km2: float = MIN_AREA_KM2
    reading: Reading = field(default_factory=Reading)


class RainTable(BaseModel):
    """The table `[rain]` of a rules file, as an operator writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Literal["caine1980", "guzzetti2008"] | None = None
    a: float | None = None
    b: float | None = None
    shortest_h: _Positive | None = None
    longest_h: _Positive | None = None
    region: Path | None = None
    min_area_km2: _Positive = MIN_AREA_KM2
    units: str = ""
    hours: _Positive | None = None
    stamp: Literal["start", "end"] | None = None
    variable: str = ""

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        own = [self.a, self.b, self.shortest_h, self.longest_h]
        if self.threshold and any(value is not None for value in own):
            raise ValueError("give a threshold by name or by a and b of your own, not both")
        if (self.a is None) != (self.b is None) or (self.a is None and any(own)):
            raise ValueError("a threshold of your own needs both a and b, I = a D^b")
        return self

    def to_rules(self) -> RainRules:
        """The rules, their region read.

        Raises:
            EventError: a, b and the durations make no threshold.
            AreaError: the region's file cannot be used.
        """
        return RainRules(
            threshold=self._threshold(),
            region=read_aoi(self.region).geometry if self.region else None,
            min_area_km2=self.min_area_km2,
            reading=Reading(self.units, self.hours, self.stamp, self.variable),
        )

    def _threshold(self) -> Threshold:
        if self.a is None or self.b is None:
            return THRESHOLDS[self.threshold or CAINE_1980.name]
        shortest, longest = self.shortest_h or _ANY_SHORT_H, self.longest_h or _ANY_LONG_H
        return Threshold("own", self.a, self.b, shortest, longest)


def look(
    url: str, state: WatchState, now: datetime, rules: RainRules | None = None
) -> tuple[list[EventReport], WatchState]:
    """Read rain once and report every storm in it that passed the threshold.

    Args:
        url: a file or a folder as `read_rain` takes it, or the address of a file.
        state: of the last look at it.
        now: the watcher's clock; rain after it has not fallen.
        rules: threshold, region and units.

    Returns:
        A report of each storm, widest first, with the area on land where the threshold was passed;
        then one with a problem for each reason why something cannot be told, or to say that there
        was nothing. None at all where neither what is at an address or in a folder nor the rules
        changed; a file is read every time. The state to keep.

    Raises:
        TransientError: the address cannot be reached now.
        FeedError: it answers with an error, or nothing there can be used as rain.
    """
    rules = rules or RainRules()
    asked = hashlib.sha256(repr(rules).encode()).hexdigest()
    if state.memory.get("rules") != asked:
        state = replace(state, etag="", last_modified="", memory={"rules": asked})
    if urlsplit(url).scheme in ("http", "https"):
        fetched = fetch(url, state, now)
        if fetched.content is None:
            return [], fetched.state
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (PurePosixPath(unquote(urlsplit(url).path)).name or "rain")
            path.write_bytes(fetched.content)
            return _seen(path, url, fetched.state, now, rules)
    path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else Path(url)
    fingerprint = _fingerprint(path) if path.is_dir() else ""
    if fingerprint and fingerprint == state.etag:
        return [], replace(state, url=url, looked_at=now)
    return _seen(path, url, replace(state, url=url, looked_at=now, etag=fingerprint), now, rules)


def _fingerprint(folder: Path) -> str:
    """What changes when any file of a folder does."""
    facts = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in folder.iterdir()]
    return hashlib.sha256(repr(sorted(facts)).encode()).hexdigest()


def _seen(
    path: Path, url: str, state: WatchState, now: datetime, rules: RainRules
) -> tuple[list[EventReport], WatchState]:
    """Reports of what lies at a path, and the state after it."""
    try:
        rain = read_rain(path, rules.reading, until=now)
    except RasterError as error:
        raise FeedError(str(error).replace(str(path), url)) from error
    storms, unknown = find_storms(rain.series, rules.threshold, rules.region)
    reports = [_report(storm, rules, now) for storm in storms]
    problems = [*_open(unknown), *rain.problems]
    if not reports and not problems:
        problems = [_nothing(rain, rules)]
    reports += [_problem(sentence.replace(str(path), url), now) for sentence in problems]
    newest = max((series.end for series in rain.series), default=None)
    if rain.ahead:
        # What lies ahead of the clock is looked at again, although its file stays as it is.
        state = replace(state, etag="", last_modified="")
    return reports, replace(state, feed_time=newest)


def _report(storm: Storm, rules: RainRules, now: datetime) -> EventReport:
    """A storm as an event, or why it is none."""
    try:
        aoi = _aoi(storm, rules)
    except AreaError as error:
        return _problem(str(error), now)
    place = Point(storm.longitude, storm.latitude)
    if math.isnan(storm.longitude):
        place = aoi.geometry.representative_point()
    fields = {
        "kind": "rainfall",
        "occurred_at": storm.onset,
        "longitude": round(place.x, 5),
        "latitude": round(place.y, 5),
        "rainfall_mm": round(storm.rain_mm, 1),
        "duration_h": storm.hours,
        "source": "rain",
    }
    name = f"rain-{storm.onset:%Y%m%dT%H}-{_name(place.y, 'NS')}{_name(place.x, 'EW')}"
    least = "at least " if storm.at_least else ""
    title = (
        f"Rain of {least}{storm.rain_mm:.0f} mm in {storm.hours:g} h, {least}{storm.ratio:.1f} "
        f"times the landslide threshold {rules.threshold.name}"
    )
    said = repr((fields, aoi.geometry.normalize().wkb_hex, aoi.how))
    version = f"rain:{storm.end:%Y%m%dT%H%MZ}:{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    event = event_from_fields(
        fields | {"id": name, "title": title, "source_version": version}, where="storm"
    )
    return EventReport(event, "rain", version, storm.end, status="automatic", aoi=aoi)


def _aoi(storm: Storm, rules: RainRules) -> AreaOfInterest:
    """The storm's area on land without specks.

    Raises:
        AreaError: there is none.
    """
    what = (
        f"rain of {storm.rain_mm:.0f} mm in {storm.hours:g} h from {storm.onset:%Y-%m-%dT%H:%MZ}, "
        f"{storm.ratio:.1f} times the threshold {rules.threshold.name},"
    )
    if storm.area.is_empty:
        raise AreaError(
            f"{what} fell at a gauge whose place is not known; give its table columns longitude "
            "and latitude, or the rules a region"
        )
    land = on_land(storm.area, what)
    wide = [part for part in land.geoms if geodesic_area_m2(part) >= rules.min_area_km2 * 1e6]
    if not wide:
        raise AreaError(f"{what} fell on no {rules.min_area_km2:g} km² of land that hang together")
    relation = rules.threshold
    how = f"rain over I = {relation.a:g} D^{relation.b:g} mm/h ({relation.name})"
    return AreaOfInterest(MultiPolygon(wide), how)


def _open(unknown: Sequence[Unknown]) -> Iterator[str]:
    """Why it cannot be told whether the threshold was passed: the worst case speaks for all."""
    for worst in sorted(unknown, key=lambda one: one.cells, reverse=True)[:1]:
        series, others = worst.series, len(unknown) - 1
        absent = sum(step is None for step in series.steps)
        why = "some of their rain is missing"
        if absent:
            why = f"{absent} of {len(series.steps)} time steps are absent"
        more = f", and likewise in {others} other accumulations" if others else ""
        yield (
            f"rain from {series.start:%Y-%m-%dT%H:%MZ} to {series.end:%Y-%m-%dT%H:%MZ} in "
            f"{series.where}: it cannot be told whether the threshold was passed in {worst.cells} "
            f"of {worst.of_cells} cells, since {why}{more}; missing rain is not taken for none"
        )


def _nothing(rain: Rain, rules: RainRules) -> str:
    """That all is known and nothing is over the threshold."""
    first = min(rain.series, key=lambda series: series.start)
    end = max(series.end for series in rain.series)
    return (
        f"rain from {first.start:%Y-%m-%dT%H:%MZ} to {end:%Y-%m-%dT%H:%MZ} in {first.where}: "
        f"it reached the threshold {rules.threshold.name} in no cell"
    )


def _problem(sentence: str, now: datetime) -> EventReport:
    version = f"rain:{hashlib.sha256(sentence.encode()).hexdigest()[:12]}"
    return EventReport(None, "rain", version, now, problem=sentence)


def _name(degrees: float, signs: str) -> str:
    """Tenths of a degree for an id, such as 441N."""
    return f"{abs(degrees) * 10:.0f}{signs[degrees < 0]}"
