"""Registering an event: described, previewed, and stored once a person confirms what they saw.

The preview stores nothing. What was described goes back and forth inside the page, so that two
people, or two tabs, never meet, and is checked anew when it is confirmed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ValidationError
from shapely.geometry import mapping

from console.web.access import Operator, address_of
from console.web.pages import page, words
from flows.options import wishes_of
from flows.plan import plan
from flows.register import (
    Registration,
    ask_comcat,
    register_event,
    register_report,
    saved_report,
)
from flows.standing import FILE, standing
from flows.world import open_world
from tasks.access.audit import written_down
from tasks.errors import AreaError, EventError, ScarpError
from tasks.events.request import event_from_fields, read_event

router = APIRouter(prefix="/register")
FIELDS = (
    "id",
    "kind",
    "title",
    "occurred_at",
    "longitude",
    "latitude",
    "magnitude",
    "magnitude_type",
    "depth_km",
    "rainfall_mm",
    "duration_h",
)
# What pyogrio reads by its name; anything else is read as GeoJSON.
KNOWN_SUFFIXES = (".geojson", ".json", ".gpkg", ".zip", ".kml", ".fgb", ".parquet")


class Described(BaseModel):
    """An event as the form has it; what is empty is not given.

    `comcat` alone asks ComCat; `report` is the text of a page saved from it or of an event file.
    """

    comcat: str = ""
    report: str = ""
    fields: dict[str, str] = {}
    aoi: str = ""
    source: str = ""
    dem: str = ""


@router.get("", response_class=HTMLResponse)
def register_page(request: Request, _: Operator) -> Response:
    """The form."""
    return _form(request, Described(source=str(_standing().get("source", ""))))


@router.post("/preview", response_class=HTMLResponse)
async def preview(
    request: Request,
    _: Operator,
    event_file: UploadFile | None = None,
    aoi_file: UploadFile | None = None,
) -> Response:
    """What registering would do; nothing is stored."""
    from starlette.concurrency import run_in_threadpool

    form = await request.form()
    given = {name: str(form[name]) for name in ("comcat", "aoi", "source", "dem") if name in form}
    fields = {name: str(form.get(name, "")).strip() for name in FIELDS}
    described = Described(**given, fields={name: text for name, text in fields.items() if text})
    sent = [
        (one.filename or "", await one.read()) if one else ("", b"")
        for one in (event_file, aoi_file)
    ]
    return await run_in_threadpool(_preview, request, described, *sent)


@router.post("", response_class=HTMLResponse)
def register(request: Request, by: Operator, described: Annotated[str, Form()]) -> Response:
    """Store what was previewed, and ask for a response."""
    try:
        asked = Described.model_validate_json(described)
    except ValidationError as error:
        raise EventError("this is no event that was previewed; begin at /register") from error
    world = open_world()
    name = asked.comcat or asked.fields.get("id", "")
    with written_down(world.engine, by, address_of(request), "register", name, described[:300]):
        registration = _registered(asked, dry=False)
    return RedirectResponse(f"/events/{registration.event.id}", 303)


def _preview(
    request: Request,
    described: Described,
    event_sent: tuple[str, bytes],
    aoi_sent: tuple[str, bytes],
) -> Response:
    try:
        described = _with_files(described, event_sent, aoi_sent)
        registration = _registered(described, dry=True)
        source = described.source or str(_standing().get("source", ""))
        asked = plan(registration.event, registration.aoi, registration.expected, source or None)
    except ScarpError as error:
        return _form(request, described, str(error))
    return page(
        request,
        "preview.html",
        registration=registration,
        plan=asked,
        described=described.model_dump_json(),
        source=source,
        map={
            "area": mapping(registration.aoi.geometry),
            "at": [registration.event.longitude, registration.event.latitude],
            "words": words()["map"],
        },
    )


def _form(request: Request, described: Described, reason: str = "") -> Response:
    """The form, with what was given still in it."""
    return page(
        request,
        "register.html",
        400 if reason else 200,
        described=described,
        reason=reason,
        words_for_map=words()["map"],
    )


def _with_files(
    described: Described, event_sent: tuple[str, bytes], aoi_sent: tuple[str, bytes]
) -> Described:
    """The description with what its files say, the area as the GeoJSON that was read from its file.

    Raises:
        EventError, AreaError: a file cannot be read.
    """
    name, content = event_sent
    if content:
        try:
            described = described.model_copy(update={"report": content.decode("utf-8-sig")})
        except UnicodeDecodeError as error:
            raise EventError(f"{name} is no text; give an event as JSON") from error
    name, content = aoi_sent
    if content:
        from tasks.events.aoi import read_aoi

        with _file(name, content) as path:
            try:
                area = read_aoi(path)
            except AreaError as error:
                raise AreaError(str(error).replace(str(path), name)) from error
        described = described.model_copy(update={"aoi": json.dumps(mapping(area.geometry))})
    return described


def _registered(described: Described, dry: bool) -> Registration:
    wishes = wishes_of(described.source or None, Path(described.dem) if described.dem else None)
    with _file("area.geojson", described.aoi.encode()) as area:
        aoi = area if described.aoi.strip() else None
        try:
            if described.report:
                with _file("event.json", described.report.encode()) as path:
                    if report := saved_report(path):
                        return register_report(report, aoi, dry, wishes)
                    return register_event(read_event(path), aoi, dry, wishes)
            if described.comcat:
                comcat = described.comcat.strip()
                return register_report(ask_comcat(comcat), aoi, dry, wishes, comcat)
            event = event_from_fields(described.fields, "the form")
            return register_event(event, aoi, dry, wishes)
        except ScarpError as error:
            raise type(error)(_without_folder(str(error))) from error


def _without_folder(sentence: str) -> str:
    """A sentence that names a file as its sender knows it."""
    return re.sub(r"\S*/scarp-form-[^/\s]*/", "", sentence)


@contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    suffix = Path(name).suffix.lower()
    with TemporaryDirectory(prefix="scarp-form-") as folder:
        kept = Path(name).name if suffix in KNOWN_SUFFIXES else "upload.geojson"
        path = Path(folder) / re.sub(r"[^\w.-]", "_", kept)
        path.write_bytes(content)
        yield path


def _standing() -> dict[str, Any]:
    try:
        return standing(open_world().home / FILE)
    except ScarpError:
        return {}
