"""Reviewing landslides: each act is a row that stays, and what was stored stays as it was.

A review is an act of one person on landslides of one inventory, named by number. Its outcome for
each of them stands until a later one: the views show the newest. Undoing brings back the outcome
before, by one more act. Numbers never change hands: a split or merge gives new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import geopandas as gpd
import shapely
from geoalchemy2.shape import to_shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, any_, func, insert, select, text

from tasks.errors import InventoryError, ReviewConflictError
from tasks.inventory import outcomes
from tasks.inventory.store import checked_landslides
from tasks.inventory.tables import (
    LandslideKind,
    ReviewAction,
    ReviewOutcome,
    inventory,
    review,
    review_outcome,
)
from tasks.mapping.attributes import measure
from tasks.percent import percent

# Parts of a split may share an edge that two programs rounded differently.
SLIVER = 0.01
# Of an outline; the edges of pixels that were seen are stairs.
_MOST_OUTSIDE = 0.1
# Of the smaller of two outlines of one kind; people draw neighbours that touch.
_MOST_SHARED = 0.5
# What PostgreSQL can be asked for; nothing lies beyond.
_IDS = range(1, 2**63)
_PAST = dict(
    zip(
        get_args(ReviewAction),
        ("confirmed", "rejected", "edited", "added", "split", "merged", "spoken of", "restored"),
        strict=True,
    )
)


@dataclass(frozen=True)
class Reviewer:
    """Who reviews, what they have to say, and the newest review they had before them.

    A landslide that somebody else reviewed after `seen` is refused: the two have to talk.
    """

    name: str
    comment: str = ""
    seen: int = 0


@dataclass(frozen=True)
class Review:
    """One act: what was done to which landslides, by whom and when."""

    id: int
    inventory_id: UUID
    action: ReviewAction
    numbers: tuple[int, ...]
    reviewer: str
    comment: str
    undoes: int | None
    reviewed_at: datetime


@dataclass(frozen=True)
class Progress:
    """How far the review of an inventory has come; `newest` is its last review, 0 for none."""

    unreviewed: int
    confirmed: int
    edited: int
    rejected: int
    replaced: int
    newest: int

    @property
    def share(self) -> float:
        """Part of the landslides that somebody has looked at, 0-1; 1 where there are none."""
        looked_at = self.confirmed + self.edited + self.rejected
        return looked_at / (looked_at + self.unreviewed) if looked_at + self.unreviewed else 1.0


def confirm(
    connection: Connection, inventory_id: UUID, numbers: Sequence[int], by: Reviewer
) -> Review:
    """Say that these are landslides, whatever a screen or an earlier review said.

    Every act runs in the caller's transaction and waits for others on the same inventory.

    Raises:
        InventoryError: the inventory is superseded, a number is not a landslide of it or was
            replaced, or the reviewer has no name.
        ReviewConflictError: somebody else reviewed one of them after `by.seen`; says who and when.
    """
    return _judge(connection, inventory_id, numbers, by, "confirm", "confirmed")


def reject(
    connection: Connection, inventory_id: UUID, numbers: Sequence[int], by: Reviewer
) -> Review:
    """Say that these are no landslides.

    Raises:
        InventoryError, ReviewConflictError: as `confirm`.
    """
    return _judge(connection, inventory_id, numbers, by, "reject", "rejected")


def edit(
    connection: Connection, inventory_id: UUID, number: int, outline: BaseGeometry, by: Reviewer
) -> Review:
    """Draw a landslide anew; it keeps its number. Relief and score of the outline are unknown.

    Args:
        connection: as `confirm`.
        inventory_id: the inventory.
        number: the landslide.
        outline: valid (Multi)Polygon, EPSG:4326, on ground the inventory observed.
        by: who draws.

    Raises:
        InventoryError, ReviewConflictError: as `confirm`, or the outline cannot be stored, or
            half of it lies on another landslide of its kind, or half of that on it.
    """
    found = _begin(connection, inventory_id, [number], by)
    drawn = _measured(connection, inventory_id, [outline], found)
    _check_apart(connection, inventory_id, drawn, [number])
    made = _record(connection, inventory_id, "edit", [number], by)
    outcomes.draw(connection, inventory_id, made.id, drawn, [number], [number])
    return made


def add(
    connection: Connection,
    inventory_id: UUID,
    outlines: Sequence[BaseGeometry],
    by: Reviewer,
    kind: str = "landslide",
) -> Review:
    """Add landslides that the inventory lacks; outlines as in `edit`, kind as in `LandslideKind`.

    Raises:
        InventoryError, ReviewConflictError: as `edit`.
    """
    if kind not in get_args(LandslideKind):
        raise InventoryError(f"{kind!r} is no kind: landslide, scar or deposit is")
    if not len(outlines):
        raise InventoryError("there is no outline to add")
    _begin(connection, inventory_id, [], by)
    drawn = _measured(connection, inventory_id, outlines, []).assign(kind=kind)
    _check_apart(connection, inventory_id, drawn, [])
    numbers = outcomes.new_numbers(connection, inventory_id, len(drawn))
    made = _record(connection, inventory_id, "add", numbers, by)
    outcomes.draw(connection, inventory_id, made.id, drawn, numbers, [])
    return made


def split(
    connection: Connection,
    inventory_id: UUID,
    number: int,
    parts: Sequence[BaseGeometry],
    by: Reviewer,
) -> Review:
    """Replace a landslide by two or more that do not overlap, each of which meets it.

    Raises:
        InventoryError, ReviewConflictError: as `edit`, or the parts are no parts.
    """
    found = _begin(connection, inventory_id, [number], by)
    _check_parts(number, found[0].outline, parts)
    drawn = _measured(connection, inventory_id, parts, found)
    _check_apart(connection, inventory_id, drawn, [number])
    return _replace(connection, inventory_id, "split", [number], drawn, by)


def merge(
    connection: Connection, inventory_id: UUID, numbers: Sequence[int], by: Reviewer
) -> Review:
    """Replace two or more landslides by their union.

    Raises:
        InventoryError, ReviewConflictError: as `confirm`.
    """
    numbers = sorted(set(numbers))
    if len(numbers) < 2:
        raise InventoryError("a merge needs two landslides or more; name them by number")
    found = _begin(connection, inventory_id, numbers, by)
    union = shapely.union_all([one.outline for one in found])
    drawn = _measured(connection, inventory_id, [union], found)
    return _replace(connection, inventory_id, "merge", numbers, drawn, by)


def remark(
    connection: Connection, inventory_id: UUID, numbers: Sequence[int], by: Reviewer
) -> Review:
    """Say something about landslides; nothing else changes, so it never conflicts.

    Raises:
        InventoryError: as `confirm`, or there is nothing said.
    """
    if not by.comment.strip():
        raise InventoryError("a comment needs words: --comment TEXT")
    anyone = Reviewer(by.name, by.comment, seen=_IDS[-1])
    _begin(connection, inventory_id, numbers, anyone)
    return _record(connection, inventory_id, "comment", numbers, by)


def undo(connection: Connection, inventory_id: UUID, review_id: int, by: Reviewer) -> Review:
    """Bring back what stood before a review, which stays on record; an undoing can be undone.

    Raises:
        InventoryError: it is no review of this inventory, changed nothing, is undone already, or
            a landslide of it was reviewed since; says by whom and when.
    """
    _lock(connection, inventory_id, by)
    asked = review_id if review_id in _IDS else 0
    mine = (review.c.id == asked) & (review.c.inventory_id == inventory_id)
    undone = connection.execute(select(review).where(mine)).one_or_none()
    if undone is None or undone.action == "comment":
        raise InventoryError(
            f"review {review_id} is none that can be undone; `scarp inventory review EVENT --log` "
            "lists the reviews"
        )
    earlier = select(review.c.id).where(review.c.undoes == review_id)
    if by_then := connection.scalar(earlier):
        raise InventoryError(f"review {review_id} was undone already, by review {by_then}")
    gave = select(review_outcome.c.number, review_outcome.c.given_by)
    rows = connection.execute(gave.where(review_outcome.c.review_id == review_id))
    given = {row.number: row.given_by for row in rows}
    for one in outcomes.find(connection, inventory_id, undone.numbers):
        if one.given_by != given[one.number]:
            raise InventoryError(
                f"review {review_id} cannot be undone: {_told(one)}; undo review {one.review_id} "
                "first"
            )
    made = _record(connection, inventory_id, "undo", undone.numbers, by, undoes=review_id)
    outcomes.carry(connection, inventory_id, made.id, undone.numbers, before=review_id, state=None)
    return made


def progress(connection: Connection, inventory_id: UUID) -> Progress:
    """Count an inventory's landslides by the state of their review."""
    counts = dict.fromkeys(("unreviewed", *get_args(ReviewOutcome)), 0)
    states = text(
        "SELECT review_state, count(*) FROM scarp.v_landslides_all "
        "WHERE inventory_id = :inventory_id GROUP BY review_state"
    )
    rows = connection.execute(states, {"inventory_id": inventory_id})
    counts |= {state: count for state, count in rows}
    newest = select(func.max(review.c.id)).where(review.c.inventory_id == inventory_id)
    return Progress(newest=connection.scalar(newest) or 0, **counts)


