"""Reviewing an inventory: the least certain first, by keyboard, several people at once."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import shapely
from fastapi import APIRouter, BackgroundTasks, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry
from shapely.ops import split as cut
from sqlalchemy import Connection, text

from console.service.products import EventId, Number
from console.web.access import Reviewer, Viewer, address_of
from console.web.event import Version
from console.web.pages import page, words
from flows.picture import read_picture
from flows.publish_reviews import assess_again, publish_reviews
from flows.world import open_world
from infra.orchestration import api_url_of
from infra.settings import Settings
from tasks.access.audit import written_down
from tasks.errors import InventoryError
from tasks.inventory import review as reviews
from tasks.inventory.store import StoredInventory, get_inventory

router = APIRouter(prefix="/events/{event_id}/review")
QUEUE = 200
MOST_CORNERS = 20_000

# The least certain first: confidence is how far a score lies above its threshold, 0 just at it.
# What has none was never scored. The larger come before the smaller.
_QUEUE = """
    SELECT number, confidence, area_m2
    FROM scarp.v_landslides_all
    WHERE inventory_id = :inventory_id AND review_state = 'unreviewed'
    ORDER BY coalesce(confidence, 0), area_m2 DESC, number LIMIT :most
"""
_ONE = """
    SELECT number, kind, confidence, score_mean, score_max, area_m2, length_m, width_m,
        slope_mean_deg, drop_m, touches_scene_edge, touches_cloud_edge, amalgamated, scene_id,
        acquired_at, review_state, reviewed_by, reviewed_at, coalesce(review_id, 0) AS review_id,
        ST_AsGeoJSON(geom, 7) AS outline
    FROM scarp.v_landslides_all WHERE inventory_id = :inventory_id AND number = :number
