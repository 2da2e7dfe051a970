"""What radar saw change in an event's area, for when clouds hide the ground for days."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flows.progress import report
from flows.runs import failure_recorded, recorded_run
from flows.sources import access_to
from flows.world import World, open_world
from tasks.errors import NoImageryError
from tasks.events.registry import find_aoi, find_event
from tasks.imagery.backscatter import AFTER, BEFORE, compare_passes, map_change
from tasks.imagery.evidence import AREA, METHOD, Evidence, find_evidence, store_evidence
from tasks.imagery.protocol import Span
from tasks.imagery.radar import open_radar
from tasks.inventory.runs import finish_run
from tasks.types import AreaOfInterest, Provenance, Scene

NAME = "change-evidence"
METHOD_VERSION = 1


def look_by_radar(
    event_id: str,
    source: str,
    now: datetime | None = None,
    profiles: Path | None = None,
    allow_hosts: tuple[str, ...] = (),
) -> Evidence:
    """Compare radar before and after an event and store what changed, as evidence.

    The same passes give the evidence that is already stored.

    Args:
        event_id: a registered event.
        source: STAC API or catalog of terrain-corrected backscatter, or a profile's name.
        now: the time it is taken to be; None is the present.
        profiles: TOML file of further profiles.
        allow_hosts: further hosts files may be read from.

    Raises:
        NoImageryError: no orbit was flown both before and after the event.
        ScarpError: see `tasks.errors`.
    """
    world, now = open_world(), now or datetime.now(UTC)
    with world.engine.connect() as connection:
        event, aoi = find_event(connection, event_id), find_aoi(connection, event_id)
    asked = Provenance(event.id, {"radar": source}, {"now": now.isoformat()})
    with failure_recorded(world.engine, asked, NAME):
        radar = open_radar(source, access_to(world, event.id, source, profiles, allow_hosts))
        last = min(event.occurred_at + AFTER, now)
        found = radar.search(aoi, Span(event.occurred_at - BEFORE, last))
        if found.refused and not found.scenes:
            raise NoImageryError(found.refused[0].reason, found.refused)
        comparisons = compare_passes(found.scenes, event.occurred_at)
        used = [s for one in comparisons for s in (*one.scenes_before, *one.scenes_after)]
        provenance = _provenance(event.id, aoi.geometry.wkb_hex, used)
    with world.engine.connect() as connection:
        stored = find_evidence(connection, event.id, provenance.digest)
    if stored and stored.path.exists():
        return stored
    path = world.work(event.id, provenance.digest) / "evidence.tif"
    with recorded_run(world.engine, provenance, NAME) as run_id:
        report("comparing radar", 0, 1)
        seen = map_change(comparisons, aoi, path)
        report("comparing radar", 1, 1)
        with world.engine.begin() as connection:
            stored = store_evidence(connection, event.id, run_id, provenance.digest, seen)
            changed = stored.changed_km2 > 0
            finish_run(connection, run_id, "succeeded" if changed else "succeeded_empty")
    return stored


def newest_evidence(world: World, event_id: str, aoi: AreaOfInterest) -> Evidence | None:
    """The newest evidence of an event in its area as it is now, if its raster is still there."""
    with world.engine.connect() as connection:
        found = find_evidence(connection, event_id, area=aoi.geometry.wkb_hex)
    return found if found and found.path.exists() else None


def _provenance(event_id: str, area: str, scenes: list[Scene]) -> Provenance:
    inputs = {AREA: area} | {
        f"radar {number} {scene.id}": scene.checksum for number, scene in enumerate(scenes, start=1)
    }
    return Provenance(event_id, inputs, {"method": METHOD, "method_version": METHOD_VERSION})
