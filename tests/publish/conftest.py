from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
from shapely.geometry import MultiPolygon, box

from tasks.types import AreaOfInterest, Event, Scene
from tests.conftest import EXAMPLE

DAY = "2023-05-23"


@pytest.fixture(scope="session")
def event() -> Event:
    record = json.loads((EXAMPLE / "event.json").read_text())
    record["occurred_at"] = datetime.fromisoformat(record["occurred_at"])
    record["alternate_ids"] = tuple(record["alternate_ids"])
    return Event(**record)


@pytest.fixture(scope="session")
def aoi() -> AreaOfInterest:
    (outline,) = gpd.read_file(EXAMPLE / "aoi.geojson").geometry
    return AreaOfInterest(MultiPolygon([outline]), "given")


@pytest.fixture(scope="session")
def half_seen(aoi: AreaOfInterest) -> MultiPolygon:
    west, south, east, north = aoi.geometry.bounds
    return MultiPolygon([aoi.geometry.intersection(box(west, south, (west + east) / 2, north))])


@pytest.fixture(scope="session")
def landslides() -> gpd.GeoDataFrame:
    return gpd.read_file(EXAMPLE / "landslides.gpkg").to_crs(4326)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first clear day after the storm, red, green and blue."""
    bands = [
        rasterio.open(EXAMPLE / "scenes" / DAY / f"{name}.tif") for name in ("B04", "B03", "B02")
    ]
    path = tmp_path_factory.mktemp("image") / "mosaic.tif"
    with rasterio.open(path, "w", **(bands[0].profile | {"count": 3, "nodata": 0})) as mosaic:
        for number, band in enumerate(bands, start=1):
            mosaic.write(band.read(1), number)
            band.close()
    return path


@pytest.fixture(scope="session")
def scene(aoi: AreaOfInterest) -> Scene:
    return Scene(
        id="S2_L2A_4120_20230523",
        provider="Sen12Landslides",
        collection="sentinel-2-l2a",
        item_id="S2_L2A_4120_20230523",
        acquired_at=datetime.fromisoformat(f"{DAY}T10:00:00Z"),
        gsd_m=10.0,
        bands=("red", "green", "blue"),
        crs="EPSG:32632",
        footprint=aoi.geometry,
        hrefs={},
    )
