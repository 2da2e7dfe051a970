"""From a published inventory and a DEM to a susceptibility map that carries its AUC."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from prefect import flow

from flows.options import SusceptibilityOptions
from flows.progress import report
from flows.runs import failure_recorded, recorded_run
from flows.steps import step
from flows.world import World, open_world
from tasks.errors import SamplingError
from tasks.events.aoi import as_multipolygon
from tasks.events.registry import find_aoi
from tasks.imagery.rasters import file_sha256
from tasks.inventory.runs import finish_run
from tasks.inventory.store import StoredInventory, get_inventory, read_landslides, read_screened
from tasks.susceptibility.factors import derive_factors
from tasks.susceptibility.fit import MODEL, Validation, cross_validate, fit_forest
from tasks.susceptibility.forest import PackedForest
from tasks.susceptibility.predict import predict_map
from tasks.susceptibility.sampling import FEW_LANDSLIDES, Samples, draw_samples
from tasks.susceptibility.stack import FactorStack
from tasks.susceptibility.store import (
    StoredSusceptibility,
    find_susceptibility,
    store_susceptibility,
)
from tasks.types import AreaOfInterest, Doubt, Provenance

NAME = "assess-susceptibility"
METHOD_VERSION = 1
FULL_COVERAGE = 0.99


@dataclass(frozen=True)
class Assessed:
    """A susceptibility map, or the reason why there is none."""

    susceptibility: StoredSusceptibility | None
    skipped: str = ""
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Fitted:
    """A map on disk and how it came about."""

    path: Path
    factors: tuple[str, ...]
    samples: Samples
    validation: Validation
    seed: int
    doubts: list[Doubt]


@flow(name=NAME)
def assess_susceptibility(
    event_id: str, options: SusceptibilityOptions, version: int | None = None
) -> Assessed:
    """Fit, score and map susceptibility from an inventory version, by default the published one.

    Without a DEM, or with too few landslides, there is no map but a reason; that is no failure.

    Raises:
        ScarpError: see `tasks.errors`; the run that failed keeps the reason.
    """
    world = open_world()
    with world.engine.connect() as connection:
        aoi = find_aoi(connection, event_id)
        inventory = get_inventory(connection, event_id, version)
    if options.dem is None:
        return Assessed(None, "no elevation model was given; add one with --dem FILE")
    if not inventory.landslide_count:
        return Assessed(None, "no landslide was mapped, so there is nothing to learn from")
    asked = Provenance(event_id, {"inventory": inventory.digest, "dem": str(options.dem)})
    with failure_recorded(world.engine, asked, NAME):
        provenance = susceptibility_provenance(inventory, aoi, options.dem, options.seed)
    with world.engine.connect() as connection:
        stored = find_susceptibility(connection, event_id, provenance.digest)
    if stored and stored.path.exists():
        return Assessed(stored, "", provenance)
    known = nullcontext(stored.run_id) if stored else None
    try:
        with known or recorded_run(world.engine, provenance, NAME) as run_id:
            fitted = step(fit_and_map)(world, inventory, aoi, options, provenance)
            stored = stored or _store(world, run_id, inventory, provenance, fitted)
            return Assessed(stored, "", provenance)
    except SamplingError as error:
        return Assessed(None, str(error))


def susceptibility_provenance(
    inventory: StoredInventory, aoi: AreaOfInterest, dem: Path, seed: int
) -> Provenance:
    """Everything that decides a susceptibility map."""
    return Provenance(
        inventory.event_id,
        {
            "inventory": inventory.digest,
            "aoi": sha256(aoi.geometry.wkb).hexdigest(),
            "dem": file_sha256(dem),
        },
        {"method_version": METHOD_VERSION, "seed": seed, "model": MODEL},
    )


def fit_and_map(
    world: World,
    inventory: StoredInventory,
    aoi: AreaOfInterest,
    options: SusceptibilityOptions,
    provenance: Provenance,
) -> Fitted:
    """Derive factors, draw samples, validate, fit and predict.

    Raises:
        SamplingError: too few landslides, or too little unfailed ground, to learn from.
        RasterError: the DEM cannot be used.
    """
    assert options.dem is not None
    with world.engine.connect() as connection:
        landslides = read_landslides(connection, inventory.id)
        screened = read_screened(connection, inventory.id)
    steps = partial(report, "susceptibility", total=4)
    work = world.work(inventory.event_id, provenance.digest)
    stack = derive_factors(options.dem, aoi.geometry, work / "factors.tif")
    steps(done=1)
    # What a network and a screen call by different names teaches neither.
    sure = as_multipolygon(inventory.observed - screened.union_all())
    samples = draw_samples(landslides, sure, stack, seed=options.seed)
    validation = cross_validate(samples, options.seed)
    steps(done=2)
    forest = fit_forest(samples, options.seed)
    steps(done=3)
    path = work / "susceptibility.tif"
    tags = {"SCARP_EVENT": inventory.event_id, "SCARP_DIGEST": provenance.digest}
    predict_map(PackedForest.of(forest), stack, path, tags)
    steps(done=4)
    return Fitted(path, stack.names, samples, validation, options.seed, _doubts(stack, samples))


def _store(
    world: World, run_id: UUID, inventory: StoredInventory, provenance: Provenance, fitted: Fitted
) -> StoredSusceptibility:
    validation = fitted.validation
    with world.engine.begin() as connection:
        stored = store_susceptibility(
            connection,
            event_id=inventory.event_id,
            inventory_id=inventory.id,
            run_id=run_id,
            digest=provenance.digest,
            path=fitted.path,
            factors=fitted.factors,
            sampling=_sampling(fitted),
            model=MODEL,
            auc_spatial=validation.auc_spatial,
            auc_random=validation.auc_random,
            roc={
                "spatial": validation.roc_spatial.tolist(),
                "random": validation.roc_random.tolist(),
            },
            importance={name: asdict(loss) for name, loss in validation.importance.items()},
            doubts=fitted.doubts,
        )
        finish_run(connection, run_id, "succeeded")
    return stored


def _sampling(fitted: Fitted) -> dict[str, object]:
    samples = fitted.samples
    return {
        "presences": int(samples.y.sum()),
        "absences": int((~samples.y).sum()),
        "landslides": samples.landslides,
        "seed": fitted.seed,
        "folds": fitted.validation.folds,
    }


def _doubts(stack: FactorStack, samples: Samples) -> list[Doubt]:
    doubts = []
    if stack.coverage < FULL_COVERAGE:
        text = f"the elevation model knows {stack.coverage:.0%} of the area; the rest has no value"
        doubts.append(Doubt("dem-partial", text))
    if samples.landslides < FEW_LANDSLIDES:
        text = f"only {samples.landslides} landslides were there to learn from; do not lean on it"
        doubts.append(Doubt("few-landslides", text))
    return doubts
