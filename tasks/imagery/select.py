"""Which scenes to use: the earliest clear one after the event, later ones where it saw nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tasks.errors import NoImageryError
from tasks.imagery.clouds import SceneView
from tasks.types import AreaOfInterest, Doubt, Mosaic, Scene, SceneJudgement, geodesic_area_m2

MIN_CLEAR = 0.6
# A scene of whose clear ground less than this is new is not worth a seam in the mosaic.
MIN_NEW = 0.01
FULL_COVERAGE = 0.99
# Scars green over within one growing season.
OLD_SCENE = timedelta(days=180)
_NEVER = datetime.max.replace(tzinfo=UTC)


def choose_scenes(
    views: Sequence[SceneView],
    aoi: AreaOfInterest,
    occurred_at: datetime,
    min_clear: float = MIN_CLEAR,
    mapped_from: Sequence[str] = (),
) -> list[SceneJudgement]:
    """Choose the scenes to map from.

    Scenes that were mapped from before come first, so that others add only what those do not show.
    The rest are taken in order of acquisition, those without a date last and of one time the one
    that shows more first. One is used if it was not acquired before the event, if `min_clear` of
    what it covers of the area is clear, and if at least 1 % of that was not shown by the scenes
    used before it.

    Args:
        views: what each scene found shows of the area (`tasks.imagery.clouds.judge`).
        aoi: the area.
        occurred_at: when the event began, with its time zone.
        min_clear: share of what a scene covers of the area that must be clear, 0-1.
        mapped_from: ids of the scenes an earlier inventory was mapped from, in its order.

    Returns:
        A judgement for every view, in the order looked at; `clear_fraction` is of the whole area.

    Raises:
        NoImageryError: no scene can be used; the sentence gives the dates and the best share.
    """
    seen = np.zeros_like(views[0].area) if views else np.zeros((1, 1), bool)
    judgements: list[SceneJudgement] = []
    place = {scene_id: number for number, scene_id in enumerate(mapped_from)}
    ordered = sorted(views, key=_order)
    for view in sorted(ordered, key=lambda view: place.get(view.scene.id, len(place))):
        new = view.clear & ~seen
        refusal = _refusal(view, occurred_at, min_clear, new)
        if refusal is None:
            seen = seen | view.clear
        reason = refusal or _use(view, new, occurred_at, first=not _any_used(judgements))
        judgements.append(SceneJudgement(view.scene, view.clear_fraction, refusal is None, reason))
    if not _any_used(judgements):
        sentence = _nothing_usable(judgements, aoi, occurred_at, min_clear)
        raise NoImageryError(sentence, judgements)
    return judgements


def choose_before(
    views: Sequence[SceneView], occurred_at: datetime, min_clear: float = MIN_CLEAR
) -> list[Scene]:
    """Choose scenes that show the ground as it was before the event, the latest first.

    Args:
        views: what each scene found shows of the area (`tasks.imagery.clouds.judge`).
        occurred_at: when the event began, with its time zone.
        min_clear: share of what a scene covers of the area that must be clear, 0-1.

    Returns:
        Dated scenes with red and near infrared, each with at least 1 % of its clear ground new;
        none where there are none.
    """
    seen = np.zeros_like(views[0].area) if views else np.zeros((1, 1), bool)
    chosen = []
    for view in sorted(views, key=_order, reverse=True):
        taken = view.scene.acquired_at
        if taken is None or taken >= occurred_at or not {"red", "nir"} <= set(view.scene.bands):
            continue
        new = view.clear & ~seen
        if view.clear_of_covered >= min_clear and new.sum() > MIN_NEW * view.clear.sum():
            chosen.append(view.scene)
            seen = seen | view.clear
    return chosen


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
        Doubts about coverage, missing dates and late scenes, without repetition.
    """
    doubts = []
    share = geodesic_area_m2(mosaic.observed) / geodesic_area_m2(aoi.geometry)
    if share < FULL_COVERAGE:
        text = f"{_percent(share)} of the area was seen clear; the rest is unknown, not stable"
        doubts.append(Doubt("partial-coverage", text))
    for scene in (judgement.scene for judgement in judgements if judgement.used):
        if scene.acquired_at is None:
            text = f"scene {scene.id} does not say when it was taken; taken to be after the event"
            doubts.append(Doubt("undated-scene", text))
        elif scene.acquired_at - occurred_at > OLD_SCENE:
            days = (scene.acquired_at - occurred_at).days
            text = f"scene {scene.id} was taken {days} days after the event; scars may be overgrown"
            doubts.append(Doubt("old-scene", text))
    return doubts


def _order(view: SceneView) -> tuple[datetime, float, str]:
    return (view.scene.acquired_at or _NEVER, -view.clear_fraction, view.scene.id)


def _any_used(judgements: Sequence[SceneJudgement]) -> bool:
    return any(judgement.used for judgement in judgements)


def _refusal(
    view: SceneView, occurred_at: datetime, min_clear: float, new: NDArray[np.bool_]
) -> str | None:
    """Why a scene is not used, as a sentence; None if it is."""
    if not view.covered.any():
        return "It has no data in the area."
    reasons = []
    if view.clear_of_covered < min_clear:
        reasons.append(
            f"only {_percent(view.clear_of_covered)} of what it covers of the area is clear, "
            f"{_percent(min_clear)} is needed{_causes(view)}"
        )
    taken = view.scene.acquired_at
    if taken is not None and taken < occurred_at:
        reasons.append(f"it was taken {_days(occurred_at - taken)} before the event")
    if not reasons and new.sum() < MIN_NEW * view.clear.sum():
        reasons.append("earlier scenes already show what it shows of the area")
    return _as_sentence(" and ".join(reasons)) if reasons else None


def _use(view: SceneView, new: NDArray[np.bool_], occurred_at: datetime, first: bool) -> str:
    """Why a scene is used, as a sentence."""
    taken = view.scene.acquired_at
    when = (
        "at an unrecorded date"
        if taken is None
        else f"{_days(taken - occurred_at)} after the event"
    )
    share = _percent(float(new.sum() / view.area.sum()))
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
    after = [
        judgement
        for judgement in judgements
        if judgement.scene.acquired_at is None or judgement.scene.acquired_at >= occurred_at
    ]
    place = f"{aoi.area_km2:,.1f} km²"
    what = f"scenes of {place} found: {len(judgements)}, after the event: {len(after)}"
    if not after:
        return f"{what} of {occurred_at:%Y-%m-%d}; look again later or widen the dates"
    best = max(after, key=lambda judgement: judgement.clear_fraction)
    taken = best.scene.acquired_at
    date = f"{taken:%Y-%m-%d}" if taken else "undated"
    return (
        f"{what}, best clear coverage {_percent(best.clear_fraction)} ({date}) < "
        f"{_percent(min_clear)} required; look again later, widen the dates or accept less"
    )


def _causes(view: SceneView) -> str:
    """What hides the ground, in brackets, the commonest first."""
    shown = sorted(view.hidden.items(), key=lambda item: -item[1])
    text = ", ".join(f"{cause} {_percent(share)}" for cause, share in shown if share >= 0.005)
    return f" ({text})" if text else ""


def _percent(share: float) -> str:
    """A share in percent, never rounded up to 100 or down to 0."""
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{share * 100:.2f} %"
    return f"{share * 100:.0f} %"


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days * 24:.0f} h" if days < 1 else f"{days:.0f} day{'s' if round(days) > 1 else ''}"


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
