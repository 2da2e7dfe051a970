"""What reviews make of landslides, in rows: an outcome for each, of which the newest is current."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import geopandas as gpd
import shapely
from geoalchemy2.shape import from_shape
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    any_,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from tasks.inventory.tables import ReviewAction, ReviewOutcome, landslide, review_outcome

_MEASURES = ("area_m2", "perimeter_m", "length_m", "width_m", "length_axis", "volume_m3")
_DRAWN = ("kind", *_MEASURES, "volume_relation", "scene_id", "acquired_at")


@dataclass(frozen=True)
class Found:
    """A landslide by number: how it stands, and its newest review if there is one."""

    number: int
    outline: BaseGeometry | None
    kind: str | None
    scene_id: str | None
    acquired_at: datetime | None
    state: ReviewOutcome | None
    given_by: int | None
    review_id: int | None
    action: ReviewAction
    reviewer: str | None
    reviewed_at: datetime | None


def find(connection: Connection, inventory_id: UUID, numbers: Sequence[int]) -> list[Found]:
    """How landslides stand, by number; one without an outline is not in the inventory."""
    query = text(
        "SELECT asked.number, ST_AsBinary(coalesce(outcome.geom, landslide.geom)) AS outline, "
        "coalesce(outcome.kind, landslide.kind) AS kind, "
        "coalesce(outcome.scene_id, landslide.scene_id) AS scene_id, "
        "coalesce(outcome.acquired_at, landslide.acquired_at) AS acquired_at, "
        "outcome.state, outcome.given_by, review.id AS review_id, review.action, "
        "review.reviewer, review.reviewed_at "
        "FROM unnest(CAST(:numbers AS bigint[])) AS asked (number) "
        "LEFT JOIN scarp.landslide ON landslide.inventory_id = :inventory_id "
        "AND landslide.number = asked.number "
        "LEFT JOIN scarp.review_outcome AS outcome ON outcome.inventory_id = :inventory_id "
        "AND outcome.number = asked.number AND outcome.current "
        "LEFT JOIN scarp.review ON review.id = outcome.review_id ORDER BY asked.number"
    )
    asked = {"numbers": list(numbers), "inventory_id": inventory_id}
    rows = connection.execute(query, asked)
    return [
        Found(row.number, row.outline and shapely.from_wkb(row.outline), *row[2:]) for row in rows
    ]


@dataclass(frozen=True)
class Outcome:
    """What stands of a landslide, and who said so; `outline` is None unless a reviewer drew it."""

    number: int
    state: ReviewOutcome
    made_from: tuple[int, ...]
    outline: BaseGeometry | None
    kind: str | None
    reviewer: str
    comment: str
    reviewed_at: datetime


def standing(connection: Connection, inventory_id: UUID) -> list[Outcome]:
    """The current outcomes of an inventory, by number; what was undone or replaced has none."""
    query = text(
        "SELECT outcome.number, outcome.state, outcome.made_from, ST_AsBinary(outcome.geom), "
        "outcome.kind, review.reviewer, review.comment, review.reviewed_at "
        "FROM scarp.review_outcome AS outcome JOIN scarp.review ON review.id = outcome.given_by "
        "WHERE outcome.inventory_id = :inventory_id AND outcome.current "
        "AND outcome.state <> 'replaced' ORDER BY outcome.number"
    )
    rows = connection.execute(query, {"inventory_id": inventory_id})
    return [
        Outcome(number, state, tuple(made_from), outline and shapely.from_wkb(outline), *rest)
        for number, state, made_from, outline, *rest in rows
    ]


def standing_under(
    connection: Connection, inventory_id: UUID, outline: BaseGeometry, kind: str
) -> dict[int, BaseGeometry]:
    """Outlines, by number, of the landslides of a kind that stand where one is drawn."""
    query = text(
        "SELECT number, ST_AsBinary(geom) AS outline FROM scarp.v_landslides_all "
        "WHERE inventory_id = :inventory_id AND stands AND kind = :kind "
        "AND ST_Intersects(geom, ST_GeomFromWKB(:outline, 4326)) ORDER BY number"
    )
    asked = {"inventory_id": inventory_id, "kind": kind, "outline": shapely.to_wkb(outline)}
    rows = connection.execute(query, asked)
    return {row.number: shapely.from_wkb(row.outline) for row in rows}


def new_numbers(connection: Connection, inventory_id: UUID, count: int) -> list[int]:
    """Numbers that no landslide of the inventory has or had."""
    highest = [
        connection.scalar(select(func.max(of.c.number)).where(of.c.inventory_id == inventory_id))
        for of in (landslide, review_outcome)
    ]
    first = max(number or 0 for number in highest) + 1
    return list(range(first, first + count))


def carry(
    connection: Connection,
    inventory_id: UUID,
    review_id: int,
    numbers: Sequence[int],
    *,
    before: int,
    state: ReviewOutcome | None,
) -> None:
    """Give landslides the outcome they had before a review, with its state or a new one."""
    _retire(connection, inventory_id, numbers)
    columns = ", ".join(("geom", *_DRAWN))
    carry = text(
        f"INSERT INTO scarp.review_outcome "
        f"(review_id, inventory_id, number, state, given_by, made_from, current, {columns}) "
        "SELECT :review_id, :inventory_id, asked.number, coalesce(:state, earlier.state), "
        "CASE WHEN CAST(:state AS text) IS NULL THEN earlier.given_by ELSE :review_id END, "
        f"coalesce(earlier.made_from, '{{}}'), true, {columns} "
        "FROM unnest(CAST(:numbers AS int[])) AS asked (number) LEFT JOIN LATERAL ("
        "SELECT * FROM scarp.review_outcome WHERE inventory_id = :inventory_id "
        "AND number = asked.number AND review_id < :before ORDER BY review_id DESC LIMIT 1"
        ") AS earlier ON true"
    )
    chosen = {"review_id": review_id, "inventory_id": inventory_id, "before": before}
    connection.execute(carry, chosen | {"numbers": list(numbers), "state": state})


def draw(
    connection: Connection,
    inventory_id: UUID,
    review_id: int,
    drawn: gpd.GeoDataFrame,
    numbers: Sequence[int],
    made_from: Sequence[int],
) -> None:
    """Give landslides, new or old, an outline that a reviewer drew."""
    _retire(connection, inventory_id, numbers)
    known = drawn.reindex(columns=list(_DRAWN))
    known = known.astype(object).where(known.notna(), None)
    rows = [
        values
        | {
            "review_id": review_id,
            "inventory_id": inventory_id,
            "number": number,
            "state": "edited",
            "given_by": review_id,
            "made_from": list(made_from),
            "current": True,
            "geom": from_shape(_multi(outline), srid=4326),
        }
        for number, outline, values in zip(
            numbers, drawn.geometry, known.to_dict("records"), strict=True
        )
    ]
    connection.execute(insert(review_outcome), rows)


def _retire(connection: Connection, inventory_id: UUID, numbers: Sequence[int]) -> None:
    """The outcomes so far are not current any more."""
    mine = (review_outcome.c.inventory_id == inventory_id) & review_outcome.c.current
    # One array, since a statement takes 65,535 parameters.
    theirs = review_outcome.c.number == any_(literal(list(numbers), ARRAY(Integer)))
    connection.execute(update(review_outcome).where(mine & theirs).values(current=False))


def _multi(outline: BaseGeometry) -> MultiPolygon:
    return outline if isinstance(outline, MultiPolygon) else MultiPolygon([outline])
