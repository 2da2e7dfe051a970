"""Looking at scenes: every one since the event, and before it as many as it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.errors import AccessError, NoImageryError, RasterError
from tasks.imagery.clouds import SceneView, judge
from tasks.imagery.select import (
    MIN_CLEAR,
    SAME_SEASON,
    choose_before,
    choose_scenes,
    is_before,
)
from tasks.types import AreaOfInterest, Scene, SceneJudgement

# Far enough for the whole of the event's season a year before.
SEARCH_BEFORE = timedelta(days=365) + SAME_SEASON
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Looked:
    """A judgement of every scene, those used first, and the scenes that show the ground before."""

    judgements: tuple[SceneJudgement, ...]
    before: tuple[Scene, ...]


def look_at(
    scenes: Sequence[Scene],
    aoi: AreaOfInterest,
    occurred_at: datetime,
    min_clear: float = MIN_CLEAR,
    mapped_from: Sequence[str] = (),
    progress: Progress | None = None,
) -> Looked:
    """Judge scenes by their pixels inside an area, and choose.

    A scene that cannot be read is refused with the reason, and the others go on.

    Args:
        scenes: what a source found.
        aoi: the area.
        occurred_at: when the event began, with its time zone.
        min_clear: share of what a scene covers of the area that must be clear, 0-1.
        mapped_from: ids of the scenes an earlier inventory was mapped from, in its order.
        progress: called with (scenes judged, scenes since the event).

    Raises:
        NoImageryError: no scene can be used; it holds every judgement.
        RasterError, AccessError: no scene could be read.
        TransientError: the server that holds a scene timed out or answered 429 or 5xx.
    """
    views: dict[str, SceneView] = {}
    failures: dict[str, RasterError | AccessError] = {}

    def look(scene: Scene) -> SceneView | None:
        try:
            views[scene.id] = judge(scene, aoi)
        except (RasterError, AccessError) as error:
            failures[scene.id] = error
        return views.get(scene.id)

    since_then = [scene for scene in scenes if not is_before(scene, occurred_at)]
    for number, scene in enumerate(since_then, start=1):
        look(scene)
        if progress:
            progress(number, len(since_then))
    before = choose_before(scenes, look, occurred_at, min_clear)
    if failures and not views:
        raise next(iter(failures.values()))
    unread = [
        SceneJudgement(scene, None, False, str(failures[scene.id]))
        for scene in scenes
        if scene.id in failures
    ]
    passed_over = [scene for scene in scenes if scene.id not in views | failures]
    looked_at = list(views.values())
    try:
        judgements = choose_scenes(looked_at, aoi, occurred_at, min_clear, mapped_from, passed_over)
    except NoImageryError as error:
        raise NoImageryError(str(error), (*error.judgements, *unread)) from error
    return Looked((*judgements, *unread), tuple(before))
