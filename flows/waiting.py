"""What a look at the imagery leaves undecided: an event waits until enough is seen, or too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import shapely
from sqlalchemy import Connection

from flows.options import ResponseOptions
from flows.world import World
from tasks.errors import NoImageryError
from tasks.events.decisions import is_asked_for, request_response
from tasks.imagery.sources import is_one_image
from tasks.imagery.tables import WaitOutcome
from tasks.imagery.waits import Terms, Wait, end_wait, find_wait, keep_waiting
from tasks.inventory.seen import seen_share, unseen_of
from tasks.inventory.store import StoredInventory, find_published
from tasks.percent import percent
from tasks.types import AreaOfInterest, Doubt, Event, SceneJudgement, geodesic_area_m2

NAMED_PARTS = 3
# Of all that is unseen: single pixels along an edge say nothing.
LEAST_NAMED = 0.01
# Of the ground that the published version saw.
MOST_LOST = 0.05


def terms_of(event: Event, options: ResponseOptions) -> Terms:
    """How long imagery of an event is waited for; an image given by hand is all there will be."""
    terms = Terms(
        options.coverage,
        event.occurred_at + timedelta(days=options.wait_days),
        timedelta(hours=options.look_hours),
    )
    return replace(terms, wanted_share=0.0) if is_one_image(options.source) else terms


def wait_for_more(
    world: World,
    event: Event,
    terms: Terms,
    seen: float,
    judgements: Sequence[SceneJudgement],
    now: datetime,
    reason: str = "",
) -> Wait | None:
    """Settle, after a look, whether the event waits for more, and keep that in the store.

    Args:
        world: the store.
        event: what happened.
        terms: how long is waited.
        seen: share of the area seen clear, 0-1.
        judgements: the scenes looked at.
        now: UTC.
        reason: why nothing was seen, if so.

    Returns:
        What it waits for; None if it does not wait.
    """
    wanted = percent(terms.wanted_share)
    reason = reason or f"{percent(seen)} of the area was seen clear, {wanted} is wanted"
    with world.engine.begin() as connection:
        if terms.ask_for_more(seen, now):
            return keep_waiting(connection, event.id, terms, seen, reason, judgements, now)
        outcome: WaitOutcome = "seen" if seen >= terms.wanted_share else "deadline"
        end_wait(connection, event.id, outcome, seen, reason, now)
    return None


def wait_for_any(
    world: World,
    event: Event,
    aoi: AreaOfInterest,
    terms: Terms,
    nothing: NoImageryError,
    now: datetime,
) -> Wait | None:
    """As `wait_for_more`, when a look saw nothing; nothing if nobody waits.

    What the published version saw, and looks before this one, stays seen.
    """
    if not terms.wanted_share:
        return None
    with world.engine.connect() as connection:
        published = find_published(connection, event.id)
        before = find_wait(connection, event.id)
    seen = seen_share(aoi.geometry, published.observed) if published else 0.0
    if before and before.lasts:
        seen = max(seen, before.seen_share)
    return wait_for_more(world, event, terms, seen, nothing.judgements, now, str(nothing))


def look_again(connection: Connection, wait: Wait, priority: float | None, now: datetime) -> None:
    """Ask for a response at the next look, unless one is asked for that will look anyway."""
    if wait.next_look_at is None or is_asked_for(connection, wait.event_id):
        return
    request_response(
        connection,
        wait.event_id,
        f"look {wait.next_look_at:%Y-%m-%dT%H:%M:%S}Z",
        f"to look again for clear imagery, until {wait.deadline:%Y-%m-%d %H:%M} UTC: {wait.reason}",
        priority,
        wait.next_look_at,
        now,
    )


def draft_doubt(aoi: AreaOfInterest, observed: shapely.MultiPolygon, terms: Terms) -> Doubt:
    """Say of a draft which part of the area it says nothing about."""
    unseen = unseen_of(aoi.geometry, observed).geoms
    parts = sorted(((geodesic_area_m2(part) / 1e6, part) for part in unseen), key=lambda p: -p[0])
    least = LEAST_NAMED * sum(km2 for km2, _ in parts)
    named = [
        f"{km2:.2g} km² round {_degrees(part.centroid)}"
        for km2, part in parts[:NAMED_PARTS]
        if km2 >= least
    ]
    others = len(parts) - len(named)
    rest = f" and {others} smaller part{'s' * (others > 1)}" if others else ""
    text = (
        f"this is a draft: {percent(terms.wanted_share)} of the area is wanted, and clear imagery "
        f"is looked for until {terms.deadline:%Y-%m-%d %H:%M} UTC; unseen are "
        f"{', '.join(named)}{rest}"
    )
    return Doubt("draft-waits", text)


def _degrees(point: shapely.Point) -> str:
    latitude, longitude = f"{abs(point.y):.3f}°", f"{abs(point.x):.3f}°"
    return f"{latitude} {'NS'[point.y < 0]} {longitude} {'EW'[point.x < 0]}"


def loss_doubt(
    published: StoredInventory | None, observed: shapely.MultiPolygon, aoi: AreaOfInterest
) -> Doubt | None:
    """Say of a new version that ground which the published one saw would be unseen again in it.

    None where that is hardly any, as clouds come and go. Areas in EPSG:4326.
    """
    if published is None:
        return None
    known = shapely.intersection(published.observed, aoi.geometry)
    lost = geodesic_area_m2(shapely.difference(known, observed))
    share = lost / geodesic_area_m2(known) if lost else 0.0
    if share <= MOST_LOST:
        return None
    text = (
        f"{lost / 1e6:.2g} km², {percent(share)} of what version {published.version} saw, were not "
        f"seen for this one; it takes the place of that only by `scarp inventory publish "
        f"{published.event_id} --version N`"
    )
    return Doubt("draft-sees-less", text)
