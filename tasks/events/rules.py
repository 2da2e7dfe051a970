"""Which events are worth a response: limits an operator sets in one small TOML file."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from shapely.geometry import MultiPolygon

from tasks.errors import AreaError, EventError, RulesError
from tasks.events.aoi import read_aoi
from tasks.events.land import require_land
from tasks.events.reports import Alert
from tasks.files import read_toml
from tasks.types import AreaOfInterest, Event, EventKind

DEFAULTS = Path(__file__).with_name("default_rules.toml")
# Clocks differ by minutes, not by more; beyond it one of them is wrong.
CLOCKS_DIFFER = timedelta(minutes=10)
_LONGEST = timedelta(days=36_500)
# The rules that name a file, which lies where the rules do unless its path is whole.
_FILES = ("mask", "land", "region")
# What a rule of the wrong kind should be, as TOML calls it.
_KINDS = {
    "tuple_type": 'is not a list, such as ["a", "b"]',
    "model_type": "is not a table, such as [earthquake]",
    "dict_type": "is not a table, such as [rain]",
    "mapping_type": "is not a table, such as [rain]",
}
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_ALERTS: tuple[Alert, ...] = ("green", "orange", "red")


def _duration(value: object) -> timedelta:
    """`5min` as a span of time; anything else is refused, since 5 may mean anything."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", str(value))
    if match is None:
        raise ValueError("is not a time such as 90s, 5min, 1h or 3d")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError("is longer than a century; give at most 36500d")
    return timedelta(seconds=seconds)


