"""What landslides teach about their ground: samples, a model, and how far to believe it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon

from tasks.percent import percent
from tasks.susceptibility.applicability import Applicability, fit_applicability
from tasks.susceptibility.auc import guesses
from tasks.susceptibility.classes import (
    Breaks,
    ClassRow,
    class_table,
    count_levels,
    success_rate,
)
from tasks.susceptibility.folds import FOLDS, REPEATS, Folds, district_folds
from tasks.susceptibility.learners import fit_model
from tasks.susceptibility.low_ground import keep_low, low_ground_doubt, pooled
from tasks.susceptibility.members import with_spread
from tasks.susceptibility.model import Model
from tasks.susceptibility.predict import MapSummary, SpreadPredictor, predict_map
from tasks.susceptibility.sampling import FEW_LANDSLIDES, Samples, draw_samples
from tasks.susceptibility.schemes import Scheme
from tasks.susceptibility.stack import FactorStack
from tasks.susceptibility.validation import Validation, cross_validate
from tasks.types import Doubt

FULL_COVERAGE = 0.99
MOSTLY_APPLICABLE = 0.8

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """A model, what it was learned from, and how far it can be believed and where.

    `mapper` predicts what `model` does, with a spread.
    """

    samples: Samples
    name: str
    model: Model
    mapper: SpreadPredictor
    validation: Validation
    applicability: Applicability


@dataclass(frozen=True)
class Mapped:
    """A study's map, on disk: its classes, and how its ground that failed is spread over it.

    `success_rate` is as `classes.success_rate` has it; `failed_share` is the part of the seen
    ground that failed, 0-1.
    """

    summary: MapSummary
    classes: tuple[ClassRow, ...]
    success_rate: NDArray[np.float64]
    failed_share: float


def sample(
    landslides: gpd.GeoDataFrame,
    ground: MultiPolygon,
    stack: FactorStack,
    scheme: Scheme,
    seed: int,
    halo: int = 0,
) -> Samples:
    """Draw samples as a scheme wants them, its choice by a first model included.

    `halo` is how far around each cell the model to fit looks, in cells.

    Raises:
        SamplingError: too few landslides, or too little unfailed ground, to learn from.
        AssessmentError: the scheme asks for a factor the stack lacks.
    """
    if not scheme.low_only:
        return draw_samples(landslides, ground, stack, scheme, halo=halo, seed=seed)
    pool = draw_samples(landslides, ground, stack, pooled(scheme), halo=halo, seed=seed)
    return keep_low(pool, scheme.ratio, seed)


def learn(
    samples: Samples,
    model: str,
    seed: int,
    *,
    folds: Folds | None = None,
    progress: Progress | None = None,
) -> Study:
    """Validate a model on samples, then fit it to all of them.

    Args:
        samples: cells of both classes.
        model: its name among the learners.
        seed: of the folds, the model and the bootstrap.
        folds: what is held out in space; by default districts.
        progress: told the stage, and how much of how much is done.

    Raises:
        SamplingError: too few landslides, or all in one fold.
        AssessmentError: there is no such model.
    """
    folds = folds or district_folds(samples, FOLDS, REPEATS, seed)
    validation = cross_validate(samples, model, seed, spatial=folds, progress=progress)
    losses = {name: loss.value for name, loss in validation.importance.items()}
    fitted = fit_model(model, samples, seed)
    return Study(
        samples,
        model,
        fitted,
        with_spread(fitted, model, samples, folds, seed),
        validation,
        fit_applicability(samples, losses, folds.of[0]),
    )


def map_study(
    study: Study,
    stack: FactorStack,
    path: Path,
    tags: dict[str, str],
    breaks: Breaks,
    landslides: gpd.GeoDataFrame,
    ground: MultiPolygon,
    progress: Callable[[int, int], None] | None = None,
) -> Mapped:
    """Map what was learned, and count what failed in each class.

    Args:
        study: what was learned.
        stack: the same factors, here or elsewhere.
        path: COG to make or replace; others lie beside it, see `predict_map`.
        tags: provenance tags.
        breaks: how the map is classed.
        landslides: polygons, EPSG:4326; none where nothing is mapped yet.
        ground: what was seen, EPSG:4326.
        progress: told how many cells of how many are done.

    Raises:
        StorageError: `path` cannot be written.
    """
    summary = predict_map(
        study.mapper,
        stack,
        path,
        tags,
        breaks=breaks,
        applicability=study.applicability,
        halo=study.samples.halo,
        progress=progress,
    )
    counts = count_levels(path, landslides, ground)
    failed = float(counts.failed.sum() / max(1, counts.observed.sum()))
    return Mapped(summary, class_table(counts, summary.bounds), success_rate(counts), failed)


def outline_doubts(
    landslides: gpd.GeoDataFrame, aoi: MultiPolygon, stack: FactorStack
) -> tuple[Doubt, ...]:
    """What outlines in the area, EPSG:4326 both, are too small to say on the cells of a stack."""
    cell_m = stack.geobox.resolution.x
    mine = landslides.geometry[landslides.intersects(aoi)]
    area = mine.to_crs(str(stack.geobox.crs)).area
    small = int((area < cell_m**2).sum())
    if not small:
        return ()
    text = (
        f"{small:,} of {len(area):,} landslides are smaller than a cell of {cell_m:.3g} m and "
        "stand for at most one; an elevation model of smaller cells would tell their ground better"
    )
    return (Doubt("landslides-below-cell", text),)


def study_doubts(
    stack: FactorStack, study: Study, scheme: Scheme, applicable_share: float | None
) -> list[Doubt]:
    """What the terrain, the samples and the validation give reason to doubt."""
    samples = study.samples
    doubts = [*stack.doubts, *study.validation.doubts, *low_ground_doubt(scheme)]
    if stack.coverage < FULL_COVERAGE:
        known = percent(stack.coverage)
        text = f"the elevation model knows {known} of the area; the rest has no value"
        doubts.append(Doubt("dem-partial", text))
    if guesses(study.validation.spatial.auc):
        text = (
            "the interval of the AUC held out in space reaches 0.5: the map cannot be told from "
            "guessing"
        )
        doubts.append(Doubt("like-guessing", text))
    if samples.landslides < FEW_LANDSLIDES:
        text = f"only {samples.landslides} landslides were there to learn from; do not lean on it"
        doubts.append(Doubt("few-landslides", text))
    wanted = round(scheme.ratio * int(samples.y.sum()))
    if (drawn := int((~samples.y).sum())) < wanted:
        text = f"only {drawn:,} of the {wanted:,} absences asked for could be drawn"
        doubts.append(Doubt("few-absences", text))
    if applicable_share is not None and applicable_share < MOSTLY_APPLICABLE:
        text = (
            f"only {percent(applicable_share)} of the map is ground like that the model was "
            "trained on; elsewhere it guesses"
        )
        doubts.append(Doubt("outside-applicability", text))
    return doubts
