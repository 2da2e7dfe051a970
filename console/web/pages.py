"""Pages made of templates, and the one file of words they say (`words.toml`)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from tasks.percent import percent

SMALL_KM2 = 0.001


def page(
    request: Request,
    template: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """A page, or to a script that asks for no page the reason alone, as JSON."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if template in ("problem.html", "down.html") and not wants_page:
        return JSONResponse({"detail": values["reason"]}, status, dict(headers or {}))
    made = render(request, template, **values)
    return HTMLResponse(made, status, dict(headers or {}) | {"Cache-Control": "no-store"})


def render(request: Request, template: str, **values: Any) -> str:
    """A template with who is asking, and what may be said."""
    state = request.state
    return (
        _environment()
        .get_template(template)
        .render(
            holder=getattr(state, "holder", None),
            csrf=getattr(state, "csrf", ""),
            path=request.url.path,
            console=request.app.state,
            words=words(),
            **values,
        )
    )


@cache
def words() -> dict[str, Any]:
    """Every sentence of the console: to speak another language, translate this one file."""
    return tomllib.loads((files("console.web") / "words.toml").read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("console.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "moment": moment,
        "ago": ago,
        "lasting": lasting,
        "share": share,
        "km2": km2,
        "data": data,
    }
    return made


def data(value: Any) -> Markup:
    """JSON that a page can hold in a block of data, whatever texts are in it."""
    text = json.dumps(value, default=str, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def moment(when: datetime | None) -> str:
    """A time to the minute, UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if when else "–"


def lasting(span: timedelta | None) -> str:
    """A span as people say it: 3 min, 5 h 20 min, 12 days, 3.4 years."""
    if span is None:
        return "–"
    seconds = span.total_seconds()
    sign, seconds = ("−", -seconds) if seconds < 0 else ("", seconds)
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if seconds < 60:
        said = f"{seconds:.0f} s"
    elif minutes < 60:
        said = f"{minutes:.0f} min"
    elif hours < 48:
        whole = round(minutes)
        said = f"{whole // 60} h {whole % 60} min" if whole % 60 else f"{whole // 60} h"
    elif days < 730:
        said = f"{days:.0f} days"
    else:
        said = f"{days / 365.25:.1f} years"
    return sign + said


def ago(when: datetime | None) -> str:
    """How long ago something was."""
    return lasting(datetime.now(UTC) - when) if when else "–"


def share(part: float | None) -> str:
    """A part of a whole in percent; what nobody knows is a dash."""
    return "–" if part is None else percent(part)


def km2(area: float | None) -> str:
    """An area in km² to three digits, a very small one in m²."""
    if area is None:
        return "–"
    if 0 < area < SMALL_KM2:
        return f"{area * 1e6:,.0f} m²"
    return f"{area:,.0f} km²" if area >= 100 else f"{area:.3g} km²"
