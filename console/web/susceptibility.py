"""Susceptibility of one event: the map, how far to believe it, and why it says what it says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from console.service.products import EventId
from console.web.access import Viewer
from console.web.event import Version, drawn
from console.web.pages import page, words
from console.web.rasters import rasters_of
from flows.picture import Picture, read_picture
from flows.why import explain_place
from flows.world import open_world
from tasks.errors import AssessmentError
from tasks.publish.class_legend import class_colours, class_names
from tasks.publish.model_figures import roc_figure
from tasks.susceptibility.store import StoredSusceptibility

router = APIRouter(prefix="/events/{event_id}/susceptibility")


@router.get("", response_class=HTMLResponse)
def susceptibility_page(
    request: Request, event_id: EventId, _: Viewer, version: Version = None
) -> Response:
    """The newest map of the version, its AUC by spatial and by random folds, its factors."""
    shown = read_picture(open_world(), event_id, version)
    stored = _map_of(shown)
    rasters = rasters_of(stored)
    count = len(stored.classes)
    names = class_names(count)
    colours = class_colours(count)
    return page(
        request,
        "susceptibility.html",
        picture=shown,
        line=shown.line,
        stored=stored,
        classes=list(zip(names, colours, stored.classes, strict=True)),
        layers=list(rasters),
        least=min([loss.low for loss in stored.importance.values()] + [0.0]),
        most=max([loss.high for loss in stored.importance.values()] + [0.0]),
        map={
            "event": shown.line.event_id,
            "version": shown.shown.version if shown.shown else None,
            "rasters": rasters,
            "classes": {str(n): colour for n, colour in enumerate(colours, start=1)},
            "words": words()["map"] | words()["susceptibility"],
        },
    )


@router.get("/roc.png")
def roc(event_id: EventId, _: Viewer, version: Version = None) -> Response:
    """Both ROC curves, of the map that the page of this version shows."""
    stored = _map_of(read_picture(open_world(), event_id, version))
    return drawn(
        lambda path: roc_figure(
            path,
            stored.roc["spatial"],
            stored.roc["random"],
            stored.auc_spatial,
            stored.auc_random,
        )
    )


@router.get("/why")
def why(
    event_id: EventId,
    _: Viewer,
    lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)],
    lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
    version: Version = None,
) -> Response:
    """What the map says of a place, the factors there, and what each of them adds."""
    stored = _map_of(read_picture(open_world(), event_id, version))
    return JSONResponse(asdict(explain_place(stored, lon, lat)))


def _map_of(shown: Picture) -> StoredSusceptibility:
    if shown.susceptibility is None:
        raise AssessmentError(f"event {shown.line.event_id} has no susceptibility map yet")
    return shown.susceptibility
