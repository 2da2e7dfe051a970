"""`scarp susceptibility`: where slopes fail, and how far that can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.output import AsJson, print_json, progress_bars, screen, table

if TYPE_CHECKING:
    from tasks.susceptibility.model import Model
    from tasks.susceptibility.points import Points
    from tasks.susceptibility.validation import Score, Validation


def susceptibility(
    event_id: Annotated[
        str | None, typer.Argument(help="The event whose inventory to learn from.")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="Instead of an event: a CSV of labelled points with coordinates."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of the points: true/false or 1/0.")
    ] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of the points, such as 32717. Default: the raster's.")
    ] = None,
    raster: Annotated[
        Path | None, typer.Option(help="Bands that are the points' factors. Default: the columns.")
    ] = None,
    factors: Annotated[
        str | None, typer.Option(help="Factors of the points to use: slope,elev. Default: all.")
    ] = None,
    categorical: Annotated[
        str | None, typer.Option(help="Factors of the points whose numbers are classes.")
    ] = None,
    model: Annotated[str, typer.Option(help="rf, logistic, hgb, svm, mlp.")] = "rf",
    folds: Annotated[int, typer.Option(min=2, help="Parts, each held out once.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Times the parts are drawn anew.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal numbers.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn where slopes fail, and score that on ground held out in space and at random.

    Example: scarp susceptibility --points points.csv --label landslide --model logistic --json
    """
    from flows.progress import report
    from tasks.errors import PointsError
    from tasks.susceptibility.learners import find_learner, fit_model
    from tasks.susceptibility.points import read_points
    from tasks.susceptibility.validation import cross_validate

    if points is None or label is None:
        raise PointsError("give the points and their label: --points FILE.csv --label COLUMN")
    find_learner(model)
    read = read_points(
        points,
        label,
        crs=crs,
        raster=raster,
        factors=_listed(factors),
        categorical=_listed(categorical),
    )
    with progress_bars():
        validation = cross_validate(
            read.samples,
            model,
            seed,
            folds=folds,
            repeats=repeats,
            explain=False,
            progress=report,
        )
    fitted = fit_model(model, read.samples, seed)
    if as_json:
        settings = {"folds": folds, "repeats": repeats, "seed": seed}
        print_json(_record(read, model, settings, validation, fitted))
    else:
        _show(read, model, validation)


def _listed(names: str | None) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()] if names else []


def _record(
    points: Points,
    model: str,
    settings: dict[str, int],
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
    screen.print(
        f"random minus spatial AUC: {validation.gap:+.3f}\nfactors: {', '.join(samples.names)}",
        highlight=False,
        markup=False,
    )
    for doubt in (*points.doubts, *validation.doubts):
        screen.print(f"note: {doubt.text}", highlight=False, markup=False)
