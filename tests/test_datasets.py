from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy
from shapely.geometry import box

from tasks.datasets import dataset_sha256
from tasks.files import file_sha256


def raster(path: Path, height: float) -> None:
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "float32"}
    placed = {"crs": "EPSG:32643", "transform": rasterio.Affine(30, 0, 350_000, 0, -30, 3_800_000)}
    with rasterio.open(path, "w", **profile, **placed) as dataset:
        dataset.write(np.full((1, 4, 4), height, np.float32))


def rocks(path: Path, name: str, crs: int = 32643) -> None:
    gpd.GeoDataFrame({"rock": [name]}, geometry=[box(0, 0, 1, 1)], crs=crs).to_file(path)


def test_one_file_has_its_own_digest(tmp_path):
    raster(tmp_path / "dem.tif", 1)
    assert dataset_sha256(tmp_path / "dem.tif") == file_sha256(tmp_path / "dem.tif")


@pytest.mark.parametrize("changed", [{"name": "marl"}, {"name": "clay", "crs": 32644}])
def test_a_shapefile_changes_with_its_labels_and_its_crs(tmp_path, changed):
    path = tmp_path / "rocks.shp"
    rocks(path, "clay")
    shapes, before = file_sha256(path), dataset_sha256(path)
    assert dataset_sha256(path) == before
    rocks(path, **changed)
    assert file_sha256(path) == shapes
    assert dataset_sha256(path) != before


def test_a_vrt_changes_with_the_rasters_it_lists_also_through_another(tmp_path):
    raster(tmp_path / "dem.tif", 1)
    for name, of in (("one.vrt", "dem.tif"), ("two.vrt", "one.vrt")):
        with rasterio.open(tmp_path / of) as source:
            copy(source, tmp_path / name, driver="VRT")
    before = dataset_sha256(tmp_path / "two.vrt")
    assert dataset_sha256(tmp_path / "two.vrt") == before
    raster(tmp_path / "dem.tif", 2)
    assert dataset_sha256(tmp_path / "two.vrt") != before


def test_a_vrt_that_cannot_be_read_has_its_own_digest(tmp_path):
    broken = tmp_path / "dem.vrt"
    broken.write_text("<VRT")
    assert dataset_sha256(broken) == file_sha256(broken)
