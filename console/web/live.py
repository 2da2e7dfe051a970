"""News of an event as it happens, as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
from fastapi import APIRouter, Request
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from console.service.products import EventId
from console.web.access import NotLoggedInError, Viewer, given_token, holder_of
from flows.artifact_names import stage_keys, stage_of
from flows.world import open_world
from infra.errors import InfraError
from infra.orchestration import api_url_of
from infra.settings import Settings
from tasks.errors import EventError

router = APIRouter()
LOOK_S = 1.0
# A proxy ends a connection that says nothing for a minute.
BEAT_S = 20.0
ASK_S = 2.0
# Among so many bars are those of other events whose ids end with this one's.
BARS = 50
EVENT_STREAM = "text/event-stream"

# One text that is another whenever something about the event is.
_STATE = """
    SELECT concat_ws('|', event.state, event.updated_at, event.published_version,
        (SELECT concat_ws(',', held_by, failures, dead_at) FROM scarp.response_turn AS turn
         WHERE turn.event_id = event.event_id),
        (SELECT max(id) FROM scarp.event_history AS history
         WHERE history.event_id = event.event_id),
        (SELECT concat_ws(',', max(id), max(done_at)) FROM scarp.response_request AS request
         WHERE request.event_id = event.event_id),
        (SELECT concat_ws(',', count(*), max(started_at), max(ended_at)) FROM scarp.run
         WHERE run.event_id = event.event_id),
        (SELECT max(review.id) FROM scarp.review JOIN scarp.inventory ON inventory.id = inventory_id
         WHERE inventory.event_id = event.event_id),
        (SELECT max(created_at) FROM scarp.susceptibility AS map
         WHERE map.event_id = event.event_id),
        (SELECT looked_at FROM scarp.v_waiting AS wait WHERE wait.event_id = event.event_id))
    FROM scarp.v_events AS event WHERE event.event_id = :event_id
"""


@dataclass
class Watched:
    """What was last seen of one event: many who look at it ask the store once."""

    looked: float = 0.0
    state: str | None = ""
    stage: str = ""
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


_watched: dict[str, Watched] = {}


@router.get("/events/{event_id}/live")
async def live(request: Request, event_id: EventId, _: Viewer) -> Response:
    """`changed` when anything about the event is, `stage` while a run tells how far it is."""
    if await run_in_threadpool(_state, event_id) is None:
        raise EventError(f"event {event_id} is not registered")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_news(request, event_id), headers=headers, media_type=EVENT_STREAM)


async def _news(request: Request, event_id: str) -> AsyncIterator[str]:
    seen = (await _look(event_id)).state
    told, beat = "", time.monotonic()
    yield "retry: 2000\n\n"
    while not await request.is_disconnected():
        await asyncio.sleep(LOOK_S)
        now = await _look(event_id)
        if now.state != seen:
            seen = now.state
            yield f"event: {'gone' if seen is None else 'changed'}\ndata: {event_id}\n\n"
        if now.stage != told:
            told = now.stage
            yield f"event: stage\ndata: {told}\n\n"
        if time.monotonic() - beat > BEAT_S:
            if await run_in_threadpool(_is_void, given_token(request)):
                return
            beat = time.monotonic()
            yield ": still here\n\n"


def _is_void(token: str | None) -> bool:
    """Whether a token was revoked or expired since; a database that is down says nothing of it."""
    try:
        holder_of(token)
    except NotLoggedInError:
        return True
    except InfraError:
        return False
    return False


async def _look(event_id: str) -> Watched:
    watched = _watched.setdefault(event_id, Watched())
    async with watched.looking:
        if time.monotonic() - watched.looked >= LOOK_S * 0.9:
            try:
                watched.state = await run_in_threadpool(_state, event_id)
            except InfraError:
                watched.state = "the database does not answer"
            watched.stage = await _stage(event_id) if "|responding|" in f"|{watched.state}|" else ""
            watched.looked = time.monotonic()
    return watched


def _state(event_id: str) -> str | None:
    with open_world().engine.connect() as connection:
        found: str | None = connection.scalar(text(_STATE), {"event_id": event_id})
    return found


async def _stage(event_id: str) -> str:
    """How far the run is, as JSON {stage, percent}, where a Prefect server knows of one."""
    api_url = api_url_of(Settings())
    if api_url is None:
        return ""
    asked = {
        "artifacts": {"key": {"like_": stage_keys(event_id)}},
        "sort": "UPDATED_DESC",
        "limit": BARS,
    }
    try:
        async with httpx.AsyncClient(base_url=api_url, timeout=ASK_S) as client:
            found = (await client.post("/artifacts/latest/filter", json=asked)).json()
    except (httpx.HTTPError, ValueError):
        return ""
    for bar in found if isinstance(found, list) else ():
        if stage := stage_of(str(bar.get("description")), event_id):
            return json.dumps({"stage": stage, "percent": round(float(bar.get("data") or 0))})
    return ""
