"""Reviews outlive the version they were made of, where the next one shows the same outline.

People review what a network drew. When a new version is mapped, and a landslide in it is one that
was drawn then, alone and unchanged by the rules of `compare`, what was said of it is said again, by
the same reviewer, with the version it comes from. A landslide that somebody added is added again
unless the network now draws one there. Whatever looks different is left to be looked at again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Literal
from uuid import UUID

import geopandas as gpd
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, select

from tasks.errors import InventoryError
from tasks.inventory import outcomes, review, tables
from tasks.inventory.compare import difference
from tasks.inventory.origin import MADE_BY_PEOPLE, REVIEWED
from tasks.inventory.outcomes import Outcome
from tasks.inventory.review import Reviewer
from tasks.inventory.store import StoredInventory, list_inventories, read_drawn
from tasks.types import Doubt

_LAST = 2**63 - 1

_Action = Literal["confirm", "reject", "edit", "add", "split", "merge"]


@dataclass(frozen=True)
class Act:
    """A review to repeat: landslides by their new number, outlines in EPSG:4326."""

    action: _Action
    by: Reviewer
    numbers: tuple[int, ...] = ()
    outlines: tuple[BaseGeometry, ...] = ()
    kind: str = "landslide"


@dataclass(frozen=True)
class CarryOver:
    """What is repeated, and how many reviewed landslides look different or were not seen."""

    acts: tuple[Act, ...] = ()
    left: int = 0

    @property
    def doubts(self) -> list[Doubt]:
        """What to tell about the reviews that are left behind."""
        if not self.left:
            return []
        text = (
            f"{self.left} reviewed landslides of earlier versions look different now or were not "
            "seen; what was said of them is not carried over, so review them again"
        )
        return [Doubt("reviews-left", text)]


def plan_carry_over(
    connection: Connection,
    event_id: str,
    landslides: gpd.GeoDataFrame,
    observed: MultiPolygon,
) -> CarryOver:
    """Find the reviews that hold for the landslides of a version about to be stored.

    They are those of the newest version a network made that has any, which holds what was carried
    over to it, and of versions published from its reviews.

    Args:
        connection: in the transaction that stores them; others review nothing until it ends.
        event_id: the event.
        landslides: as they will be stored, EPSG:4326; the first gets number 1.
        observed: ground this version observed, EPSG:4326.
    """
    new = gpd.GeoDataFrame(
        {"number": range(1, len(landslides) + 1)},
        geometry=landslides.geometry.to_numpy(),
        crs="EPSG:4326",
    )
    found = [
        act
        for older in _reviewed_versions(connection, event_id)
        for act in _acts(connection, older, new, observed)
    ]
    return CarryOver(tuple(act for act in found if act), found.count(None))


def carry_over(connection: Connection, inventory_id: UUID, plan: CarryOver) -> None:
    """Repeat the reviews of a plan on the inventory it was made for, in the caller's transaction.

    One that cannot be repeated after all leaves a comment on its landslides that says why.
    """
    for act in plan.acts:
        try:
            with connection.begin_nested():
                _repeat(connection, inventory_id, act)
        except InventoryError as error:
            if act.numbers:
                said = f"{act.by.comment}; not carried over: {error}"
                review.remark(connection, inventory_id, act.numbers, Reviewer(act.by.name, said))


def _reviewed_versions(connection: Connection, event_id: str) -> list[StoredInventory]:
    versions = list_inventories(connection, event_id)
    for stored in versions:
        if stored.status == "published":
            # Nobody reviews it between this look and its being superseded.
            review.hold(connection, stored.id)
    of_event = select(tables.review.c.inventory_id).distinct().join(tables.inventory)
    reviewed = set(connection.scalars(of_event.where(tables.inventory.c.event_id == event_id)))
    chosen: list[StoredInventory] = []
    for stored in reversed(versions):
        if stored.id in reviewed and stored.method not in MADE_BY_PEOPLE:
            chosen.insert(0, stored)
            if stored.method != REVIEWED:
                break
    return chosen


def _acts(
    connection: Connection, older: StoredInventory, new: gpd.GeoDataFrame, observed: MultiPolygon
) -> list[Act | None]:
    """The reviews of one version as they are said again; None for each that is left."""
    drawn = read_drawn(connection, older.id)
    numbers = set(drawn["number"])
    same = _unchanged(drawn, new, older.observed & observed)
    found: list[Act | None] = []
    parts: dict[tuple[int, ...], list[Outcome]] = defaultdict(list)
    for outcome in outcomes.standing(connection, older.id):
        if outcome.state == "rejected" and outcome.number not in numbers:
            found += [None] if outcome.made_from else []
        elif outcome.made_from and outcome.made_from != (outcome.number,):
            parts[outcome.made_from].append(outcome)
        elif outcome.made_from or outcome.outline is None:
            found.append(_said_again(outcome, older, same, observed))
        else:
            found.append(_added_again(outcome, older, new, observed))
    drawn_anew = [
        _drawn_anew(origins, made, older, same, observed) for origins, made in parts.items()
    ]
    return [*_together(found), *drawn_anew]


def _together(acts: Sequence[Act | None]) -> list[Act | None]:
    """The same judgement in the same words by one reviewer as one act, as it often was."""
    judged: dict[tuple[_Action, Reviewer], list[int]] = defaultdict(list)
    others: list[Act | None] = []
    for act in acts:
        if act and act.action in ("confirm", "reject"):
            judged[act.action, act.by] += act.numbers
        else:
            others.append(act)
    return [Act(*said, tuple(numbers)) for said, numbers in judged.items()] + others


def _unchanged(
    drawn: gpd.GeoDataFrame, new: gpd.GeoDataFrame, ground: BaseGeometry
) -> dict[int, int]:
    """The new number of each landslide that alone became one, of the same size."""
    if not len(drawn) or not len(new) or not ground.area:
        return {}
    changes = difference(drawn, new, ground).changes
    alike = changes[(changes["change"] == "unchanged") & (changes["before"].map(len) == 1)]
    return {
        before[0]: after[0] for before, after in zip(alike["before"], alike["after"], strict=True)
    }


def _said_again(
    outcome: Outcome, older: StoredInventory, same: dict[int, int], observed: MultiPolygon
) -> Act | None:
    if outcome.number not in same:
        return None
    number, by = (same[outcome.number],), _as_said(outcome, older)
    if outcome.state == "rejected":
        return Act("reject", by, number)
    if outcome.outline is None:
        return Act("confirm", by, number)
    if not outcome.outline.intersects(observed):
        return None
    return Act("edit", by, number, (outcome.outline,))


def _added_again(
    outcome: Outcome, older: StoredInventory, new: gpd.GeoDataFrame, observed: MultiPolygon
) -> Act | None:
    outline = outcome.outline
    if outline is None or not outline.intersects(observed) or new.intersects(outline).any():
        return None
    by = _as_said(outcome, older)
    return Act("add", by, outlines=(outline,), kind=outcome.kind or "landslide")


def _drawn_anew(
    origins: tuple[int, ...],
    made: Sequence[Outcome],
    older: StoredInventory,
    same: dict[int, int],
    observed: MultiPolygon,
) -> Act | None:
    """A split, or a merge, whose result is drawn anew from what is there now."""
    if not set(origins) <= set(same):
        return None
    numbers, by = tuple(same[number] for number in origins), _as_said(made[0], older)
    if len(origins) > 1:
        return Act("merge", by, numbers)
    outlines = tuple(part.outline for part in made if part.outline is not None)
    seen = all(outline.intersects(observed) for outline in outlines)
    return Act("split", by, numbers, outlines) if seen else None


def _as_said(outcome: Outcome, older: StoredInventory) -> Reviewer:
    when = f"as in version {older.version}, {outcome.reviewed_at.astimezone(UTC):%Y-%m-%d}"
    said = f"{outcome.comment} ({when})" if outcome.comment else when
    # Repeating what the versions said one after the other is no conflict between reviewers.
    return Reviewer(outcome.reviewer, said, seen=_LAST)


def _repeat(connection: Connection, inventory_id: UUID, act: Act) -> None:
    where = (connection, inventory_id)
    match act.action:
        case "confirm":
            review.confirm(*where, act.numbers, act.by)
        case "reject":
            review.reject(*where, act.numbers, act.by)
        case "edit":
            review.edit(*where, act.numbers[0], act.outlines[0], act.by)
        case "add":
            review.add(*where, act.outlines, act.by, act.kind)
        case "split":
            review.split(*where, act.numbers[0], act.outlines, act.by)
        case "merge":
            review.merge(*where, act.numbers, act.by)
