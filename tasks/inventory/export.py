"""Inventories as files: GeoPackage, GeoParquet and GeoJSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.geometry import MultiPolygon

from tasks.errors import InventoryError, StorageError
from tasks.publish.products import written_aside

FORMATS = (".gpkg", ".parquet", ".geojson")


def export_inventory(landslides: gpd.GeoDataFrame, observed: MultiPolygon, path: Path) -> Path:
    """Write an inventory to a file that appears whole; the same inventory gives the same bytes.

    Args:
        landslides: EPSG:4326, as `read_landslides` gives them; may be empty.
        observed: ground seen clear, EPSG:4326.
        path: `.gpkg` (layers `landslides` and `observed_area`), `.parquet` (GeoParquet) or
            `.geojson`; the last two hold the landslides alone.

    Raises:
        InventoryError: the suffix names no format.
        StorageError: the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise InventoryError(f"{path}: write to one of {', '.join(FORMATS)}")
    typed = _typed(landslides)
    with written_aside(path) as aside, _dated_alike():
        try:
            if path.suffix == ".parquet":
                typed.to_parquet(aside, index=False)
            elif path.suffix == ".geojson":
                # GeoJSON's 7 decimals by default move an outline's area by 1 in 100,000.
                _write(typed, aside, "landslides", RFC7946="YES", COORDINATE_PRECISION="9")
            else:
                area = gpd.GeoDataFrame(geometry=[observed], crs="EPSG:4326")
                _write(typed, aside, "landslides")
                _write(area, aside, "observed_area", append=True)
        except (DataSourceError, DataLayerError) as error:
            raise StorageError(f"{path} cannot be written: {error}") from error
    return path


def _write(frame: gpd.GeoDataFrame, path: Path, layer: str, **options: str | bool) -> None:
    pyogrio.write_dataframe(
        frame, path, layer=layer, geometry_type="MultiPolygon", promote_to_multi=True, **options
    )


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
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
