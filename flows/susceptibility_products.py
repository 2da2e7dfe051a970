"""What a susceptibility map leaves in a folder: rasters, figures and every number."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
from shapely.geometry import MultiPolygon

from flows.assess_susceptibility import Assessed
from flows.reporting import making_of, report_on
from flows.world import World, open_world
from tasks.events.registry import find_aoi, find_registered
from tasks.inventory.origin import made_by
from tasks.inventory.store import list_inventories, read_reviewed
from tasks.publish import model_figures
from tasks.publish.map_figures import susceptibility_figure
from tasks.publish.products import replaced_together, write_json
from tasks.publish.report import SusceptibilityResult, write_report
from tasks.susceptibility.store import StoredSusceptibility
from tasks.types import AreaOfInterest, Event, Interval

RASTERS = {
    "susceptibility.tif": "path",
    "susceptibility_classes.tif": "classes_path",
    "susceptibility_uncertainty.tif": "uncertainty_path",
    "susceptibility_applicability.tif": "applicability_path",
}
FIGURES = (
    "susceptibility.png",
    "roc.png",
    "importance.png",
    "skill.png",
    "dependence.png",
    "correlation.png",
    "before_after.png",
)


PRODUCTS = (*RASTERS, *FIGURES, "susceptibility.json", "report.html")


def publish_assessment(event_id: str, assessed: Assessed, folder: Path | None = None) -> Path:
    """Write what a map leaves behind that was asked for on its own.

    The report tells of the inventory and of the map; a map carried over has no inventory to tell
    of, and leaves none.

    Args:
        event_id: the event.
        assessed: the map; where there is none, the products of an earlier one are removed.
        folder: where to; by default `susceptibility` among the event's products.

    Returns:
        The folder.

    Raises:
        StorageError: the folder cannot be written; the products already there stay.
    """
    world = open_world()
    with world.engine.connect() as connection:
        event = find_registered(connection, event_id).event
        aoi = find_aoi(connection, event.id)
    folder = folder or world.products(event.id) / "susceptibility"
    stored = assessed.susceptibility
    with replaced_together(folder, PRODUCTS) as made:
        if stored and stored.inventory_id is None:
            nothing = gpd.GeoDataFrame(geometry=[], crs="EPSG:4326")
            write_susceptibility(stored, nothing, aoi.geometry, aoi.geometry, made)
        elif stored:
            _write_with_report(world, event, aoi, assessed, stored, made)
    return folder


def _write_with_report(
    world: World,
    event: Event,
    aoi: AreaOfInterest,
    assessed: Assessed,
    stored: StoredSusceptibility,
    folder: Path,
) -> None:
    with world.engine.connect() as connection:
        versions = list_inventories(connection, event.id)
        (inventory,) = (one for one in versions if one.id == stored.inventory_id)
        landslides = read_reviewed(connection, inventory.id)
        method = made_by(connection, inventory)
        how = assessed.provenance
        making = [making_of(connection, "susceptibility map", how, stored.run_id)] if how else []
    result = write_susceptibility(stored, landslides, aoi.geometry, inventory.observed, folder)
    told = report_on(event, aoi, inventory, landslides, method)
    write_report(
        folder / "report.html",
        replace(
            told,
            susceptibility=result,
            doubts=[*told.doubts, *stored.doubts],
            making=making,
            credits=[inventory.attribution] if inventory.attribution else [],
        ),
    )


def write_susceptibility(
    stored: StoredSusceptibility,
    landslides: gpd.GeoDataFrame,
    aoi: MultiPolygon,
    observed: MultiPolygon,
    folder: Path,
    credit: str = "",
) -> SusceptibilityResult:
    """Copy a map's rasters, draw its figures and write its numbers into a folder that exists.

    Args:
        stored: the map.
        landslides: what it is drawn with, EPSG:4326.
        aoi: area of interest, EPSG:4326.
        observed: what of it was seen, EPSG:4326.
        folder: where to.
        credit: a line under the map.

    Returns:
        What the report says about it.

    Raises:
        StorageError: the folder cannot be written.
    """
    for name, field in RASTERS.items():
        if path := getattr(stored, field):
            shutil.copyfile(path, folder / name)
    susceptibility_figure(
        folder / "susceptibility.png",
        folder / "susceptibility_classes.tif",
        landslides,
        aoi,
        observed,
        credit,
        folder / "susceptibility_applicability.tif" if stored.applicability_path else None,
    )
    model_figures.roc_figure(
        folder / "roc.png",
        stored.roc["spatial"],
        stored.roc["random"],
        stored.auc_spatial,
        stored.auc_random,
    )
    model_figures.importance_figure(folder / "importance.png", stored.importance)
    model_figures.skill_figure(folder / "skill.png", stored.metrics)
    model_figures.dependence_figure(
        folder / "dependence.png",
        stored.metrics["partial_dependence"],
        stored.factor_table,
        list(stored.importance),
    )
    model_figures.correlation_figure(folder / "correlation.png", stored.metrics["collinearity"])
    if earlier := _scored_before(stored):
        fitted = ("this map, spatial folds", asdict(stored.auc_spatial))
        model_figures.before_after_figure(folder / "before_after.png", [*earlier, fitted])
    write_json(folder / "susceptibility.json", as_json(stored))
    return _result(stored, folder, drawn_before=bool(earlier))


def as_json(stored: StoredSusceptibility) -> dict[str, Any]:
    """Everything stored about a map, but for where its files lie, as JSON holds it."""
    record = asdict(stored) | {"created_at": stored.created_at.isoformat()}
    for field in (*RASTERS.values(), "auc_spatial", "auc_random"):
        del record[field]
    record["auc"] = {
        "spatial": _auc(stored.auc_spatial, stored.metrics["spatial"]),
        "random": _auc(stored.auc_random, stored.metrics["random"]),
        "gap": stored.gap,
    }
    return {
        name: str(value) if name in ("id", "inventory_id", "run_id") and value else value
        for name, value in record.items()
    }


def _auc(auc: Interval, score: Mapping[str, Any]) -> dict[str, Any]:
    """As `scarp susceptibility --points` tells an AUC."""
    return {
        "mean": auc.value,
        "sd": score["sd"],
        "interval": [auc.low, auc.high],
        "folds": score["fold_aucs"],
        "held_out": score["folds"],
    }


def _scored_before(stored: StoredSusceptibility) -> list[tuple[str, dict[str, float]]]:
    """Maps made before the inventory that could be scored on it, the worst first."""
    scored = [(str(one["what"]), dict(one["auc"])) for one in stored.compared if one["auc"]]
    return sorted(scored, key=lambda one: one[1]["value"])


def _result(
    stored: StoredSusceptibility, folder: Path, *, drawn_before: bool
) -> SusceptibilityResult:
    together = stored.metrics["collinearity"]
    inflation = {
        name: {"vif": vif} for name, vif in zip(together["names"], together["vif"], strict=True)
    }
    return SusceptibilityResult(
        model=stored.model,
        auc_spatial=stored.auc_spatial,
        auc_random=stored.auc_random,
        importance=stored.importance,
        sampling=_drawn(stored.sampling),
        learned_from=stored.learned_from,
        learned_here=stored.learned_here,
        classes=stored.classes,
        factors=[{**factor, **inflation.get(factor["name"], {})} for factor in stored.factor_table],
        absent_factors=stored.absent_factors,
        compared=stored.compared,
        applicable_share=stored.applicable_share,
        figure=folder / "susceptibility.png",
        roc=folder / "roc.png",
        importance_figure=folder / "importance.png",
        skill_figure=folder / "skill.png",
        dependence_figure=folder / "dependence.png",
        correlation_figure=folder / "correlation.png",
        before_figure=folder / "before_after.png" if drawn_before else None,
    )


def _drawn(sampling: Mapping[str, Any]) -> str:
    """How samples were drawn, in a sentence; what a scheme asks of absences only where it does."""
    scheme = sampling["scheme"]
    steep, strata = scheme["least_slope_deg"], scheme["strata"]
    where = [
        f"more than {scheme['buffer_m']:g} m away" if scheme["buffer_m"] else "",
        f"on slopes of at least {steep:g}°" if steep else "",
        f"spread evenly over {strata}" if strata != "none" else "",
    ]
    asked = ", ".join(filter(None, where))
    return (
        f"Sampling scheme {scheme['name']}: {sampling['presences']:,} cells inside "
        f"{sampling['landslides']:,} landslides against {sampling['absences']:,} observed, "
        f"unfailed cells{asked and ' '}{asked}; seed {sampling['seed']}; {sampling['folds']}"
    )