def list_reviews(
    connection: Connection, inventory_id: UUID, number: int | None = None
) -> list[Review]:
    """Every review of an inventory, or of one of its landslides, oldest first."""
    query = select(review).where(review.c.inventory_id == inventory_id).order_by(review.c.id)
    if number is not None:
        query = query.where(any_(review.c.numbers) == number)
    return [_read(row) for row in connection.execute(query)]


def hold(connection: Connection, inventory_id: UUID) -> None:
    """Keep others from reviewing an inventory until the caller's transaction ends."""
    key = {"key": f"scarp review {inventory_id}"}
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)


def require_current(connection: Connection, inventory_id: UUID) -> None:
    """See that no later version took an inventory's place, and keep it so to the transaction's end.

    Raises:
        InventoryError: one did; names the version, and when.
    """
    # Shared: a version that supersedes this one waits until the review is done.
    mine = select(inventory).where(inventory.c.id == inventory_id).with_for_update(read=True)
    row = connection.execute(mine).one()
    if row.status == "superseded":
        raise InventoryError(
            f"version {row.version} of {row.event_id} was superseded on "
            f"{row.superseded_at:%Y-%m-%d %H:%M}; review the published version"
        )


def _judge(
    connection: Connection,
    inventory_id: UUID,
    numbers: Sequence[int],
    by: Reviewer,
    action: ReviewAction,
    state: ReviewOutcome,
) -> Review:
    numbers = sorted(set(numbers))
    if not numbers:
        raise InventoryError(f"name a landslide to {action}, by number")
    _begin(connection, inventory_id, numbers, by)
    made = _record(connection, inventory_id, action, numbers, by)
    outcomes.carry(connection, inventory_id, made.id, numbers, before=made.id, state=state)
    return made


