"""What a susceptibility map leaves in a folder: rasters, figures and every number."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
from shapely.geometry import MultiPolygon

from tasks.publish import figures, model_figures
from tasks.publish.products import written_aside
from tasks.publish.report import SusceptibilityResult
from tasks.susceptibility.store import StoredSusceptibility

RASTERS = {
    "susceptibility.tif": "path",
    "susceptibility_classes.tif": "classes_path",
    "susceptibility_uncertainty.tif": "uncertainty_path",
    "susceptibility_applicability.tif": "applicability_path",
}


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
    figures.susceptibility_figure(
        folder / "susceptibility.png",
        folder / "susceptibility_classes.tif",
        landslides,
        aoi,
        observed,
        credit,
        folder / "susceptibility_applicability.tif" if stored.applicability_path else None,
    )
    figures.roc_figure(
        folder / "roc.png",
        stored.roc["spatial"],
        stored.roc["random"],
        stored.auc_spatial,
        stored.auc_random,
    )
    figures.importance_figure(folder / "importance.png", stored.importance)
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
    with written_aside(folder / "susceptibility.json") as aside:
        aside.write_text(json.dumps(as_json(stored), indent=1, ensure_ascii=False) + "\n")
    return _result(stored, folder, drawn_before=bool(earlier))


def as_json(stored: StoredSusceptibility) -> dict[str, Any]:
    """Everything stored about a map, but for where its files lie, as JSON holds it."""
    record = asdict(stored) | {"gap": stored.gap, "created_at": stored.created_at.isoformat()}
    for field in RASTERS.values():
        del record[field]
    return {
        name: str(value) if name in ("id", "inventory_id", "run_id") and value else value
        for name, value in record.items()
    }


def _scored_before(stored: StoredSusceptibility) -> list[tuple[str, dict[str, float]]]:
    """Maps made before the inventory that could be scored on it, the worst first."""
    scored = [(str(one["what"]), dict(one["auc"])) for one in stored.compared if one["auc"]]
    return sorted(scored, key=lambda one: one[1]["value"])


def _result(
    stored: StoredSusceptibility, folder: Path, *, drawn_before: bool
) -> SusceptibilityResult:
    drawn = stored.sampling
    scheme = drawn["scheme"]
    together = stored.metrics["collinearity"]
    inflation = dict(zip(together["names"], together["vif"], strict=True))
    return SusceptibilityResult(
        model=stored.model,
        auc_spatial=stored.auc_spatial,
        auc_random=stored.auc_random,
        importance=stored.importance,
        sampling=(
            f"Sampling scheme {scheme['name']}: {drawn['presences']:,} cells inside "
            f"{drawn['landslides']:,} landslides against {drawn['absences']:,} observed, unfailed "
            f"cells more than {scheme['buffer_m']:g} m away; seed {drawn['seed']}; {drawn['folds']}"
        ),
        learned_from=stored.learned_from,
        classes=stored.classes,
        factors=[
            {**factor, "vif": inflation.get(factor["name"])} for factor in stored.factor_table
        ],
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
