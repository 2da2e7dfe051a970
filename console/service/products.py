"""What an event leaves behind: its files, the tiles of its rasters, and no other file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, params
from fastapi import Path as FromPath
from fastapi.responses import FileResponse
from pydantic import Field
from titiler.core.dependencies import BidxParams
from titiler.core.factory import TilerFactory

from tasks.publish.stac_item import ASSETS

LARGEST_TILE_PX = 1024
DEEPEST_ZOOM = 30
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
# Of a version or a landslide, as PostgreSQL's integer holds it.
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
EventId = Annotated[str, FromPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]


class _Tiler(TilerFactory):
    """What maps need: no arithmetic on bands, and no statistics of ground somebody draws."""

    def register_routes(self) -> None:
        """The routes that are served."""
        routes: list[Any] = [self.info, self.tilesets, self.tile, self.tilejson]
        for register in routes:
            register()


def product_tiles(products: Callable[[str], Path]) -> APIRouter:
    """Information, tiles and tilejson of every product raster.

    Args:
        products: folder of an event's products.
    """

    def product_path(event_id: EventId, product: Product) -> str:
        path = products(event_id) / f"{product}.tif"
        if not path.is_file():
            raise HTTPException(404, f"event {event_id} has no product {product}")
        return str(path)

    return raster_tiles(PREFIX, product_path)


def raster_tiles(
    prefix: str, path: Callable[..., str], dependencies: Sequence[params.Depends] = ()
) -> APIRouter:
    """Information, tiles and tilejson of rasters.

    Args:
        prefix: what their addresses begin with.
        path: dependency that finds a raster by what its address names.
        dependencies: what else has to hold before a raster is read.
    """
    tiler = _Tiler(
        path_dependency=path,
        layer_dependency=BidxParams,
        process_dependency=_as_it_is,
        router_prefix=prefix,
        add_preview=False,
        add_part=False,
        add_viewer=False,
    )
    router = APIRouter()
    router.include_router(
        tiler.router, prefix=prefix, dependencies=[*dependencies, Depends(_of_a_fair_size)]
    )
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


def _of_a_fair_size(
    request: Request, tilesize: Annotated[int | None, Query(le=LARGEST_TILE_PX)] = None
) -> None:
    """Refuse a tile that would take a gigabyte to make, or is of a zoom that no grid has."""
    zoom = request.path_params.get("z", "0")
    if not (str(zoom).isdecimal() and int(zoom) <= DEEPEST_ZOOM):
        raise HTTPException(404, f"there is no zoom {zoom}")


def _as_it_is() -> None:
    """No algorithm is applied to a product."""
