"""Which scenes to use: the fewest that show the most of the area, early and well lit ones first."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tasks.errors import NoImageryError
from tasks.imagery.clouds import SceneView
from tasks.imagery.masks import mask_of
from tasks.percent import percent
from tasks.types import AreaOfInterest, Doubt, Mosaic, Scene, SceneJudgement, geodesic_area_m2

MIN_CLEAR = 0.6
# A scene of whose clear ground less than this is new is not worth a seam in the mosaic.
MIN_NEW = 0.01
FULL_COVERAGE = 0.99
# Scars green over within one growing season.
OLD_SCENE = timedelta(days=180)
# After so long a scene counts half, since what it shows is no longer the event alone.
HALF_LIFE = timedelta(days=60)
# Below this height of the sun slopes that face away from it lie in the dark.
LOW_SUN_DEG, FULL_SUN_DEG = 20.0, 30.0
OBLIQUE_DEG = 20.0
# Vegetation of the same season is what a scene before the event is compared for.
SAME_SEASON = timedelta(days=45)
# Ground that so many days running added nothing to will not be shown by the next: it lies in shade.
PATIENCE_DAYS = 3
_YEAR = timedelta(days=365.25)
_NEVER = datetime.max.replace(tzinfo=UTC)


def choose_scenes(
    views: Sequence[SceneView],
    aoi: AreaOfInterest,
    occurred_at: datetime,
    min_clear: float = MIN_CLEAR,
    mapped_from: Sequence[str] = (),
    passed_over: Sequence[Scene] = (),
) -> list[SceneJudgement]:
    """Choose the scenes to map from, by a greedy set cover of the area.

    A scene can be used if it was not acquired before the event and if `min_clear` of what it covers
    of the area is clear. Scenes that were mapped from before come first, so that others add only
    what those do not show. Then again and again the scene is taken that shows most clear ground not
    yet shown, weighted by `worth`, the earlier of two alike, until no scene has 1 % of its clear
    ground to add.

    Args:
        views: what each scene found shows of the area (`tasks.imagery.clouds.judge`).
        aoi: the area.
        occurred_at: when the event began, with its time zone.
        min_clear: share of what a scene covers of the area that must be clear, 0-1.
        mapped_from: ids of the scenes an earlier inventory was mapped from, in its order.
        passed_over: scenes from before the event that nobody looked at.

    Returns:
        A judgement for every scene: those used in the order of choice, which is the order in which
        the mosaic prefers them, then the others by date.

    Raises:
        NoImageryError: no scene can be used; the sentence gives the dates and the best share.
    """
    ordered = sorted(views, key=_order)
    usable = [view for view in ordered if not _faults(view, occurred_at, min_clear)]
    used: list[SceneJudgement] = []
    for view, new in _greedy(usable, mapped_from, occurred_at):
        reason = _use(view, new, occurred_at, first=not used)
        used.append(SceneJudgement(view.scene, view.clear_fraction, True, reason))
    ids = {judgement.scene.id for judgement in used}
    judgements = used + [
        SceneJudgement(
            view.scene, view.clear_fraction, False, _refusal(view, occurred_at, min_clear)
        )
        for view in ordered
        if view.scene.id not in ids
    ]
    for scene in sorted(passed_over, key=lambda scene: (scene.acquired_at or _NEVER, scene.id)):
        reason = f"{_before(scene, occurred_at)}; its pixels were not looked at"
        judgements.append(SceneJudgement(scene, None, False, _as_sentence(reason)))
    if not used:
        sentence = _nothing_usable(judgements, aoi, occurred_at, min_clear)
        raise NoImageryError(sentence, judgements)
    return judgements


def worth(scene: Scene, occurred_at: datetime, finest_m: float) -> float:
    """What clear ground in a scene is worth beside that in others, 0-1.

    Coarser pixels count less, in proportion; so do views from the side (cosine), a sun below 30°
    (sine, relative), and age: half after 60 days, as for a scene without a date.
    """
    size = min(finest_m / scene.gsd_m, 1.0)
    upright = math.cos(math.radians(scene.off_nadir_deg or 0.0))
    sun = FULL_SUN_DEG if scene.sun_elevation_deg is None else scene.sun_elevation_deg
    light = math.sin(math.radians(min(max(sun, 1.0), FULL_SUN_DEG)))
    age = scene.acquired_at - occurred_at if scene.acquired_at else HALF_LIFE
    fresh = 0.5 ** (age / HALF_LIFE)
    return float(size * upright * light / math.sin(math.radians(FULL_SUN_DEG)) * fresh)


def choose_before(
    scenes: Sequence[Scene],
    look: Callable[[Scene], SceneView | None],
    occurred_at: datetime,
    min_clear: float = MIN_CLEAR,
) -> list[Scene]:
    """Choose scenes that show the ground as it was before the event.

    Those of the event's season go first, this year's or the last's, the latest of them first, then
    those of other seasons. No more are looked at than it takes to see 99 % of the area, or, once
    60 % are seen, until three days of acquisition in a row added nothing.

    Args:
        scenes: every scene found; those without a date, red or near infrared do not serve.
        look: judges a scene (`tasks.imagery.clouds.judge`); None where it cannot be read.
        occurred_at: when the event began, with its time zone.
        min_clear: share of what a scene covers of the area that must be clear, 0-1.

    Returns:
        The scenes in that order, each with at least 1 % of its clear ground new; none where there
        are none.
    """
    chosen: list[Scene] = []
    seen: NDArray[np.bool_] | None = None
    in_vain, share = set[date](), 0.0
    for scene in _counterparts(scenes, occurred_at):
        day = (scene.acquired_at or occurred_at).date()
        if share >= MIN_CLEAR and len(in_vain | {day}) > PATIENCE_DAYS:
            break
        view = look(scene)
        in_vain.add(day)
        if view is None or not view.clear_fraction or view.clear_of_covered < min_clear:
            continue
        seen = np.zeros_like(view.clear) if seen is None else seen
        if _is_worth_a_seam(view, view.clear & ~seen):
            chosen.append(scene)
            seen |= view.clear
            in_vain.clear()
        share = float(seen.sum() / view.clear.sum() * view.clear_fraction)
        if share >= FULL_COVERAGE:
            break
    return chosen


def _counterparts(scenes: Sequence[Scene], occurred_at: datetime) -> list[Scene]:
    """Scenes from before the event, those of its season first, the latest of each first."""

    def unlikeness(scene: Scene) -> tuple[bool, timedelta]:
        age = occurred_at - (scene.acquired_at or occurred_at)
        off_season = abs(age - _YEAR * round(age / _YEAR))
        return off_season > SAME_SEASON, age

    fit = [
        scene
        for scene in scenes
        if is_before(scene, occurred_at) and {"red", "nir"} <= set(scene.bands)
    ]
    return sorted(fit, key=unlikeness)


def is_before(scene: Scene, occurred_at: datetime) -> bool:
    """Whether a scene was taken before the event; one without a date was not."""
    return scene.acquired_at is not None and scene.acquired_at < occurred_at


def imagery_doubts(
    judgements: Sequence[SceneJudgement],
    mosaic: Mosaic,
    aoi: AreaOfInterest,
    occurred_at: datetime,
) -> list[Doubt]:
    """What a reader of the map must know about the scenes behind it.

    Args:
        judgements: what `choose_scenes` returned.
        mosaic: what `tasks.imagery.mosaic.prepare_mosaic` made of them.
        aoi: the area.
        occurred_at: when the event began, with its time zone.

    Returns:
        Doubts about coverage, missing dates and masks, late scenes, low sun and oblique views.
    """
    doubts = []
    share = geodesic_area_m2(mosaic.observed) / geodesic_area_m2(aoi.geometry)
    if share < FULL_COVERAGE:
        text = f"{percent(share)} of the area was seen clear; the rest is unknown, not stable"
        doubts.append(Doubt("partial-coverage", text))
    for scene in (judgement.scene for judgement in judgements if judgement.used):
        if scene.acquired_at is None:
            text = f"scene {scene.id} does not say when it was taken; taken to be after the event"
            doubts.append(Doubt("undated-scene", text))
        elif scene.acquired_at - occurred_at > OLD_SCENE:
            days = (scene.acquired_at - occurred_at).days
            text = f"scene {scene.id} was taken {days} days after the event; scars may be overgrown"
            doubts.append(Doubt("old-scene", text))
        doubts += _view_doubts(scene)
    return doubts


def _view_doubts(scene: Scene) -> list[Doubt]:
    """What the mask, the sun and the angle of one scene leave in doubt."""
    doubts = []
    if mask_of(scene) is None:
        text = f"scene {scene.id} has no cloud mask: cloud in it counts as ground that was seen"
        doubts.append(Doubt("cloud-not-looked-for", text))
    sun, angle = scene.sun_elevation_deg, scene.off_nadir_deg
    if sun is not None and sun < LOW_SUN_DEG:
        text = f"the sun stood {sun:.0f}° high in scene {scene.id}: slopes lie in the dark"
        doubts.append(Doubt("low-sun", text))
    if angle is not None and angle > OBLIQUE_DEG:
        text = f"scene {scene.id} was taken {angle:.0f}° off nadir: steep slopes are displaced"
        doubts.append(Doubt("oblique-view", text))
    return doubts


def _order(view: SceneView) -> tuple[datetime, float, str]:
    return (view.scene.acquired_at or _NEVER, -view.clear_fraction, view.scene.id)


def _greedy(
    usable: Sequence[SceneView], mapped_from: Sequence[str], occurred_at: datetime
) -> Iterator[tuple[SceneView, NDArray[np.bool_]]]:
    """Views worth a seam with what each adds: those mapped from, then the most worth first.

    What a view adds only shrinks as others are taken. So one stays in its place until it comes
    first; only then is it counted anew, and most never are.
    """
    by_id = {view.scene.id: view for view in usable}
    given = [by_id.pop(scene_id) for scene_id in mapped_from if scene_id in by_id]
    rest = list(by_id.values())
    finest_m = min((view.scene.gsd_m for view in usable), default=0.0)
    worths = [worth(view.scene, occurred_at, finest_m) for view in rest]
    seen = np.zeros_like(usable[0].clear) if usable else np.zeros((1, 1), bool)
    for view in given:
        new = view.clear & ~seen
        if _is_worth_a_seam(view, new):
            yield view, new
            seen |= new
    waiting = [(-math.inf, number) for number in range(len(rest))]
    while waiting:
        _, number = heapq.heappop(waiting)
        new = rest[number].clear & ~seen
        gain = int(new.sum()) * worths[number]
        if not _is_worth_a_seam(rest[number], new):
            continue
        if waiting and (-gain, number) > waiting[0]:
            heapq.heappush(waiting, (-gain, number))
            continue
        yield rest[number], new
        seen |= new


def _is_worth_a_seam(view: SceneView, new: NDArray[np.bool_]) -> bool:
    return bool(new.any() and new.sum() >= MIN_NEW * view.clear.sum())


def _faults(view: SceneView, occurred_at: datetime, min_clear: float) -> list[str]:
    """What speaks against a scene, whatever the others show."""
    if not view.covered_fraction:
        return ["it has no data in the area"]
    faults = []
    if view.clear_of_covered < min_clear:
        faults.append(
            f"only {percent(view.clear_of_covered)} of what it covers of the area is clear, "
            f"{percent(min_clear)} is needed{_causes(view)}"
        )
    if is_before(view.scene, occurred_at):
        faults.append(_before(view.scene, occurred_at))
    return faults


def _refusal(view: SceneView, occurred_at: datetime, min_clear: float) -> str:
    """Why a scene is not used, as a sentence."""
    faults = _faults(view, occurred_at, min_clear)
    return _as_sentence(
        " and ".join(faults) or "the scenes used already show what it shows of the area"
    )


def _before(scene: Scene, occurred_at: datetime) -> str:
    assert scene.acquired_at is not None
    return f"it was taken {_days(occurred_at - scene.acquired_at)} before the event"


def _use(view: SceneView, new: NDArray[np.bool_], occurred_at: datetime, first: bool) -> str:
    """Why a scene is used, as a sentence."""
    taken = view.scene.acquired_at
    when = (
        "at an unrecorded date"
        if taken is None
        else f"{_days(taken - occurred_at)} after the event"
    )
    share = percent(float(new.sum() / view.clear.sum() * view.clear_fraction))
    role = f"shows {share} of the area clear" if first else f"adds {share} of the area"
    judged = "" if view.by_mask else "; it has no cloud mask, so cloud was not looked for"
    return _as_sentence(f"taken {when}, it {role}{judged}")


def _nothing_usable(
    judgements: Sequence[SceneJudgement],
    aoi: AreaOfInterest,
    occurred_at: datetime,
    min_clear: float,
) -> str:
    """Say what was found and what to do."""
    after = [judgement for judgement in judgements if not is_before(judgement.scene, occurred_at)]
    place = f"{aoi.area_km2:,.1f} km²"
    what = f"scenes of {place} found: {len(judgements)}, after the event: {len(after)}"
    if not judgements:
        return f"{what}; look again later, or see whether the images lie where the area does"
    if not after:
        return f"{what} of {occurred_at:%Y-%m-%d}; look again later or widen the dates"
    share, best = max(
        ((judgement.clear_fraction or 0.0, judgement) for judgement in after),
        key=lambda pair: pair[0],
    )
    taken = best.scene.acquired_at
    date = f"{taken:%Y-%m-%d}" if taken else "undated"
    return (
        f"{what}, best clear coverage {percent(share)} ({date}) < "
        f"{percent(min_clear)} required; look again later, widen the dates or accept less"
    )


def _causes(view: SceneView) -> str:
    """What hides the ground, in brackets, the commonest first."""
    shown = sorted(view.hidden.items(), key=lambda item: -item[1])
    text = ", ".join(f"{cause} {percent(share)}" for cause, share in shown if share >= 0.005)
    return f" ({text})" if text else ""


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days * 24:.0f} h" if days < 1 else f"{days:.0f} day{'s' if round(days) > 1 else ''}"


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
