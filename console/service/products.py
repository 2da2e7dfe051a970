"""What an event leaves behind: its files, the tiles of its rasters, and no other file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi import Path as FromPath
from fastapi.responses import FileResponse
from titiler.core.factory import TilerFactory

from tasks.publish.stac_item import ASSETS

LARGEST_TILE_PX = 1024
PREFIX = "/products/{event_id}/{product}"

Product = Literal[
    "score",
    "mask",
    "before",
    "after",
    "hillshade",
    "susceptibility",
    "susceptibility_classes",
    "susceptibility_uncertainty",
    "susceptibility_applicability",
]
EventId = Annotated[str, FromPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]


def product_tiles(products: Callable[[str], Path]) -> APIRouter:
    """Information, tiles, tilejson and WMTS of every product raster.

    Args:
        products: folder of an event's products.
    """

    def product_path(event_id: EventId, product: Product) -> str:
        path = products(event_id) / f"{product}.tif"
        if not path.is_file():
            raise HTTPException(404, f"event {event_id} has no product {product}")
        return str(path)

    tiler = TilerFactory(
        path_dependency=product_path,
        router_prefix=PREFIX,
        add_preview=False,
        add_part=False,
        add_viewer=False,
    )
    router = APIRouter()
    router.include_router(tiler.router, prefix=PREFIX, dependencies=[Depends(_of_a_fair_size)])
    return router


def product_files(products: Callable[[str], Path]) -> APIRouter:
    """Every file that an event leaves behind, as it is.

    Args:
        products: folder of an event's products.
    """
    router = APIRouter()

    @router.get("/products/{event_id}/{name}", tags=["Products"], response_class=FileResponse)
    def product_file(event_id: EventId, name: str) -> FileResponse:
        path = products(event_id) / name
        if name not in ASSETS or not path.is_file():
            raise HTTPException(404, f"event {event_id} has no product {name}")
        return FileResponse(path, media_type=ASSETS[name][0])

    return router


def _of_a_fair_size(tilesize: Annotated[int | None, Query(le=LARGEST_TILE_PX)] = None) -> None:
    """Refuse a tile that would take a gigabyte to make."""
