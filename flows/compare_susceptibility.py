"""What two inventories of one event teach about its susceptibility, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon

from flows.assess_susceptibility import Truth, choices, read_truth
from flows.options import SusceptibilityOptions
from flows.progress import report
from flows.terrain import derive_stack, elevation_of, terrain_inputs
from flows.world import open_world
from tasks.errors import InventoryError, SamplingError
from tasks.events.aoi import as_multipolygon
from tasks.inventory.compare import INSIDE
from tasks.inventory.quality import AreaMatch, match_areas
from tasks.publish.comparison import comparison_figure
from tasks.susceptibility.compare import SIDES, CrossAuc, Side, cross_auc, same_landslides
from tasks.susceptibility.dem import find_dem
from tasks.susceptibility.difference import difference_map
from tasks.susceptibility.factor_file import FactorTable
from tasks.susceptibility.factors import check_dem, derive_factors
from tasks.susceptibility.learners import cells_around, find_learner, fit_model
from tasks.susceptibility.misfits import (
    GROUND,
    Contrast,
    Kind,
    adjusted,
    contrasts,
    ground_of,
    misfits,
)
from tasks.susceptibility.sampling import FEW_LANDSLIDES, Samples
from tasks.susceptibility.stack import FactorStack
from tasks.susceptibility.study import sample
from tasks.types import AreaOfInterest, Doubt, Provenance

ERRORS: dict[Side, Kind] = {"automatic": "commission", "manual": "omission"}


@dataclass(frozen=True)
class SideRecord:
    """One inventory on the ground both observed; `alone` counts what the other has not."""

    version: int
    method: str
    landslides: int
    area_km2: float
    presences: int
    absences: int
    alone: int


@dataclass(frozen=True)
class SusceptibilityComparison:
    """Two inventories of one event beside each other, and the files that show it.

    `mapping_error` is `AreaMatch.error`, 0-1.
    """

    event_id: str
    digest: str
    model: str
    ground_km2: float
    mapping_error: float
    sides: dict[Side, SideRecord]
    auc: CrossAuc
    contrasts: tuple[Contrast, ...]
    doubts: tuple[Doubt, ...]
    figure: Path
    difference: Path


@dataclass(frozen=True)
class _Pair:
    """Two inventories, with their landslides and sure ground where both observed."""

    aoi: AreaOfInterest
    truths: dict[Side, Truth]
    landslides: dict[Side, gpd.GeoDataFrame]
    sure: dict[Side, MultiPolygon]
    match: AreaMatch


def compare_susceptibility(
    event_id: str,
    manual: int,
    automatic: int,
    options: SusceptibilityOptions,
    folder: Path | None = None,
) -> SusceptibilityComparison:
    """Compare two inventory versions of an event, as reviewed, where both looked.

    Args:
        event_id: the event.
        manual: version that is taken as true.
        automatic: version that is judged.
        options: the DEM, the model, the sampling scheme and the seed.
        folder: where `comparison.png` and `susceptibility_difference.tif` go; by default one among
            the event's products.

    Raises:
        EventError, InventoryError: an inventory is not stored or is named twice, or they share no
            ground.
        RasterError: there is no DEM, or it cannot be used.
        SamplingError: one of them has too few landslides to learn from; says which.
        StorageError: a file cannot be written.
    """
    if manual == automatic:
        raise InventoryError(
            f"version {manual} is the same as itself; name another to compare it with"
        )
    steps = partial(report, "comparison", total=4)
    find_learner(options.model)
    pair = _read(event_id, {"manual": manual, "automatic": automatic})
    check_dem(find_dem(elevation_of(options), pair.aoi.geometry), pair.aoi.geometry)
    asked = _asked(event_id, pair, options)
    folder = folder or open_world().products(event_id) / f"comparison_{manual}_{automatic}"
    work = open_world().work(event_id, asked.digest)
    stack = derive_stack(options, pair.aoi, work / "factors.tif")
    steps(done=1)
    samples = {side: _samples(pair, side, stack, options) for side in SIDES}
    labels = same_landslides(pair.landslides["manual"], pair.landslides["automatic"])
    aucs = cross_auc(samples, labels, model=options.model, seed=options.seed)
    steps(done=2)
    difference = difference_map(
        fit_model(options.model, samples["automatic"], options.seed),
        fit_model(options.model, samples["manual"], options.seed),
        stack,
        folder / "susceptibility_difference.tif",
        {"SCARP_EVENT": event_id, "SCARP_DIGEST": asked.digest},
        cells_around(options.model),
    )
    steps(done=3)
    outlines = {side: pair.landslides[side].geometry for side in SIDES}
    alone: dict[Side, NDArray[np.bool_]] = {
        "manual": misfits(outlines["manual"], outlines["automatic"]),
        "automatic": misfits(outlines["automatic"], outlines["manual"]),
    }
    terrain = derive_factors(
        elevation_of(options), pair.aoi.geometry, work / "ground.tif", table=FactorTable(GROUND)
    )
    ground = {side: ground_of(outlines[side], terrain) for side in SIDES}
    figure = comparison_figure(folder / "comparison.png", difference, aucs, outlines, alone, ground)
    steps(done=4)
    return SusceptibilityComparison(
        event_id=event_id,
        digest=asked.digest,
        model=options.model,
        ground_km2=pair.match.ground_m2 / 1e6,
        mapping_error=pair.match.error,
        sides={side: _record(pair, side, samples[side], alone[side]) for side in SIDES},
        auc=aucs,
        contrasts=adjusted(
            [
                one
                for side, kind in ERRORS.items()
                for one in contrasts(kind, ground[side], alone[side])
            ]
        ),
        doubts=tuple(_doubts(pair, samples, stack, aucs)),
        figure=figure,
        difference=difference,
    )


def _read(event_id: str, versions: dict[Side, int]) -> _Pair:
    read = {side: read_truth(open_world(), event_id, versions[side]) for side in SIDES}
    truths = {side: truth for side, (truth, _) in read.items()}
    manual, automatic = (truths[side] for side in SIDES)
    ground = as_multipolygon(manual.inventory.observed & automatic.inventory.observed)
    return _Pair(
        aoi=read["manual"][1],
        truths=truths,
        landslides={side: _lying_on(ground, truths[side].landslides) for side in SIDES},
        sure={side: as_multipolygon(ground & truths[side].ground) for side in SIDES},
        match=match_areas(manual.landslides, automatic.landslides, ground),
    )


def _lying_on(ground: MultiPolygon, landslides: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Those with at least `INSIDE` of their area on the ground."""
    outlines = landslides.geometry.to_numpy()
    shapely.prepare(ground)
    inside = shapely.area(shapely.intersection(outlines, ground))
    return landslides[inside >= INSIDE * shapely.area(outlines)].reset_index(drop=True)


