"""The records that pass between steps: frozen, with units in their names. Geometry is EPSG:4326."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

EventKind = Literal["earthquake", "rainfall"]
InventoryStatus = Literal["draft", "published", "superseded"]
Outcome = Literal["succeeded", "succeeded_empty", "failed", "cancelled"]

_WGS84 = Geod(ellps="WGS84")


def geodesic_area_m2(geometry: BaseGeometry) -> float:
    """Area on the WGS 84 ellipsoid in m², whatever the ring orientation (EPSG:4326 in)."""
    return float(geodesic_measures([geometry])[0][0])


def geodesic_measures(
    areas: Sequence[BaseGeometry] | NDArray[np.object_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas and outer perimeters on the WGS 84 ellipsoid, whatever the ring orientation.

    Args:
        areas: Polygons, MultiPolygons or collections of them in EPSG:4326, shape (n,); lines and
            points in a collection count nothing.

    Returns:
        Areas in m² and perimeters in m, each of shape (n,).
    """
    owners, outer, rings, lengths = _measured_rings(areas)
    area, perimeter = np.zeros(len(areas)), np.zeros(len(areas))
    if len(owners):
        np.add.at(area, owners, 2 * rings[outer] - np.add.reduceat(rings, outer))
        np.add.at(perimeter, owners, lengths[outer])
    return area, perimeter


def geodesic_rims(areas: Sequence[BaseGeometry] | NDArray[np.object_]) -> NDArray[np.float64]:
    """Lengths of the boundaries on the WGS 84 ellipsoid, the rims of holes among them.

    Args:
        areas: as `geodesic_measures` takes them, shape (n,).

    Returns:
        Lengths in m, shape (n,); at least the outer perimeters.
    """
    owners, outer, _, lengths = _measured_rings(areas)
    rims = np.zeros(len(areas))
    if len(owners):
        np.add.at(rims, owners, np.add.reduceat(lengths, outer))
    return rims


def _measured_rings(
    areas: Sequence[BaseGeometry] | NDArray[np.object_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Every ring of every polygon, the outer one of each before its holes.

    Returns:
        For each polygon the place of the area it belongs to, and of its outer ring; for each ring
        the area it encloses in m² and its length in m.
    """
    parts, owners = shapely.get_parts(np.asarray(areas, object), return_index=True)
    solid = (shapely.get_dimensions(parts) == 2) & ~shapely.is_empty(parts)
    parts, owners = parts[solid], owners[solid]
    if not len(parts):
        return owners, owners, np.empty(0), np.empty(0)
    _, points, (ring_ends, first_rings) = shapely.to_ragged_array(parts, include_z=False)
    longitude, latitude = np.ascontiguousarray(points.T)
    measured = [
        _WGS84.polygon_area_perimeter(longitude[start:end], latitude[start:end])
        for start, end in pairwise(ring_ends)
    ]
    signed, lengths = np.array(measured).T
    return owners, first_rings[:-1], np.abs(signed), lengths


@dataclass(frozen=True)
class Event:
    """An earthquake or a rainfall event, as one source describes it at one time."""

    id: str
    kind: EventKind
    title: str
    occurred_at: datetime
    longitude: float
    latitude: float
    magnitude: float | None = None
    magnitude_type: str | None = None
    depth_km: float | None = None
    rainfall_mm: float | None = None
    duration_h: float | None = None
    source: str = "operator"
    source_version: str = ""
    alternate_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class AreaOfInterest:
    """Where to look, and how that was decided (`given`, or the name of the relation used)."""

    geometry: MultiPolygon
    how: str

    @property
    def area_km2(self) -> float:
        """Geodesic area in km²."""
        return geodesic_area_m2(self.geometry) / 1e6

    @property
    def digest(self) -> str:
        """SHA-256 of the ground, hexadecimal, however that was decided."""
        return hashlib.sha256(self.geometry.wkb).hexdigest()


@dataclass(frozen=True)
class Scene:
    """One acquisition: what it is, where it is, when it was taken and where its bands lie.

    `hrefs` maps a band's common name (`red`, `green`, `blue`, `nir`, and that of a cloud mask in
    `tasks.imagery.masks`) to something rasterio opens. Heights of the sun and angles off nadir are
    None where the source does not tell. `orbit` is that of radar, such as `ascending 117`.
    """

    id: str
    provider: str
    collection: str
    item_id: str
    acquired_at: datetime | None
    gsd_m: float
    bands: tuple[str, ...]
    crs: str
    footprint: MultiPolygon
    hrefs: dict[str, str]
    cloud_cover: float | None = None
    checksum: str = ""
    licence: str = ""
    sun_elevation_deg: float | None = None
    off_nadir_deg: float | None = None
    orbit: str = ""


@dataclass(frozen=True)
class SceneJudgement:
    """What a scene shows of the AOI, and whether it is used; `reason` is a sentence either way.

    `clear_fraction` is None where nobody looked at its pixels.
    """

    scene: Scene
    clear_fraction: float | None
    used: bool
    reason: str


@dataclass(frozen=True)
class Mosaic:
    """The prepared image of an event on one grid, and who saw which pixel.

    `path` is a tiled GeoTIFF with bands described `red`, `green`, `blue` (and `nir` if every scene
    has it) and an internal mask: 255 where a scene saw the ground clear inside the AOI, 0 where
    nobody looked. `scene_index` is uint8 on the same grid: i where `scenes[i - 1]` was used, 0
    elsewhere.
    """

    path: Path
    scene_index: Path
    scenes: tuple[Scene, ...]
    observed: MultiPolygon


@dataclass(frozen=True)
class Doubt:
    """A typed reservation about a product, stored with it and shown in the report."""

    code: Literal[
        "partial-coverage",
        "draft-waits",
        "draft-sees-less",
        "provisional-aoi",
        "region-seen-in-training",
        "old-scene",
        "cloud-not-looked-for",
        "low-sun",
        "oblique-view",
        "images-displaced",
        "not-normalised",
        "undated-scene",
        "gsd-outside-training",
        "weights-unsure",
        "dem-partial",
        "dem-voids-filled",
        "dem-zeros",
        "dem-in-feet",
        "dem-coarsened",
        "factor-absent",
        "factor-partial",
        "factor-constant",
        "few-landslides",
        "landslides-below-cell",
        "bands-named-in-order",
        "crs-not-given",
        "factor-left-out",
        "samples-left-out",
        "folds-left-out",
        "few-absences",
        "samples-chosen-by-model",
        "carried-over",
        "cells-differ",
        "events-share-ground",
        "like-guessing",
        "outside-applicability",
        "outlines-mended",
        "outlines-elsewhere",
        "screen-not-run",
        "reviews-left",
        "source-trouble",
    ]
    text: str


@dataclass(frozen=True)
class Screening:
    """What one screen was asked of an inventory, and how many outlines it set aside.

    `not_run` says why it could not be asked, and is empty where it was.
    """

    screen: str
    asked: str
    set_aside: int
    not_run: str = ""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Provenance:
    """What a product was made from; two equal provenances make the same bytes."""

    event_id: str
    inputs: dict[str, str]
    parameters: dict[str, Any] = field(default_factory=dict)
    weights_digest: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of every field, hexadecimal."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()
