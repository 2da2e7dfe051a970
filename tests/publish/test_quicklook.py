"""Pictures of 8 bits: stretched, transparent where nothing is known, the same block by block."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from tasks.errors import RasterError
from tasks.publish.quicklook import hillshade_of, picture_of
from tests.conftest import EXAMPLE


def written(path, values, nodata=None):
    count, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype, "count": count, "nodata": nodata}
    grid = {"height": height, "width": width, "crs": "EPSG:32632"}
    with rasterio.open(
        path, "w", **profile, **grid, transform=from_origin(6e5, 5e6, 10, 10)
    ) as made:
        made.write(values)
    return path


def test_what_has_no_data_is_transparent_and_the_rest_is_spread(tmp_path):
    values = np.random.default_rng(0).integers(500, 3000, (3, 600, 700)).astype(np.uint16)
    values[:, :50] = 0
    image = written(tmp_path / "image.tif", values, nodata=0)
    with rasterio.open(picture_of(image, tmp_path / "picture.tif")) as picture:
        red, _, _, alpha = picture.read()
        assert picture.crs == "EPSG:32632" and picture.shape == (600, 700)
    assert (alpha[:50] == 0).all() and (alpha[50:] == 255).all()
    assert red[50:].min() == 0 and red[50:].max() == 255


def test_two_pictures_stretched_alike_can_be_compared(tmp_path):
    values = np.random.default_rng(0).integers(500, 3000, (3, 64, 64)).astype(np.uint16)
    after = written(tmp_path / "after.tif", values)
    before = written(tmp_path / "before.tif", values // 2)
    picture_of(after, tmp_path / "a.tif")
    picture_of(before, tmp_path / "b.tif", like=after)
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        assert b.read(1).mean() < a.read(1).mean() / 2


def test_terrain_is_lit_from_the_north_west_and_has_no_seams(tmp_path):
    down_to_south_east = np.add.outer(np.arange(600), np.arange(600)).astype(np.float32)
    facing_away = written(tmp_path / "away.tif", -down_to_south_east[None])
    facing_sun = written(tmp_path / "sun.tif", down_to_south_east[None])
    shades = []
    for dem in (facing_sun, facing_away):
        with rasterio.open(hillshade_of(dem, tmp_path / "shade.tif")) as picture:
            grey = picture.read(1)
        inner = grey[2:-2, 2:-2]
        assert np.ptp(inner.astype(int)) <= 1  # an even slope is one shade, over block edges too
        shades.append(int(inner[0, 0]))
    assert shades[0] > shades[1]


def test_unknown_terrain_is_transparent(tmp_path):
    with rasterio.open(EXAMPLE / "dem.tif") as source:
        heights = source.read(1).astype(np.float32)
    heights[:10] = np.nan
    dem = written(tmp_path / "dem.tif", heights[None], nodata=np.nan)
    with rasterio.open(hillshade_of(dem, tmp_path / "shade.tif")) as picture:
        alpha = picture.read(2)
    assert (alpha[:10] == 0).all() and (alpha[10:] == 255).all()


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "text.tif"
    path.write_text("no image")
    with pytest.raises((RasterError, rasterio.errors.RasterioIOError)):
        picture_of(path, tmp_path / "picture.tif")
