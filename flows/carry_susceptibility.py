"""A susceptibility map of an event nobody has mapped yet, learned from others in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import geopandas as gpd
from prefect import flow
from shapely.geometry import MultiPolygon

from flows.assess_susceptibility import (
    METHOD_VERSION,
    Assessed,
    Truth,
    choices,
    made_once,
    read_truth,
)
from flows.options import SusceptibilityOptions
from flows.progress import report
from flows.runs import failure_recorded
from flows.steps import step
from flows.terrain import derive_stack, terrain_inputs
from flows.world import World, open_world
from tasks.errors import AssessmentError
from tasks.events.registry import find_aoi, find_registered
from tasks.susceptibility.carried import (
    cells_doubts,
    ground_doubts,
    pooled_samples,
    shared_factors,
)
from tasks.susceptibility.learners import cells_around
from tasks.susceptibility.recording import record_study
from tasks.susceptibility.stack import FactorStack, open_stack
from tasks.susceptibility.store import (
    StoredSusceptibility,
    Susceptibility,
    list_susceptibility,
)
from tasks.susceptibility.study import learn, map_study, sample
from tasks.types import AreaOfInterest, Doubt, Provenance

NAME = "carry-susceptibility"


@dataclass(frozen=True)
class Lesson:
    """A past event: what is known of its ground, and the map that was fitted to that."""

    truth: Truth
    aoi: AreaOfInterest
    fitted: StoredSusceptibility


@flow(name=NAME)
def carry_susceptibility(event_id: str, options: SusceptibilityOptions) -> Assessed:
    """Map an event by a model of the events `options.learn_from`, and say how far to believe it.

    The model is scored on each past event held out in turn, or on districts of the only one.

    Raises:
        ScarpError: see `tasks.errors`; the run that failed keeps the reason.
    """
    world = open_world()
    with world.engine.connect() as connection:
        event_id = find_registered(connection, event_id).event.id
        aoi = find_aoi(connection, event_id)
    asked = Provenance(event_id, {"dem": str(options.dem)}, {"learn_from": options.learn_from})
    with failure_recorded(world.engine, asked, NAME):
        lessons = _lessons(world, event_id, options.learn_from)
        provenance = _provenance(event_id, lessons, aoi, options)

    def make(run_id: UUID) -> Susceptibility:
        return step(learn_and_map, hours=12)(world, run_id, lessons, aoi, options, provenance)

    return made_once(world, provenance, NAME, make)


def _lessons(world: World, event_id: str, names: tuple[str, ...]) -> list[Lesson]:
    lessons: dict[str, Lesson] = {}
    for name in names:
        one = _lesson(world, event_id, name)
        past = one.truth.inventory.event_id
        if past in lessons:
            raise AssessmentError(
                f"--from names event {past} twice, which would then be held out from itself; name "
                "it once"
            )
        lessons[past] = one
    return list(lessons.values())


def _lesson(world: World, event_id: str, name: str) -> Lesson:
    truth, aoi = read_truth(world, name)
    past = truth.inventory.event_id
    if past == event_id:
        raise AssessmentError(
            f"event {event_id} cannot be learned from itself before it is mapped; leave it out of "
            "--from, or leave --from out to fit its own landslides"
        )
    with world.engine.connect() as connection:
        fitted = list_susceptibility(connection, past, "fitted")
    with_settings = [one for one in fitted if one.settings]
    if not with_settings:
        raise AssessmentError(
            f"event {past} has no susceptibility map to carry over; "
            f"`scarp susceptibility {past} --dem FILE` makes one"
        )
    return Lesson(truth, aoi, with_settings[0])


def _provenance(
    event_id: str, lessons: list[Lesson], aoi: AreaOfInterest, options: SusceptibilityOptions
) -> Provenance:
    inputs = {
        f"{what} of {one.fitted.event_id}": digest
        for one in lessons
        for what, digest in (
            ("inventory", one.truth.inventory.digest),
            ("susceptibility", one.fitted.digest),
        )
    }
    reviews = [one.truth.newest_review for one in lessons]
    return Provenance(
        event_id,
        inputs | {"aoi": aoi.digest} | terrain_inputs(options, aoi),
        {
            "method_version": METHOD_VERSION,
            "learn_from": [one.fitted.event_id for one in lessons],
            "newest_reviews": reviews,
            **choices(options),
        },
    )


def learn_and_map(
    world: World,
    run_id: UUID,
    lessons: list[Lesson],
    aoi: AreaOfInterest,
    options: SusceptibilityOptions,
    provenance: Provenance,
) -> Susceptibility:
    """Derive factors here and there, learn from there, and map here.

    Raises:
        SamplingError: a past event has too little to learn from.
        AssessmentError: the events share no factor.
        RasterError: a DEM cannot be used.
    """
    folder = world.work(provenance.event_id, provenance.digest)
    steps = partial(report, "deriving factors", total=len(lessons) + 1)
    here = derive_stack(options, aoi, folder / "factors.tif")
    steps(done=1)
    there = []
    for number, one in enumerate(lessons, start=2):
        there.append(_past_stack(world, one))
        steps(done=number)
    here, *there = shared_factors([here, *there])
    samples, folds = pooled_samples(
        [
            sample(
                one.truth.landslides,
                one.truth.ground,
                stack,
                options.scheme,
                options.seed,
                cells_around(options.model),
            )
            for one, stack in zip(lessons, there, strict=True)
        ],
        options.seed,
    )
    study = learn(samples, options.model, options.seed, folds=folds, progress=report)
    mapped = map_study(
        study,
        here,
        folder / "susceptibility.tif",
        {"SCARP_EVENT": provenance.event_id, "SCARP_DIGEST": provenance.digest},
        options.breaks,
        gpd.GeoDataFrame(geometry=[], crs="EPSG:4326"),
        MultiPolygon(),
        progress=partial(report, "mapping susceptibility"),
    )
    names = tuple(one.fitted.event_id for one in lessons)
    seen = {name: one.truth.inventory.observed for name, one in zip(names, lessons, strict=True)}
    cells = dict(zip(names, there, strict=True))
    return record_study(
        study,
        here,
        mapped,
        options.scheme,
        options.seed,
        event_id=provenance.event_id,
        inventory_id=None,
        run_id=run_id,
        digest=provenance.digest,
        settings=options.kept,
        learned_from=names,
        doubts=(_doubt(names), *cells_doubts(here, cells), *ground_doubts(seen)),
    )


def _past_stack(world: World, lesson: Lesson) -> FactorStack:
    """The factors of a past event, derived again where they were cleared away."""
    path = world.work(lesson.fitted.event_id, lesson.fitted.digest) / "factors.tif"
    if path.exists():
        return open_stack(path)
    settings = SusceptibilityOptions.model_validate(dict(lesson.fitted.settings))
    return replace(derive_stack(settings, lesson.aoi, path), path=path)


def _doubt(names: tuple[str, ...]) -> Doubt:
    where = "districts of it" if len(names) == 1 else "each of them held out in turn"
    return Doubt(
        "carried-over",
        f"the model was learned from {', '.join(names)}, not from this event, and its AUC is that "
        f"on {where}",
    )
