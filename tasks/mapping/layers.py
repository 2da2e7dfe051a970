"""Map layers that others made, such as water or buildings: how much of an outline lies on them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.warp import transform_bounds
from shapely.geometry import MultiPolygon, box

from tasks.errors import ScreenError
from tasks.mapping.metric import metric_crs
from tasks.mapping.zonal import open_north_up, windows_under, zones_on

# A road or a river drawn as a line is taken to be twice as wide as this, a point a circle of it.
HALF_WIDTH_M = 10.0
AREAL = 2


class Layer(Protocol):
    """A layer that outlines may lie on."""

    def shares(self, outlines: gpd.GeoSeries) -> NDArray[np.float64]:
        """The part, 0-1, of each outline (EPSG:4326) that lies on the layer."""
        ...

    def require_over(self, area: MultiPolygon) -> None:
        """Refuse a layer that lies elsewhere than an area in EPSG:4326."""
        ...


def open_layer(path: Path, part: str = "") -> Layer:
    """Find out what a file is and whether it can be used.

    Args:
        path: a vector file or a raster.
        part: the layer of a vector file that has several; the class of a raster.

    Raises:
        ScreenError: it is missing, unreadable, empty or without CRS, the layer is not named among
            several, or the class of a raster is missing; says which and what to do.
    """
    if not path.is_file():
        raise ScreenError(f"layer {path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as raster:
                crs, bounds = raster.crs, tuple(raster.bounds)
    except RasterioIOError:
        return _vector(path, part)
    if not part.lstrip("-").isdigit():
        raise ScreenError(f"{path} is a raster: name the class that counts, as in {path.name}:80")
    return _Raster(path, int(part), _required(crs and CRS.from_user_input(crs), path), bounds)


def _vector(path: Path, part: str) -> Layer:
    try:
        names = [str(name) for name, geometry in pyogrio.list_layers(path) if geometry]
        if not part and len(names) > 1:
            raise ScreenError(
                f"{path} has layers {', '.join(names)}; name one, as in {path.name}:{names[0]}"
            )
        info = pyogrio.read_info(path, layer=part or None, force_total_bounds=True)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise ScreenError(f"layer {path} {part} cannot be read: {error}") from error
    if not info["features"]:
        raise ScreenError(f"layer {path} holds no features; leave the screen out")
    crs = _required(info["crs"] and CRS.from_user_input(info["crs"]), path)
    return _Vector(path, info["layer_name"], crs, tuple(info["total_bounds"]))


def _required(crs: CRS | None, path: Path) -> CRS:
    if not crs:
        raise ScreenError(f"layer {path} has no CRS: assign the one it was made in")
    return crs


@dataclass(frozen=True)
class _Placed:
    path: Path
    part: str | int
    crs: CRS
    bounds: tuple[float, float, float, float]

    def require_over(self, area: MultiPolygon) -> None:
        if not box(*self._bounds_here(area.bounds)).intersects(box(*self.bounds)):
            raise ScreenError(
                f"layer {self.path} lies elsewhere than the area of interest; check its CRS, or "
                "leave the screen out"
            )

    def _bounds_here(self, bounds: tuple[float, ...]) -> tuple[float, ...]:
        """Bounds in EPSG:4326 as bounds in the layer's CRS."""
        return tuple(transform_bounds("EPSG:4326", self.crs.to_wkt(), *bounds))


@dataclass(frozen=True)
class _Raster(_Placed):
    part: int

    def shares(self, outlines: gpd.GeoSeries) -> NDArray[np.float64]:
        shares = np.zeros(len(outlines))
        with open_north_up(self.path) as source:
            placed = outlines.reset_index(drop=True).to_crs(source.crs)
            for block, window, grid in windows_under(source, placed):
                wanted = (source.read(1, window=window, masked=True) == self.part).filled(False)
                shares[block.index] = zones_on(grid, block).share_of(wanted)
        return shares


@dataclass(frozen=True)
class _Vector(_Placed):
    part: str

    def shares(self, outlines: gpd.GeoSeries) -> NDArray[np.float64]:
        near = self._bounds_here(tuple(outlines.total_bounds))
        features = gpd.read_file(self.path, layer=self.part, bbox=near, columns=[])
        metric = metric_crs(outlines)
        grounds = features.geometry.to_crs(metric).dropna().make_valid().to_numpy()
        thin = shapely.get_dimensions(grounds) < AREAL
        grounds[thin] = shapely.buffer(grounds[thin], HALF_WIDTH_M)
        return _covered(outlines.to_crs(metric).to_numpy(), grounds)


def _covered(outlines: NDArray[np.object_], grounds: NDArray[np.object_]) -> NDArray[np.float64]:
    """The part of each outline under any of the grounds, which may overlap; one plane CRS."""
    outline, ground = shapely.STRtree(grounds).query(outlines, predicate="intersects")
    pieces = shapely.intersection(outlines[outline], grounds[ground])
    covered = np.zeros(len(outlines))
    for place, own in pd.Series(pieces, dtype=object).groupby(outline):
        covered[place] = shapely.union_all(own.to_numpy()).area
    return np.asarray(covered / shapely.area(outlines))
