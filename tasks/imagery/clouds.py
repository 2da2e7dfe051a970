"""What a scene shows of an area, judged from its pixels and never from its metadata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from shapely.geometry import MultiPolygon

from tasks.imagery.rasters import area_on, grid_wkt, inside, on_grid
from tasks.types import AreaOfInterest, Scene

# Classes of the Sentinel-2 scene classification (ESA, Sen2Cor 2.11 SUM, table 3). Vegetation, bare
# ground, water and unclassified show the ground; a dark or shadowed slope (2, 3) does not show
# whether it slid.
CLEAR_CLASSES = frozenset({4, 5, 6, 7})
SNOW_CLASS = 11
SHADE = "dark or shadow"
CLASS_GROUPS = {
    "cloud": (8, 9, 10),
    SHADE: (2, 3),
    "snow": (SNOW_CLASS,),
    "no data": (0, 1),
}
MAX_JUDGING_PX = 2_000
MIN_JUDGING_M = 10.0


@dataclass(frozen=True)
class SceneView:
    """What one scene shows of an area, on the area's judging grid.

    `clear` and `covered` are (rows, cols): ground seen clear, and ground of which the scene has
    data or cloud; both False outside the area. `area` is the area itself on that grid. `hidden` is
    the share of the covered ground by cause. `by_mask` is False where the scene has no cloud mask,
    so that any pixel with data counts as clear.
    """

    scene: Scene
    area: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    hidden: dict[str, float]
    by_mask: bool

    @property
    def clear_fraction(self) -> float:
        """Share of the area that the scene shows clear, 0-1."""
        return float(self.clear.sum() / self.area.sum())

    @property
    def clear_of_covered(self) -> float:
        """Share of what the scene covers of the area that it shows clear, 0-1; 0 if nothing."""
        covered = int(self.covered.sum())
        return float(self.clear.sum() / covered) if covered else 0.0


def judge(scene: Scene, aoi: AreaOfInterest, snow_is_clear: bool = False) -> SceneView:
    """Judge a scene by its scene classification inside an area, or by its data if it has none.

    Args:
        scene: the scene; its `scl` band decides, or its red band's valid pixels.
        aoi: the area to look at.
        snow_is_clear: count snow as clear ground.

    Returns:
        The view on `judging_grid(aoi)`, so that views of several scenes lie on each other. On an
        area longer than 20 km the pixels are a regular sample.

    Raises:
        RasterError: the mask's file is missing, truncated or without CRS.
        TransientError: the server that holds it timed out or answered 429 or 5xx.
    """
    grid = judging_grid(aoi)
    area = _inside_or_touched(aoi.geometry, grid)
    by_mask = "scl" in scene.bands
    with on_grid(scene, "scl" if by_mask else "red", grid, Resampling.nearest) as band:
        values, valid = band.read()
    if not by_mask:
        seen = valid & area
        return SceneView(scene, area, seen, seen, {}, by_mask)
    classes = np.where(valid & area, values, 0)
    covered = classes > 0
    clear = clear_mask(classes, snow_is_clear)
    total = max(int(covered.sum()), 1)
    hidden = {
        cause: float((np.isin(classes, members) & covered & ~clear).sum() / total)
        for cause, members in CLASS_GROUPS.items()
    }
    return SceneView(scene, area, covered, clear, hidden, by_mask)


def clear_mask(classes: NDArray[np.generic], snow_is_clear: bool = False) -> NDArray[np.bool_]:
    """Where a scene classification shows the ground, same shape."""
    wanted = CLEAR_CLASSES | {SNOW_CLASS} if snow_is_clear else CLEAR_CLASSES
    return np.isin(classes, list(wanted))


def judging_grid(aoi: AreaOfInterest) -> GeoBox:
    """The grid on which every scene of an area is judged.

    Lambert azimuthal equal-area round the area's middle, so that shares of pixels are shares of
    ground anywhere on earth; 10 m, or coarser where the area is longer than 2,000 pixels of that.
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


def _inside_or_touched(area: MultiPolygon, grid: GeoBox) -> NDArray[np.bool_]:
    """Pixels whose centre lies in the area; every touched pixel where it holds no centre."""
    shape_on_grid = area_on(area, grid_wkt(grid))
    by_centre = inside(shape_on_grid, grid)
    return by_centre if by_centre.any() else inside(shape_on_grid, grid, all_touched=True)
