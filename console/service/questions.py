"""What may be asked of the service: comparisons, logic and geometry, no function of the database.

A parameter that nobody knows is refused, as OGC API Features asks (7.15, query-param-unknown): a
filter with a slip of the pen would find everything.

CQL2 lets a filter call any function, which tipg hands to PostgreSQL as it is: `set_config` could
then give up the role that may only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from ciso8601 import parse_rfc3339
from cql2 import Expr
from fastapi import FastAPI, HTTPException, Query, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from tipg.factory import features_settings

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
LARGEST = 2**63 - 1
LARGEST_PAGE = features_settings.max_features_per_query


class Service(FastAPI):
    """An application whose description says what `in_range` asks for."""

    def openapi(self) -> dict[str, Any]:
        """The description; a `limit` of 0, which tipg takes for none, is not allowed."""
        described = super().openapi()
        for address in described["paths"].values():
            for one in address.get("get", {}).get("parameters", ()):
                for schema in (one["schema"], *one["schema"].get("anyOf", ())):
                    if one["name"] == "limit" and "minimum" in schema:
                        schema["minimum"] = 1
        return described


class AtMost:
    """Takes a `limit` above the largest page for the largest page, and does not refuse it.

    OGC API Features 1.0.1, requirement 22 C.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, for no more than is given."""
        if b"limit=" in scope.get("query_string", b""):
            asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            fitted = [
                (name, str(LARGEST_PAGE) if name == "limit" and _too_many(value) else value)
                for name, value in asked
            ]
            if fitted != asked:
                scope = {**scope, "query_string": urlencode(fitted).encode()}
        await self.app(scope, receive, send)


def _too_many(limit: str) -> bool:
    return limit.isascii() and limit.isdecimal() and float(limit) > LARGEST_PAGE


def in_range(
    limit: Annotated[int | None, Query(ge=1, include_in_schema=False)] = None,
    offset: Annotated[int | None, Query(le=LARGEST, include_in_schema=False)] = None,
) -> None:
    """Refuse numbers that tipg would take for none, or could not pass on.

    Apart from `well_asked`, since nothing is called whose own parameters are refused.
    """


def well_asked(
    request: Request,
    bbox: str | None = None,
    datetime: str | None = None,
    ids: str | None = None,
    question: Annotated[str | None, Query(alias="filter")] = None,
) -> None:
    """Refuse what cannot be read, which tipg takes for a fault of its own, and what may not be.

    Raises:
        HTTPException: 400, with the reason; 404 where there is no such collection.
    """
    if "\0" in "".join(request.query_params.values()):
        raise HTTPException(400, "a parameter holds a NUL byte; remove it")
    columns = _columns(request)
    if unknown := sorted(set(request.query_params) - _parameters(request) - columns):
        raise HTTPException(400, f"there is no parameter or column {', '.join(unknown)}")
    for parameter in ("properties", "sortby"):
        named = request.query_params.get(parameter, "").split(",")
        if missing := sorted({one.strip().lstrip("+-") for one in named} - columns - {""}):
            raise HTTPException(400, f"{parameter}: there is no column {', '.join(missing)}")
    try:
        [float(side) for side in bbox.split(",")] if bbox else []
        ends = datetime.split("/") if datetime else []
        [parse_rfc3339(end) for end in ends if end not in ("", "..")]
        if (
            max([int(one) for one in (ids or "").split(",") if one.isdecimal()], default=0)
            > LARGEST
        ):
            raise ValueError("an id is larger than any")
        asked = Expr(question).to_json() if question else None
    except Exception as error:
        raise HTTPException(400, f"this question cannot be read: {error}") from error
    for operator in _operators(asked):
        if operator.casefold() not in OPERATORS:
            raise HTTPException(400, f"a filter may not use {operator}")


def _parameters(request: Request) -> set[str]:
    """What the API's description lists for this address."""
    described = request.app.openapi()["paths"][request.scope["route"].path]["get"]
    return {one["name"] for one in described.get("parameters", []) if one["in"] == "query"}


def _columns(request: Request) -> set[str]:
    """The columns of the collection asked for; none where the address names none."""
    collections = request.app.state.collection_catalog["collections"]
    name = request.path_params.get("collectionId")
    if name is None:
        return set()
    if name not in collections:
        raise HTTPException(404, f"there is no collection {name}; /collections lists them")
    return {column.name for column in collections[name].properties}


def _operators(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "op" in node:
            yield str(node["op"])
        for part in node.values():
            yield from _operators(part)
    elif isinstance(node, list):
        for part in node:
            yield from _operators(part)
