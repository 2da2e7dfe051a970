"""What every source of imagery offers, and the records it answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tasks.errors import BadInputError
from tasks.types import AreaOfInterest, Scene, SceneJudgement


@dataclass(frozen=True)
class Span:
    """A span of time, both ends with their zone."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse ends that say no zone.

        Raises:
            BadInputError: an end is naive.
        """
        if self.start.utcoffset() is None or self.end.utcoffset() is None:
            raise BadInputError(
                f"search from {self.start} to {self.end}: give both times with their zone"
            )

    def holds(self, moment: datetime | None) -> bool:
        """Whether a moment lies in the span; an unrecorded one may."""
        return moment is None or self.start <= moment <= self.end


@dataclass(frozen=True)
class Found:
    """What a source holds of an area in a span of time.

    `scenes` are in order of acquisition, undated ones last. `refused` are the items that could not
    be taken as scenes, each with the sentence that says why: they are unlike scenes that were
    judged and found clouded in that nobody looked at their pixels. `incidents` are sentences about
    trouble that was survived: answers that came late, orders that failed.
    """

    scenes: tuple[Scene, ...]
    refused: tuple[SceneJudgement, ...] = ()
    incidents: tuple[str, ...] = ()


class Source(Protocol):
    """Where scenes come from; paid ones are asked only for what is needed."""

    @property
    def paid(self) -> bool:
        """Whether what is fetched is paid for."""
        ...

    def search(self, aoi: AreaOfInterest, span: Span) -> Found:
        """Find the scenes that meet an area in a span of time, without reading their pixels."""
        ...

    def fetch(self, scenes: Sequence[Scene], aoi: AreaOfInterest) -> Found:
        """Make the pixels of scenes found ready to be read; `hrefs` then open with rasterio.

        Scenes that cannot be had are among `refused`; the others go on.
        """
        ...