def _asked(event_id: str, pair: _Pair, options: SusceptibilityOptions) -> Provenance:
    inputs = terrain_inputs(options, pair.aoi)
    inputs |= {str(side): pair.truths[side].inventory.digest for side in SIDES}
    reviews = {str(side): pair.truths[side].newest_review for side in SIDES}
    return Provenance(event_id, inputs, choices(options) | {"newest_reviews": reviews})


def _samples(
    pair: _Pair, side: Side, stack: FactorStack, options: SusceptibilityOptions
) -> Samples:
    try:
        return sample(
            pair.landslides[side],
            pair.sure[side],
            stack,
            options.scheme,
            options.seed,
            cells_around(options.model),
        )
    except SamplingError as error:
        raise SamplingError(f"inventory version {_version(pair, side)}: {error}") from error


def _record(pair: _Pair, side: Side, samples: Samples, alone: NDArray[np.bool_]) -> SideRecord:
    area_m2 = pair.match.first_m2 if side == "manual" else pair.match.second_m2
    return SideRecord(
        version=_version(pair, side),
        method=pair.truths[side].inventory.method,
        landslides=len(pair.landslides[side]),
        area_km2=area_m2 / 1e6,
        presences=int(samples.y.sum()),
        absences=int((~samples.y).sum()),
        alone=int(alone.sum()),
    )


def _doubts(
    pair: _Pair, samples: dict[Side, Samples], stack: FactorStack, aucs: CrossAuc
) -> list[Doubt]:
    few = [
        Doubt(
            "few-landslides",
            f"only {samples[side].landslides} landslides of version {_version(pair, side)} were "
            "there to learn from; do not lean on its AUC",
        )
        for side in SIDES
        if samples[side].landslides < FEW_LANDSLIDES
    ]
    left_out = [
        Doubt(
            "folds-left-out",
            f"{aucs.left_out} districts are left out, for when they are held out one inventory has "
            "nothing to learn from",
        )
    ]
    return [*stack.doubts, *few, *(left_out if aucs.left_out else [])]


def _version(pair: _Pair, side: Side) -> int:
    return pair.truths[side].inventory.version
