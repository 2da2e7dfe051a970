"""One earthquake or storm, one event: which known one a report speaks of under an id of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import shapely
from pyproj import Geod

from tasks.events.aoi import as_multipolygon
from tasks.events.reports import EventReport
from tasks.types import AreaOfInterest, Event, geodesic_area_m2

# Agencies differ by up to 4 s, 48 km and 0.4 in the histories of seven earthquakes in ComCat. A
# place 100 km off goes with a time up to 15 s off (P waves, 6.5 km/s), a depth fixed at 10 or 33 km
# with some seconds more, and the first magnitude of a great earthquake is a unit low (Tohoku 2011:
# 7.9, in the end 9.1). Aftershocks a minute apart stay apart.
MOST_APART = timedelta(seconds=30)
MOST_APART_KM = 100.0
MOST_APART_M = 1.0
# A GLIDE number names a disaster, foreshocks and aftershocks included, so it only widens the gates.
_GLIDE_WIDENS = 10
_GLIDE = re.compile(r"EQ-\d{4}-\d{6}-[A-Z]{3}")
# A network rarely gives one earthquake two ids (`us70006rql`, `nc72852151`): only where it locates
# it anew, and then close to where it was.
_SECOND_ID_NARROWS = 0.25
_NETWORK = re.compile(r"([a-z]{2})\d")
_CLEARLY_BETTER = 0.5
# As long without rain over the threshold divides storms in one look (`rain.storms`).
STORMS_APART = timedelta(hours=24)
# Less is what rounding leaves between two outlines of the same cells.
_NO_GROUND_M2 = 1_000.0

_WGS84 = Geod(ellps="WGS84")


class Known(Protocol):
    """An event of the register, as far as it is compared."""

    @property
    def event(self) -> Event:
        """What is known of it."""

    @property
    def aoi(self) -> AreaOfInterest:
        """Its area of interest."""


def same_event(report: EventReport, candidates: Iterable[Known]) -> str | None:
    """The id of the known event that a report describes.

    An id in common decides. Otherwise two earthquakes must lie within 30 s, 100 km and one unit of
    magnitude (where both have one); within ten times as much where they share a GLIDE number, a
    quarter where one network has given them different ids. Two storms must share ground, with less
    than a day between them. Which source came first makes no difference.

    Args:
        report: with an event, and for rain with an area; nothing is the same as any other.
        candidates: events of the register, in any order; only those of its kind are compared.

    Returns:
        The id of the one that fits, of storms the one that shares most ground. None if none does,
        or if two earthquakes fit about equally well: a second entry can be merged later, an
        earthquake merged into another is lost.
    """
    event = report.event
    if event is None:
        return None
    kin = [known for known in candidates if known.event.kind == event.kind]
    mine = _ids(event) | set(report.alternate_ids)
    named = [
        known.event for known in kin if any(names_one(name) for name in mine & _ids(known.event))
    ]
    if named:
        return min(named, key=lambda known: (known.occurred_at, known.id)).id
    if event.kind == "rainfall":
        return _same_storm(event, report.aoi, kin)
    return _same_earthquake(event, mine, [known.event for known in kin])


def furthest_apart(report: EventReport) -> timedelta:
    """How long before or after the earthquake of a report one can be that is the same."""
    mine = {report.id, *report.alternate_ids, *(report.event.alternate_ids if report.event else ())}
    return MOST_APART * (_GLIDE_WIDENS if any(map(_GLIDE.fullmatch, mine)) else 1)


def names_one(name: str) -> bool:
    """Whether an id is of one earthquake only, as a GLIDE number need not be."""
    return not _GLIDE.fullmatch(name)


def grown(event: Event, aoi: AreaOfInterest, known: Known) -> tuple[Event, AreaOfInterest]:
    """What is known of a storm after another look at it, which may see less of it than the last.

    Rain leaves the files as time goes on, but ground that was over the threshold has been so: the
    area only grows. The event is the one described now if more rain or ground is told of it, else
    as it was.

    Args:
        event: the storm as described now.
        aoi: where rain passed the threshold, as told now.
        known: the storm as registered.

    Returns:
        The event under the id it has been given now, and its area; `known.event` and `known.aoi`
        themselves where nothing has grown.
    """
    before = known.event
    added_m2 = geodesic_area_m2(shapely.difference(aoi.geometry, known.aoi.geometry))
    wetter = (event.rainfall_mm or 0) > (before.rainfall_mm or 0)
    if added_m2 < _NO_GROUND_M2 and not wetter:
        return before, known.aoi
    both = as_multipolygon(shapely.union(aoi.geometry, known.aoi.geometry))
    told = event if wetter else replace(before, id=event.id, source_version=event.source_version)
    onset = min(event.occurred_at, before.occurred_at)
    return replace(told, occurred_at=onset), AreaOfInterest(both, aoi.how)


def _same_earthquake(event: Event, ids: set[str], quakes: Iterable[Event]) -> str | None:
    fits = sorted(
        (misfit, known.id) for known in quakes if (misfit := _misfit(event, known, ids)) is not None
    )
    if len(fits) > 1 and fits[0][0] > _CLEARLY_BETTER * fits[1][0]:
        return None
    return fits[0][1] if fits else None


def _same_storm(event: Event, aoi: AreaOfInterest | None, storms: Iterable[Known]) -> str | None:
    if aoi is None:
        return None
    shared = sorted(
        (-geodesic_area_m2(shapely.intersection(aoi.geometry, known.aoi.geometry)), known.event.id)
        for known in storms
        if _gap(event, known.event) < STORMS_APART
    )
    return shared[0][1] if shared and shared[0][0] < 0 else None


def _gap(one: Event, other: Event) -> timedelta:
    """Time between two storms; below zero where they overlap."""
    first, second = sorted((one, other), key=lambda event: event.occurred_at)
    return second.occurred_at - first.occurred_at - timedelta(hours=first.duration_h or 0)


def _misfit(one: Event, other: Event, ids: set[str]) -> float | None:
    """How badly two earthquakes agree, 0 if in all; None where they are two."""
    gate = _SECOND_ID_NARROWS if _told_apart(ids, _ids(other)) else 1.0
    if any(_GLIDE.fullmatch(name) for name in ids & _ids(other)):
        gate *= _GLIDE_WIDENS
    apart = [
        abs(one.occurred_at - other.occurred_at) / MOST_APART,
        _distance_km(one, other) / MOST_APART_KM,
    ]
    if one.magnitude is not None and other.magnitude is not None:
        apart.append(abs(one.magnitude - other.magnitude) / MOST_APART_M)
    return math.hypot(*apart) if max(apart) <= gate else None


def _told_apart(ids: set[str], others: set[str]) -> bool:
    """Whether a network that names both gives them different ids."""
    networks = {match[1] for name in ids if (match := _NETWORK.match(name))}
    return any((match := _NETWORK.match(name)) and match[1] in networks for name in others)


def _ids(event: Event) -> set[str]:
    return {event.id, *event.alternate_ids}


def _distance_km(one: Event, other: Event) -> float:
    _, _, metres = _WGS84.inv(one.longitude, one.latitude, other.longitude, other.latitude)
    return float(metres) / 1000
