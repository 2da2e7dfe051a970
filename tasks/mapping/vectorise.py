"""From a score raster to a mask raster and to landslide polygons."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
from rasterio.io import DatasetReader
from rasterio.warp import transform_geom
from scipy import ndimage
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from tasks.mapping.segment import threshold_level
from tasks.publish.products import (
    SCORE_NODATA,
    SCORE_OFFSET,
    SCORE_SCALE,
    room_for,
    scratch_beside,
    write_cog,
)
from tasks.types import geodesic_area_m2

MASK_NODATA = 255


def write_mask(score: Path, destination: Path, threshold: float, tags: dict[str, str]) -> Path:
    """Threshold a score COG block by block into a mask COG.

    The mask is uint8: 1 landslide, 0 none, 255 unknown.

    Raises:
        StorageError: `destination` cannot be written.
    """
    level = threshold_level(threshold)
    with rasterio.open(score) as source:
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
    score: Path, threshold: float, minimum_mapping_unit_m2: float, looked_at: BaseGeometry
) -> gpd.GeoDataFrame:
    """Outline every 4-connected body of pixels whose score reaches the threshold.

    Args:
        score: score COG on a projected grid in metres, 0 = nodata.
        threshold: score from which a pixel is landslide, 0-1.
        minimum_mapping_unit_m2: bodies of a smaller geodesic area are left out.
        looked_at: the ground the scenes cover inside the AOI, EPSG:4326: unknown pixels inside it
            are cloud or shadow, outside it the scene ends.

    Returns:
        One row a landslide in EPSG:4326, largest first: geometry (valid Polygon), area_m2,
        perimeter_m, score_mean, confidence (how far score_mean lies from the threshold towards 1),
        touches_scene_edge, touches_cloud_edge.
    """
    with rasterio.open(score) as source:
        levels = source.read(1)
        labels, count = ndimage.label(levels >= threshold_level(threshold))
        outlines = rasterio.features.shapes(
            labels.astype(np.int32), mask=labels > 0, connectivity=4, transform=source.transform
        )
        found = {int(label): geometry for geometry, label in outlines}
        geometries = [
            shape(transform_geom(source.crs, "EPSG:4326", found[i])) for i in range(1, count + 1)
        ]
        scene_edge, cloud_edge = _edges(source, levels, labels, looked_at)
    means = _mean_scores(levels, labels, count)
    frame = gpd.GeoDataFrame(
        {
            "score_mean": means,
            "confidence": np.clip((means - threshold) / max(1 - threshold, 1e-9), 0, 1),
            "touches_scene_edge": scene_edge,
            "touches_cloud_edge": cloud_edge,
        },
        geometry=geometries,
        crs="EPSG:4326",
    )
    frame.insert(0, "area_m2", [geodesic_area_m2(geometry) for geometry in geometries])
    frame = frame[frame["area_m2"] >= minimum_mapping_unit_m2]
    return frame.sort_values("area_m2", ascending=False, kind="stable", ignore_index=True)


def _mean_scores(levels: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    sums = np.bincount(labels.ravel(), levels.ravel(), minlength=count + 1)[1:]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return np.asarray(sums / np.maximum(sizes, 1) * SCORE_SCALE + SCORE_OFFSET)


def _edges(
    source: DatasetReader, levels: np.ndarray, labels: np.ndarray, looked_at: BaseGeometry
) -> tuple[np.ndarray, np.ndarray]:
    """Which bodies touch the end of the scene, and which touch cloud; bool, shape (bodies,)."""
    ground = transform_geom("EPSG:4326", source.crs, mapping(looked_at))
    outside = rasterio.features.geometry_mask([ground], levels.shape, source.transform)
    unknown = levels == SCORE_NODATA
    ends = np.pad(unknown & outside, 1, constant_values=True)
    clouds = np.pad(unknown & ~outside, 1, constant_values=False)
    count = int(labels.max(initial=0))

    def touched(unseen: np.ndarray) -> np.ndarray:
        near = ndimage.binary_dilation(unseen)[1:-1, 1:-1]
        return np.isin(np.arange(1, count + 1), np.unique(labels[near]))

    return touched(ends), touched(clouds)
