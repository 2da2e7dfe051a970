"""From a published inventory and a DEM to a susceptibility map that carries its AUC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from uuid import UUID

import geopandas as gpd
from prefect import flow
from shapely.geometry import MultiPolygon

from flows.options import SusceptibilityOptions
from flows.progress import report
from flows.runs import failure_recorded, recorded_run
from flows.steps import step
from flows.terrain import derive_stack, terrain_inputs
from flows.world import World, open_world
from tasks.errors import SamplingError
from tasks.events.aoi import as_multipolygon
from tasks.events.priors import find_priors
from tasks.events.registry import find_aoi, find_registered
from tasks.inventory.review import progress
from tasks.inventory.runs import finish_run
from tasks.inventory.store import StoredInventory, get_inventory, read_reviewed, read_screened
from tasks.susceptibility.before import Earlier, score_earlier
from tasks.susceptibility.holding import DISTRICTS
from tasks.susceptibility.learners import cells_around
from tasks.susceptibility.recording import record_study
from tasks.susceptibility.sampling import Samples
from tasks.susceptibility.stack import FactorStack
from tasks.susceptibility.store import (
    StoredSusceptibility,
    Susceptibility,
    find_susceptibility,
    list_susceptibility,
    store_susceptibility,
)
from tasks.susceptibility.study import learn, map_study, outline_doubts, sample
from tasks.types import AreaOfInterest, Provenance

NAME = "assess-susceptibility"
# Raised when a change of code changes what the same inputs give, so that old maps are redone.
METHOD_VERSION = 3


@dataclass(frozen=True)
class Assessed:
    """A susceptibility map, or the reason why there is none."""

    susceptibility: StoredSusceptibility | None
    skipped: str = ""
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Truth:
    """What an inventory says of its ground: where it failed, and where it is sure that it did not.

    What a network and a screen call by different names is in neither. `newest_review` is the last
    review that had a say, 0 if none had.
    """

    inventory: StoredInventory
    landslides: gpd.GeoDataFrame
    ground: MultiPolygon
    newest_review: int


@flow(name=NAME)
def assess_susceptibility(
    event_id: str, options: SusceptibilityOptions, version: int | None = None
) -> Assessed:
    """Fit, score and map susceptibility from an inventory version, by default the published one.

    Without a DEM, or with too few landslides, there is no map but a reason; that is no failure. The
    same inputs give the map that is already stored, and nothing is computed twice.

    Raises:
        ScarpError: see `tasks.errors`; the run that failed keeps the reason.
    """
    world = open_world()
    if options.dem is None:
        return Assessed(None, "no elevation model was given; add one with --dem FILE")
    truth, aoi = read_truth(world, event_id, version)
    event_id = truth.inventory.event_id
    if not len(truth.landslides):
        return Assessed(None, "no landslide was mapped, so there is nothing to learn from")
    asked = Provenance(event_id, {"inventory": truth.inventory.digest, "dem": str(options.dem)})
    with failure_recorded(world.engine, asked, NAME):
        provenance = susceptibility_provenance(truth, aoi, options)

    def make(run_id: UUID) -> Susceptibility:
        return step(fit_and_map, hours=12)(world, run_id, truth, aoi, options, provenance)

    try:
        return made_once(world, provenance, NAME, make)
    except SamplingError as error:
        return Assessed(None, str(error))


def made_once(
    world: World, provenance: Provenance, flow_name: str, make: Callable[[UUID], Susceptibility]
) -> Assessed:
    """The map of these very inputs: the one that is stored, or made by a run and then stored.

    Where the rasters of a stored map are gone they are made again, by the run that made them.
    """
    with world.engine.connect() as connection:
        stored = find_susceptibility(connection, provenance.event_id, provenance.digest)
    if stored and all(path.exists() for path in stored.rasters):
        return Assessed(stored, "", provenance)
    known = stored.run_id if stored else None
    with recorded_run(world.engine, provenance, flow_name, known) as run_id:
        made = make(run_id)
        return Assessed(stored or _keep(world, made), "", provenance)


def read_truth(
    world: World, event_id: str, version: int | None = None
) -> tuple[Truth, AreaOfInterest]:
    """What an inventory version says after its reviews, and the event's area of interest."""
    with world.engine.connect() as connection:
        event_id = find_registered(connection, event_id).event.id
        inventory = get_inventory(connection, event_id, version)
        landslides = read_reviewed(connection, inventory.id)
        screened = read_screened(connection, inventory.id)
        ground = as_multipolygon(inventory.observed - screened.union_all())
        newest = progress(connection, inventory.id).newest
        return Truth(inventory, landslides, ground, newest), find_aoi(connection, event_id)


