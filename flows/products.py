"""Everything an event leaves in its folder, written aside and put in place together."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import geopandas as gpd
import rasterio
from rasterio.errors import RasterioIOError
from shapely.geometry import MultiPolygon

from flows.assess_susceptibility import Assessed
from flows.evidence import newest_evidence
from flows.mapped import Mapped
from flows.progress import report
from flows.reporting import making_of, report_on
from flows.susceptibility_products import write_susceptibility
from flows.world import open_world
from tasks.errors import BadInputError, InventoryError, ScarpError
from tasks.imagery.before import prepare_before
from tasks.imagery.evidence import Evidence
from tasks.inventory.citation import About
from tasks.inventory.export import export_inventory
from tasks.inventory.origin import MADE_BY_PEOPLE, made_by
from tasks.inventory.qgis import lay_under
from tasks.inventory.quality import match_areas
from tasks.inventory.sizes import describe_sizes
from tasks.inventory.store import (
    StoredInventory,
    find_published,
    list_inventories,
    read_reviewed,
    read_screened,
)
from tasks.publish import map_figures
from tasks.publish.products import replaced_together
from tasks.publish.quicklook import hillshade_of, picture_of
from tasks.publish.report import Making, Match, write_report
from tasks.publish.size_figures import size_figure
from tasks.publish.stac_item import ASSETS, write_stac_item
from tasks.susceptibility.store import StoredSusceptibility

log = logging.getLogger(__name__)

PRODUCTS = (*ASSETS, "item.json")
# What the QGIS project shows, and offers, under the landslides.
UNDER = (
    "after.tif",
    "before.tif",
    "susceptibility_classes.tif",
    "susceptibility.tif",
    "score.tif",
    "hillshade.tif",
)


def folder_of(inventory: StoredInventory) -> Path:
    """The event's folder for what answers for it, else one inside for that version alone.

    The published version answers, or without one what there is.
    """
    world = open_world()
    whole = world.products(inventory.event_id)
    with world.engine.connect() as connection:
        published = find_published(connection, inventory.event_id)
    if published is None or published.id == inventory.id:
        return whole
    return whole / f"version-{inventory.version}"


def check_folder(folder: Path, event_id: str) -> None:
    """Refuse a folder in which products of an event would replace files that are none of its own.

    Raises:
        BadInputError: there are such files.
    """
    there = [name for name in PRODUCTS if (folder / name).exists()]
    if there and _event_of(folder / "score.tif") != event_id:
        raise BadInputError(
            f"{folder} holds {there[0]}, which is no product of {event_id} and would be replaced; "
            "choose another --out"
        )


def _event_of(score: Path) -> str | None:
    """Whose score it is, which is the first of the products that is put in place."""
    try:
        with rasterio.open(score) as raster:
            return str(raster.tags().get("SCARP_EVENT"))
    except RasterioIOError:
        return None


def publish_products(mapped: Mapped, assessed: Assessed, folder: Path) -> Path:
    """Write rasters, vectors, figures, the STAC item and the report of an event.

    Products of an earlier version that this one does not have are removed.

    Returns:
        The report.

    Raises:
        StorageError: the folder cannot be written; the products already there stay.
    """
    with replaced_together(folder, PRODUCTS) as made:
        _write(mapped, assessed, made)
    return folder / "report.html"


@dataclass(frozen=True)
class _Kept:
    """What the store keeps of a response; `screened` are the outlines that were set aside."""

    landslides: gpd.GeoDataFrame
    screened: gpd.GeoDataFrame
    method: str
    making: tuple[Making, ...]


def _write(mapped: Mapped, assessed: Assessed, folder: Path) -> None:
    inventory, stored = mapped.inventory, assessed.susceptibility
    kept, aoi = _kept(mapped, assessed), mapped.aoi.geometry
    shutil.copyfile(mapped.rasters.score, folder / "score.tif")
    shutil.copyfile(mapped.rasters.mask, folder / "mask.tif")
    _picture(mapped, stored, folder)
    _export(mapped, kept, folder)
    report("writing products", 1, 3)
    _draw(mapped, kept.landslides, folder)
    evidence = newest_evidence(open_world(), mapped.event.id, mapped.aoi)
    if evidence:
        _show_evidence(evidence, aoi, folder)
    credit = " · ".join(_credits(mapped))
    of_inventory = (kept.landslides, aoi, inventory.observed)
    susceptibility = write_susceptibility(stored, *of_inventory, folder, credit) if stored else None
    there = {name: ASSETS[name][1] for name in UNDER if (folder / name).exists()}
    lay_under(folder / "inventory.qgz", there)
    report("writing products", 2, 3)
    against = _match(mapped, kept.landslides, folder)
    told = report_on(mapped.event, mapped.aoi, inventory, kept.landslides, kept.method)
    write_report(
        folder / "report.html",
        replace(
            told,
            judgements=mapped.judgements,
            susceptibility=susceptibility,
            susceptibility_skipped=assessed.skipped,
            doubts=[*told.doubts, *(stored.doubts if stored else ())],
            making=kept.making,
            weights_card=asdict(mapped.card),
            credits=_credits(mapped),
            match=against,
            match_figure=folder / "match.png" if against else None,
            evidence=evidence,
            evidence_figure=folder / "evidence.png" if evidence else None,
            map_figure=folder / "map.png",
            size_figure=folder / "size_distribution.png" if len(kept.landslides) else None,
        ),
    )
    write_stac_item(
        folder / "item.json",
        mapped.event,
        mapped.aoi,
        mapped.rasters.mosaic.scenes,
        created_at=stored.created_at if stored else inventory.created_at,
        digest=kept.making[-1].provenance.digest,
        version=inventory.version,
    )
    report("writing products", 3, 3)


def _kept(mapped: Mapped, assessed: Assessed) -> _Kept:
    inventory, stored = mapped.inventory, assessed.susceptibility
    made = [(f"inventory version {inventory.version}", mapped.provenance, inventory.run_id)]
    if stored and assessed.provenance:
        made.append(("susceptibility map", assessed.provenance, stored.run_id))
    with open_world().engine.connect() as connection:
        return _Kept(
            read_reviewed(connection, inventory.id),
            read_screened(connection, inventory.id),
            made_by(connection, inventory),
            tuple(making_of(connection, *one) for one in made),
        )


def _export(mapped: Mapped, kept: _Kept, folder: Path) -> None:
    inventory = mapped.inventory
    for name, aside in (("inventory.gpkg", kept.screened), ("inventory.parquet", None)):
        export_inventory(
            kept.landslides,
            inventory.observed,
            folder / name,
            aoi=mapped.aoi.geometry,
            screened=aside,
            about=About(mapped.event, inventory),
        )


def _show_evidence(evidence: Evidence, aoi: MultiPolygon, folder: Path) -> None:
    shutil.copyfile(evidence.path, folder / "evidence.tif")
    map_figures.change_figure(
        folder / "evidence.png", evidence.path, evidence.changed, evidence.looked, aoi
    )


def _picture(mapped: Mapped, stored: StoredSusceptibility | None, folder: Path) -> None:
    """What the console shows under the landslides; without it the products are whole."""
    after = mapped.rasters.mosaic.path
    picture_of(after, folder / "after.tif")
    if stored and "elevation" in stored.factors:
        factors = stored.path.with_name("factors.tif")
        hillshade_of(factors, folder / "hillshade.tif", stored.factors.index("elevation") + 1)
    if not mapped.before:
        return
    try:
        before = prepare_before(mapped.before, mapped.aoi, after, after.parent / "before")
    except ScarpError as error:
        log.warning("no picture of the ground before the event: %s", error)
        return
    picture_of(before.path, folder / "before.tif", like=after)


def _match(mapped: Mapped, landslides: gpd.GeoDataFrame, folder: Path) -> Match | None:
    """How the inventory agrees with the newest that people made of the event, if there is one."""
    with open_world().engine.connect() as connection:
        theirs = [
            other
            for other in list_inventories(connection, mapped.event.id)
            if other.method in MADE_BY_PEOPLE
        ]
        if not theirs:
            return None
        others = read_reviewed(connection, theirs[-1].id)
    ground = mapped.inventory.observed & theirs[-1].observed
    try:
        found = match_areas(landslides, others, ground)
    except InventoryError:
        return None
    names = (f"version {mapped.inventory.version}", f"version {theirs[-1].version}")
    map_figures.match_figure(folder / "match.png", landslides, others, ground, names)
    return Match(theirs[-1].version, theirs[-1].method, found)


def _draw(mapped: Mapped, landslides: gpd.GeoDataFrame, folder: Path) -> None:
    inventory, aoi = mapped.inventory, mapped.aoi.geometry
    credit = " · ".join(_credits(mapped))
    image = mapped.rasters.mosaic.path
    map_figures.map_figure(folder / "map.png", image, landslides, aoi, inventory.observed, credit)
    if len(landslides):
        areas = landslides["area_m2"].to_numpy(dtype=float)
        minimum_m2 = inventory.minimum_mapping_unit_m2
        size_figure(
            folder / "size_distribution.png",
            areas,
            minimum_m2,
            describe_sizes(areas, minimum_m2),
        )


def _credits(mapped: Mapped) -> list[str]:
    """Licence lines of the scenes used, each once."""
    return list(dict.fromkeys(s.licence for s in mapped.rasters.mosaic.scenes if s.licence))
