"""The service's answers as pages, for people who open its addresses in a browser.

tipg's own pages fetch their style, scripts and maps from other machines; ours leave this one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FunctionLoader, PackageLoader
from starlette.templating import Jinja2Templates
from tipg.factory import create_html_response

Table = tuple[Sequence[str], Iterable[Sequence[Any]]]
# What the template shows in a place of its own, or what means nothing to a reader.
_ELSEWHERE = {
    *("title", "id", "description", "links", "type"),
    *("numberMatched", "numberReturned", "features", "collections"),
}


@cache
def page_templates() -> Jinja2Templates:
    """One template for every answer, under whatever name tipg asks for."""
    source, *_ = PackageLoader("console.service").get_source(Environment(), "answer.html")
    made = Environment(
        loader=FunctionLoader(lambda _: source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"table_of": _table_of, "facts_of": _facts_of, "as_data": _as_data}
    return Jinja2Templates(env=made)


def api_page(request: Request) -> Response:
    """The addresses of the service and what may be asked of each."""
    described = request.app.openapi()
    answer = {"title": "API", "description": described["info"]["title"], **described}
    return create_html_response(request, answer, page_templates(), "api")


def _table_of(answer: Mapping[str, Any]) -> Table | None:
    """Heads and rows of what an answer lists; None where it lists nothing."""
    if found := answer.get("collections"):
        return ("collection", "what it holds"), (
            ({"href": one["links"][0]["href"], "title": one["id"]}, one.get("description"))
            for one in found
        )
    if found := answer.get("features"):
        columns = list(found[0]["properties"])
        return ("", *columns), (
            (
                {"href": one["links"][-1]["href"], "title": one["id"]},
                *(one["properties"][column] for column in columns),
            )
            for one in found
        )
    if "$schema" in answer:
        return ("column", "type", "what it is"), (
            (name, one.get("type", "geometry"), one.get("description"))
            for name, one in answer["properties"].items()
        )
    if found := answer.get("paths"):
        return ("address", "what it answers", "parameters"), (
            (
                path,
                one["get"]["summary"],
                [each["name"] for each in one["get"].get("parameters", ())],
            )
            for path, one in found.items()
            if "get" in one
        )
    return None


def _facts_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What else an answer says: of a feature its properties."""
    if answer.get("type") == "Feature":
        return dict(answer["properties"])
    return {name: value for name, value in answer.items() if name not in _ELSEWHERE}


def _as_data(request: Request, answer: Mapping[str, Any]) -> str:
    """Where a program gets the same."""
    if "paths" in answer:
        return str(request.url_for("openapi"))
    features = answer.get("type") in ("Feature", "FeatureCollection")
    form = "geojson" if features else "schemajson" if "$schema" in answer else "json"
    return str(request.url.include_query_params(f=form))
