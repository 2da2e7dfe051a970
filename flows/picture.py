"""What a person looks at when they open one event: everything the store and the disk have of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from shapely.geometry import MultiPolygon, mapping
from sqlalchemy import Connection, func, select, text

from flows.dossier import Dossier, read_dossier
from flows.overview import EventLine, list_lines, standing_until
from flows.world import World
from tasks.errors import EventError, InventoryError
from tasks.events.registry import find_registered
from tasks.imagery.waits import Wait
from tasks.inventory.origin import REVIEWED, how_made, mapped_version
from tasks.inventory.review import Progress, progress
from tasks.inventory.seen import seen_share, unseen_of
from tasks.inventory.store import StoredInventory, list_inventories
from tasks.inventory.tables import review
from tasks.publish.stac_item import ASSETS, version_of
from tasks.susceptibility.store import StoredSusceptibility, list_susceptibility

_SCENES = """
    SELECT scene_id, acquired_at, used, clear_fraction, reason
    FROM scarp.run_scene JOIN scarp.scene ON scene.id = scene_key
    WHERE run_id = :run_id ORDER BY used DESC, acquired_at DESC NULLS LAST, scene_id
"""


@dataclass(frozen=True)
class SceneLine:
    """What was made of one scene, and why; `clear_share` is None where its pixels were not read."""

    scene_id: str
    acquired_at: datetime | None
    used: bool
    clear_share: float | None
    reason: str


@dataclass(frozen=True)
class Picture:
    """One event, one version of its inventory and the map fitted to it, as far as there are any.

    `standings` are the number and area in m² of the landslides of each version, as reviewed.
    `mapped` is the version that looked at the ground, from which `shown` was reviewed, if it was;
    `scenes` are what it looked at, or the last look did where nothing is mapped yet. `seen_share`
    is the part of the area of interest that was seen clear, 0-1, None where nobody looked;
    `made_by` says of each version who made it. `products` are the names of the files it left,
    `products_version` the version they show, None if nobody knows.
    """

    line: EventLine
    dossier: Dossier
    inventories: tuple[StoredInventory, ...]
    shown: StoredInventory | None
    standings: Mapping[int, tuple[int, float]]
    mapped: StoredInventory | None
    seen_share: float | None
    made_by: Mapping[int, str]
    scenes: tuple[SceneLine, ...]
    reviewed: Progress | None
    susceptibility: StoredSusceptibility | None
    products: tuple[str, ...]
    products_version: int | None

    @property
    def standing(self) -> tuple[int, float]:
        """Number and area in m² of the landslides of `shown`, as reviewed."""
        return self.standings[self.shown.version] if self.shown else (0, 0.0)


def read_picture(world: World, event_id: str, version: int | None = None) -> Picture:
    """Read an event by its id or an alternate one, with a version or the one people should see.

    That is the published one, else the newest.

    Raises:
        EventError: it is not registered.
        InventoryError: it has no such version.
    """
    with world.engine.connect() as connection:
        dossier = read_dossier(connection, event_id)
        if dossier.event is None or dossier.aoi is None:
            raise EventError(
                f"{event_id} was looked at and never registered; `scarp events show {event_id}` "
                "says why"
            )
        name = dossier.event.id
        versions = tuple(list_inventories(connection, name))
        shown = _shown(name, versions, version)
        mapped = mapped_version(connection, shown) if shown else None
        maps = list_susceptibility(connection, name)
        return Picture(
            _line(connection, name, dossier.merged_into),
            dossier,
            versions,
            shown,
            {one.version: _standing(connection, one.id) for one in versions},
            mapped,
            seen_share(dossier.aoi.geometry, shown.observed) if shown else None,
            {one.version: _made_by(world, connection, one) for one in versions},
            _scenes(connection, mapped.run_id) if mapped else _last_look(dossier.wait),
            _reviewed(world, connection, shown.id) if shown else None,
            next((one for one in maps if shown and one.inventory_id == shown.id), None)
            or next((one for one in maps if one.kind == "carried"), None),
            tuple(asset for asset in ASSETS if (world.products(name) / asset).is_file()),
            version_of(world.products(name) / "item.json"),
        )


def read_ground(world: World, event_id: str, version: int | None = None) -> dict[str, Any]:
    """What is known of the ground, as GeoJSON: the area, what was seen of it, and what was not.

    Where nothing was mapped yet the whole area is unseen. `version` is as `read_picture` takes it.

    Raises:
        EventError, InventoryError: as `read_picture`.
    """
    with world.engine.connect() as connection:
        known = find_registered(connection, event_id)
        name, aoi = known.event.id, known.aoi.geometry
        shown = _shown(name, tuple(list_inventories(connection, name)), version)
    seen = shown.observed if shown else MultiPolygon()
    unseen = unseen_of(aoi, seen)
    layers = {"aoi": aoi, "seen": seen, "unseen": unseen}
    return {
        "type": "FeatureCollection",
        "bbox": list(aoi.bounds),
        "features": [
            {"type": "Feature", "properties": {"layer": name}, "geometry": mapping(geometry)}
            for name, geometry in layers.items()
            if not geometry.is_empty
        ],
    }


def _shown(
    event_id: str, versions: tuple[StoredInventory, ...], version: int | None
) -> StoredInventory | None:
    if version is not None:
        for one in versions:
            if one.version == version:
                return one
        raise InventoryError(
            f"event {event_id} has no version {version}; it has "
            + (", ".join(str(one.version) for one in versions) or "none yet")
        )
    published = [one for one in versions if one.status == "published"]
    return next(reversed(published or versions), None)


def _line(connection: Connection, event_id: str, merged_into: str | None) -> EventLine:
    lines = list_lines(connection, event_id)
    if not lines:
        raise EventError(f"event {event_id} was merged into {merged_into}; open that one")
    return lines[0]


def _made_by(world: World, connection: Connection, stored: StoredInventory) -> str:
    if stored.method != REVIEWED:
        return stored.method
    return how_made(mapped_version(connection, stored), _reviewed(world, connection, stored.id))


def _standing(connection: Connection, inventory_id: UUID) -> tuple[int, float]:
    return standing_until(connection, inventory_id, _newest_review(connection, inventory_id))


def _reviewed(world: World, connection: Connection, inventory_id: UUID) -> Progress:
    return _progress_until(world, inventory_id, _newest_review(connection, inventory_id))


def _newest_review(connection: Connection, inventory_id: UUID) -> int:
    newest = select(func.max(review.c.id)).where(review.c.inventory_id == inventory_id)
    return connection.scalar(newest) or 0


# Nothing but a review changes it, and counting 20,000 landslides takes most of a page's time.
@lru_cache(maxsize=64)
def _progress_until(world: World, inventory_id: UUID, newest: int) -> Progress:
    with world.engine.connect() as connection:
        return progress(connection, inventory_id)


def _scenes(connection: Connection, run_id: UUID) -> tuple[SceneLine, ...]:
    found = [SceneLine(*row) for row in connection.execute(text(_SCENES), {"run_id": run_id})]
    return tuple(
        replace(one, acquired_at=one.acquired_at and one.acquired_at.astimezone(UTC))
        for one in found
    )


def _last_look(wait: Wait | None) -> tuple[SceneLine, ...]:
    """What the last look for imagery made of each scene, none of which could be used."""
    return tuple(
        SceneLine(
            one.scene_id,
            datetime.fromisoformat(one.acquired_at) if one.acquired_at else None,
            one.used,
            one.clear_share,
            one.reason,
        )
        for one in (wait.scenes if wait else ())
    )
