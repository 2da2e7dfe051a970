"""From imagery to a published inventory of one event."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import torch
from prefect import flow
from shapely import box, union_all

from flows.cluster import scorer
from flows.options import ResponseOptions
from flows.progress import report
from flows.runs import failure_recorded, recorded_run
from flows.sources import source_of
from flows.steps import step
from flows.world import World, open_world
from models.cards import Card
from models.datasets import REGIONS
from models.weights import load
from tasks.errors import AccessError, RasterError
from tasks.events.registry import find_aoi, find_event
from tasks.imagery.clouds import judge
from tasks.imagery.mosaic import prepare_mosaic
from tasks.imagery.protocol import Span
from tasks.imagery.rasters import file_sha256
from tasks.imagery.select import choose_before, choose_scenes, imagery_doubts
from tasks.imagery.sources import obtain
from tasks.inventory.carry import carry_over, plan_carry_over
from tasks.inventory.runs import finish_run, record_judgements
from tasks.inventory.store import StoredInventory, find_inventory, store_inventory
from tasks.mapping.attributes import measure, with_scenes
from tasks.mapping.relief import relief_doubts
from tasks.mapping.screens import (
    BareBeforeScreen,
    Screen,
    check_screens,
    parse_screens,
    screen,
    screen_doubts,
)
from tasks.mapping.segment import segment_scene
from tasks.mapping.split import Splitting
from tasks.mapping.vectorise import Outlining, landslide_polygons, write_mask
from tasks.mapping.windows import WindowPlan
from tasks.susceptibility.factors import check_dem
from tasks.types import AreaOfInterest, Doubt, Event, Mosaic, Provenance, Scene, SceneJudgement

NAME = "map-landslides"
# Raised when a change of code changes what the same inputs give, so that old products are redone.
METHOD_VERSION = 2
SEARCH_BEFORE = timedelta(days=365)


@dataclass(frozen=True)
class Imagery:
    """What was looked at, and the scenes that show the ground before the event, latest first."""

    judgements: tuple[SceneJudgement, ...]
    before: tuple[Scene, ...]
    incidents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rasters:
    """What an inventory is outlined from: the image, the score and the mask, all on disk."""

    mosaic: Mosaic
    score: Path
    mask: Path


@dataclass(frozen=True)
class Mapped:
    """An inventory, and everything that was looked at for it."""

    event: Event
    aoi: AreaOfInterest
    judgements: tuple[SceneJudgement, ...]
    card: Card
    provenance: Provenance
    rasters: Rasters
    inventory: StoredInventory


@flow(name=NAME)
def map_landslides(event_id: str, options: ResponseOptions) -> Mapped:
    """Find imagery of an event, segment it and publish one inventory version.

    The same inputs give the inventory that is already stored, and nothing is computed twice.

    Raises:
        ScarpError: see `tasks.errors`; the run that failed keeps the reason.
    """
    world = open_world()
    with world.engine.connect() as connection:
        event, aoi = find_event(connection, event_id), find_aoi(connection, event_id)
    asked = Provenance(event.id, {"source": options.source}, options.model_dump(mode="json"))
    with failure_recorded(world.engine, asked, NAME):
        network, card = load(options.weights)
        screens = parse_screens(options.screens, options.dem)
        if options.dem:
            check_dem(options.dem, aoi.geometry)
        check_screens(screens, aoi.geometry)
        imagery = step(look_for_scenes)(world, event, aoi, options)
        scored = score_provenance(event, aoi, imagery, card, options)
        provenance = mapping_provenance(scored, imagery, screens, options)
    with world.engine.connect() as connection:
        stored = find_inventory(connection, event.id, provenance.digest)
    known = nullcontext(stored.run_id) if stored else None
    with known or recorded_run(world.engine, provenance, NAME) as run_id:
        folder = world.work(event.id, scored.digest)
        rasters = step(make_rasters)(folder, aoi, imagery.judgements, network, card, scored)
        mapped = (event, aoi, imagery.judgements, card, provenance, rasters)
        if stored is None:
            ready = step(screens_with_images)(screens, imagery.before, aoi, folder)
            stored = step(outline)(world, run_id, *mapped, ready, imagery.incidents, options)
    return Mapped(*mapped, stored)


def look_for_scenes(
    world: World, event: Event, aoi: AreaOfInterest, options: ResponseOptions
) -> Imagery:
    """Search the source, judge what each scene shows of the AOI, and choose.

    Raises:
        NoImageryError: no scene can be used.
        CatalogError, RasterError, TransientError: the source cannot be read.
        AccessError, QuotaError: it may not be read, or not for this price.
    """
    until = options.until or datetime.now(UTC)
    source = source_of(world, event.id, options)
    since = event.occurred_at - (timedelta() if source.paid else SEARCH_BEFORE)
    found = obtain(source, aoi, Span(since, until))
    views, refused, failures = [], list(found.refused), []
    for number, scene in enumerate(found.scenes, start=1):
        try:
            views.append(judge(scene, aoi))
        except (RasterError, AccessError) as error:
            failures.append(error)
            refused.append(SceneJudgement(scene, 0.0, False, f"{options.source}: {error}"))
        report("judging scenes", number, len(found.scenes))
    if failures and not views:
        raise failures[0]
    judgements = choose_scenes(views, aoi, event.occurred_at, options.minimum_clear)
    before = choose_before(views, event.occurred_at, options.minimum_clear)
    return Imagery((*judgements, *refused), tuple(before), found.incidents)


def score_provenance(
    event: Event, aoi: AreaOfInterest, imagery: Imagery, card: Card, options: ResponseOptions
) -> Provenance:
    """Everything that decides score and mask; the order of the scenes used counts too."""
    used = [judgement.scene for judgement in imagery.judgements if judgement.used]
    inputs = {"aoi": sha256(aoi.geometry.wkb).hexdigest()}
    inputs |= {f"scene {i} {scene.id}": scene.checksum for i, scene in enumerate(used, start=1)}
    parameters = {
        "method_version": METHOD_VERSION,
        "threshold": options.threshold or card.threshold,
        "window_px": options.window_px,
    }
    return Provenance(event.id, inputs, parameters, card.digest)


def mapping_provenance(
    scored: Provenance, imagery: Imagery, screens: list[Screen], options: ResponseOptions
) -> Provenance:
    """Everything that decides an inventory: what decided the score, and how it was outlined."""
    inputs = {
        f"screen {i} {one.layer.name}": file_sha256(one.layer)
        for i, one in enumerate(screens, start=1)
        if one.layer
    }
    if options.dem:
        inputs["dem"] = file_sha256(options.dem)
    if any(isinstance(one, BareBeforeScreen) for one in screens):
        before = enumerate(imagery.before, start=1)
        inputs |= {f"before {i} {scene.id}": scene.checksum for i, scene in before}
    parameters = {
        "minimum_mapping_unit_m2": options.minimum_mapping_unit_m2,
        "outlining": asdict(outlining(options)),
        "volume_relation": options.volume_relation,
        "screens": [f"{one.name}: {one.asked}" for one in screens],
    }
    return replace(scored, inputs=scored.inputs | inputs, parameters=scored.parameters | parameters)


def make_rasters(
    folder: Path,
    aoi: AreaOfInterest,
    judgements: tuple[SceneJudgement, ...],
    network: torch.nn.Module,
    card: Card,
    provenance: Provenance,
) -> Rasters:
    """Prepare the mosaic, score it and threshold it; a score already on disk is kept."""
    used = [judgement.scene for judgement in judgements if judgement.used]
    report("preparing imagery", 0, 1)
    mosaic = prepare_mosaic(used, aoi, folder)
    report("preparing imagery", 1, 1)
    score, mask = folder / "score.tif", folder / "mask.tif"
    tags = {"SCARP_EVENT": provenance.event_id, "SCARP_DIGEST": provenance.digest}
    size = provenance.parameters["window_px"]
    if not score.exists():
        with scorer() as score_bands:
            segment_scene(
                mosaic.path,
                network,
                card,
                score,
                plan=WindowPlan(size, size // 8),
                tags=tags,
                progress=partial(report, "mapping landslides"),
                scorer=score_bands,
            )
    if not mask.exists():
        write_mask(score, mask, provenance.parameters["threshold"], tags)
    return Rasters(mosaic, score, mask)


def outlining(options: ResponseOptions) -> Outlining:
    """How bodies of pixels become polygons, as the operator wants it."""
    splitting = Splitting() if options.split else None
    return Outlining(options.hole_area_m2, options.simplify_m, splitting)


def screens_with_images(
    screens: list[Screen], before: tuple[Scene, ...], aoi: AreaOfInterest, folder: Path
) -> list[Screen]:
    """Give the screen that looks at the ground before the event its image, if there is one."""
    if not before or not any(isinstance(one, BareBeforeScreen) for one in screens):
        return screens
    image = prepare_mosaic(before, aoi, folder / "before").path
    return [
        replace(one, image=image) if isinstance(one, BareBeforeScreen) else one for one in screens
    ]


def outline(
    world: World,
    run_id: UUID,
    event: Event,
    aoi: AreaOfInterest,
    judgements: tuple[SceneJudgement, ...],
    card: Card,
    provenance: Provenance,
    rasters: Rasters,
    screens: list[Screen],
    incidents: tuple[str, ...],
    options: ResponseOptions,
) -> StoredInventory:
    """Outline the landslides, measure and screen them, and publish them in one transaction."""
    mosaic, parameters = rasters.mosaic, provenance.parameters
    looked_at = union_all([scene.footprint for scene in mosaic.scenes]) & aoi.geometry
    found = landslide_polygons(
        rasters.score,
        parameters["threshold"],
        parameters["minimum_mapping_unit_m2"],
        looked_at,
        outlining(options),
        options.dem,
    )
    measured = with_scenes(measure(found, options.dem, options.volume_relation), mosaic)
    landslides, record = screen(measured, screens)
    doubts = [
        *imagery_doubts(judgements, mosaic, aoi, event.occurred_at),
        *_other_doubts(aoi, card, mosaic),
        *relief_doubts(landslides),
        *screen_doubts(record),
        *(Doubt("source-trouble", incident) for incident in incidents),
    ]
    with world.engine.begin() as connection:
        reviews = plan_carry_over(connection, event.id, landslides, mosaic.observed)
        inventory = store_inventory(
            connection,
            event_id=event.id,
            run_id=run_id,
            digest=provenance.digest,
            method=f"{card.name}@sha256:{card.digest}",
            threshold=parameters["threshold"],
            minimum_mapping_unit_m2=parameters["minimum_mapping_unit_m2"],
            observed=mosaic.observed,
            scenes=mosaic.scenes,
            landslides=landslides,
            doubts=[*doubts, *reviews.doubts],
            publish=True,
            screens=record,
        )
        carry_over(connection, inventory.id, reviews)
        record_judgements(connection, run_id, judgements)
        found_any = inventory.landslide_count > 0
        finish_run(connection, run_id, "succeeded" if found_any else "succeeded_empty")
    return inventory


def _other_doubts(aoi: AreaOfInterest, card: Card, mosaic: Mosaic) -> list[Doubt]:
    doubts = []
    if aoi.how != "given":
        doubts.append(Doubt("provisional-aoi", f"the area of interest is {aoi.how}"))
    for region in card.regions:
        if region in REGIONS and box(*REGIONS[region]).intersects(mosaic.observed):
            text = f"the network {card.name} has seen {region} in training; how well it maps here"
            doubts.append(
                Doubt("region-seen-in-training", f"{text} says nothing about places it never saw")
            )
    low, high = card.gsd_range_m
    finest = min(scene.gsd_m for scene in mosaic.scenes)
    if not low <= finest <= high:
        text = f"the imagery has {finest:g} m pixels, the network was trained on {low:g}-{high:g} m"
        doubts.append(Doubt("gsd-outside-training", f"{text}; it was resampled to fit"))
    return doubts
