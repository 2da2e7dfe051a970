"""Areas of interest read from files and checked, and the geometry of areas on a round earth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod
from shapely.affinity import translate
from shapely.errors import GEOSException
from shapely.geometry import MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from tasks.errors import AreaError
from tasks.types import AreaOfInterest, Event, geodesic_area_m2

# Geopandas, with pandas and pyogrio, takes seconds to import, and most areas are made without it.
if TYPE_CHECKING:
    from geopandas import GeoDataFrame, GeoSeries

_GEOD = Geod(ellps="WGS84")
_MIN_AREA_M2 = 1.0
_NEAR_KM, _FAR_KM = 100.0, 2_000.0
# A straight line of a projected CRS bends in longitude and latitude; by under 2 cm over this.
_SEGMENT_M = 1_000.0
_SEGMENT_DEG = 0.1
_CIRCLE_POINTS = 360
_POLES = (90.0, -90.0)


def read_aoi(path: Path, layer: str | None = None, near: Event | None = None) -> AreaOfInterest:
    """Read an area of interest and refuse what is not a valid area on the ground.

    Every polygon of the file belongs to the area; overlapping ones are merged. Longitudes beyond
    180 are taken round the earth, so an area across the antimeridian may be given either split at
    180 or with longitudes above it.

    Args:
        path: GeoJSON (FeatureCollection, Feature or bare geometry), GeoPackage or another vector
            file GDAL reads, in any CRS it names.
        layer: the layer to read where the file has several.
        near: the event the area is for; an area far from it is refused.

    Returns:
        The area in EPSG:4326, split at the antimeridian, with `how="given"`.

    Raises:
        AreaError: the file cannot be read or names no CRS, or a polygon is empty, 3D,
            self-crossing, without area, out of range, round the earth the wrong way or far from
            the event; the sentence names file, feature, place and fix.
    """
    frame = _read_features(path, layer)
    polygons = [
        _checked_polygon(geometry, f"{path}, feature {number}")
        for number, geometry in enumerate(frame.geometry, start=1)
    ]
    projected = not frame.crs.is_geographic
    polygons = [_to_wgs84(polygon, frame.crs, projected) for polygon in polygons]
    for number, polygon in enumerate(polygons, start=1):
        _check_longitudes_latitudes(polygon, f"{path}, feature {number}")
    area = split_at_antimeridian(shapely.union_all(polygons))
    if geodesic_area_m2(area) < _MIN_AREA_M2:
        raise AreaError(f"{path} covers no ground (under 1 m²); draw a polygon with an inside")
    aoi = AreaOfInterest(area, how="given")
    if near is not None:
        check_near(aoi, near, str(path))
    return aoi


def geodesic_disc(longitude: float, latitude: float, radius_m: float) -> MultiPolygon:
    """All points within a geodesic distance of a point.

    Args:
        longitude: degrees east.
        latitude: degrees north.
        radius_m: geodesic radius in m, under a quarter of the earth's circumference.

    Returns:
        A valid MultiPolygon in EPSG:4326 with a vertex a degree, split at the antimeridian; a
        pole inside the disc is inside the polygon.
    """
    azimuths = np.linspace(0, 360, _CIRCLE_POINTS, endpoint=False)
    start = np.ones_like(azimuths)
    lon, lat, _ = _GEOD.fwd(
        longitude * start, latitude * start, azimuths, np.full_like(azimuths, radius_m)
    )
    for pole in _POLES:
        if _GEOD.inv(longitude, latitude, longitude, pole)[2] < radius_m:
            return _cap(lon, lat, pole)
    unwrapped = longitude + (lon - longitude + 180) % 360 - 180
    return split_at_antimeridian(Polygon(zip(unwrapped, lat, strict=True)))


def geodesic_buffer(area: MultiPolygon, distance_m: float) -> MultiPolygon:
    """All points within a geodesic distance of an area.

    Each part is buffered in an azimuthal equidistant projection round its middle, so distances are
    exact there and up to 0.5 % too long 1,000 km away, 2 % at 2,000 km.

    Args:
        area: valid, EPSG:4326, no part round a pole.
        distance_m: in m, positive.

    Returns:
        A valid MultiPolygon in EPSG:4326, split at the antimeridian; a pole within the distance is
        inside it.
    """
    wider = []
    for part in area.geoms:
        middle = part.centroid
        local = CRS.from_proj4(f"+proj=aeqd +lat_0={middle.y} +lon_0={middle.x} +datum=WGS84")
        there = _series(shapely.segmentize(part, _SEGMENT_DEG), "EPSG:4326")
        # What is near one part is one piece; GEOS may leave slivers of square metres beside it.
        pieces = as_multipolygon(there.to_crs(local).buffer(distance_m).iloc[0]).geoms
        flat = max(pieces, key=lambda piece: piece.area)
        grown = _series(flat, local).to_crs("EPSG:4326").iloc[0]
        within = [pole for pole in _POLES if flat.contains(_on_map(Point(middle.x, pole), local))]
        if within:
            # Near a pole a straight line of the map is none in degrees.
            ring = _series(shapely.segmentize(flat.exterior, distance_m / 100), local)
            lon, lat = ring.to_crs("EPSG:4326").iloc[0].xy
            wider.append(_cap(np.asarray(lon)[:-1], np.asarray(lat)[:-1], within[0]))
            continue
        unwrapped = shapely.transform(
            grown, lambda xy, x=middle.x: np.c_[x + (xy[:, 0] - x + 180) % 360 - 180, xy[:, 1]]
        )
        wider.append(split_at_antimeridian(unwrapped))
    return as_multipolygon(shapely.union_all(wider))


def split_at_antimeridian(area: BaseGeometry) -> MultiPolygon:
    """Bring longitudes from -540…540 into -180…180, cutting where they cross 180.

    Args:
        area: a valid Polygon or MultiPolygon with continuous longitudes.

    Returns:
        The same ground as a valid MultiPolygon in EPSG:4326.
    """
    west, _, east, _ = area.bounds
    if west >= -180 and east <= 180:
        return as_multipolygon(area)
    turns = [
        translate(shapely.intersection(area, box(180 + turn, -90, 540 + turn, 90)), -turn - 360)
        for turn in (-720, -360, 0)
    ]
    return as_multipolygon(shapely.union_all(turns))


def continuous_longitudes(area: BaseGeometry) -> BaseGeometry:
    """Undo the jump from 180 to -180 inside each polygon that a projection gave.

    Args:
        area: polygons narrower than 180 degrees, in degrees.

    Returns:
        The same polygons; where one seems wider than 180 degrees, its negative longitudes are
        raised by 360.
    """
    parts = [_unwrapped(part) for part in getattr(area, "geoms", [area])]
    return shapely.multipolygons(parts) if len(parts) != 1 else parts[0]


def _unwrapped(polygon: Polygon) -> Polygon:
    west, _, east, _ = polygon.bounds
    if east - west <= 180:
        return polygon
    return shapely.transform(polygon, lambda xy: xy + (xy[:, :1] < 0) * (360, 0))


def _read_features(path: Path, layer: str | None) -> GeoDataFrame:
    """Read the features of one layer, refusing a file without polygons, layer or CRS."""
    import geopandas
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.is_file():
        raise AreaError(f"{path} is not a file; give a GeoJSON or GeoPackage with a polygon")
    try:
        with warnings.catch_warnings():
            # GDAL's warnings about broken rings come before the error or the check that names them.
            warnings.simplefilter("ignore", RuntimeWarning)
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if layer is None and len(layers) > 1:
                names = ", ".join(layers)
                raise AreaError(
                    f"{path} has several layers ({names}); save the one that is meant to a file of "
                    "its own"
                )
            frame = geopandas.read_file(path, layer=layer, columns=[], engine="pyogrio")
    except (DataSourceError, DataLayerError, GEOSException, ValueError) as error:
        reason = str(error).split("; ")[0].rstrip(".")
        raise AreaError(
            f"{path} cannot be read as an area: {reason}; give whole GeoJSON or GeoPackage polygons"
        ) from error
    if not isinstance(frame, geopandas.GeoDataFrame) or frame.empty:
        raise AreaError(f"{path} is empty; give a file with at least one polygon")
    if frame.crs is None:
        raise AreaError(f"{path} names no CRS; export it again in EPSG:4326")
    return frame


def _checked_polygon(geometry: BaseGeometry | None, where: str) -> BaseGeometry:
    """Refuse a geometry that is not a valid, flat polygon."""
    if geometry is None or geometry.is_empty:
        raise AreaError(f"{where} is empty; draw a polygon or delete the feature")
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        raise AreaError(f"{where} is a {geometry.geom_type}; give a Polygon or MultiPolygon")
    if geometry.has_z:
        raise AreaError(f"{where} is 3D; drop the heights (ogr2ogr -dim XY flat.geojson FILE)")
    if not geometry.is_valid:
        raise AreaError(
            f"{where} is not a valid polygon: {explain_validity(geometry)}; redraw it there or "
            "repair it (QGIS: Fix geometries)"
        )
    if geometry.area == 0:
        raise AreaError(f"{where} covers no ground; draw a polygon with an inside")
    return geometry


def _series(geometry: BaseGeometry, crs: object) -> GeoSeries:
    """One geometry, to be reprojected."""
    from geopandas import GeoSeries

    return GeoSeries([geometry], crs=crs)


def _on_map(point: Point, crs: CRS) -> Point:
    return _series(point, "EPSG:4326").to_crs(crs).iloc[0]


def _to_wgs84(polygon: BaseGeometry, crs: object, projected: bool) -> BaseGeometry:
    """Reproject to EPSG:4326; straight lines of a projected CRS stay straight on the ground."""
    if projected:
        polygon = shapely.segmentize(polygon, _SEGMENT_M)
    moved = _series(polygon, crs).to_crs("EPSG:4326").iloc[0]
    return continuous_longitudes(moved) if projected else moved


def _check_longitudes_latitudes(polygon: BaseGeometry, where: str) -> None:
    """Refuse coordinates off the globe, swapped, or round the earth the wrong way."""
    west, south, east, north = polygon.bounds
    if not polygon.is_valid or not all(map(math.isfinite, polygon.bounds)):
        raise AreaError(f"{where} cannot be put into degrees; redraw it in EPSG:4326")
    span = f"longitude {west:g} to {east:g}, latitude {south:g} to {north:g}"
    if south < -90 or north > 90:
        swapped = west >= -90 and east <= 90 and max(abs(south), abs(north)) <= 360
        cause = (
            "longitude and latitude look swapped; write longitude first"
            if swapped
            else "these are not degrees; export it in EPSG:4326"
        )
        raise AreaError(f"{where} lies off the globe ({span}): {cause}")
    if west < -360 or east > 360:
        raise AreaError(f"{where} lies off the globe ({span}): give longitudes from -180 to 180")
    for part in getattr(polygon, "geoms", [polygon]):
        if part.bounds[2] - part.bounds[0] > 180:
            raise AreaError(
                f"{where} spans {part.bounds[2] - part.bounds[0]:.0f} degrees of longitude, round "
                "the earth the wrong way; split it at the antimeridian or write longitudes "
                "beyond 180 (such as 181 for -179)"
            )


def check_near(aoi: AreaOfInterest, event: Event, name: str) -> None:
    """Refuse an area so far from its event that a coordinate must be wrong.

    Raises:
        AreaError: it is; calls the area by `name` and says what to do.
    """
    here = (event.longitude, event.latitude)
    distance_km = _distance_km(aoi.geometry, *here)
    mistakes = {
        "longitude and latitude look swapped; write longitude first": lambda xy: xy[:, ::-1],
        "it lies on the wrong side of the antimeridian or of Greenwich; change the sign of its "
        "longitudes": lambda xy: xy * (-1, 1),
    }
    for fix, mend in mistakes.items():
        mended = shapely.transform(aoi.geometry, mend)
        if distance_km > _NEAR_KM and _distance_km(mended, *here) == 0:
            raise AreaError(f"{name} lies {distance_km:,.0f} km from event {event.id}: {fix}")
    if distance_km > _FAR_KM:
        raise AreaError(
            f"{name} lies {distance_km:,.0f} km from event {event.id}; give the area of this event"
        )


def _distance_km(area: MultiPolygon, longitude: float, latitude: float) -> float:
    """Geodesic distance from a point to the nearest vertex of an area; 0 inside it."""
    if area.contains(Point(longitude, latitude)):
        return 0.0
    vertices = shapely.get_coordinates(area)
    start = np.ones(len(vertices))
    lat = np.clip(vertices[:, 1], -90, 90)
    _, _, metres = _GEOD.inv(longitude * start, latitude * start, vertices[:, 0], lat)
    return float(np.min(metres)) / 1000


def _cap(lon: NDArray[np.float64], lat: NDArray[np.float64], pole: float) -> MultiPolygon:
    """The ground between a ring round a pole and that pole, in degrees; holes are filled.

    Args:
        lon: degrees, -180 to 180, of each corner, in order.
        lat: degrees, alike.
        pole: 90 or -90.
    """
    round_it = np.unwrap(np.append(lon, lon[0]), period=360)
    corners = [*zip(round_it, np.append(lat, lat[0]), strict=True)]
    closed = Polygon([*corners, (round_it[-1], pole), (round_it[0], pole)])
    return split_at_antimeridian(shapely.make_valid(closed))


def as_multipolygon(area: BaseGeometry) -> MultiPolygon:
    """The polygons of a geometry, without the points and lines that overlay leaves behind."""
    return MultiPolygon(list(_polygons(area)))


def _polygons(area: BaseGeometry) -> Iterable[Polygon]:
    if area.geom_type == "Polygon" and not area.is_empty:
        yield area
    for part in getattr(area, "geoms", ()):
        yield from _polygons(part)
