"""Inventories that others drew: read from a polygon file, mended, measured and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.geometry import MultiPolygon
from sqlalchemy import Connection

from tasks.errors import InventoryError
from tasks.inventory.store import StoredInventory, store_inventory
from tasks.inventory.tables import LandslideKind
from tasks.mapping.attributes import measure
from tasks.types import Doubt

POLYGON, MULTIPOLYGON = 3, 6


@dataclass(frozen=True)
class ImportedPolygons:
    """Outlines read from a file: EPSG:4326, valid, 2D, each with an area, and a column `kind`."""

    landslides: gpd.GeoDataFrame
    repaired: int
    dropped: int


def read_inventory_file(
    path: Path, layer: str | None = None, kind: LandslideKind = "landslide"
) -> ImportedPolygons:
    """Read landslide outlines from GeoPackage, GeoJSON, Shapefile, GeoParquet or what GDAL reads.

    Outlines are reprojected to EPSG:4326 and flattened; those that cross themselves are repaired;
    those that are empty or have no area are dropped. Both are counted.

    Args:
        path: the file.
        layer: which layer, where it has several.
        kind: what an outline bounds: the whole landslide, its scar or its deposit.

    Raises:
        InventoryError: the file or layer cannot be read, has no CRS, no polygons, or coordinates
            that are not on Earth; names file and layer.
    """
    frame, name = _read(path, layer)
    outlines = _on_the_ground(frame, name)
    broken = ~shapely.is_valid(outlines) & ~shapely.is_missing(outlines)
    outlines[broken] = [_polygonal(shapely.make_valid(outline)) for outline in outlines[broken]]
    kept = ~shapely.is_missing(outlines) & (shapely.area(outlines) > 0)
    if not kept.any():
        raise InventoryError(f"{name} holds no polygon with an area; name a layer of polygons")
    kinds = {"kind": [kind] * int(kept.sum())}
    landslides = gpd.GeoDataFrame(kinds, geometry=outlines[kept], crs="EPSG:4326")
    return ImportedPolygons(landslides, int((broken & kept).sum()), int((~kept).sum()))


def read_area_file(path: Path, layer: str | None = None) -> MultiPolygon:
    """Read the ground that an inventory's author looked at, EPSG:4326; its polygons are merged.

    Raises:
        InventoryError: as `read_inventory_file`.
    """
    return _multi(shapely.union_all(read_inventory_file(path, layer).landslides.geometry))


def store_import(
    connection: Connection,
    *,
    event_id: str,
    run_id: UUID,
    digest: str,
    imported: ImportedPolygons,
    observed: MultiPolygon | None,
    publish: bool = False,
    licence: str = "",
    attribution: str = "",
) -> StoredInventory:
    """Store imported outlines as an event's next inventory version, of method `imported`.

    A draft by default, so that the version published before stays the event's answer.

    Args:
        connection: in a transaction that the caller commits.
        event_id: a registered event.
        run_id: the run of the import.
        digest: SHA-256 over file, layer and options.
        imported: what `read_inventory_file` read.
        observed: ground the author looked at; None takes the outlines' convex hull, with a doubt.
        publish: publish it in place of the version published before.
        licence: licence of the file.
        attribution: whom to credit.

    Raises:
        EventError, InventoryError, StoreError: as `store_inventory`.
    """
    doubts: Sequence[Doubt] = ()
    if observed is None:
        observed = _multi(shapely.convex_hull(shapely.union_all(imported.landslides.geometry)))
        doubts = [
            Doubt(
                "partial-coverage",
                "the ground its author looked at is not known; the convex hull of the landslides "
                "stands for it, so ground in it without a landslide may not have been looked at",
            )
        ]
    return store_inventory(
        connection,
        event_id=event_id,
        run_id=run_id,
        digest=digest,
        method="imported",
        threshold=None,
        minimum_mapping_unit_m2=0.0,
        observed=observed,
        scenes=[],
        landslides=measure(imported.landslides, None),
        doubts=doubts,
        publish=publish,
        licence=licence,
        attribution=attribution,
    )


def _read(path: Path, layer: str | None) -> tuple[gpd.GeoDataFrame, str]:
    """The features of a layer, and how to call file and layer in a sentence."""
    if not path.exists():
        raise InventoryError(f"{path} does not exist")
    if path.suffix == ".parquet":
        return _read_parquet(path), str(path)
    try:
        names = [str(name) for name, geometry in pyogrio.list_layers(path) if geometry]
        if layer is None and len(names) > 1:
            raise InventoryError(f"{path} has layers {', '.join(names)}; say which with --layer")
        if layer is not None and layer not in names:
            raise InventoryError(
                f"{path} has no layer {layer}; it has {', '.join(names) or 'none'}"
            )
        if not names:
            raise InventoryError(f"{path} has no layer with geometries")
        return gpd.read_file(path, layer=layer or names[0]), f"{path}, layer {layer or names[0]},"
    except (DataSourceError, DataLayerError, ValueError) as error:
        why = str(error).split(";")[0].rstrip(".")
        raise InventoryError(f"{path} cannot be read as a polygon file: {why}") from error


def _read_parquet(path: Path) -> gpd.GeoDataFrame:
    try:
        return gpd.read_parquet(path)
    except (OSError, ValueError, TypeError) as error:
        raise InventoryError(f"{path} cannot be read as GeoParquet: {error}") from error


def _on_the_ground(frame: gpd.GeoDataFrame, name: str) -> np.ndarray:
    """Flat polygonal outlines in EPSG:4326, None where a feature has none."""
    if not len(frame):
        raise InventoryError(f"{name} has no features")
    if frame.crs is None:
        raise InventoryError(f"{name} has no CRS; assign the one it was drawn in: ogr2ogr -a_srs")
    bounds = frame.to_crs("EPSG:4326").total_bounds
    if not np.isfinite(bounds).all() or (np.abs(bounds) > [180, 90, 180, 90]).any():
        raise InventoryError(
            f"{name} reaches longitude {bounds[2]:.6g} and latitude {bounds[3]:.6g}, which is not "
            f"on Earth; are longitude and latitude swapped, or is {frame.crs.name} not its CRS?"
        )
    flat = shapely.force_2d(frame.to_crs("EPSG:4326").geometry.to_numpy())
    return np.array([_polygonal(outline) for outline in flat], dtype=object)


def _polygonal(outline: shapely.Geometry | None) -> shapely.Geometry | None:
    """The polygons of a geometry; None where there are none."""
    if outline is None or outline.is_empty:
        return None
    if shapely.get_type_id(outline) in (POLYGON, MULTIPOLYGON):
        return outline
    areas = [part for part in shapely.get_parts(outline) if part.area > 0]
    return _polygonal(shapely.union_all(areas)) if areas else None


def _multi(area: shapely.Geometry) -> MultiPolygon:
    return area if isinstance(area, MultiPolygon) else MultiPolygon([area])
