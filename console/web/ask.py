"""Ask: questions of analysts, in SQL, over the documented views; nothing can be changed by one."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from time import monotonic
from typing import Annotated, Any, Literal

import psycopg
import shapely
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from shapely.geometry import mapping

from console.service.collections import KEYS
from console.web.access import Viewer
from console.web.pages import page, words
from flows.world import open_world
from infra.describe import View, read_views
from infra.roles import role_url
from infra.settings import Settings
from tasks.errors import QuestionError
from tasks.inventory.questions import check_question

router = APIRouter(prefix="/ask")
ROWS_SHOWN, ROWS_EXPORTED = 500, 50_000
# What a page, or a file, may grow to: a row can hold an outline of a megabyte.
LARGEST = 20_000_000
SECONDS = 10
# Rows held before their size is looked at.
FETCHED = 8
_TOO_LARGE = "scarp: too large a row"
# The size of each row before it; one that is too large ends the question in the database, since
# the text is no number.
_MEASURED = (
    "SELECT CASE WHEN pg_column_size(asked) > "
    f"{LARGEST} THEN CAST('{_TOO_LARGE} ' || pg_column_size(asked) AS integer) "
    "ELSE pg_column_size(asked) END, asked.* FROM ({question}) AS asked"
)
_SESSION = (
    f"-c statement_timeout={SECONDS}s -c default_transaction_read_only=on "
    "-c search_path=scarp,public -c application_name=scarp-ask -c work_mem=16MB "
    "-c timezone=UTC"
)
Question = Annotated[str, Query(max_length=10_000)]


@dataclass(frozen=True)
class Answer:
    """Rows of an answer; `more` is whether there were more than are here."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool

    @property
    def places(self) -> dict[str, Any] | None:
        """The rows that have a geometry, as GeoJSON; None where no column is one."""
        where = next((n for n, _ in enumerate(self.columns) if self._is_geometry(n)), None)
        if where is None:
            return None
        features = [
            {
                "type": "Feature",
                "properties": {
                    name: plain(value)
                    for name, value in zip(self.columns, row, strict=True)
                    if not isinstance(value, shapely.Geometry)
                },
                "geometry": mapping(row[where]),
            }
            for row in self.rows
            if row[where] is not None
        ]
        return {"type": "FeatureCollection", "features": features}

    def _is_geometry(self, column: int) -> bool:
        return any(isinstance(row[column], shapely.Geometry) for row in self.rows)


@router.get("", response_class=HTMLResponse)
def ask_page(request: Request, _: Viewer, question: Question = "") -> Response:
    """A question, its answer as a table and on a map, and examples."""
    answer, reason = None, ""
    if question.strip():
        try:
            answer = ask(question, ROWS_SHOWN)
        except QuestionError as error:
            reason = str(error)
    return page(
        request,
        "ask.html",
        400 if reason else 200,
        question=question,
        answer=answer,
        shown=[[shown(value) for value in row] for row in answer.rows] if answer else [],
        reason=reason,
        views=_views(),
        limits={"rows": ROWS_SHOWN, "exported": ROWS_EXPORTED, "seconds": SECONDS},
        map={"places": answer.places if answer else None, "words": words()["map"]},
    )


@router.get("/answer.{form}")
def export(_: Viewer, form: Literal["csv", "geojson", "json"], question: Question) -> Response:
    """The answer as a file."""
    answer = ask(question, ROWS_EXPORTED)
    twice = next((one for one in answer.columns if answer.columns.count(one) > 1), None)
    if form != "csv" and twice is not None:
        raise QuestionError(
            f"several columns are called {twice}, of which a file of this form holds one; call "
            "them apart with AS, or take it as CSV"
        )
    if form == "geojson":
        if (places := answer.places) is None:
            raise QuestionError("no column of this answer is a geometry; take it as CSV")
        return _file(json.dumps(places), "application/geo+json", form)
    if form == "json":
        rows = [
            {name: plain(value) for name, value in zip(answer.columns, row, strict=True)}
            for row in answer.rows
        ]
        return _file(json.dumps(rows), "application/json", form)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(answer.columns)
    writer.writerows([_cell(value) for value in row] for row in answer.rows)
    return _file(text.getvalue(), "text/csv; charset=utf-8", form)


