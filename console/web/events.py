"""The first page: every event, in a list and on a map of the world."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from console.web.access import Viewer
from console.web.pages import page
from flows.overview import STEPS, list_lines
from flows.world import open_world
from tasks.errors import AreaError
from tasks.events.land import land_within, outline_of_land

router = APIRouter()
# A pixel of a map of the world that is as wide as a screen.
WORLD_TOLERANCE_DEG = 0.2
DAY_S = 86400
_BOUNDS = r"^-?\d{1,3}(,-?\d{1,3}){3}$"


@router.get("/events", response_class=HTMLResponse)
def events_page(request: Request, _: Viewer) -> Response:
    """Every event, the latest first."""
    with open_world().engine.connect() as connection:
        lines = list_lines(connection)
    places = [
        {
            "id": line.event_id,
            "title": line.title,
            "doing": line.doing,
            "at": [line.longitude, line.latitude],
        }
        for line in lines
    ]
    return page(request, "events.html", lines=lines, places=places, steps=STEPS)


@router.get("/land.geojson")
def land(bounds: Annotated[str | None, Query(pattern=_BOUNDS)] = None) -> Response:
    """The land of the earth, or truer within bounds, for maps that have nothing else under them."""
    kept = {"Cache-Control": f"max-age={DAY_S}"}
    found = _land() if bounds is None else _land_within(bounds)
    return Response(found, media_type="application/geo+json", headers=kept)


@lru_cache(maxsize=64)
def _land_within(bounds: str) -> str:
    west, south, east, north = map(int, bounds.split(","))
    if not (-540 <= west < east <= 540 and -90 <= south < north <= 90 and east - west < 360):
        raise AreaError(f"bounds {bounds} are no part of the earth: west,south,east,north")
    return json.dumps(land_within(west, south, east, north))


@cache
def _land() -> str:
    return json.dumps(outline_of_land(WORLD_TOLERANCE_DEG))
