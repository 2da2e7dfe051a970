"""`scarp susceptibility compare`: what two inventories teach, and where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.options import checked
from console.output import (
    AsJson,
    print_json,
    print_line,
    print_note,
    progress_bars,
    screen,
    table,
    with_ends,
)
from tasks.percent import percent
from tasks.susceptibility.names import LARGEST_SEED

if TYPE_CHECKING:
    from flows.compare_susceptibility import SusceptibilityComparison
    from tasks.types import Interval


def compare(
    event_id: Annotated[str, typer.Argument(help="A registered event.")],
    manual: Annotated[int, typer.Argument(help="Inventory version that is taken as true.")],
    automatic: Annotated[int, typer.Argument(help="Inventory version that is judged.")],
    dem: Annotated[str, typer.Option(help="Elevation: a raster, a folder of them, or STAC.")],
    factors: Annotated[
        Path | None, typer.Option(help="TOML file of factors: docs/susceptibility.md.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the model.")] = "rf",
    sampling: Annotated[str, typer.Option(help="Named sampling scheme.")] = "scarp",
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of samples, folds and model.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the figure and the map.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn susceptibility from two inventories of an event; say how and where they differ.

    Example: scarp susceptibility compare emilia-romagna-2023 2 1 --dem dem.tif
    """
    from flows.compare_susceptibility import compare_susceptibility
    from flows.options import SusceptibilityOptions

    options = checked(
        SusceptibilityOptions, dem=dem, factors=factors, model=model, sampling=sampling, seed=seed
    )
    with progress_bars():
        found = compare_susceptibility(event_id, manual, automatic, options, out)
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: SusceptibilityComparison) -> None:
    columns = {
        f"{side}, version {record.version}": {
            "landslides": record.landslides,
            "of them not in the other": record.alone,
            "area, km²": f"{record.area_km2:.4g}",
            "presence points": record.presences,
            "AUC random, own samples": with_ends(found.auc.random[side]),
        }
        | {
            f"AUC spatial, {on} samples": with_ends(auc)
            for on, auc in found.auc.spatial[side].items()
        }
        for side, record in found.sides.items()
    }
    measures = next(iter(columns.values()))
    rows = [
        {found.model: measure} | {name: told[measure] for name, told in columns.items()}
        for measure in measures
    ]
    screen.print(table(f"{found.event_id}: what two inventories teach", rows))
    print_line(
        f"compared on the {found.ground_km2:.2f} km² that both observed, mapping error "
        f"{found.mapping_error:.2f}; learned from the automatic inventory the AUC changes by "
        f"{_percent(found.auc.change_spatial)} on its own samples, by "
        f"{_percent(found.auc.change_on_manual)} on the manual ones"
    )
    if found.contrasts:
        errors = [
            {
                "error": one.kind,
                "factor": one.factor.replace("_", " "),
                "outlines": f"{one.errors} of {one.errors + one.others}",
                "median": f"{one.median:.4g}",
                "of the others": f"{one.median_other:.4g}",
                "lies lower": percent(one.lower),
                "p (Mann–Whitney)": f"{one.p:.2g}",
            }
            for one in found.contrasts
        ]
        screen.print(table("Where the errors lie", errors))
    else:
        print_line("too few outlines are in one alone, or in both, to say where errors lie")
    for doubt in found.doubts:
        print_note(doubt.text)
    for path in (found.figure, found.difference):
        print_line(f"written: {path}")


def _percent(change: Interval) -> str:
    return f"{change.value:+.1%} ({change.low:+.1%} to {change.high:+.1%})"
