"""From a score raster to a mask raster and to landslide polygons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.io import DatasetReader
from rasterio.warp import transform_geom
from rasterio.windows import Window
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from tasks.events.aoi import continuous_longitudes, split_at_antimeridian
from tasks.mapping.bodies import Place, ScoreWindow, connected_bodies, fill_holes
from tasks.mapping.outlines import Outlines
from tasks.mapping.segment import threshold_level
from tasks.publish.products import (
    COG_CACHE_BYTES,
    SCORE_NODATA,
    SCORE_OFFSET,
    SCORE_SCALE,
    room_for,
    scratch_beside,
    write_cog,
)
from tasks.types import geodesic_measures

if TYPE_CHECKING:
    from tasks.mapping.split import Splitting

MASK_NODATA = 255
BAND_ROWS = 512
# A straight side of the grid is bent on the ground: 256 pixels of 10 m by 0.1 m, and 12 km by more
# than a pixel, so that a side without vertices could cut into what lies beside it.
_LONGEST_SIDE_PX = 256


@dataclass(frozen=True)
class Outlining:
    """How bodies of pixels become polygons; the defaults keep them as the mask has them.

    `hole_area_m2`: holes of a smaller area on the grid are filled, unless something unknown lies in
    or beside them; bodies inside them become part of the body around. `simplify_m`: corners that
    part triangles of less than its square are dropped, and neighbours neither overlap nor part.
    `split`: when a body is taken apart into several landslides; None never.
    """

    hole_area_m2: float = 0.0
    simplify_m: float = 0.0
    split: Splitting | None = None


AS_MAPPED = Outlining()


def write_mask(score: Path, destination: Path, threshold: float, tags: dict[str, str]) -> Path:
    """Threshold a score COG block by block into a mask COG.

    The mask is uint8: 1 landslide, 0 none, 255 unknown.

    Raises:
        StorageError: `destination` cannot be written.
    """
    level = threshold_level(threshold)
    with rasterio.Env(GDAL_CACHEMAX=COG_CACHE_BYTES), rasterio.open(score) as source:
        profile = source.profile | {"driver": "GTiff", "nodata": MASK_NODATA, "BIGTIFF": "IF_SAFER"}
        with scratch_beside(destination) as scratch, room_for(destination):
            partial = scratch / "blocks.tif"
            with rasterio.open(partial, "w", **profile) as output:
                for _, window in source.block_windows(1):
                    levels = source.read(1, window=window)
                    mask = np.where(levels == SCORE_NODATA, MASK_NODATA, levels >= level)
                    output.write(mask.astype(np.uint8), 1, window=window)
            return write_cog(partial, destination, tags=tags, overview_resampling="mode")


def landslide_polygons(
    score: Path,
    threshold: float,
    minimum_mapping_unit_m2: float,
    looked_at: BaseGeometry,
    outlining: Outlining = AS_MAPPED,
    dem: Path | None = None,
    band_rows: int = BAND_ROWS,
) -> gpd.GeoDataFrame:
    """Outline every 4-connected body of pixels whose score reaches the threshold.

    Args:
        score: score COG on a projected grid in metres, 0 = nodata.
        threshold: score from which a pixel is landslide, 0-1.
        minimum_mapping_unit_m2: bodies of a smaller geodesic area are left out.
        looked_at: the ground the scenes cover inside the AOI, EPSG:4326: unknown pixels inside it
            are cloud or shadow, outside it the scene ends.
        outlining: how bodies become polygons.
        dem: elevations in metres, in any CRS, that guide splitting where they are known.
        band_rows: rows of the raster held at a time; the result does not depend on it.

    Returns:
        One row a landslide in EPSG:4326, largest first: geometry (valid Polygon; in two
        parts where the antimeridian cuts it), area_m2,
        perimeter_m (of the outer ring), score_mean, score_max, confidence (how far score_mean lies
        from the threshold towards 1), touches_scene_edge, touches_cloud_edge, body (the connected
        body it belongs to, from 1) and amalgamated (it is one part of several).
    """
    with rasterio.Env(GDAL_CACHEMAX=COG_CACHE_BYTES), ExitStack() as stack:
        source = stack.enter_context(rasterio.open(score))
        scene = _Scene(source, threshold_level(threshold), looked_at)
        bodies = connected_bodies(scene.bands(band_rows))
        if outlining.hole_area_m2:
            bodies = fill_holes(bodies, outlining.hole_area_m2 / scene.pixel_m2, scene.read)
        areas, _ = geodesic_measures(scene.on_the_ground(bodies["outline"]))
        bodies = bodies[areas >= minimum_mapping_unit_m2].copy()
        bodies["body"] = np.arange(1, len(bodies) + 1)
        if outlining.split:
            # Imported on request: its image processing takes 0.1 s that few mappings need.
            from tasks.mapping.split import open_elevation, split_bodies

            elevation = open_elevation(stack, dem, source) if dem else None
            bodies = split_bodies(
                bodies, scene.read, outlining.split, scene.pixel_m2**0.5, elevation
            )
        if outlining.simplify_m:
            tolerance = outlining.simplify_m / scene.pixel_m2**0.5
            bodies["outline"] = shapely.coverage_simplify(bodies["outline"].to_numpy(), tolerance)
        return _landslides(bodies, scene.on_the_ground(bodies["outline"]), threshold)


class _Scene:
    """A score raster that is read piece by piece."""

    def __init__(self, source: DatasetReader, level: int, looked_at: BaseGeometry) -> None:
        self._source, self._level = source, level
        self._looked_at = transform_geom("EPSG:4326", source.crs, mapping(looked_at))
        self._to_degrees = Transformer.from_crs(source.crs, "EPSG:4326", always_xy=True)
        self.pixel_m2 = abs(source.transform.determinant)

    def bands(self, rows: int) -> Iterator[ScoreWindow]:
        """Read the raster from the top down."""
        for row in range(0, self._source.height, rows):
            bottom = min(row + rows, self._source.height)
            yield self.read((slice(row, bottom), slice(0, self._source.width)))

    def read(self, place: Place) -> ScoreWindow:
        """Read some rows and columns with what surrounds each pixel."""
        rows, columns = place
        levels, ends = self._with_a_rim(rows, columns)
        unknown = levels == SCORE_NODATA
        levels = levels[1:-1, 1:-1]
        return ScoreWindow(
            rows.start,
            columns.start,
            levels,
            levels >= self._level,
            _beside(unknown & ends),
            _beside(unknown & ~ends),
        )

    def _with_a_rim(
        self, rows: slice, columns: slice
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Levels one pixel further on every side, and where the scene has ended."""
        top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, self._source.height)
        left, right = max(columns.start - 1, 0), min(columns.stop + 1, self._source.width)
        window = Window(left, top, right - left, bottom - top)
        levels = self._source.read(1, window=window)
        ends = np.zeros(levels.shape, bool)
        if (levels == SCORE_NODATA).any():
            transform = self._source.window_transform(window)
            ends = rasterio.features.geometry_mask([self._looked_at], levels.shape, transform)
        rim = (
            (top - rows.start + 1, rows.stop + 1 - bottom),
            (left - columns.start + 1, columns.stop + 1 - right),
        )
        return np.pad(levels, rim, constant_values=SCORE_NODATA), np.pad(
            ends, rim, constant_values=True
        )

    def on_the_ground(self, outlines: Outlines) -> Outlines:
        """Polygons in pixel corners in EPSG:4326, cut at the antimeridian, shells anticlockwise."""

        def degrees(x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
            return self._to_degrees.transform(*(self._source.transform @ (x, y)))

        outlines = np.array(outlines, object)
        west, north, east, south = shapely.bounds(outlines).T
        large = np.maximum(east - west, south - north) > _LONGEST_SIDE_PX
        # Rounded, since a side halved from its other end by the neighbour may differ in a last bit.
        outlines[large] = shapely.transform(
            shapely.segmentize(outlines[large], _LONGEST_SIDE_PX), lambda xy: np.round(xy, 6)
        )
        ground = np.asarray(shapely.transform(outlines, degrees, interleaved=False), object)
        west, _, east, _ = shapely.bounds(ground).T
        for place in np.flatnonzero(east - west > 180):
            ground[place] = split_at_antimeridian(continuous_longitudes(ground[place]))
        return np.asarray(shapely.orient_polygons(ground), object)


def _beside(unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with a 4-neighbour that is not seen; shape (n, m) in, (n - 2, m - 2) out."""
    above, below = unseen[:-2, 1:-1], unseen[2:, 1:-1]
    return above | below | unseen[1:-1, :-2] | unseen[1:-1, 2:]


def _landslides(bodies: pd.DataFrame, geometries: Outlines, threshold: float) -> gpd.GeoDataFrame:
    area_m2, perimeter_m = geodesic_measures(geometries)
    score_mean = bodies["level_sum"] / bodies["pixels"] * SCORE_SCALE + SCORE_OFFSET
    landslides = gpd.GeoDataFrame(
        {
            "area_m2": area_m2,
            "perimeter_m": perimeter_m,
            "score_mean": score_mean,
            "score_max": bodies["level_max"] * SCORE_SCALE + SCORE_OFFSET,
            "confidence": np.clip((score_mean - threshold) / max(1 - threshold, 1e-9), 0, 1),
            "touches_scene_edge": bodies["touches_scene_edge"],
            "touches_cloud_edge": bodies["touches_cloud_edge"],
            "body": bodies["body"],
            "amalgamated": bodies["body"].duplicated(keep=False),
        },
        geometry=geometries,
        crs="EPSG:4326",
    )
    return landslides.sort_values("area_m2", ascending=False, kind="stable", ignore_index=True)
