"""Inventories that others drew: read from a polygon file, mended, measured and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon
from sqlalchemy import Connection

from tasks.errors import InventoryError
from tasks.events.aoi import continuous_longitudes, split_at_antimeridian
from tasks.inventory.polygon_files import Features, read_features
from tasks.inventory.store import StoredInventory, store_inventory
from tasks.inventory.tables import LandslideKind
from tasks.mapping.attributes import measure
from tasks.types import Doubt

POLYGON, MULTIPOLYGON = 3, 6
# A square of a centimetre: what is left of a ring that was drawn there and back.
LEAST_AREA_DEG2 = 1e-14
NUMBERS = (
    "confidence",
    "volume_m3",
    "elevation_min_m",
    "elevation_mean_m",
    "elevation_max_m",
    "slope_mean_deg",
    "aspect_deg",
)
COLUMNS = ("kind", "acquired_at", "scene_id", *NUMBERS)
KINDS: Mapping[str, LandslideKind] = MappingProxyType(
    {"landslide": "landslide", "scar": "scar", "source": "scar", "deposit": "deposit"}
)
A_DAY, A_TIME = "2018-09-06", "2018-09-06T03:07Z"
GIVEN_VOLUME = "as given by the author"
Done = Literal["repaired", "dropped"]
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Mending:
    """What was done to one feature, counted from 1 in its layer, and why."""

    layer: str
    feature: int
    done: Done
    why: str


@dataclass(frozen=True)
class ImportedPolygons:
    """Outlines read from a file: EPSG:4326, valid, 2D, each with an area and a column `kind`.

    The columns of `COLUMNS` that the file was asked for are there as well.
    """

    landslides: gpd.GeoDataFrame
    mended: tuple[Mending, ...]
    name: str

    @property
    def repaired(self) -> int:
        """Number of outlines that were invalid and are not any more."""
        return sum(mending.done == "repaired" for mending in self.mended)

    @property
    def dropped(self) -> int:
        """Number of features left out."""
        return sum(mending.done == "dropped" for mending in self.mended)


def read_inventory_file(
    path: Path,
    layer: str | None = None,
    kind: LandslideKind = "landslide",
    *,
    crs: str | None = None,
    columns: Mapping[str, str] = _NONE,
    kinds: Mapping[str, LandslideKind] = _NONE,
    may_be_empty: bool = False,
) -> ImportedPolygons:
    """Read landslide outlines from any format of `polygon_files`.

    Outlines are reprojected to EPSG:4326 and flattened; those that cross themselves are repaired;
    those that are empty, have no area or repeat another are dropped. Each is named with the reason.

    Args:
        path: the file.
        layer: which layer, where it has several.
        kind: what an outline bounds, the whole landslide, its scar or its deposit, where no column
            or value says so.
        crs: the CRS it was drawn in, for a file that states none or a wrong one.
        columns: which of `COLUMNS` is read from which column of the file.
        kinds: what the file's words for a kind mean, beside `KINDS`; capitals do not matter.
        may_be_empty: whether a layer without features will do: who looked may have found nothing.

    Raises:
        InventoryError: the file, layer or a column cannot be read, has no CRS, no polygons,
            coordinates that are not on Earth, or a value that a column cannot hold.
    """
    for name in columns:
        if name not in COLUMNS:
            raise InventoryError(
                f"{name} is not read from a file; these columns are: {', '.join(COLUMNS)}"
            )
    wanted = tuple(columns.values())
    features = read_features(path, layer, crs=crs, columns=wanted, may_be_empty=may_be_empty)
    if not len(features.frame):
        return _without_landslides(features.name)
    outlines = _on_the_ground(features)
    known = _attributes(features, columns, kinds)
    known["kind"] = known["kind"].fillna(kind) if "kind" in known else kind
    outlines, mended, kept = _mend(outlines, known["kind"].to_numpy(), features.layer)
    if not kept.any():
        raise InventoryError(f"{features.name} holds no polygon with an area; name another layer")
    for place in np.flatnonzero(kept & (shapely.bounds(outlines)[:, 2] > 180)):
        outlines[place] = split_at_antimeridian(outlines[place])
    landslides = gpd.GeoDataFrame(known[kept], geometry=outlines[kept], crs="EPSG:4326")
    return ImportedPolygons(landslides.reset_index(drop=True), mended, features.name)


def _without_landslides(name: str) -> ImportedPolygons:
    none = gpd.GeoDataFrame({"kind": pd.Series(dtype=str)}, geometry=[], crs="EPSG:4326")
    return ImportedPolygons(none, (), name)


def joined(parts: Sequence[ImportedPolygons]) -> ImportedPolygons:
    """Layers of one inventory, such as scars and deposits, as one; features keep their numbers."""
    landslides = pd.concat([part.landslides for part in parts], ignore_index=True)
    mended = tuple(mending for part in parts for mending in part.mended)
    return ImportedPolygons(landslides, mended, " and ".join(part.name for part in parts))


def read_area_file(path: Path, layer: str | None = None, crs: str | None = None) -> MultiPolygon:
    """Read the ground that an inventory's author looked at, EPSG:4326; its polygons are merged.

    Raises:
        InventoryError: as `read_inventory_file`.
    """
    return _multi(shapely.union_all(read_inventory_file(path, layer, crs=crs).landslides.geometry))


def require_in_area(imported: ImportedPolygons, aoi: MultiPolygon) -> int:
    """Refuse outlines none of which lies in an event's area of interest (both EPSG:4326).

    Returns:
        How many of them lie elsewhere.

    Raises:
        InventoryError: none of them lies there, and where they do; or some would with coordinates
            swapped.
    """
    outlines = imported.landslides.geometry.to_numpy()
    shapely.prepare(aoi)
    elsewhere = outlines[~shapely.intersects(aoi, outlines)]
    swapped = shapely.transform(elsewhere, lambda coordinates: coordinates[:, ::-1])
    if count := int(shapely.intersects(aoi, swapped).sum()):
        raise InventoryError(
            f"{imported.name} has longitude and latitude swapped in {count} of its "
            f"{len(outlines)} outlines; QGIS mends it: Swap X and Y"
        )
    if len(elsewhere) == len(outlines) > 0:
        raise _elsewhere(imported.name, imported.landslides.total_bounds)
    return len(elsewhere)


def require_looked_in_area(observed: MultiPolygon, aoi: MultiPolygon, name: str) -> None:
    """Refuse ground looked at of which nothing lies in an event's area of interest (EPSG:4326).

    Raises:
        InventoryError: nothing of it does, and where it lies.
    """
    if not observed.intersects(aoi):
        raise _elsewhere(f"the ground looked at in {name}", observed.bounds)


def _elsewhere(name: str, bounds: Sequence[float]) -> InventoryError:
    west, south, east, north = bounds
    return InventoryError(
        f"{name} lies at longitude {west:.4g} to {east:.4g}, latitude {south:.4g} to "
        f"{north:.4g}, outside the event's area of interest; is it this event, and is its CRS "
        "right (--crs)?"
    )


def store_import(
    connection: Connection,
    *,
    event_id: str,
    run_id: UUID,
    digest: str,
    imported: ImportedPolygons,
    observed: MultiPolygon | None,
    elsewhere: int = 0,
    licence: str = "",
    attribution: str = "",
) -> StoredInventory:
    """Store imported outlines as an event's next inventory version, of method `imported`.

    It is a draft, so that the version published before stays the event's answer.

    Args:
        connection: in a transaction that the caller commits.
        event_id: a registered event.
        run_id: the run of the import.
        digest: SHA-256 over file, layer and options.
        imported: what `read_inventory_file` read.
        observed: ground the author looked at; None takes the outlines' convex hull, with a doubt.
        elsewhere: how many of them lie outside the event's area of interest, for a doubt.
        licence: licence of the file.
        attribution: whom to credit.

    Raises:
        EventError, InventoryError, StoreError: as `store_inventory`.
    """
    doubts = []
    if observed is None:
        observed = hull_of(imported.landslides.geometry.to_numpy())
        doubts.append(
            Doubt(
                "partial-coverage",
                "the ground its author looked at is not known; the convex hull of the landslides "
                "stands for it, so ground in it without a landslide may not have been looked at",
            )
        )
    if elsewhere:
        doubts.append(
            Doubt(
                "outlines-elsewhere",
                f"{elsewhere} of {len(imported.landslides)} outlines lie outside the event's area "
                "of interest",
            )
        )
    if imported.mended:
        doubts.append(
            Doubt(
                "outlines-mended",
                f"of the outlines as drawn, {imported.repaired} were invalid and were repaired, "
                f"{imported.dropped} were empty, without area or repeated and were left out",
            )
        )
    return store_inventory(
        connection,
        event_id=event_id,
        run_id=run_id,
        digest=digest,
        method="imported",
        threshold=None,
        minimum_mapping_unit_m2=0.0,
        observed=observed,
        landslides=_measured(imported.landslides),
        doubts=doubts,
        publish=False,
        licence=_text(licence, "the licence"),
        attribution=_text(attribution, "the attribution"),
    )


def _measured(landslides: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Measures of the outlines, and what their author knew better."""
    measured = measure(landslides, None)
    for name in landslides.columns.intersection(NUMBERS):
        known = landslides[name].notna()
        measured.loc[known, name] = landslides.loc[known, name]
        if name == "volume_m3":
            measured.loc[known, "volume_relation"] = GIVEN_VOLUME
    return measured


