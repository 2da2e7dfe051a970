"""The bundled example is what it says: valid STAC, true COGs, and landslides where they are."""

import re
import subprocess
import sys

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
from rasterio.features import rasterize
from rio_cogeo import cog_validate
from shapely.geometry import box

from tests.conftest import DATA, EXAMPLE

SOURCE = DATA / "emilia_romagna2023"


def test_every_item_is_valid_stac_without_a_network():
    catalog = pystac.Catalog.from_file(EXAMPLE / "catalog.json")
    assert catalog.validate_all() == 15


def test_every_raster_is_a_cloud_optimised_geotiff():
    for path in EXAMPLE.rglob("*.tif"):
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (path, errors, warnings)


def test_the_example_stays_small():
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 6e6


def test_landslides_lie_on_the_boxes_the_annotators_drew():
    with rasterio.open(f"netcdf:{SOURCE}/italy_s2_4120.nc:B04") as patch:
        boxes = re.findall(r"\(([^)]*)\)", patch.tags()["NC_GLOBAL#ann_bbox"])
        grid = {"out_shape": patch.shape, "transform": patch.transform}
    drawn = rasterize([box(*map(float, text.split(","))) for text in boxes], **grid)
    landslides = geopandas.read_file(EXAMPLE / "landslides.gpkg")
    mapped = rasterize(landslides.geometry, **grid)
    assert mapped.mean() == pytest.approx(0.0385, abs=5e-4)
    assert drawn[mapped > 0].mean() > 0.7
    assert drawn[mapped.T > 0].mean() < 0.1


def test_landslides_are_browner_after_the_event_than_before():
    def redness(day):
        red, nir = (
            rasterio.open(EXAMPLE / "scenes" / day / f"{band}.tif").read(1).astype(float)
            for band in ("B04", "B08")
        )
        return red / (red + nir)

    with rasterio.open(EXAMPLE / "dem.tif") as dem:
        landslides = geopandas.read_file(EXAMPLE / "landslides.gpkg").geometry
        scars = rasterize(landslides, dem.shape, transform=dem.transform) > 0
    change = redness("2023-05-23") - redness("2023-04-28")
    assert change[scars].mean() > np.median(change[~scars]) + 0.05


def test_the_script_rebuilds_the_same_bytes(tmp_path):
    script = EXAMPLE / "build.py"
    subprocess.run([sys.executable, script, SOURCE, "--target", tmp_path], check=True)
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            committed = EXAMPLE / path.relative_to(tmp_path)
            assert path.read_bytes() == committed.read_bytes(), path.name
