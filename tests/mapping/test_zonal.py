"""Statistics of cells inside outlines, against those exactextract computes itself."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from odc.geo.geobox import GeoBox

from tasks.mapping.zonal import windows_under, zones_on
from tests.conftest import DATA

KAGHAN = DATA / "kaghan_lsat"


@pytest.fixture(scope="module")
def slides():
    return gpd.read_file(KAGHAN / "landslides.gpkg").geometry[::20].reset_index(drop=True)


def test_statistics_are_those_of_exactextract(slides):
    with rasterio.open(KAGHAN / "AW3D30.tif") as source:
        values = source.read(1, masked=True).filled(np.nan)
        values[:, 300:] = np.nan
        grid = GeoBox(source.shape, source.transform, source.crs.to_wkt())
        west, south, east, north = source.bounds
    raster = NumPyRasterSource(
        values, west, south, east, north, nodata=np.nan, srs_wkt=grid.crs.to_wkt()
    )
    names = ["count", "mean", "stdev", "min", "max"]
    theirs = exact_extract(raster, slides.to_frame("geometry"), names, output="pandas")
    zones = zones_on(grid, slides)
    ours = {
        "count": zones.share_of(np.isfinite(values)) * zones.size,
        "mean": zones.mean(values),
        "stdev": zones.spread(values),
        "min": zones.least(values),
        "max": zones.greatest(values),
    }
    assert theirs["mean"].isna().any() and theirs["mean"].notna().sum() > 50
    for name, found in ours.items():
        np.testing.assert_allclose(found, theirs[name].astype(float), rtol=1e-6, atol=1e-6)


def test_windows_hold_every_outline_that_meets_the_raster_once(slides, monkeypatch):
    monkeypatch.setattr("tasks.mapping.zonal.BLOCK_CELLS", 100)
    with rasterio.open(KAGHAN / "AW3D30.tif") as source:
        groups = list(windows_under(source, slides))
        met = np.concatenate([block.index for block, _, _ in groups])
        assert len(groups) > 10
        assert sorted(met) == slides.index.tolist()
        for block, window, grid in groups:
            assert source.read(1, window=window).shape == grid.shape
            assert grid.extent.geom.buffer(1e-6).contains(block.union_all())