def _on_the_ground(features: Features) -> np.ndarray:
    """Flat outlines in EPSG:4326, those across the antimeridian with longitudes beyond 180.

    None where a feature has no polygon.
    """
    _require_degrees(features)
    frame = features.frame.to_crs("EPSG:4326")
    bounds = frame.total_bounds
    if np.isnan(bounds).all():
        raise InventoryError(f"{features.name} holds no polygon with an area; name another layer")
    if not np.isfinite(bounds).all() or (np.abs(bounds) > [180, 90, 180, 90]).any():
        raise InventoryError(
            f"{features.name} reaches longitude {bounds[2]:.6g} and latitude {bounds[3]:.6g}, "
            "which is not on Earth; are longitude and latitude swapped, or is "
            f"{features.frame.crs.name} not its CRS (--crs)?"
        )
    flat = shapely.force_2d(frame.geometry.to_numpy())
    polygons = (_polygonal(outline) for outline in flat)
    return np.array([one and continuous_longitudes(one) for one in polygons], dtype=object)


def _require_degrees(features: Features) -> None:
    """Refuse degrees that are said to be metres: they would lie within a stone's throw."""
    bounds, crs = features.frame.total_bounds, features.frame.crs
    if crs.is_projected and (np.abs(bounds) <= [180, 90, 180, 90]).all():
        raise InventoryError(
            f"{features.name} lies at {bounds[0]:.6g}, {bounds[1]:.6g}, which are degrees, but its "
            f"CRS is {crs.name}, in {crs.axis_info[0].unit_name}s; say which it is, such as --crs "
            "EPSG:4326"
        )