def _at_least_a_second(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("is less than 1s")
    return value


_Duration = Annotated[timedelta, BeforeValidator(_duration)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feed(_Table):
    """How feeds are read."""

    interval: Annotated[_Duration, AfterValidator(_at_least_a_second)]
    stale_after: _Duration
    hosts: tuple[str, ...] = ()


class Limits(_Table):
    """What an event must be to be registered, and how it is followed afterwards."""

    watch: bool
    min_magnitude: Annotated[float, Field(ge=-2, le=10)] = -2
    max_depth_km: _Amount = 1000.0
    min_land_km2: _Amount
    coast_within_km: Annotated[float, Field(ge=0, le=1000)] = 0.0
    min_alert: Alert | None = None
    mask: Path | None = None
    land: Path | None = None
    aoi_pga_g: Annotated[float, Field(gt=0, le=5)] = 0.1
    aoi_mmi: Annotated[float, Field(ge=1, le=12)] | None = None
    aoi_buffer_m: Annotated[float, Field(ge=0, le=200_000)] = 0.0
    aoi_expected_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_age: _Duration
    fresh_for: _Duration
    debounce: _Duration
    re_looks: tuple[_Duration, ...]
    priority_weight: _Amount

    @property
    def masked(self) -> MultiPolygon | None:
        """The ground of the mask, EPSG:4326; None where none is given."""
        return _read_mask(self.mask) if self.mask else None


class Region(BaseModel):
    """A part of the world with limits of its own; fields not given are those of its kind."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    kind: EventKind = "earthquake"
    bbox: tuple[float, float, float, float]

    @model_validator(mode="after")
    def _is_on_the_globe(self) -> Self:
        west, south, east, north = self.bbox
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
            raise ValueError("bbox is west, south, east, north in degrees, south below north")
        return self

    def holds(self, event: Event) -> bool:
        """Whether the event's point lies in the region."""
        west, south, east, north = self.bbox
        beyond = event.longitude >= west, event.longitude <= east
        return south <= event.latitude <= north and (all(beyond) if west <= east else any(beyond))


class Rules(_Table):
    """Everything an operator decides about events in advance."""

    hold: tuple[str, ...] = ()
    feed: Feed
    earthquake: Limits
    rainfall: Limits
    rain: Mapping[str, Any] = Field(default_factory=dict)
    region: tuple[Region, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over what the rules say, hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def limits(self, event: Event) -> Limits:
        """The limits for an event: of the first region that holds it, else of its kind."""
        base: Limits = getattr(self, event.kind)
        for region in self.region:
            if region.kind == event.kind and region.holds(event):
                return base.model_validate(_given(base) | (region.model_extra or {}))
        return base

    def holds_back(self, ids: set[str]) -> str:
        """The entry of the hold list that one of these ids meets; empty if none does."""
        return next((one for one in self.hold if fnmatch.filter(ids, one)), "")


Table = TypeVar("Table", bound=BaseModel)


@dataclass(frozen=True)
class Verdict:
    """Whether the rules ask for an event, and why."""

    wanted: bool
    reason: str


def read_rules(path: Path | None = None, feed: Mapping[str, Any] | None = None) -> Rules:
    """Read a rules file; what it does not say is as in `default_rules.toml`.

    The files it names are relative to it.

    Args:
        path: the operator's file; None for the defaults alone.
        feed: what to read in `[feed]` instead.

    Raises:
        RulesError: the file cannot be read, is not TOML, or holds an unknown or senseless rule, or
            a file that it names cannot be used.
    """
    given = read_toml(DEFAULTS, RulesError)
    if path is not None:
        given = _merged(given, _placed(read_toml(path, RulesError), path.absolute().parent))
    given = _merged(given, {"feed": feed or {}})
    where = str(path or DEFAULTS)
    rules = checked_table(Rules, given, where)
    if rules.rain:
        _check_rain(rules.rain, where)
    _check_files(rules.earthquake, where)
    _check_files(rules.rainfall, where)
    for region in rules.region:
        base = _given(getattr(rules, region.kind))
        there = f"{where}, region {region.name}"
        own = checked_table(Limits, base | (region.model_extra or {}), there)
        _check_files(own, there)
    return rules


def checked_table(model: type[Table], given: Mapping[str, Any], where: str) -> Table:
    """A table of a rules file as a record.

    Raises:
        RulesError: a rule of it is unknown or makes no sense; the sentence names it.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise RulesError(f"{where}: {_sentence(error, [*model.model_fields])}") from error


def judge_time(event: Event, rules: Rules, now: datetime) -> Verdict:
    """Whether an event happened at a time that asks for registering it."""
    limits, age = rules.limits(event), now - event.occurred_at
    if age < -CLOCKS_DIFFER:
        return Verdict(
            False,
            f"it happens {_span(-age)} after the watcher's clock ({now:%Y-%m-%d %H:%M} UTC); it is "
            "decided again when the clock has passed it",
        )
    if age > limits.max_age:
        return Verdict(
            False, f"it is {_span(age)} old, older than the {_span(limits.max_age)} of the rules"
        )
    return Verdict(True, f"it is {_span(age)} old")


def judge_size(event: Event, alert: Alert | None, rules: Rules) -> Verdict:
    """Whether an event is of a kind, size and depth that ask for a response."""
    limits, magnitude, depth = rules.limits(event), event.magnitude, event.depth_km
    if not limits.watch:
        return Verdict(False, f"{event.kind} events are not watched here")
    if event.kind == "earthquake" and magnitude is None:
        return Verdict(False, "it has no magnitude yet")
    if magnitude is not None and magnitude < limits.min_magnitude:
        return Verdict(False, f"M {magnitude:g} is below M {limits.min_magnitude:g} of the rules")
    if depth is not None and depth > limits.max_depth_km:
        return Verdict(
            False, f"its depth of {depth:g} km is beyond {limits.max_depth_km:g} km of the rules"
        )
    if limits.min_alert and _rank(alert) < _rank(limits.min_alert):
        return Verdict(
            False, f"its alert level ({alert or 'none'}) is below {limits.min_alert} of the rules"
        )
    if magnitude is not None:
        return Verdict(True, f"M {magnitude:g} reaches M {limits.min_magnitude:g} of the rules")
    return Verdict(True, f"the rules ask for {event.kind} events")


def judge_ground(event: Event, aoi: AreaOfInterest, land_km2: float, rules: Rules) -> Verdict:
    """Whether the ground where slides are looked for asks for a response.

    Args:
        event: as reported.
        aoi: its area of interest.
        land_km2: land in it.
        rules: the operator's.
    """
    limits = rules.limits(event)
    if land_km2 < limits.min_land_km2:
        return Verdict(
            False,
            f"{land_km2:,.1f} km² of its area of interest is land, less than "
            f"{limits.min_land_km2:g} km² of the rules",
        )
    mask = limits.masked
    if mask is not None and not mask.intersects(aoi.geometry):
        return Verdict(False, f"its area of interest meets nothing of {limits.mask}")
    return Verdict(True, f"{land_km2:,.0f} km² of land to look at")


def respond_at(event: Event, rules: Rules, now: datetime) -> datetime:
    """When a response to a change may start: fresh events change fast, so it waits a little."""
    limits = rules.limits(event)
    return now + limits.debounce if now - event.occurred_at < limits.fresh_for else now


def re_look_due(event: Event, rules: Rules, looked_at: datetime | None, now: datetime) -> bool:
    """Whether one of the scheduled ages has been reached since the last look.

    A look that lies ahead of the clock was made by a clock that was wrong, and does not count.
    """
    last = looked_at if looked_at and looked_at <= now else None
    due = [event.occurred_at + age for age in rules.limits(event).re_looks]
    return any((last is None or last < moment) and moment <= now for moment in due)


def _rank(alert: Alert | None) -> int:
    return _ALERTS.index(alert) if alert else -1


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, name in ((86_400 * 365.25, "years"), (86_400, "days"), (3600, "hours")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{math.ceil(seconds / 60)} minutes"


@cache
def _read_mask(path: Path) -> MultiPolygon:
    return read_aoi(path).geometry


def _check_rain(table: Mapping[str, Any], where: str) -> None:
    # Rasters and their libraries cost a second to import.
    from tasks.events.rainfall import RainTable

    try:
        checked_table(RainTable, table, f"{where}, rain").to_rules()
    except (AreaError, EventError) as error:
        raise RulesError(f"{where}, rain: {error}") from error


def _check_files(limits: Limits, where: str) -> None:
    """Read what limits name before any event is judged by them: its decision would stand."""
    try:
        _ = limits.masked
    except AreaError as error:
        raise RulesError(f"{where}: mask {error}") from error
    if limits.land:
        try:
            require_land(limits.land)
        except AreaError as error:
            raise RulesError(f"{where}: land {error}") from error


def _placed(given: Any, folder: Path) -> Any:
    """What a rules file says, with the files it names relative to its folder."""
    if isinstance(given, list):
        return [_placed(one, folder) for one in given]
    if not isinstance(given, dict):
        return given
    return {
        name: str(folder / value)
        if name in _FILES and isinstance(value, str)
        else _placed(value, folder)
        for name, value in given.items()
    }


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(base[name], value)
        if isinstance(value, dict) and isinstance(base.get(name), dict)
        else value
        for name, value in own.items()
    }
    return {**base, **both}


def _given(limits: Limits) -> dict[str, Any]:
    """The limits as a file would write them, to be overridden field by field."""
    given = limits.model_dump()
    for name, value in given.items():
        if isinstance(value, timedelta):
            given[name] = f"{value.total_seconds()}s"
        elif name == "re_looks":
            given[name] = [f"{one.total_seconds()}s" for one in value]
    return given


def _sentence(error: ValidationError, names: list[str]) -> str:
    """The first thing wrong with a rules file: where, what, and what to write instead."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*names, *Limits.model_fields, *Feed.model_fields]
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"{place} is no rule; " + (f"did you mean {near[0]}?" if near else "leave it out")
    if first["type"] == "missing":
        return f"{place} is missing"
    wrong = _KINDS.get(first["type"], first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return wrong
    return f"{place} = {json.dumps(first['input'], default=str)} {wrong[:1].lower()}{wrong[1:]}"