"""


class Act(BaseModel):
    """One act of a reviewer; `outline` is an outline, the line to split along, or nothing."""

    action: Literal["confirm", "reject", "edit", "split", "add", "comment", "undo"]
    number: Number | None = None
    outline: dict[str, Any] | None = None
    comment: Annotated[str, Field(max_length=1000)] = ""
    seen: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    review: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


@router.get("", response_class=HTMLResponse)
def review_page(
    request: Request, event_id: EventId, _: Reviewer, version: Version = None
) -> Response:
    """The queue, one landslide at a time."""
    world = open_world()
    shown = read_picture(world, event_id, version)
    if shown.shown is None:
        raise InventoryError(f"event {event_id} has no inventory to review yet")
    name = shown.line.event_id
    rasters = ("after", "before")
    return page(
        request,
        "review.html",
        picture=shown,
        line=shown.line,
        rasters=[one for one in rasters if (world.products(name) / f"{one}.tif").is_file()],
        map={
            "event": name,
            "version": shown.shown.version,
            "words": words()["map"] | words()["review"],
        },
    )


@router.get("/queue")
def queue(event_id: EventId, _: Viewer, version: Version = None) -> Response:
    """The landslides nobody has reviewed, the least certain first, and how far the review is."""
    with open_world().engine.connect() as connection:
        stored = get_inventory(connection, event_id, version)
        asked = {"inventory_id": stored.id, "most": QUEUE}
        rows = connection.execute(text(_QUEUE), asked)
        found = [dict(row._mapping) for row in rows]
        return JSONResponse({"queue": found, "progress": _progress(connection, stored)})


@router.get("/landslides/{number}")
def landslide(
    event_id: EventId,
    number: Number,
    _: Viewer,
    version: Version = None,
) -> Response:
    """One landslide as it stands, with what was said about it."""
    with open_world().engine.connect() as connection:
        stored = get_inventory(connection, event_id, version)
        return JSONResponse(_told(connection, stored, number))


@router.post("")
def act(
    request: Request, event_id: EventId, by: Reviewer, asked: Act, version: Version = None
) -> Response:
    """Confirm, reject, draw, split, add, say or undo; 409 where somebody was there before."""
    engine, stored = open_world().engine, _inventory(event_id, version)
    said = asked.model_dump_json(exclude_none=True, exclude={"outline"})
    with (
        written_down(engine, by, address_of(request), "review", stored.event_id, said),
        engine.begin() as connection,
    ):
        who = reviews.Reviewer(by.name, asked.comment, asked.seen)
        made = _do(connection, stored, asked, who)
        told = {
            "review": made.id,
            "numbers": made.numbers,
            "progress": _progress(connection, stored),
        }
    return JSONResponse(told)


@router.post("/publish")
def publish(
    request: Request,
    event_id: EventId,
    by: Reviewer,
    after: BackgroundTasks,
    version: Version = None,
) -> Response:
    """Store what the reviews made of it as the next version, and publish that."""
    engine, stored = open_world().engine, _inventory(event_id, version)
    with written_down(engine, by, address_of(request), "publish reviews", stored.event_id):
        made = publish_reviews(stored.event_id, stored.version, assess=False)
    # A server hears of the new version and has it followed up; without one we do.
    if api_url_of(Settings()) is None:
        after.add_task(assess_again, made)
    return RedirectResponse(f"/events/{made.event_id}", 303, background=after)


def _inventory(event_id: str, version: int | None) -> StoredInventory:
    """The inventory asked for; its event has other ids as well, under which nobody looks for it."""
    with open_world().engine.connect() as connection:
        return get_inventory(connection, event_id, version)


def _do(
    connection: Connection, stored: StoredInventory, asked: Act, who: reviews.Reviewer
) -> reviews.Review:
    at = (connection, stored.id)
    if asked.action == "undo":
        if asked.review is None:
            raise InventoryError("name the review to undo")
        return reviews.undo(*at, asked.review, who)
    if asked.action == "add":
        return reviews.add(*at, [_geometry(asked)], who)
    if asked.number is None:
        raise InventoryError(f"name the landslide to {asked.action}")
    if asked.action == "confirm":
        return reviews.confirm(*at, [asked.number], who)
    if asked.action == "reject":
        return reviews.reject(*at, [asked.number], who)
    if asked.action == "comment":
        return reviews.remark(*at, [asked.number], who)
    if asked.action == "edit":
        return reviews.edit(*at, asked.number, _geometry(asked), who)
    parts = cut_along(_outline(_told(connection, stored, asked.number)), _geometry(asked))
    return reviews.split(*at, asked.number, parts, who)


def cut_along(outline: BaseGeometry, line: BaseGeometry) -> list[BaseGeometry]:
    """The parts of an outline on both sides of a line drawn across it.

    Raises:
        InventoryError: it is no line, or does not cross the outline from edge to edge.
    """
    if line.geom_type != "LineString":
        raise InventoryError(f"a landslide is split along a line, not a {line.geom_type}")
    parts = [
        part for whole in getattr(outline, "geoms", [outline]) for part in cut(whole, line).geoms
    ]
    if len(parts) <= len(getattr(outline, "geoms", [outline])):
        raise InventoryError("the line does not cut the outline in two; draw it from edge to edge")
    return parts


def _geometry(asked: Act) -> BaseGeometry:
    """What was drawn, EPSG:4326.

    Raises:
        InventoryError: it is no geometry, or has too many corners.
    """
    try:
        drawn = shapely.from_geojson(json.dumps(asked.outline or {}))
    except (GEOSException, ValueError, RecursionError) as error:
        raise InventoryError(f"what was drawn to {asked.action} cannot be read: {error}") from error
    if shapely.get_num_coordinates(drawn) > MOST_CORNERS:
        raise InventoryError(f"an outline has up to {MOST_CORNERS:,} corners; draw it simpler")
    return drawn


def _told(connection: Connection, stored: StoredInventory, number: int) -> dict[str, Any]:
    asked = {"inventory_id": stored.id, "number": number}
    row = connection.execute(text(_ONE), asked).one_or_none()
    if row is None:
        raise InventoryError(f"version {stored.version} has no landslide {number}")
    log = [
        {
            "action": one.action,
            "reviewer": one.reviewer,
            "comment": one.comment,
            "at": f"{one.reviewed_at:%Y-%m-%d %H:%M}",
        }
        for one in reviews.list_reviews(connection, stored.id, number)
    ]
    fields = {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in row._mapping.items()
    }
    return fields | {"outline": json.loads(row.outline), "log": log}


def _outline(told: dict[str, Any]) -> BaseGeometry:
    return shapely.from_geojson(json.dumps(told["outline"]))


def _progress(connection: Connection, stored: StoredInventory) -> dict[str, Any]:
    state = reviews.progress(connection, stored.id)
    return vars(state) | {"share": state.share}