def _mend(
    outlines: np.ndarray, kinds: np.ndarray, layer: str
) -> tuple[np.ndarray, tuple[Mending, ...], np.ndarray]:
    """Valid outlines, what was done to which, and which to keep."""
    valid = outlines.copy()
    corners, of = shapely.get_coordinates(outlines, return_index=True)
    nowhere: NDArray[np.bool_] = np.zeros(len(outlines), bool)
    nowhere[of[np.isnan(corners).any(axis=1)]] = True
    valid[nowhere] = None
    broken = ~shapely.is_valid(valid) & ~shapely.is_missing(valid)
    # Rings are made valid one by one, then joined: overlapping parts merge and never cancel out.
    repaired = shapely.make_valid(outlines[broken], method="structure", keep_collapsed=False)
    valid[broken] = [_polygonal(outline) for outline in repaired]
    bare = ~(shapely.area(valid) > LEAST_AREA_DEG2)
    first = _first_alike(valid, kinds)
    again = (first < np.arange(len(valid))) & ~bare
    mended = []
    for place in np.flatnonzero(broken | bare | again):
        if nowhere[place]:
            why = "a coordinate is no number"
        elif bare[place]:
            why = "no area" if outlines[place] else "no polygon"
        elif again[place]:
            why = f"repeats feature {first[place] + 1}"
        else:
            why = str(shapely.is_valid_reason(outlines[place]))
        done: Done = "dropped" if bare[place] or again[place] else "repaired"
        mended.append(Mending(layer, int(place) + 1, done, why))
    return valid, tuple(mended), ~bare & ~again


