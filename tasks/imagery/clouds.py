"""What a scene shows of an area, judged from its pixels and never from its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from shapely.geometry import MultiPolygon

from tasks.imagery.masks import COLOURS, HIDES, Seen, blank, mask_of, read_mask
from tasks.imagery.rasters import area_on, grid_wkt, inside, on_grid
from tasks.types import AreaOfInterest, Scene

MAX_JUDGING_PX = 1_000
MIN_JUDGING_M = 10.0
# Judging takes a sample: a quarter of the bytes tells as much.
COARSER = 1.5


@dataclass(frozen=True)
class SceneView:
    """What one scene shows of an area, on the area's judging grid.

    `clear`, (rows, cols), is ground seen clear, False outside the area. `covered_fraction` is the
    share of the area of which the scene has data, or sees what hides it; `clear_fraction` the share
    it shows clear. `hidden` is the share of what it covers that is hidden, by cause. `by_mask` is
    False where the scene has no mask, so that any pixel with data counts as clear.
    """

    scene: Scene
    clear: NDArray[np.bool_]
    clear_fraction: float
    covered_fraction: float
    hidden: dict[str, float]
    by_mask: bool

    @property
    def clear_of_covered(self) -> float:
        """Share of what the scene covers of the area that it shows clear, 0-1; 0 if nothing."""
        return self.clear_fraction / self.covered_fraction if self.covered_fraction else 0.0


def judge(scene: Scene, aoi: AreaOfInterest) -> SceneView:
    """Judge a scene by its mask inside an area, or by its data if it has none.

    Args:
        scene: the scene; its mask (`tasks.imagery.masks`) decides, or what its colours show.
        aoi: the area to look at.

    Returns:
        The view on `judging_grid(aoi)`, so that views of several scenes lie on each other. On an
        area longer than 10 km the pixels are a regular sample.

    Raises:
        RasterError: the mask's file is missing, truncated, without CRS or another kind of mask.
        TransientError: the server that holds it timed out or answered 429 or 5xx.
    """
    grid, area = judging_ground(aoi)
    mask = mask_of(scene)
    if mask:
        with on_grid(scene, mask, grid, Resampling.nearest, COARSER) as band:
            seen = np.where(area, read_mask(band), np.uint8(Seen.NO_DATA))
    else:
        shown = area & _shown(scene, grid)
        seen = np.where(shown, np.uint8(Seen.GROUND), np.uint8(Seen.NO_DATA))
    clear = seen == Seen.GROUND
    pixels, covered = int(area.sum()), int((seen != Seen.NO_DATA).sum())
    hidden = {
        cause: float(((seen == code) & ~clear).sum() / max(covered, 1))
        for code, cause in HIDES.items()
    }
    return SceneView(
        scene, clear, float(clear.sum() / pixels), covered / pixels, hidden, mask is not None
    )


def _shown(scene: Scene, grid: GeoBox) -> NDArray[np.bool_]:
    """Pixels in which a scene without a mask shows something in every colour."""
    colours = []
    for name in COLOURS:
        with on_grid(scene, name, grid, Resampling.nearest, COARSER) as band:
            colours.append(band.read())
    valid = np.logical_and.reduce([known for _, known in colours])
    return np.asarray(valid & ~blank([values for values, _ in colours]))


def judging_grid(aoi: AreaOfInterest) -> GeoBox:
    """The grid on which every scene of an area is judged.

    Lambert azimuthal equal-area round the area's middle, so that shares of pixels are shares of
    ground anywhere on earth; 10 m, or coarser where the area is longer than 1,000 pixels of that.
    """
    longitude, latitude = middle(aoi.geometry)
    crs = f"+proj=laea +lon_0={longitude:.6f} +lat_0={latitude:.6f} +datum=WGS84 +units=m"
    bounds = area_on(aoi.geometry, crs).bounds
    longest = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    return GeoBox.from_bbox(bounds, crs, resolution=max(MIN_JUDGING_M, longest / MAX_JUDGING_PX))


def middle(area: MultiPolygon) -> tuple[float, float]:
    """Longitude and latitude of an area's middle, the antimeridian and poles minded."""
    lon, lat = np.radians(shapely.get_coordinates(area)).T
    x, y, z = (np.cos(lat) * np.cos(lon)).mean(), (np.cos(lat) * np.sin(lon)).mean(), np.sin(lat)
    latitude = np.degrees(np.arctan2(z.mean(), np.hypot(x, y)))
    return float(np.degrees(np.arctan2(y, x))), float(latitude)


@lru_cache(maxsize=2)
def judging_ground(aoi: AreaOfInterest) -> tuple[GeoBox, NDArray[np.bool_]]:
    """The judging grid, and its pixels whose centre lies in the area, or that it touches if none.

    Kept, since all scenes of an area are judged one after the other.
    """
    grid = judging_grid(aoi)
    shape_on_grid = area_on(aoi.geometry, grid_wkt(grid))
    area = inside(shape_on_grid, grid)
    if not area.any():
        area = inside(shape_on_grid, grid, all_touched=True)
    area.flags.writeable = False
    return grid, area
