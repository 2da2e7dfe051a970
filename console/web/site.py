"""The console: pages for people, over the service that programs read.

    /                     the first page to a browser, the OGC landing page to a program
    /events/…             one event: its page, review, susceptibility, downloads, live news
    /register, /ask       registering an event; questions in SQL
    /login, /log          who may do what; what people did
    everything else       the service: /collections, /products, … (console/service)

Pages need a token (`console/web/access.py`). The service does as well, unless it is open to be
read, as it is on a machine's own loopback address to who asks there.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DataError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from titiler.core.errors import DEFAULT_STATUS_CODES as RASTER_ERRORS
from titiler.core.errors import add_exception_handlers

from console.service.app import COMPRESSED_FROM_BYTES, GRID_ERRORS
from console.web import (
    access,
    ask,
    event,
    events,
    live,
    rasters,
    registering,
    review,
    susceptibility,
    tiles,
)
from console.web.access import NotAllowedError, NotLoggedInError, Operator, given_token, holder_of
from console.web.headers import Guarded, asked_from_here
from console.web.pages import page, words
from flows.world import open_world
from infra.errors import InfraError
from tasks.access.audit import list_acts
from tasks.errors import ReviewConflictError, ScarpError

log = logging.getLogger(__name__)
WORDS_KEPT = 300
PAGES = "/pages"
STATIC = Path(str(files("console.web") / "static"))


def create_site(service: FastAPI, *, basemap: str | None, open_to_read: bool) -> ASGIApp:
    """The console over a service, as one application.

    Args:
        service: what `console.service.app.create_app` makes.
        basemap: tiles to lay under every map, such as https://tiles.example.org/{z}/{x}/{y}.png.
        open_to_read: whether the service may be read without a token from the machine itself.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.router.lifespan_context(service):
            yield

    site = FastAPI(
        title="Scarp console",
        lifespan=lifespan,
        openapi_url=f"{PAGES}/api",
        docs_url=None,
        redoc_url=None,
    )
    site.state.basemap = basemap
    rest = _Service(service, open_to_read)
    site.router.routes.append(Route("/", _Front(rest)))
    for part in (access, events, registering, ask, live, review, susceptibility, rasters, tiles):
        site.include_router(part.router)
    site.include_router(event.router)
    site.get("/log", response_class=HTMLResponse)(_log)
    site.mount("/static", StaticFiles(directory=STATIC))
    site.mount("/", rest)
    add_exception_handlers(site, RASTER_ERRORS | GRID_ERRORS)
    for kind, answer in (
        (NotLoggedInError, access.turned_away),
        (NotAllowedError, _not_allowed),
        (ScarpError, _refused),
        (InfraError, _no_database),
        (psycopg.OperationalError, _no_database),
        (DataError, _unfit),
        (RequestValidationError, _unreadable),
        (HTTPException, _no_page),
        (Exception, _our_fault),
    ):
        site.add_exception_handler(kind, answer)
    site.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_FROM_BYTES, compresslevel=4)
    return Guarded(site, basemap)


class _Front:
    """Shows people the events, and programs where the service begins."""

    def __init__(self, service: ASGIApp) -> None:
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for /."""
        request = Request(scope)
        wants_page = "text/html" in request.headers.get("accept", "") and not request.query_params
        answer = RedirectResponse("/events", 303) if wants_page else self.service
        await answer(scope, receive, send)


class _Service:
    """The service as the rest of the site; where it is not open, for those who have a token."""

    def __init__(self, service: ASGIApp, open_to_read: bool) -> None:
        self.service = service
        self.open_to_read = open_to_read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on as if the service stood alone: its links are its own."""
        if scope["type"] == "http":
            request = Request(scope)
            if not (self.open_to_read and asked_from_here(request)):
                await run_in_threadpool(holder_of, given_token(request))
        own = {name: value for name, value in scope.items() if name not in ("router", "app")}
        await self.service(own, receive, send)


def _log(request: Request, _: Operator) -> Response:
    """What people changed, the latest first."""
    return page(request, "log.html", acts=list_acts(open_world().engine))


def _not_allowed(request: Request, error: Exception) -> Response:
    return page(request, "problem.html", 403, title="403", reason=str(error))


def _refused(request: Request, error: Exception) -> Response:
    """What was asked for cannot be had, or done; the sentence says why."""
    said, status = str(error), 400
    if isinstance(error, ReviewConflictError):
        said, status = error.happened, 409
    elif "is not registered" in said:
        status = 404
    return page(request, "problem.html", status, title=str(status), reason=said[:2000])


def _no_database(request: Request, error: Exception) -> Response:
    """The page loads itself again until the database is back."""
    log.warning("%s: %s", request.url.path, error)
    return page(request, "down.html", 503, {"Retry-After": "5"}, reason=str(error)[:WORDS_KEPT])


def _unfit(request: Request, error: Exception) -> Response:
    """A value that PostgreSQL cannot hold, such as a text with a NUL byte."""
    assert isinstance(error, DataError)
    reason = f"this cannot be stored: {error.orig}; remove it"
    return page(request, "problem.html", 400, title="400", reason=reason)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(
        words()["problem"]["event_id"]
        if one["loc"] == ("path", "event_id")
        else f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}"
        for one in error.errors()
    )
    return page(request, "problem.html", 422, title="422", reason=said[:2000])


def _no_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title, reason = str(error.status_code), str(error.detail)
    return page(
        request, "problem.html", error.status_code, error.headers, title=title, reason=reason
    )


def _our_fault(request: Request, error: Exception) -> Response:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return page(request, "problem.html", 500, title="500", reason=type(error).__name__)
