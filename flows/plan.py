"""What responding to an event would take: what is expected of it, and the imagery to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from flows.sources import access_to
from flows.world import open_world
from tasks.events.impact import Impact
from tasks.imagery.protocol import Span
from tasks.imagery.rasters import source_path
from tasks.imagery.sources import is_fetched_whole, open_source
from tasks.types import AreaOfInterest, Event, Scene

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Cost:
    """A scene that would be read, and how large its bands are; None where nobody says."""

    scene: str
    acquired_at: datetime | None
    cloud_cover: float | None
    size_bytes: int | None


@dataclass(frozen=True)
class Plan:
    """What is expected of an event before any image, and what its images would cost.

    `scenes` is None where no source was named, or one that is an image on a server, of which
    nothing is known before it is fetched whole.
    """

    expected_km2: float | None
    expected_how: str
    scenes: tuple[Cost, ...] | None

    @property
    def size_bytes(self) -> int:
        """Bytes of all scenes whose size is known."""
        return sum(cost.size_bytes or 0 for cost in self.scenes or ())


def plan(event: Event, aoi: AreaOfInterest, expected: Impact | None, source: str | None) -> Plan:
    """Count what a response would read, without reading it.

    Args:
        event: what happened.
        aoi: where to look.
        expected: the landslides to expect, if that is known.
        source: imagery as `scarp respond --source` takes it; None counts none.

    Raises:
        CatalogError, RasterError, TransientError: the source cannot be read.
    """
    scenes = None
    if source is not None and not is_fetched_whole(source):
        since = Span(event.occurred_at, datetime.now(UTC))
        access = access_to(open_world(), event.id, source, None, ())
        found = open_source(source, access).search(aoi, since)
        scenes = tuple(_cost(scene) for scene in found.scenes)
    return Plan(
        round(expected.expected_km2, 4) if expected else None,
        expected.how if expected else "",
        scenes,
    )


def _cost(scene: Scene) -> Cost:
    sizes = [_size(path) for path in {source_path(href) for href in scene.hrefs.values()}]
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return Cost(scene.id, scene.acquired_at, scene.cloud_cover, total)


def _size(path: str) -> int | None:
    """Bytes of a file, or what its server says of it."""
    if not path.startswith(("http://", "https://")):
        return Path(path).stat().st_size if Path(path).exists() else None
    try:
        answer = httpx.head(path, timeout=TIMEOUT_S, follow_redirects=True)
    except httpx.HTTPError:
        return None
    length = answer.headers.get("content-length", "")
    return int(length) if answer.is_success and length.isdigit() else None
