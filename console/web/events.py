"""The first page: every event, in a list and on a map of the world."""

from __future__ import annotations

import json
from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from console.web.access import Viewer
from console.web.pages import page
from flows.overview import STEPS, list_lines
from flows.world import open_world
from tasks.events.land import outline_of_land

router = APIRouter()
# A pixel of a map of the world that is as wide as a screen.
WORLD_TOLERANCE_DEG = 0.2
DAY_S = 86400


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
def land() -> Response:
    """The land of the earth, for maps that have nothing else under them."""
    kept = {"Cache-Control": f"max-age={DAY_S}"}
    return Response(_land(), media_type="application/geo+json", headers=kept)


@cache
def _land() -> str:
    return json.dumps(outline_of_land(WORLD_TOLERANCE_DEG))
