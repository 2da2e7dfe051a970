"""What may be asked of the service: comparisons, logic and geometry, no function of the database.

CQL2 lets a filter call any function, which tipg hands to PostgreSQL as it is: `set_config` could
then give up the role that may only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from cql2 import Expr
from fastapi import HTTPException, Query

_LOGIC = "and or not = <> < <= > >= between in like isnull casei + - * / % ^ div"
_SPACE = "intersects equals disjoint touches within overlaps crosses contains"
_TIME = (
    "after before contains disjoint during equals finishedby finishes intersects meets metby "
    "overlappedby overlaps startedby starts"
)
OPERATORS = frozenset(
    [
        *_LOGIC.split(" "),
        *(f"s_{word}" for word in _SPACE.split(" ")),
        *(f"t_{word}" for word in _TIME.split(" ")),
    ]
)


def well_asked(
    bbox: str | None = None, question: Annotated[str | None, Query(alias="filter")] = None
) -> None:
    """Refuse what cannot be read, which tipg takes for a fault of its own, and what may not be.

    Raises:
        HTTPException: 400, with the reason.
    """
    try:
        [float(side) for side in bbox.split(",")] if bbox else []
        asked = Expr(question).to_json() if question else None
    except Exception as error:
        raise HTTPException(400, f"this question cannot be read: {error}") from error
    for operator in _operators(asked):
        if operator.casefold() not in OPERATORS:
            raise HTTPException(400, f"a filter may not use {operator}")


def _operators(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "op" in node:
            yield str(node["op"])
        for part in node.values():
            yield from _operators(part)
    elif isinstance(node, list):
        for part in node:
            yield from _operators(part)
