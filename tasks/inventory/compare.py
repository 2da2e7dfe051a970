"""What changed between two versions of an event's inventory, and where each landslide came from.

Two outlines are linked, taken for the same landslide, when they share `LINKED` of the smaller one.
Landslides joined by links, directly or through others, are a group, and each group is one change:

    none before, none after    appeared, vanished
    one before, more after     split
    more before, one after     merged
    as many after as before    unchanged, grown or shrunk (by more than `RESIZED` of the area)
    any other number           regrouped

Only ground that both versions observed is compared. A landslide with less than `INSIDE` of its area
there is not comparable: elsewhere one of them did not look. Nor is one that only such landslides
are linked to: it did not appear or vanish.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon, box
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection

from tasks.errors import InventoryError, StorageError
from tasks.inventory.origin import mapped_version
from tasks.inventory.store import (
    StoredInventory,
    get_inventory,
    list_inventories,
    read_landslides,
    read_reviewed,
)
from tasks.publish.products import written_aside

LINKED = 0.1
RESIZED = 0.1
INSIDE = 0.5

Change = Literal[
    "unchanged", "grown", "shrunk", "split", "merged", "regrouped", "appeared", "vanished"
]
# Cylindrical equal-area on WGS 84: areas in the plane are those on the ellipsoid.
EQUAL_AREA = "EPSG:6933"
FORMATS = (".gpkg", ".geojson")
CORNERS = 256
# Ground kept around a landslide when it is followed: beyond the neighbours it may be linked with.
MARGIN_DEG = 0.1


@dataclass(frozen=True)
class Tally:
    """Landslides of one kind of change, before and after; areas in m² on the ground compared."""

    before: int
    after: int
    before_m2: float
    after_m2: float


@dataclass(frozen=True)
class Difference:
    """All changes from one version to another.

    `changes` holds one row a group, EPSG:4326: change, before and after (tuples of its landslides'
    numbers), before_m2, after_m2 and shared_m2 (on the ground compared), and its outline after the
    change, or before it where it vanished. `left_out` holds one row a landslide that is not
    comparable, EPSG:4326: side (before or after) and number.
    """

    changes: gpd.GeoDataFrame
    tallies: dict[str, Tally]
    not_comparable: Tally
    left_out: gpd.GeoDataFrame
    ground: MultiPolygon
    ground_km2: float


@dataclass(frozen=True)
class Step:
    """What a landslide is in one version, and what became of it since the version before.

    `area_m2` is None where the two are not comparable there, be it that one did not look.
    """

    version: int
    numbers: tuple[int, ...]
    area_m2: float | None
    change: Change | Literal["not comparable"] | None


def difference_of_versions(
    connection: Connection, event_id: str, before: int, after: int
) -> Difference:
    """What changed from one version of an event's inventory to another, `as_compared`.

    Raises:
        EventError, InventoryError: there is no such version.
    """
    old, new = (get_inventory(connection, event_id, version) for version in (before, after))
    return difference(*as_compared(connection, old, new), old.observed & new.observed)


def as_compared(
    connection: Connection, one: StoredInventory, other: StoredInventory
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """The landslides of two versions of an event, as reviewed.

    Where one is what reviews made of the other, the older is taken as it was stored: as reviewed
    the two are alike.
    """
    mapped = [mapped_version(connection, inventory).id for inventory in (one, other)]
    versions = {one.version, other.version}
    unreviewed = min(versions) if len(versions) > 1 and mapped[0] == mapped[1] else None
    first, second = (
        (read_landslides if stored.version == unreviewed else read_reviewed)(connection, stored.id)
        for stored in (one, other)
    )
    return first, second


def difference(
    before: gpd.GeoDataFrame, after: gpd.GeoDataFrame, ground: BaseGeometry
) -> Difference:
    """Compare the landslides of two versions on the ground both observed.

    Args:
        before: landslides with `number`, EPSG:4326.
        after: the same of the other version.
        ground: what both observed, EPSG:4326.

    Raises:
        InventoryError: they share no ground.
    """
    common = _polygons(ground)
    if common.is_empty:
        raise InventoryError(
            "the two versions share no observed ground, so nothing can be compared; "
            "look at each with `scarp inventory show`"
        )
    plane = _project(np.array([common]))[0]
    old, new = _Side.of(before, plane), _Side.of(after, plane)
    kept = _comparable(old, new)
    changes = _describe(old.only(kept[0]), new.only(kept[1]))
    tallies = {change: _tally(changes[changes["change"] == change]) for change in get_args(Change)}
    return Difference(
        changes=changes,
        tallies=tallies,
        not_comparable=_left_out((old, new), kept),
        left_out=_outlines_of(old.only(~kept[0]), new.only(~kept[1])),
        ground=common,
        ground_km2=float(plane.area) / 1e6,
    )


def lineage(connection: Connection, event_id: str, version: int, number: int) -> list[Step]:
    """Follow one landslide through the versions of its event, oldest first.

    Versions are compared two by two, as `difference` does; where it split, all parts are followed.
    A version that did not look is passed over. The trail ends where the landslide is not there.

    Raises:
        InventoryError: there is no such landslide.
    """
    versions = list_inventories(connection, event_id)
    at = next((i for i, stored in enumerate(versions) if stored.version == version), None)
    start = None if at is None else read_reviewed(connection, versions[at].id)
    if at is None or start is None or number not in start["number"].to_numpy():
        raise InventoryError(
            f"event {event_id} has no landslide {number} in version {version}, as reviewed"
        )
    known = {version: start[start["number"] == number]}
    changes: dict[int, Change | Literal["not comparable"]] = {}
    for others, forth in ((versions[at + 1 :], True), (versions[:at][::-1], False)):
        last = versions[at]
        for other in others:
            older, newer = (last, other) if forth else (other, last)
            change, found = _across(connection, older, newer, known[last.version], forth=forth)
            known[other.version] = found
            if change == "not comparable":
                changes[other.version] = change
                continue
            changes[newer.version] = change
            if not len(found):
                break
            last = other
    passed_over = {stored for stored, change in changes.items() if change == "not comparable"}
    return [
        Step(
            stored,
            tuple(int(one) for one in landslides["number"]),
            float(landslides["area_m2"].sum()) if stored not in passed_over else None,
            changes.get(stored),
        )
        for stored, landslides in sorted(known.items())
    ]


def write_changes(found: Difference, path: Path) -> Path:
    """Write the map of a difference: layer `changes`.

    A GeoPackage also holds `ground_compared`, and `not_comparable` if a landslide is.

    Raises:
        InventoryError: the suffix names no format.
        StorageError: the file cannot be written.
    """
    if path.suffix not in FORMATS:
        known = ", ".join((*FORMATS, ".png"))
        raise InventoryError(f"{path}: write the map to one of {known}")
    changes = found.changes.copy()
    for side in ("before", "after"):
        changes[side] = [", ".join(map(str, numbers)) for numbers in changes[side]]
    layers = {"changes": changes}
    if path.suffix == ".gpkg":
        if len(found.left_out):
            layers["not_comparable"] = found.left_out
        layers["ground_compared"] = gpd.GeoDataFrame(geometry=[found.ground], crs="EPSG:4326")
    with written_aside(path) as aside:
        try:
            for name, frame in layers.items():
                pyogrio.write_dataframe(
                    frame,
                    aside,
                    layer=name,
                    geometry_type="MultiPolygon",
                    promote_to_multi=True,
                    append=name != "changes",
                )
        except DataSourceError as error:
            raise StorageError(f"{path} cannot be written: {error}") from error
    return path


@dataclass(frozen=True)
class _Side:
    """The landslides of one version, and the part of each on the ground compared, in the plane."""

    numbers: NDArray[Any]
    outlines: NDArray[Any]
    inside: NDArray[Any]
    inside_m2: NDArray[Any]
    whole_m2: NDArray[Any]

    @classmethod
    def of(cls, landslides: gpd.GeoDataFrame, ground: BaseGeometry) -> _Side:
        """Cut landslides to the ground, given in the plane."""
        outlines = landslides.geometry.to_numpy()
        whole = _project(outlines)
        shapely.prepare(ground)
        inside, cut = whole.copy(), ~shapely.covers(ground, whole)
        inside[cut] = _cut(whole[cut], ground)
        numbers = landslides["number"].to_numpy()
        return cls(numbers, outlines, inside, shapely.area(inside), shapely.area(whole))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether enough of each landslide lies on the ground compared."""
        return (self.inside_m2 > 0) & (self.inside_m2 >= INSIDE * self.whole_m2)

    def only(self, which: NDArray[np.bool_]) -> _Side:
        """Some of the landslides."""
        return _Side(*(getattr(self, part.name)[which] for part in fields(self)))