def ask(question: str, most: int) -> Answer:
    """Ask the database as somebody who may read the views, for a limited time and number of rows.

    Raises:
        QuestionError: it may not be asked, the database cannot make sense of it, or it took too
            long.
    """
    sql = check_question(question, KEYS)
    try:
        with (
            psycopg.connect(_reader(), options=_session(_reader())) as connection,
            connection.cursor("answer") as cursor,
        ):
            geometry = _geometry_oid(connection)
            until = monotonic() + SECONDS
            cursor.execute(_MEASURED.format(question=sql).encode())
            assert cursor.description is not None
            described = cursor.description[1:]
            columns = tuple(column.name for column in described)
            kinds = [column.type_code == geometry for column in described]
            rows, more = _some(cursor, kinds, most, until)
    except psycopg.errors.QueryCanceled as error:
        raise _too_long() from error
    except psycopg.Error as error:
        # Also how a limit of the program is told (class 54), which is the question's fault.
        if isinstance(error, psycopg.OperationalError) and not _beyond_limits(error):
            raise
        said = error.diag.message_primary or str(error)
        if _TOO_LARGE in said:
            raise QuestionError(f"a row of this is larger than {LARGEST / 1e6:.0f} MB") from error
        raise QuestionError(f"PostgreSQL says: {said}") from error
    return Answer(columns, tuple(rows), more)


def _some(
    cursor: psycopg.ServerCursor[Any], kinds: list[bool], most: int, until: float
) -> tuple[list[tuple[Any, ...]], bool]:
    rows: list[tuple[Any, ...]] = []
    size = 0
    while some := cursor.fetchmany(FETCHED):
        for bytes_here, *row in some:
            size += bytes_here
            if len(rows) == most or size > LARGEST:
                return rows, True
            rows.append(
                tuple(
                    shapely.from_wkb(value) if value is not None and spatial else value
                    for value, spatial in zip(row, kinds, strict=True)
                )
            )
        # The database's own limit is of one fetch.
        if monotonic() > until:
            raise _too_long()
    return rows, False


def _too_long() -> QuestionError:
    return QuestionError(f"this takes longer than {SECONDS} s; ask for less")


def _beyond_limits(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith("54")


def plain(value: Any) -> Any:
    """A value as JSON holds it, which has no number that is none or without end."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, shapely.Geometry):
        return mapping(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str | None) else str(value)


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, shapely.Geometry):
        corners = shapely.get_num_coordinates(value)
        return f"{value.geom_type}, {corners:,} corners" if corners > 1 else value.wkt
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}"
    if isinstance(value, float):
        # An area in m² reads badly as a power of ten.
        return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _cell(value: Any) -> Any:
    """A value as CSV has it; a text that a spreadsheet would take for a formula is quoted."""
    if isinstance(value, shapely.Geometry):
        return value.wkt
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return plain(value)


def _file(text: str, kind: str, form: str) -> Response:
    name = {"Content-Disposition": f'attachment; filename="answer.{form}"'}
    return Response(text, media_type=kind, headers=name)


@cache
def _reader() -> str:
    return role_url(Settings(), "reader")


def _session(url: str) -> str:
    """Options of the session; a URL that takes the role by an option of its own keeps it."""
    own = psycopg.conninfo.conninfo_to_dict(url).get("options", "")
    return f"{own} {_SESSION}".strip()


def _geometry_oid(connection: psycopg.Connection[Any]) -> int:
    found = connection.execute("SELECT to_regtype('geometry')::oid::int").fetchone()
    assert found is not None
    return int(found[0] or 0)


@cache
def _views() -> list[View]:
    with open_world().engine.connect() as connection:
        return read_views(connection)