def susceptibility_provenance(
    truth: Truth, aoi: AreaOfInterest, options: SusceptibilityOptions
) -> Provenance:
    """Everything that decides a susceptibility map."""
    return Provenance(
        truth.inventory.event_id,
        {
            "inventory": truth.inventory.digest,
            "aoi": aoi.digest,
            **terrain_inputs(options, aoi),
            **({"areas": options.holding.digest} if options.holding.areas else {}),
        },
        {
            "method_version": METHOD_VERSION,
            "newest_review": truth.newest_review,
            **choices(options),
        },
    )


def choices(options: SusceptibilityOptions) -> dict[str, Any]:
    """What was chosen about learning and mapping, as a run keeps it."""
    return {
        "seed": options.seed,
        "model": options.model,
        "sampling": asdict(options.scheme),
        "classes": options.classes,
        # what was made before there was a choice has districts, and the digest it had
        **({} if options.hold_out == DISTRICTS else {"hold_out": options.hold_out}),
    }


def fit_and_map(
    world: World,
    run_id: UUID,
    truth: Truth,
    aoi: AreaOfInterest,
    options: SusceptibilityOptions,
    provenance: Provenance,
) -> Susceptibility:
    """Derive factors, draw samples, validate, fit, predict, and score what was there before.

    Raises:
        SamplingError: too few landslides, or too little unfailed ground, to learn from.
        RasterError: the DEM cannot be used.
    """
    event_id = truth.inventory.event_id
    folder = world.work(event_id, provenance.digest)
    report("deriving factors", 0, 1)
    stack = derive_stack(options, aoi, folder / "factors.tif")
    report("deriving factors", 1, 1)
    samples = samples_of(truth, stack, options)
    folds = options.holding.folds(samples, str(stack.geobox.crs), options.seed)
    study = learn(samples, options.model, options.seed, folds=folds, progress=report)
    mapped = map_study(
        study,
        stack,
        folder / "susceptibility.tif",
        {"SCARP_EVENT": event_id, "SCARP_DIGEST": provenance.digest},
        options.breaks,
        truth.landslides,
        truth.ground,
        progress=partial(report, "mapping susceptibility"),
    )
    earlier = score_earlier(
        samples, str(stack.geobox.crs), made_before(world, event_id), options.seed
    )
    return record_study(
        study,
        stack,
        mapped,
        options.scheme,
        options.seed,
        event_id=event_id,
        inventory_id=truth.inventory.id,
        run_id=run_id,
        digest=provenance.digest,
        settings=options.kept,
        compared=earlier,
        doubts=outline_doubts(truth.landslides, aoi.geometry, stack),
    )


def samples_of(truth: Truth, stack: FactorStack, options: SusceptibilityOptions) -> Samples:
    """The cells a map is learned from: the same again from the same truth, factors and options.

    Raises:
        SamplingError: too few landslides, or too little unfailed ground, to learn from.
    """
    return sample(
        truth.landslides,
        truth.ground,
        stack,
        options.scheme,
        options.seed,
        cells_around(options.model),
    )


def made_before(world: World, event_id: str) -> list[Earlier]:
    """Maps of an event that knew nothing of its landslides: priors, and those carried over."""
    with world.engine.connect() as connection:
        priors = find_priors(connection, event_id)
        carried = list_susceptibility(connection, event_id, "carried")
    return [
        *(
            Earlier(one.impact.model, one.digest, one.impact.path)
            for one in priors
            if one.impact.path
        ),
        *(
            Earlier(f"carried over from {', '.join(one.learned_from)}", one.digest, one.path)
            for one in carried
        ),
    ]


def _keep(world: World, made: Susceptibility) -> StoredSusceptibility:
    """Store a map and finish its run, in one transaction."""
    with world.engine.begin() as connection:
        stored = store_susceptibility(connection, made)
        finish_run(connection, made.run_id, "succeeded")
    return stored