def _cut(outlines: NDArray[Any], ground: BaseGeometry) -> NDArray[Any]:
    """The part of each outline on the ground.

    Clouds give the ground a hundred thousand corners: it is taken apart first, so that each outline
    meets a small piece or two.
    """
    pieces = np.array(_pieces(ground), dtype=object)
    of, piece = shapely.STRtree(pieces).query(outlines, predicate="intersects")
    parts = shapely.intersection(outlines[of], pieces[piece])
    found = np.full(len(outlines), MultiPolygon(), dtype=object)
    counts = np.bincount(of, minlength=len(outlines))
    for position, mine in enumerate(_members(of, counts)):
        if len(mine):
            found[position] = _one_outline(parts[mine])
    return found


def _pieces(ground: BaseGeometry) -> list[BaseGeometry]:
    """Halve an area along its longer side until each piece has few corners."""
    if shapely.get_num_coordinates(ground) <= CORNERS:
        return [ground] if ground.area else []
    west, south, east, north = ground.bounds
    across, up = (west + east) / 2, (south + north) / 2
    if east - west > north - south:
        halves = (west, south, across, north), (across, south, east, north)
    else:
        halves = (west, south, east, up), (west, up, east, north)
    clipped = [shapely.make_valid(shapely.clip_by_rect(ground, *half)) for half in halves]
    return [piece for half in clipped for piece in _pieces(half)]