def _first_alike(outlines: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """For each outline the place of the first that has the same points and kind."""
    shapes = shapely.to_wkb(shapely.normalize(outlines))
    places: dict[Any, int] = {}
    alike = zip(shapes, kinds, strict=True)
    return np.array([places.setdefault(key, place) for place, key in enumerate(alike)])


def _attributes(
    features: Features, columns: Mapping[str, str], kinds: Mapping[str, LandslideKind]
) -> pd.DataFrame:
    """The landslide columns that the file was asked for, each of its type."""
    known = pd.DataFrame(index=features.frame.index)
    for name, column in columns.items():
        values, place = features.frame[column], f"{features.name} column {column}"
        if name == "kind":
            known[name] = _kinds(values, kinds, place)
        elif name == "acquired_at":
            known[name] = _converted(values, _times, place, f"a time such as {A_DAY} or {A_TIME}")
        elif name == "scene_id":
            known[name] = [None if pd.isna(v) else _text(str(v), place) for v in values]
        else:
            numbers = partial(pd.to_numeric, errors="coerce")
            known[name] = _converted(values, numbers, place, "a number").astype(float)
    return known


def _kinds(values: pd.Series, kinds: Mapping[str, LandslideKind], place: str) -> pd.Series:
    meanings = {**KINDS} | {word.casefold(): kind for word, kind in kinds.items()}
    words = values.astype("string").str.strip().str.casefold()
    known = words.isin(list(meanings)) | words.isna()
    unknown = sorted({str(word) for word in values[~known.to_numpy()]})
    if unknown:
        raise InventoryError(
            f"{place} says {', '.join(map(repr, unknown[:10]))}; tell what that means with "
            f"--kind-word '{unknown[0]}=scar' (landslide, scar or deposit)"
        )
    return words.map(meanings)


def _times(values: pd.Series) -> pd.Series:
    """Times in UTC, NaT for what is none: 5/6 is a day in June to some and in May to others."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        # A day may be a number, which is a text with a fraction where others are missing.
        texts = values.astype("string").str.strip().str.removesuffix(".0").str.replace("/", "-")
        values = texts.where(texts.str.match(r"\d{4}(-\d\d-\d\d|\d{4})"))
    return pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")


def _converted(values: pd.Series, convert: Any, place: str, kind: str) -> pd.Series:
    made = convert(values)
    wrong = made.isna() & values.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        held = str(values.iloc[row])
        raise InventoryError(f"{place} holds {held!r} (feature {row + 1}), not {kind}")
    return made


def _text(value: str, place: str) -> str:
    if "\0" in value:
        raise InventoryError(f"{place} holds a NUL byte; leave it out")
    return value


def _polygonal(outline: shapely.Geometry | None) -> shapely.Geometry | None:
    """The polygons of a geometry; None where there are none."""
    if outline is None or outline.is_empty:
        return None
    if shapely.get_type_id(outline) in (POLYGON, MULTIPOLYGON):
        return outline
    areas = [part for part in shapely.get_parts(outline) if part.area > 0]
    return _polygonal(shapely.union_all(areas)) if areas else None


def hull_of(outlines: np.ndarray) -> MultiPolygon:
    """The convex hull of outlines in EPSG:4326, taken the short way round the earth."""
    whole = shapely.geometrycollections(outlines)
    if whole.bounds[2] - whole.bounds[0] > 180:
        whole = shapely.transform(whole, lambda xy: xy + (xy[:, :1] < 0) * (360, 0))
    return split_at_antimeridian(shapely.convex_hull(whole))


def _multi(area: shapely.Geometry) -> MultiPolygon:
    return area if isinstance(area, MultiPolygon) else MultiPolygon([area])