def _replace(
    connection: Connection,
    inventory_id: UUID,
    action: ReviewAction,
    numbers: Sequence[int],
    drawn: gpd.GeoDataFrame,
    by: Reviewer,
) -> Review:
    new = outcomes.new_numbers(connection, inventory_id, len(drawn))
    made = _record(connection, inventory_id, action, [*numbers, *new], by)
    outcomes.carry(connection, inventory_id, made.id, numbers, before=made.id, state="replaced")
    outcomes.draw(connection, inventory_id, made.id, drawn, new, numbers)
    return made


def _lock(connection: Connection, inventory_id: UUID, by: Reviewer) -> None:
    """Wait for others who review this inventory, and see that it can be reviewed."""
    for name, said in (("the reviewer's name", by.name), ("the comment", by.comment)):
        if "\0" in said:
            raise InventoryError(f"{name} has a NUL byte; remove it")
    if not by.name.strip():
        raise InventoryError("a review needs to know who reviews: --by NAME")
    hold(connection, inventory_id)
    require_current(connection, inventory_id)


def _begin(
    connection: Connection, inventory_id: UUID, numbers: Sequence[int], by: Reviewer
) -> list[outcomes.Found]:
    """The landslides to review as they stand, once nothing speaks against it."""
    _lock(connection, inventory_id, by)
    found = outcomes.find(connection, inventory_id, [n for n in numbers if n in _IDS])
    known = {one.number for one in found if one.outline is not None}
    if missing := sorted(set(numbers) - known):
        raise InventoryError(f"there is no landslide {missing[0]} in this inventory")
    for one in found:
        if one.state == "replaced":
            raise InventoryError(f"{_told(one)} into another; review that one")
        others = one.reviewer != by.name.strip()
        if one.review_id is not None and one.review_id > by.seen and others:
            advice = f"look at it again, and pass --seen {one.review_id} to review it all the same"
            raise ReviewConflictError(_told(one), advice)
    return found