def _groups(old: _Side, new: _Side) -> tuple[NDArray[Any], NDArray[Any]]:
    """Number the groups: one label a landslide, old ones first; and the area each group shares."""
    count = len(old.numbers) + len(new.numbers)
    after, before = shapely.STRtree(old.inside).query(new.inside, predicate="intersects")
    shared = shapely.area(shapely.intersection(old.inside[before], new.inside[after]))
    smaller = np.minimum(old.inside_m2[before], new.inside_m2[after])
    linked = (shared > 0) & (shared >= LINKED * smaller)
    before, after, shared = before[linked], after[linked] + len(old.numbers), shared[linked]
    graph = coo_array((np.ones(len(before)), (before, after)), shape=(count, count))
    groups, labels = connected_components(graph, directed=False)
    return labels, np.bincount(labels[before], weights=shared, minlength=groups)


def _comparable(old: _Side, new: _Side) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which landslides of either side are compared: see the top."""
    labels, shared = _groups(old, new)
    sides = (old, labels[: len(old.numbers)]), (new, labels[len(old.numbers) :])
    unknown = np.zeros(len(shared), dtype=bool)
    for side, of in sides:
        members, seen = (np.bincount(one, minlength=len(shared)) for one in (of, of[side.seen]))
        unknown |= (members > 0) & (seen == 0)
    before, after = (side.seen & ~unknown[of] for side, of in sides)
    return before, after


def _describe(old: _Side, new: _Side) -> gpd.GeoDataFrame:
    """One row a group: see `Difference.changes`."""
    labels, shared = _groups(old, new)
    sides = (old, labels[: len(old.numbers)]), (new, labels[len(old.numbers) :])
    groups = len(shared)
    many = [np.bincount(of, minlength=groups) for _, of in sides]
    area = [np.bincount(of, weights=side.inside_m2, minlength=groups) for side, of in sides]
    members = [_members(of, n) for (_, of), n in zip(sides, many, strict=True)]
    outlines = [
        _one_outline(new.outlines[after] if len(after) else old.outlines[before])
        for before, after in zip(*members, strict=True)
    ]
    return gpd.GeoDataFrame(
        {
            "change": _kinds(many[0], many[1], area[0], area[1]),
            "before": [tuple(old.numbers[before].tolist()) for before in members[0]],
            "after": [tuple(new.numbers[after].tolist()) for after in members[1]],
            "before_m2": area[0],
            "after_m2": area[1],
            "shared_m2": shared,
        },
        geometry=outlines,
        crs="EPSG:4326",
    )


def _kinds(
    before: NDArray[Any],
    after: NDArray[Any],
    before_m2: NDArray[Any],
    after_m2: NDArray[Any],
) -> NDArray[Any]:
    """The change of each group, by the table at the top; the first that holds."""
    chosen: dict[Change, NDArray[np.bool_]] = {
        "appeared": before == 0,
        "vanished": after == 0,
        "split": (before == 1) & (after > 1),
        "merged": (before > 1) & (after == 1),
        "regrouped": before != after,
        "grown": after_m2 > before_m2 * (1 + RESIZED),
        "shrunk": after_m2 < before_m2 * (1 - RESIZED),
    }
    return np.select(list(chosen.values()), list(chosen), "unchanged")


def _members(labels: NDArray[Any], counts: NDArray[Any]) -> list[NDArray[Any]]:
    """Positions of each group's members."""
    ends = np.cumsum(counts)
    return np.split(np.argsort(labels, kind="stable"), ends)[: len(counts)]


