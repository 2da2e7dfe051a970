"""Inventories as files: each with the ground that was seen, the area of interest, and its terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import geopandas as gpd
import pandas as pd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.geometry import MultiPolygon

from tasks.errors import InventoryError, StorageError
from tasks.inventory.citation import About
from tasks.inventory.export_formats import WRITERS
from tasks.inventory.export_profiles import Profile, in_profile
from tasks.inventory.polygon_files import AOI, LANDSLIDES, OBSERVED, SCREENED
from tasks.publish.products import scratch_beside

FORMATS = tuple(WRITERS)
_dating = Lock()


def export_inventory(
    landslides: gpd.GeoDataFrame,
    observed: MultiPolygon,
    path: Path,
    *,
    aoi: MultiPolygon | None = None,
    screened: gpd.GeoDataFrame | None = None,
    about: About | None = None,
    profile: Profile = "scarp",
) -> Path:
    """Write an inventory to a file that appears whole; the same inventory gives the same bytes.

    A GeoPackage (which also holds QGIS styles, with a QGIS project beside it), a KML and a zip of
    shapefiles hold the layers `landslides`, `observed_area` and `aoi`. The other formats hold one
    layer a file: the others stand beside it, as in `iburi_observed_area.parquet`. Citation and
    licence are inside the GeoPackage and the zip, else in a text beside the file.

    Args:
        landslides: EPSG:4326, as `read_reviewed` gives them; may be empty.
        observed: ground seen clear, EPSG:4326.
        path: a file with a suffix of `FORMATS`; CSV holds outlines as WKT.
        aoi: the event's area of interest, EPSG:4326.
        screened: what screens set aside, as `read_screened` gives it; a layer `screened` if any.
        about: event and version, for citation and licence.
        profile: whose column names to use; `usgs` and `inspire` need `about`.

    Raises:
        InventoryError: the suffix names no format.
        StorageError: the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise InventoryError(f"{path}: write to one of {', '.join(FORMATS)}")
    layers = {LANDSLIDES: _typed(in_profile(landslides, profile, about))}
    layers[OBSERVED] = gpd.GeoDataFrame(geometry=[observed], crs="EPSG:4326")
    if aoi is not None:
        layers[AOI] = gpd.GeoDataFrame(geometry=[aoi], crs="EPSG:4326")
    if screened is not None and len(screened):
        layers[SCREENED] = _typed(screened)
    with scratch_beside(path) as folder, _dated_alike():
        try:
            text = about.text(landslides) if about else ""
            WRITERS[path.suffix](folder / path.name, layers, text)
        except (DataSourceError, DataLayerError) as error:
            raise StorageError(f"{path} cannot be written: {error}") from error
        # The file itself comes last: whoever sees it finds what belongs to it.
        for made in sorted(folder.iterdir(), key=lambda made: made.name == path.name):
            made.replace(path.with_name(made.name))
    return path


def _typed(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Columns with the type their values have, which a column without values cannot tell."""
    typed = frame.copy()
    for name in [column for column in typed if pd.api.types.is_object_dtype(typed[column])]:
        typed[name] = typed[name].astype("string")
    for name in typed.select_dtypes("datetimetz"):
        typed[name] = typed[name].dt.tz_convert("UTC").astype("datetime64[ms, UTC]")
    assert isinstance(typed, gpd.GeoDataFrame)
    return typed


@contextmanager
def _dated_alike() -> Iterator[None]:
    """GeoPackage stamps the time of writing into itself; two exports of one inventory are equal."""
    # The option is the whole process's, and several may be exporting in it.
    with _dating:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
