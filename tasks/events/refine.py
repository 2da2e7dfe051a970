"""Looking less far: the part of an area of interest where most landslides are expected."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask, shapes
from shapely.geometry import shape

from tasks.errors import RasterError
from tasks.events.aoi import as_multipolygon, split_at_antimeridian
from tasks.types import AreaOfInterest

_BLOCK_KM = 1.0
_DEGREE_KM = 111.2


def refined_aoi(aoi: AreaOfInterest, prior: Path, share: float) -> AreaOfInterest:
    """Leave out of an area the ground where a prior map expects the fewest landslides.

    The area is divided into blocks of about 1 km. Those that expect most are kept, until together
    they expect `share` of all; ground the map does not know is kept as well, since unknown is not
    stable.

    Args:
        aoi: where landslides may be.
        prior: share of the ground expected to slide, 0-1, NaN where unknown, in EPSG:4326 or a
            metric CRS.
        share: of the landslides expected in the area, above 0; 1 or more leaves out nothing.

    Returns:
        The part of the area that is left; `how` says so.

    Raises:
        RasterError: the map cannot be read.
    """
    if share >= 1:
        return aoi
    try:
        with rasterio.open(prior) as raster:
            side = _BLOCK_KM * (1000 if raster.crs.is_projected else 1 / _DEGREE_KM)
            rows, cols = (
                max(1, math.ceil(length * abs(step) / side))
                for length, step in zip(
                    raster.shape, (raster.transform.e, raster.transform.a), strict=True
                )
            )
            averaged = Resampling.average
            expected = raster.read(1, out_shape=(rows, cols), resampling=averaged, masked=True)
            blocks = raster.transform @ rasterio.Affine.scale(
                raster.width / cols, raster.height / rows
            )
            crs = raster.crs
    except (RasterioError, CPLE_BaseError) as error:
        raise RasterError(f"prior map {prior} cannot be read: {error}") from error
    here = geopandas.GeoSeries([aoi.geometry], crs="EPSG:4326").to_crs(crs).iloc[0]
    if not crs.is_projected and blocks.c + cols * blocks.a > 180:
        here = shapely.transform(here, lambda xy: xy + (xy[:, :1] < blocks.c) * (360, 0))
    inside = geometry_mask([here], (rows, cols), blocks, all_touched=True, invert=True)
    spared = _least(expected.filled(np.nan), inside, share)
    ground = [shape(part) for part, _ in shapes(spared.astype(np.uint8), spared, transform=blocks)]
    left_out = geopandas.GeoSeries([shapely.union_all(ground)], crs=crs).to_crs("EPSG:4326").iloc[0]
    kept = as_multipolygon(shapely.difference(aoi.geometry, split_at_antimeridian(left_out)))
    how = f"{aoi.how}; of it the ground that expects {100 * share:.3g}% of the landslides"
    return replace(aoi, geometry=kept, how=how)


def _least(
    expected: NDArray[np.floating], inside: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """The blocks inside that expect least, and together less than is not asked for."""
    known = inside & ~np.isnan(expected)
    ascending = np.argsort(expected[known], kind="stable")
    total = np.cumsum(expected[known][ascending], dtype=np.float64)
    spared = np.zeros(known.sum(), bool)
    if len(total):
        spared[ascending] = total < (1 - share) * total[-1]
    least = np.zeros(expected.shape, bool)
    least[known] = spared
    return least
