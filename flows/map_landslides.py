"""From imagery to a published inventory of one event."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import torch
from prefect import flow
from shapely import box, union_all

from flows.artifacts import leave_inventory, progress_in_ui
from flows.ending import end_promptly
from flows.evidence import look_by_radar
from flows.mapped import Imagery, Mapped
from flows.options import ResponseOptions
from flows.progress import report
from flows.runs import failure_recorded, recorded_run
from flows.scores import SCORE, Link, Rasters, check_normalise, make_rasters, score_chain
from flows.sources import source_of
from flows.steps import step
from flows.waiting import draft_doubt, loss_doubt, terms_of, wait_for_any, wait_for_more
from flows.weights import locate_weights
from flows.world import World, open_world
from models.cards import Card
from models.datasets import REGIONS
from models.folding import load_folded
from tasks.errors import (
    InventoryError,
    NoImageryError,
    RasterError,
    ScarpError,
    UnusableImagesError,
)
from tasks.events.registry import find_aoi, find_event
from tasks.files import file_sha256
from tasks.imagery.before import prepare_before, shift_doubt
from tasks.imagery.hosts import without_query
from tasks.imagery.looking import SEARCH_BEFORE, look_at
from tasks.imagery.protocol import Span
from tasks.imagery.select import imagery_doubts
from tasks.imagery.sources import is_one_image, obtain
from tasks.imagery.waits import Wait
from tasks.inventory.carry import carry_over, plan_carry_over
from tasks.inventory.origin import REVIEWED
from tasks.inventory.runs import MadeBefore, finish_run, get_run, made_before, record_judgements
from tasks.inventory.seen import seen_share
from tasks.inventory.store import (
    StoredInventory,
    find_inventory,
    find_published,
    get_inventory,
    publish_draft,
    store_inventory,
)
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
from tasks.mapping.split import Splitting
from tasks.mapping.sureness import sureness_doubts
from tasks.mapping.vectorise import Outlining, landslide_polygons
from tasks.susceptibility.factors import check_dem
from tasks.types import (
    AreaOfInterest,
    Doubt,
    Event,
    Mosaic,
    Provenance,
    Scene,
    SceneJudgement,
)

log = logging.getLogger(__name__)

NAME = "map-landslides"


def as_reviewed(mapped: Mapped) -> Mapped:
    """With the published version for an inventory that it superseded, if that is its review."""
    if mapped.inventory.status != "superseded":
        return mapped
    with open_world().engine.connect() as connection:
        published = get_inventory(connection, mapped.event.id)
    of_it = (
        published.method == REVIEWED
        and published.scene_ids == mapped.inventory.scene_ids
        and published.observed.equals(mapped.inventory.observed)
    )
    return replace(mapped, inventory=published) if of_it else mapped


@flow(name=NAME)
def map_landslides(
    event_id: str, options: ResponseOptions, now: datetime | None = None
) -> Mapped | Wait:
    """Find imagery of an event, segment it and store one inventory version.

    The same inputs give the inventory that is already stored, and nothing is computed twice. Where
    too little of the area was seen the version is a draft, and the event waits for more; what
    other scenes add later makes the next version, in which only newly seen ground is mapped anew.
    A version that did not see what the published one saw is a draft as well, for people to publish.

    Args:
        event_id: a registered event.
        options: what the operator chose.
        now: the time it is taken to be; None is the present.

    Returns:
        What was mapped; if nothing could be seen yet, what the event waits for.

    Raises:
        ScarpError: see `tasks.errors`; the run that failed keeps the reason.
    """
    end_promptly()
    with progress_in_ui(event_id):
        mapped = _map(open_world(), event_id, options, now or datetime.now(UTC))
    if isinstance(mapped, Mapped):
        leave_inventory(mapped)
    return mapped


@dataclass(frozen=True)
class _Plan:
    """What an inventory will be made of, before anything is computed."""

    network: torch.nn.Module
    card: Card
    screens: list[Screen]
    imagery: Imagery
    chain: list[Link]
    provenance: Provenance


def find_again(event_id: str, options: ResponseOptions, inventory: StoredInventory) -> Mapped:
    """What an inventory that `map_landslides` stored was mapped from; nothing new is stored.

    Raises:
        InventoryError: imagery, weights or options are not those any more.
        ScarpError: as `map_landslides`.
    """
    world = open_world()
    with world.engine.connect() as connection:
        event, aoi = find_event(connection, event_id), find_aoi(connection, event_id)
        then = get_run(connection, inventory.run_id).started_at
    plan = _plan(world, event, aoi, options, then)
    if plan.provenance.digest != inventory.digest:
        raise InventoryError(
            f"version {inventory.version} of {event_id} would be mapped otherwise today: imagery, "
            f"weights or options have changed; `scarp respond {event_id}` maps it as they are now"
        )
    rasters = step(make_rasters, hours=24)(world, aoi, plan.chain, plan.network, plan.card)
    seen = plan.imagery
    mapped = (event, aoi, seen.judgements, plan.card, plan.provenance, rasters, inventory)
    return Mapped(*mapped, before=seen.before)


def _map(world: World, event_id: str, options: ResponseOptions, now: datetime) -> Mapped | Wait:
    with world.engine.connect() as connection:
        event, aoi = find_event(connection, event_id), find_aoi(connection, event_id)
    asked = Provenance(event.id, {"source": options.source}, options.model_dump(mode="json"))
    terms = terms_of(event, options)
    with failure_recorded(world.engine, asked, NAME):
        try:
            plan = _plan(world, event, aoi, options, now)
        except NoImageryError as error:
            if wait := wait_for_any(world, event, aoi, terms, error, now):
                return wait
            look_by_radar_at_last(event.id, options, now)
            raise
    imagery, provenance = plan.imagery, plan.provenance
    with world.engine.connect() as connection:
        stored = find_inventory(connection, event.id, provenance.digest)
        published = find_published(connection, event.id)
    known = stored.run_id if stored else None
    with recorded_run(world.engine, provenance, NAME, known) as run_id:
        rasters = step(make_rasters, hours=24)(world, aoi, plan.chain, plan.network, plan.card)
        mapped = (event, aoi, imagery.judgements, plan.card, provenance, rasters)
        seen = seen_share(aoi.geometry, rasters.mosaic.observed)
        less = loss_doubt(published, rasters.mosaic.observed, aoi)
        if stored is None:
            ready, doubts = step(screens_with_images, hours=6)(
                plan.screens, imagery.before, aoi, rasters.mosaic.path
            )
            doubts = list(dict.fromkeys([*rasters.doubts, *doubts]))
            doubts += [Doubt("source-trouble", incident) for incident in imagery.incidents]
            if waits := terms.ask_for_more(seen, now):
                doubts.append(draft_doubt(aoi, rasters.mosaic.observed, terms))
            doubts += [less] if less else []
            stored = step(outline, hours=6)(
                world, run_id, *mapped, ready, doubts, options, not (waits or less)
            )
    wait = wait_for_more(world, event, terms, seen, imagery.judgements, now)
    if wait is None and seen < terms.wanted_share:
        look_by_radar_at_last(event.id, options, now)
    if stored.status == "draft" and wait is None and less is None:
        with world.engine.begin() as connection:
            stored = publish_draft(connection, stored)
    return Mapped(*mapped, stored, wait, imagery.before)


def _plan(
    world: World, event: Event, aoi: AreaOfInterest, options: ResponseOptions, now: datetime
) -> _Plan:
    """Find and choose scenes, and name what comes of them and of what was asked for."""
    network, card, screens = check_asked(aoi, options)
    with world.engine.connect() as connection:
        before = made_before(connection, event.id, method_of(card))
    imagery = step(look_for_scenes, hours=6)(world, event, aoi, options, now, before)
    used = [judgement.scene for judgement in imagery.judgements if judgement.used]
    reference = imagery.before if options.normalise == "before" else ()
    chain = score_chain(event.id, aoi, used, card, options, before, reference)
    provenance = mapping_provenance(chain[-1].provenance, imagery, screens, options)
    return _Plan(network, card, screens, imagery, chain, provenance)


def check_asked(
    aoi: AreaOfInterest, options: ResponseOptions
) -> tuple[torch.nn.Module, Card, list[Screen]]:
    """What was asked for, opened; whatever is wrong with it is said before any image is looked for.

    Raises:
        ModelError: the weights cannot be used.
        BadInputError: they do not say what `--normalise` needs.
        RasterError: the DEM cannot be used here.
        ScreenError: a screen, or its layer, cannot be used here.
    """
    network, card = load_folded(locate_weights(options.weights))
    check_normalise(options, card)
    screens = parse_screens(options.screens, options.dem)
    if options.dem:
        check_dem(options.dem, aoi.geometry)
    check_screens(screens, aoi.geometry)
    return network, card, screens


def look_for_scenes(
    world: World,
    event: Event,
    aoi: AreaOfInterest,
    options: ResponseOptions,
    now: datetime,
    before: Sequence[MadeBefore] = (),
) -> Imagery:
    """Search the source, judge what each scene shows of the AOI, and choose.

    Scenes the newest inventory in `before` was mapped from are preferred.

    Raises:
        NoImageryError: no scene can be used.
        UnusableImagesError: nor can any image of a folder be read.
        CatalogError, RasterError, TransientError: the source cannot be read.
        AccessError, QuotaError: it may not be read, or not for this price.
    """
    until = min(options.until or now, now)
    source = source_of(world, event.id, options)
    since = event.occurred_at - (timedelta() if source.paid else SEARCH_BEFORE)
    try:
        found = obtain(source, aoi, Span(since, until))
    except RasterError as error:
        # One image is all there will be; a folder may hold better ones by the next look.
        if is_one_image(options.source):
            raise
        raise UnusableImagesError(str(error)) from error
    try:
        looked = look_at(
            found.scenes,
            aoi,
            event.occurred_at,
            options.minimum_clear,
            before[0].scene_ids if before else (),
            partial(report, "judging scenes"),
        )
    except NoImageryError as error:
        sentence = f"{without_query(options.source)}: {error}"
        raise NoImageryError(sentence, (*error.judgements, *found.refused)) from error
    return Imagery((*looked.judgements, *found.refused), looked.before, found.incidents)


def look_by_radar_at_last(event_id: str, options: ResponseOptions, now: datetime) -> None:
    """Once clear imagery was waited for in vain, see what radar has; without it the rest stands."""
    if options.radar is None:
        return
    try:
        look_by_radar(event_id, options.radar, now, options.profiles, options.allow_hosts)
    except ScarpError as error:
        log.warning("no evidence from radar: %s", error)


def method_of(card: Card) -> str:
    """How an inventory says what mapped it."""
    return f"{card.name}@sha256:{card.digest}"


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
        SCORE: scored.digest,
    }
    return replace(scored, inputs=scored.inputs | inputs, parameters=scored.parameters | parameters)


def outlining(options: ResponseOptions) -> Outlining:
    """How bodies of pixels become polygons, as the operator wants it."""
    splitting = Splitting() if options.split else None
    return Outlining(options.hole_area_m2, options.simplify_m, splitting)


def screens_with_images(
    screens: list[Screen], before: tuple[Scene, ...], aoi: AreaOfInterest, after: Path
) -> tuple[list[Screen], list[Doubt]]:
    """Give the screen that looks at the ground before the event its image, if there is one."""
    if not before or not any(isinstance(one, BareBeforeScreen) for one in screens):
        return screens, []
    ground = prepare_before(before, aoi, after, after.parent / "before")
    doubt = shift_doubt(ground)
    return [
        replace(one, image=ground.path) if isinstance(one, BareBeforeScreen) else one
        for one in screens
    ], [doubt] if doubt else []


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
    told: list[Doubt],
    options: ResponseOptions,
    publish: bool,
) -> StoredInventory:
    """Outline the landslides, measure and screen them, and store them in one transaction."""
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
        *sureness_doubts(rasters.score, card),
        *screen_doubts(record),
        *told,
    ]
    with world.engine.begin() as connection:
        reviews = plan_carry_over(connection, event.id, landslides, mosaic.observed)
        inventory = store_inventory(
            connection,
            event_id=event.id,
            run_id=run_id,
            digest=provenance.digest,
            method=method_of(card),
            threshold=parameters["threshold"],
            minimum_mapping_unit_m2=parameters["minimum_mapping_unit_m2"],
            observed=mosaic.observed,
            scene_ids=[scene.id for scene in mosaic.scenes],
            landslides=landslides,
            doubts=[*doubts, *reviews.doubts],
            publish=publish,
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
