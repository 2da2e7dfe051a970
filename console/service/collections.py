"""The views as collections: which column identifies a row, where it lies, and how tiles show it.

A tile of `v_landslides` stays small and quick at every zoom. From `OUTLINES_FROM` on it holds
outlines, the largest first; from `CELLS_FROM` on, squares with the number and area of the
landslides in them; below, a box for each inventory with its number of landslides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from asyncpg import Connection
from cql2 import Expr
from fastapi import FastAPI
from morecantile import Tile, TileMatrixSet
from pydantic import ConfigDict, Field
from tipg.collections import Catalog, Collection, PgCollection, register_collection_catalog
from tipg.settings import DatabaseSettings

from console.service.overview import CELLS_ACROSS, Overview

OUTLINES_FROM = 12
CELLS_FROM = 8
TILE_UNITS = 4096
OUTLINES_AT_MOST = 4000
TILED_COLUMNS = [
    "landslide_id",
    "event_id",
    "version",
    "number",
    "kind",
    "area_m2",
    "score_mean",
    "review_state",
]
KEYS = {
    "v_events": "event_id",
    "v_inventories": "inventory_id",
    "v_landslides": "landslide_id",
    "v_landslides_all": "landslide_id",
    "v_observed_area": "inventory_id",
    "v_runs": "run_id",
    "v_screened": "landslide_id",
    "v_susceptibility": "susceptibility_id",
    "v_waiting": "event_id",
    "v_change_evidence": "evidence_id",
    "v_reviews": "review_id",
    "v_decisions": "decision_id",
    "v_prior_maps": "prior_map_id",
}
FILTERS = ("ids_filter", "bbox_filter", "datetime_filter", "properties_filter", "cql_filter")
SHOWN = "geom"

_COMMENTS = """
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = 'scarp'::regnamespace
"""

# The square of a tile that a cell takes, by the place that `count_in_cells` gives it.
SQUARE = """ST_MakeEnvelope(place % {across} * {size}, place / {across} * {size},
            (place % {across} + 1) * {size}, (place / {across} + 1) * {size})
