"""Polygon files that others made: layers found and features read, whatever the format."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from glob import escape
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

import geopandas as gpd
import numpy as np
import pyarrow
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from tasks.errors import InventoryError

TEXTS = (".geojson", ".json", ".csv", ".kml")
OF_A_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
IN_ZIPS = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".csv")
# Layers of a file that Scarp wrote, which people edit and bring back.
OURS = LANDSLIDES, OBSERVED, AOI, SCREENED = "landslides", "observed_area", "aoi", "screened"
# GDAL leaves a .aux.xml beside a GeoPackage that holds metadata, for being looked at.
pyogrio.set_gdal_config_options({"GDAL_PAM_ENABLED": False})
_UNREADABLE = (DataSourceError, DataLayerError, ShapelyError, BadZipFile, sqlite3.Error)


@dataclass(frozen=True)
class Features:
    """Features of one layer as they stand in the file, and how to call the layer in a sentence."""

    frame: gpd.GeoDataFrame
    name: str
    layer: str = ""


def read_features(
    path: Path,
    layer: str | None = None,
    *,
    crs: str | None = None,
    columns: Sequence[str] = (),
    may_be_empty: bool = False,
) -> Features:
    """Read one layer of a file: GeoPackage, GeoJSON, shapefile, FlatGeobuf, GeoParquet, KML, CSV.

    A zip archive has the layers of the files in it; each file's layer is called as the file is.

    Args:
        path: the file.
        layer: which layer, where it has several; of a file that Scarp wrote, its landslides.
        crs: the CRS it was drawn in, for a file that states none or a wrong one.
        columns: the attributes wanted.
        may_be_empty: whether a layer without features will do; its CRS then does not matter.

    Raises:
        InventoryError: the file, a layer or a column is not there or cannot be read, the layer has
            no features, or its CRS is not known; names file and layer.
    """
    if not path.exists():
        raise InventoryError(f"{path} does not exist")
    given = _crs(crs) if crs else None
    try:
        features = _read(path, layer, columns)
    except _UNREADABLE as error:
        raise _unreadable(path, "a polygon file", error) from error
    if not len(features.frame):
        if may_be_empty:
            return features
        raise InventoryError(f"{features.name} has no features")
    if given is not None:
        return replace(features, frame=features.frame.set_crs(given, allow_override=True))
    if features.frame.crs is None:
        raise InventoryError(
            f"{features.name} has no CRS; pass the one it was drawn in, such as --crs EPSG:4326"
        )
    return features


def fields_of_ours(path: Path) -> tuple[str, ...] | None:
    """Columns of the landslides of a file that Scarp wrote, ground looked at and all; else None."""
    try:
        layers = _layers(path) if path.suffix.lower() != ".parquet" else {}
    except _UNREADABLE:
        return None
    if not {LANDSLIDES, OBSERVED} <= set(layers) <= set(OURS):
        return None
    dataset, layer = layers[LANDSLIDES]
    return tuple(str(field) for field in pyogrio.read_info(dataset, layer=layer)["fields"])


def parts_of(path: Path) -> list[Path]:
    """The files that a polygon file is read from: a shapefile has its columns and CRS beside it."""
    if path.suffix.lower() != ".shp":
        return [path]
    beside = path.parent.glob(f"{escape(path.stem)}.*")
    return sorted(one for one in beside if one.suffix.lower() in OF_A_SHAPEFILE)


def _read(path: Path, layer: str | None, columns: Sequence[str]) -> Features:
    if path.suffix.lower() == ".parquet":
        return Features(_read_parquet(path, columns), str(path))
    layers = _layers(path)
    if not layers:
        is_csv = path.suffix.lower() == ".csv"
        hint = "; outlines of a CSV are WKT in a column called WKT" if is_csv else ""
        raise InventoryError(f"{path} has no layer with geometries{hint}")
    chosen = _choose(path, layer, list(layers))
    source, inner = layers[chosen]
    name = f"{path}, layer {chosen},"
    fields = [str(field) for field in pyogrio.read_info(source, layer=inner)["fields"]]
    _require(columns, fields, name)
    if columns:
        _refuse_nul(path, inner, columns)
    frame = pyogrio.read_dataframe(
        source, layer=inner, columns=list(columns), on_invalid="ignore", fid_as_index=False
    )
    return Features(frame, name, chosen)


def _layers(path: Path) -> dict[str, tuple[str, str]]:
    """Each layer with geometries by name, as the dataset to open and the layer in it."""
    if path.suffix.lower() != ".zip":
        return {name: (str(path), name) for name in _spatial(str(path))}
    found: dict[str, tuple[str, str]] = {}
    with ZipFile(path) as archive:
        members = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    for member in members:
        if PurePosixPath(member).suffix.lower() in IN_ZIPS:
            inside = f"/vsizip/{{{path.absolute()}}}/{member}"
            found |= {name: (inside, name) for name in _spatial(inside)}
    return found


def _spatial(dataset: str) -> list[str]:
    return [str(name) for name, geometry in pyogrio.list_layers(dataset) if geometry]


def _choose(path: Path, layer: str | None, names: list[str]) -> str:
    if layer is None and LANDSLIDES in names and set(names) <= set(OURS):
        return LANDSLIDES
    if layer is None and len(names) > 1:
        raise InventoryError(f"{path} has layers {', '.join(names)}; say which with --layer")
    if layer is not None and layer not in names:
        raise InventoryError(f"{path} has no layer {layer}; it has {', '.join(names)}")
    return layer or names[0]


def _read_parquet(path: Path, columns: Sequence[str]) -> gpd.GeoDataFrame:
    try:
        # A coordinate that is no number is told when outlines are mended.
        with np.errstate(invalid="ignore"):
            frame = gpd.read_parquet(path)
    except (OSError, ValueError, TypeError, pyarrow.ArrowException, ShapelyError) as error:
        raise _unreadable(path, "GeoParquet", error) from error
    _require(columns, list(frame.columns), str(path))
    return frame


def _refuse_nul(path: Path, layer: str, columns: Sequence[str]) -> None:
    """GDAL ends a text at a NUL byte and says nothing, so the file itself is looked into."""
    found: str | None = None
    if path.suffix.lower() == ".gpkg":
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            for column in columns:
                table, field = ('"' + name.replace('"', '""') + '"' for name in (layer, column))
                query = f"SELECT 1 FROM {table} WHERE instr(CAST({field} AS BLOB), x'00') LIMIT 1"
                found = found or (database.execute(query).fetchone() and f"column {column}")
    elif path.suffix.lower() in TEXTS and path.stat().st_size:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            place = max(content.find(b"\0"), content.find(rb"\u0000"))
            found = f"byte {place}" if place >= 0 else None
    if found:
        raise InventoryError(f"{path}, {found}, holds a NUL byte; leave it out")


def _require(columns: Sequence[str], fields: list[str], name: str) -> None:
    for column in columns:
        if column not in fields:
            known = ", ".join(fields) or "none"
            raise InventoryError(f"{name} has no column {column}; it has {known}")


def _crs(text: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise InventoryError(f"--crs {text!r} is not a CRS; write it as EPSG:32654") from error


def _unreadable(path: Path, kind: str, error: Exception) -> InventoryError:
    why = str(error).split(";")[0].splitlines()[0].rstrip(".")
    return InventoryError(f"{path} cannot be read as {kind}: {why}")
