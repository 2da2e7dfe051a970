import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from tasks.mapping.raw import Grid, raw_view
from tasks.publish.products import write_cog


@pytest.mark.parametrize("shape", [(1, 1), (300, 700), (1023, 1601)])
def test_overviews_are_means_of_known_levels_and_what_is_unknown_stays_so(shape, tmp_path):
    levels = np.random.default_rng(4).integers(1, 256, shape).astype(np.uint8)
    levels[: shape[0] // 2, : shape[1] // 2] = 0
    raw = tmp_path / "score.raw"
    raw.write_bytes(levels.tobytes())
    view = raw_view(raw, Grid(shape, "EPSG:32632", from_origin(7e5, 4.9e6, 3, 3)), "score")
    with rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"):
        cog = write_cog(view, tmp_path / "score.tif", tags={})
    with rasterio.open(cog) as made:
        np.testing.assert_array_equal(made.read(1), levels)
        factors = made.overviews(1)
    assert factors == [2, 4][: sum(max(shape) > limit for limit in (512, 1024))]
    if not factors:
        return
    with rasterio.open(cog, overview_level=0) as made:
        halved = made.read(1)
    padded = np.pad(levels.astype(float), [(0, side % 2) for side in shape])
    padded[padded == 0] = np.nan
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    known = ~np.isnan(blocks).all(axis=(1, 3))
    np.testing.assert_array_equal(halved > 0, known)
    mean = np.nanmean(np.where(known[:, None, :, None], blocks, 1), axis=(1, 3))
    assert np.abs(halved[known] - mean[known]).max() <= 0.5
