"""The service: analysts' views as OGC API Features and vector tiles, products as raster tiles.

    /                        landing page, /conformance, /collections, /api
    /collections/{view}      items (GeoJSON, CSV, bbox, CQL2 filters) and tiles, by tipg
    /products/{event}/{name} tiles of a product's COG, by titiler; with its suffix, the file itself

Everything is read as the database role `scarp_reader`, which sees the views and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse
from morecantile.errors import MorecantileError
from tipg.database import close_db_connection, connect_to_db
from tipg.errors import DEFAULT_STATUS_CODES as FEATURE_ERRORS
from tipg.errors import (
    InvalidDatetimeColumnName,
    InvalidGeometryColumnName,
    add_exception_handlers,
)
from tipg.factory import Endpoints
from tipg.openapi import _update_openapi
from tipg.settings import PostgresSettings
from titiler.core.errors import DEFAULT_STATUS_CODES as RASTER_ERRORS

from console.service.collections import register_views
from console.service.etags import Next, conditional
from console.service.heads import AnswersHead
from console.service.pages import api_page, page_templates
from console.service.products import product_files, product_tiles
from console.service.questions import AtMost, Service, in_range, well_asked
from console.service.remembered import RememberedTiles

TITLE = "Scarp"
CONNECTIONS = 8
# A question that takes longer is too wide to be asked of a service that others use as well.
QUESTION_MS = 10_000
SESSION = {"statement_timeout": str(QUESTION_MS), "application_name": "scarp serve"}
COMPRESSED_FROM_BYTES = 1000
# How a database that is down, starting or just ended shows itself.
LOST = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
)
# A value that a parameter cannot have, which tipg calls not found.
VALUE_ERRORS = {InvalidGeometryColumnName: 400, InvalidDatetimeColumnName: 400}
# A zoom or a tile that the grid does not have.
GRID_ERRORS = {MorecantileError: 404}


def create_app(
    database_url: str,
    products: Callable[[str], Path],
    *,
    origins: Sequence[str] = (),
) -> FastAPI:
    """The service as one application; its database connections open when it starts.

    Args:
        database_url: URL that connects as `scarp_reader`.
        products: folder of an event's products.
        origins: web pages that may ask from a browser, such as https://maps.example.org.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await connect_to_db(
            app,
            schemas=["scarp"],
            settings=PostgresSettings(
                database_url=database_url,  # type: ignore[arg-type]  # it reads a text
                db_min_conn_size=1,
                db_max_conn_size=CONNECTIONS,
            ),
            setup=_read_only,
            server_settings=SESSION,
        )
        await register_views(app)
        yield
        await close_db_connection(app)

    app = Service(title=TITLE, lifespan=lifespan, openapi_url="/api", docs_url=None, redoc_url=None)
    _update_openapi(app)
    # The name by which tipg links to it.
    app.get("/api.html", name="swagger_ui_html", include_in_schema=False)(api_page)
    views = Endpoints(title=TITLE, with_tiles_viewer=False, templates=page_templates())
    app.include_router(views.router, dependencies=[Depends(in_range), Depends(well_asked)])
    app.include_router(product_tiles(products))
    app.include_router(product_files(products))
    app.add_exception_handler(asyncpg.QueryCanceledError, _too_wide)
    app.add_exception_handler(asyncpg.DataError, _unfit)
    app.add_exception_handler(RequestValidationError, _not_allowed)
    for lost in LOST:
        app.add_exception_handler(lost, _down)
    add_exception_handlers(app, RASTER_ERRORS | FEATURE_ERRORS | VALUE_ERRORS | GRID_ERRORS)
    app.middleware("http")(RememberedTiles(products))
    app.middleware("http")(conditional)
    app.middleware("http")(_refused_as_the_standard_says)
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_FROM_BYTES, compresslevel=4)
    app.add_middleware(AtMost)
    app.add_middleware(AnswersHead)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET"])
    return app


async def _read_only(connection: asyncpg.Connection[Any]) -> None:
    """Refuse writes whatever the role may do; tipg's own functions are made before this."""
    await connection.execute("SET default_transaction_read_only = on")


async def _refused_as_the_standard_says(request: Request, call_next: Next) -> Response:
    """OGC API Features refuses a bad value with 400 (query-param-invalid), FastAPI with 422."""
    answer = await call_next(request)
    if answer.status_code == 422:
        answer.status_code = 400
    return answer


def _not_allowed(_: Request, error: Exception) -> JSONResponse:
    """Each parameter that cannot be, and what it should be."""
    assert isinstance(error, RequestValidationError)
    # The first that is said of a parameter is ours, and the strictest.
    said = {
        one["loc"][-1]: one["msg"].replace("Input", repr(one["input"]), 1)
        for one in reversed(error.errors())
    }
    detail = "; ".join(f"{name}: {what}" for name, what in said.items())
    return JSONResponse({"detail": detail}, status_code=400)


def _down(_: Request, __: Exception) -> JSONResponse:
    detail = "the database does not answer; ask again in a moment"
    return JSONResponse({"detail": detail}, status_code=503, headers={"Retry-After": "5"})


def _too_wide(_: Request, __: Exception) -> JSONResponse:
    detail = f"this takes longer than {QUESTION_MS / 1000:.0f} s; ask for a smaller area"
    return JSONResponse({"detail": detail}, status_code=503)


def _unfit(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": f"this question cannot be asked: {error}"}, status_code=400)