def _told(one: outcomes.Found) -> str:
    assert one.reviewed_at is not None
    when = f"{one.reviewed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"landslide {one.number} was {_PAST[one.action]} by {one.reviewer} at {when}"


def _check_parts(number: int, whole: BaseGeometry, parts: Sequence[BaseGeometry]) -> None:
    if len(parts) < 2:
        raise InventoryError(f"landslide {number} is split by two outlines or more, not one")
    checked_landslides(gpd.GeoDataFrame(geometry=list(parts), crs="EPSG:4326"))
    for index, part in enumerate(parts, start=1):
        if not part.intersects(whole):
            raise InventoryError(f"part {index} does not meet landslide {number}; add it instead")
        for other in parts[index:]:
            if part.intersection(other).area > SLIVER * min(part.area, other.area):
                raise InventoryError(f"part {index} of landslide {number} overlaps another part")


def _check_apart(
    connection: Connection, inventory_id: UUID, drawn: gpd.GeoDataFrame, instead_of: Sequence[int]
) -> None:
    """No landslide is drawn a second time: its ground would count twice."""
    for index, outline in enumerate(drawn.geometry, start=1):
        kind = drawn["kind"].iloc[index - 1]
        stand = outcomes.standing_under(connection, inventory_id, outline, kind)
        others = {f"landslide {n}": theirs for n, theirs in stand.items() if n not in instead_of}
        later = drawn.geometry.iloc[[i for i in drawn.sindex.query(outline) if i >= index]]
        others |= {f"outline {i + 1}": theirs for i, theirs in later.items()}
        for other, theirs in others.items():
            shared = outline.intersection(theirs).area / min(outline.area, theirs.area)
            if shared > _MOST_SHARED:
                raise InventoryError(
                    f"outline {index} of {len(drawn)} and {other} share {percent(shared)} of the "
                    "smaller one, which would count twice; leave it out, or reject or merge the "
                    "other first"
                )


def _measured(
    connection: Connection,
    inventory_id: UUID,
    outlines: Sequence[BaseGeometry],
    sources: Sequence[outcomes.Found],
) -> gpd.GeoDataFrame:
    """Outlines that can be stored, with their size, of the scene of the first source.

    They are of the kind that all sources are; of several kinds, a scar and its deposit, landslides.
    """
    drawn = checked_landslides(gpd.GeoDataFrame(geometry=list(outlines), crs="EPSG:4326"))
    seen = select(inventory.c.observed).where(inventory.c.id == inventory_id)
    ground = to_shape(connection.execute(seen).scalar_one())
    for index, outline in enumerate(drawn.geometry, start=1):
        outside = 1 - outline.intersection(ground).area / outline.area
        if outside > _MOST_OUTSIDE:
            share = f"{percent(outside)} of outline {index}" if outside < 1 else f"outline {index}"
            raise InventoryError(
                f"{share} of {len(drawn)} lies outside the ground this inventory observed, "
                "where nothing is known; draw it within"
            )
    kinds = {source.kind for source in sources}
    for source in sources[:1]:
        kind = source.kind if len(kinds) == 1 else "landslide"
        drawn = drawn.assign(kind=kind, scene_id=source.scene_id)
        drawn["acquired_at"] = source.acquired_at
    return measure(drawn)


def _record(
    connection: Connection,
    inventory_id: UUID,
    action: ReviewAction,
    numbers: Sequence[int],
    by: Reviewer,
    undoes: int | None = None,
) -> Review:
    values = {
        "inventory_id": inventory_id,
        "action": action,
        "numbers": list(numbers),
        "reviewer": by.name.strip(),
        "comment": by.comment.strip(),
        "undoes": undoes,
    }
    return _read(connection.execute(insert(review).values(values).returning(review)).one())


def _read(row: Row[Any]) -> Review:
    return Review(
        id=row.id,
        inventory_id=row.inventory_id,
        action=row.action,
        numbers=tuple(row.numbers),
        reviewer=row.reviewer,
        comment=row.comment,
        undoes=row.undoes,
        reviewed_at=row.reviewed_at.astimezone(UTC),
    )