def _one_outline(outlines: NDArray[Any]) -> BaseGeometry:
    return outlines[0] if len(outlines) == 1 else shapely.union_all(outlines)


def _tally(changes: gpd.GeoDataFrame) -> Tally:
    return Tally(
        before=int(changes["before"].map(len).sum()),
        after=int(changes["after"].map(len).sum()),
        before_m2=float(changes["before_m2"].sum()),
        after_m2=float(changes["after_m2"].sum()),
    )


def _left_out(
    sides: tuple[_Side, _Side], kept: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> Tally:
    """Landslides that are not comparable, and all area that was not compared."""
    pairs = list(zip(sides, kept, strict=True))
    before, after = (int((~which).sum()) for which in kept)
    areas = (float(side.whole_m2.sum() - side.inside_m2[which].sum()) for side, which in pairs)
    return Tally(before, after, *areas)


def _outlines_of(old: _Side, new: _Side) -> gpd.GeoDataFrame:
    sides = np.repeat(["before", "after"], [len(old.numbers), len(new.numbers)])
    numbers = np.concatenate([old.numbers, new.numbers])
    outlines = np.concatenate([old.outlines, new.outlines])
    return gpd.GeoDataFrame({"side": sides, "number": numbers}, geometry=outlines, crs="EPSG:4326")


def _across(
    connection: Connection,
    older: StoredInventory,
    newer: StoredInventory,
    known: gpd.GeoDataFrame,
    *,
    forth: bool,
) -> tuple[Change | Literal["not comparable"], gpd.GeoDataFrame]:
    """What the landslides known in one version are in the other, and the change between."""
    # What it is over there may reach farther, to where its neighbours here became the same.
    met = read_reviewed(connection, (newer if forth else older).id, box(*known.total_bounds))
    near = shapely.envelope(shapely.geometrycollections([*known.geometry, *met.geometry]))
    before, after = (read_reviewed(connection, side.id, near) for side in (older, newer))
    mine, theirs = ("before", "after") if forth else ("after", "before")
    other = after if forth else before
    ground = _polygons(older.observed & newer.observed & near.buffer(MARGIN_DEG))
    if ground.is_empty:
        return "not comparable", other.iloc[:0]
    changes = difference(before, after, ground).changes
    numbers = set(known["number"])
    touched = changes[[bool(numbers & set(group)) for group in changes[mine]]]
    if not len(touched):
        return "not comparable", other.iloc[:0]
    found = {number for group in touched[theirs] for number in group}
    kinds = touched["change"].unique()
    change: Change = kinds[0] if len(kinds) == 1 else "regrouped"
    return change, other[other["number"].isin(found)]


def _polygons(area: BaseGeometry) -> MultiPolygon:
    return MultiPolygon([part for part in shapely.get_parts(area) if part.geom_type == "Polygon"])


def _project(outlines: NDArray[Any]) -> NDArray[Any]:
    """Outlines in the equal-area plane, valid there as well."""
    plane: NDArray[Any] = gpd.GeoSeries(outlines, crs="EPSG:4326").to_crs(EQUAL_AREA).to_numpy()
    broken = ~shapely.is_valid(plane)
    plane[broken] = shapely.make_valid(plane[broken])
    return plane
