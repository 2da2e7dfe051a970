"""`scarp susceptibility --points`: models of points that somebody else labelled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.output import print_json, print_line, print_note, progress_bars, screen, table

if TYPE_CHECKING:
    from tasks.susceptibility.folds import Folds
    from tasks.susceptibility.model import Model
    from tasks.susceptibility.points import Points
    from tasks.susceptibility.validation import Score, Validation


def score_points(
    path: Path,
    label: str | None,
    crs: str | None,
    raster: Path | None,
    factors: str | None,
    categorical: str | None,
    model: str,
    folds: int,
    repeats: int,
    block_m: float | None,
    group: str | None,
    apart_m: float,
    seed: int,
    as_json: bool,
) -> None:
    """Read the points, score a model of them in space and at random, and say so."""
    from flows.progress import report
    from tasks.errors import PointsError
    from tasks.susceptibility.folds import block_folds, group_folds
    from tasks.susceptibility.learners import find_learner, fit_model
    from tasks.susceptibility.points import read_points
    from tasks.susceptibility.validation import cross_validate

    if label is None:
        raise PointsError(
            f"say which column of {path} tells landslides from stable ground: --label"
        )
    find_learner(model)
    points = read_points(
        path,
        label,
        crs=crs,
        raster=raster,
        factors=listed(factors),
        categorical=listed(categorical),
        group=group,
    )
    held_out: Folds | None = None
    if points.groups is not None:
        held_out = group_folds(points.groups)
    elif block_m:
        held_out = block_folds(points.samples, block_m, folds, repeats, seed)
    with progress_bars():
        validation = cross_validate(
            points.samples,
            model,
            seed,
            folds=folds,
            repeats=repeats,
            spatial=held_out,
            buffer_m=apart_m,
            explain=False,
            progress=report,
        )
    if as_json:
        settings = {"folds": folds, "repeats": repeats, "apart_m": apart_m, "seed": seed}
        fitted = fit_model(model, points.samples, seed)
        print_json(_record(points, model, settings, validation, fitted))
    else:
        _show(points, model, validation)


def listed(names: str | None) -> list[str]:
    """Names that a person separated by commas."""
    return [name.strip() for name in names.split(",") if name.strip()] if names else []


def _record(
    points: Points,
    model: str,
    settings: dict[str, float],
    validation: Validation,
    fitted: Model,
) -> dict[str, Any]:
    samples = points.samples
    return {
        "model": model,
        "settings": settings,
        "n": len(samples.y),
        "landslides": int(samples.y.sum()),
        "factors": samples.names,
        "categorical": sorted(samples.categorical),
        "crs": points.crs,
        "auc": {
            "spatial": _score(validation.spatial),
            "random": _score(validation.random),
            "gap": validation.gap,
        },
        "left_out": points.left_out,
        "ignored": points.ignored,
        "doubts": [*points.doubts, *validation.doubts],
        "learned": fitted.explain(),
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "mean": score.auc.value,
        "sd": score.sd,
        "interval": [score.auc.low, score.auc.high],
        "folds": score.fold_aucs,
        "left_out": score.left_out,
        "held_out": score.folds,
        "average_precision": score.average_precision,
        "brier": score.brier,
    }


def _show(points: Points, model: str, validation: Validation) -> None:
    samples = points.samples
    rows = [
        {
            "held out": score.folds,
            "AUC": f"{score.auc.value:.3f}",
            "95 % interval": f"{score.auc.low:.3f} to {score.auc.high:.3f}",
            "sd of folds": f"{score.sd:.3f}",
            "Brier": f"{score.brier:.3f}",
        }
        for score in (validation.spatial, validation.random)
    ]
    title = f"{model}: {samples.y.sum()} landslides, {(~samples.y).sum()} stable points"
    screen.print(table(title, rows))
    print_line(
        f"random minus spatial AUC: {validation.gap:+.3f}\nfactors: {', '.join(samples.names)}"
    )
    for doubt in (*points.doubts, *validation.doubts):
        print_note(doubt.text)