""".format(across=CELLS_ACROSS, size=TILE_UNITS // CELLS_ACROSS)

_CELLS = f"""
WITH cells AS (
    SELECT {SQUARE} AS geom, landslides, round(area_m2)::bigint AS area_m2
    FROM unnest($1::bigint[], $2::bigint[], $3::float8[]) AS held (place, landslides, area_m2)
)
SELECT ST_AsMVT(cells.*, 'default', {TILE_UNITS}) FROM cells
"""

_BOXES = """
WITH boxes AS (
    SELECT event_id, version, standing_count AS landslides, standing_area_m2 AS area_m2,
        ST_AsMVTGeom(ST_Transform(
            -- Ground on both sides of the antimeridian has a box on each, not one round the earth.
            CASE WHEN ST_XMax(geom) - ST_XMin(geom) > 180 THEN ST_Collect(
                ST_Envelope(ST_ClipByBox2D(geom, ST_MakeEnvelope(-180, -90, 0, 90, 4326))),
                ST_Envelope(ST_ClipByBox2D(geom, ST_MakeEnvelope(0, -90, 180, 90, 4326)))
            ) ELSE ST_Envelope(geom) END, 3857), ST_TileEnvelope($1, $2, $3)) AS geom
    FROM scarp.v_observed_area AS observed
    JOIN scarp.v_inventories AS inventory USING (inventory_id, event_id, version)
    WHERE inventory.status = 'published'
        AND geom && ST_Transform(ST_TileEnvelope($1, $2, $3), 4326)
)
SELECT ST_AsMVT(boxes.*, 'default') FROM boxes
"""


class View(PgCollection):
    """A view as the standard asks it, where tipg does otherwise."""

    @property
    def queryables(self) -> dict[str, dict[str, str]]:
        """The columns as JSON schemas, with what the database says that they hold."""
        said = {column.name: column.description or "" for column in self.properties}
        return {
            name: {**schema, "description": said[name]}
            for name, schema in super().queryables.items()
        }

    def cql_where(
        self,
        *args: Any,
        bbox: list[float] | None = None,
        datetime: list[str] | None = None,
        **asked: Any,
    ) -> Expr | None:
        """The rows asked for: a box may cross the antimeridian, an interval holds both its ends."""
        where = partial(super().cql_where, geom=asked.get("geom"), dt=asked.get("dt"))
        parts = [super().cql_where(*args, **asked)]
        west_of, east_of = _cut_at_antimeridian(bbox) if bbox else (None, None)
        parts.append(_joined("or", [where(bbox=west_of), where(bbox=east_of)]))
        parts.append(where(datetime=datetime))
        if datetime and len(datetime) == 2 and ".." not in datetime and "" not in datetime:
            start, end = datetime
            parts[-1:] = [where(datetime=[start, ".."]), where(datetime=["..", end])]
        return _joined("and", parts)


def _cut_at_antimeridian(bbox: list[float]) -> tuple[list[float], list[float] | None]:
    """A box as one, or as the two that it is where its west lies east of its east."""
    west, south, east, north = bbox if len(bbox) == 4 else (*bbox[:2], *bbox[3:5])
    if west <= east:
        return [west, south, east, north], None
    return [west, south, 180.0, north], [-180.0, south, east, north]


def _joined(operator: str, parts: Sequence[Expr | None]) -> Expr | None:
    told = [part for part in parts if part is not None]
    if len(told) < 2:
        return told[0] if told else None
    return Expr({"op": operator, "args": [part.to_json() for part in told]})


class PublishedLandslides(View):
    """The view `v_landslides`, whose tiles are generalised where outlines could not be seen.

    A tile that is asked for with a filter holds outlines at every zoom: what was asked for is few.
    """

    overview: Overview = Field(default_factory=Overview, exclude=True)
    model_config = ConfigDict(arbitrary_types_allowed=True)

    async def get_tile(
        self, conn: Connection[Any], *, tms: TileMatrixSet, tile: Tile, **asked: Any
    ) -> bytes:
        """A vector tile of the layer `default`."""
        whole = tms.id == "WebMercatorQuad" and not any(asked.get(name) for name in FILTERS)
        if whole and tile.z < CELLS_FROM:
            return bytes(await conn.fetchval(_BOXES, tile.z, tile.x, tile.y))
        if whole and tile.z < OUTLINES_FROM:
            await self.overview.refresh(conn)
            return bytes(await conn.fetchval(_CELLS, *self.overview.cells(tile)))
        asked["properties"] = asked.get("properties") or TILED_COLUMNS
        asked["sortby"] = asked.get("sortby") or "-area_m2"
        asked["limit"] = min(asked.get("limit") or OUTLINES_AT_MOST, OUTLINES_AT_MOST)
        return bytes(await super().get_tile(conn, tms=tms, tile=tile, **asked))


async def register_views(app: FastAPI) -> None:
    """Make the views of the schema the collections of the service."""
    settings = DatabaseSettings(
        schemas=["scarp"],
        tables=[f"scarp.{view}" for view in KEYS],
        functions=[],
        only_spatial_tables=False,
        spatial_extent=False,
        datetime_extent=False,
    )
    await register_collection_catalog(app, db_settings=settings)
    async with app.state.pool.acquire() as connection:
        extent = await connection.fetchrow(
            "SELECT ST_XMin(box), ST_YMin(box), ST_XMax(box), ST_YMax(box) "
            "FROM (SELECT ST_Extent(place) AS box FROM (SELECT aoi FROM scarp.v_events "
            "UNION ALL SELECT geom FROM scarp.v_observed_area) AS every (place)) AS extent"
        )
        said = dict(await connection.fetch(_COMMENTS))
        bounds = [float(side) for side in extent] if extent[0] is not None else None
        found = app.state.collection_catalog
        views = [
            _described(one, bounds, said.get(one.table)) for one in found["collections"].values()
        ]
        for view in views:
            if isinstance(view, PublishedLandslides):
                await view.overview.refresh(connection)
    app.state.collection_catalog = Catalog(
        collections={one.id: one for one in views}, last_updated=found["last_updated"]
    )


def _described(found: Collection, bounds: list[float] | None, said: str | None) -> Collection:
    """A collection with its key, its geometry, where it lies and what it holds."""
    kind = PublishedLandslides if found.table == "v_landslides" else View
    view = kind.model_validate(found.model_dump(by_alias=True))
    view.description = said
    view.id_column = view.get_column(KEYS[view.table])
    view.geometry_column = next((c for c in view.geometry_columns if c.name == SHOWN), None)
    for column in view.geometry_columns:
        column.bounds = bounds or [-180.0, -90.0, 180.0, 90.0]
    return view
