"""What every report of an event tells, whatever else there is to tell."""

from __future__ import annotations

from uuid import UUID

import geopandas as gpd
from sqlalchemy import Connection

from tasks.inventory.runs import get_run
from tasks.inventory.seen import seen_share
from tasks.inventory.store import StoredInventory
from tasks.publish.report import Making, Report
from tasks.types import AreaOfInterest, Event, Provenance


def report_on(
    event: Event,
    aoi: AreaOfInterest,
    inventory: StoredInventory,
    landslides: gpd.GeoDataFrame,
    method: str,
) -> Report:
    """What there is to tell of an inventory alone; `method` is what made it, in words."""
    return Report(
        event=event,
        aoi=aoi,
        judgements=(),
        seen_share=seen_share(aoi.geometry, inventory.observed),
        landslide_areas_m2=[float(area) for area in landslides["area_m2"]],
        inventory=f"version {inventory.version}, {inventory.status}",
        method=method,
        threshold=inventory.threshold,
        minimum_mapping_unit_m2=inventory.minimum_mapping_unit_m2,
        screens=inventory.screens,
        doubts=inventory.doubts,
    )


def making_of(connection: Connection, product: str, provenance: Provenance, run_id: UUID) -> Making:
    """How a product came about, by its run."""
    run = get_run(connection, run_id)
    times = (run.code_commit, run.started_at, run.ended_at)
    return Making(product, str(run_id), provenance, *times)
