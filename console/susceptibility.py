"""`scarp susceptibility`: where slopes fail, and how far that can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from console.susceptibility_points import listed, score_points
from tasks.percent import percent
from tasks.susceptibility.names import LARGEST_SEED

if TYPE_CHECKING:
    from flows.assess_susceptibility import Assessed
    from flows.options import SusceptibilityOptions
    from tasks.susceptibility.classes import ClassRow
    from tasks.susceptibility.store import StoredSusceptibility

_EVENT, _POINTS = "Of an event", "Of points"


def susceptibility(
    ctx: typer.Context,
    event_id: Annotated[
        str | None, typer.Argument(help="The event whose inventory to learn from.")
    ] = None,
    dem: Annotated[
        str | None,
        typer.Option(
            help="Elevation: a raster, a folder of them, or a STAC API.", rich_help_panel=_EVENT
        ),
    ] = None,
    inventory: Annotated[
        int | None,
        typer.Option(help="Its version. Default: the published one.", rich_help_panel=_EVENT),
    ] = None,
    learn_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Before this event is mapped: learn from the maps of others, as EVENT2,EVENT3.",
            rich_help_panel=_EVENT,
        ),
    ] = None,
    sampling: Annotated[
        str, typer.Option(help="Scheme: scarp, dai2023, huang2024.", rich_help_panel=_EVENT)
    ] = "scarp",
    presence: Annotated[
        str | None,
        typer.Option(
            help="Cells of a landslide: all, highest, centroid, or how many.",
            rich_help_panel=_EVENT,
        ),
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Absences for each presence.", rich_help_panel=_EVENT)
    ] = None,
    buffer_m: Annotated[
        float | None,
        typer.Option(help="Absences keep this far from landslides.", rich_help_panel=_EVENT),
    ] = None,
    least_slope_deg: Annotated[
        float | None,
        typer.Option(help="Absences lie on slopes as steep.", rich_help_panel=_EVENT),
    ] = None,
    strata: Annotated[
        str | None,
        typer.Option(help="Spread absences over slope, elevation or none.", rich_help_panel=_EVENT),
    ] = None,
    hold_out: Annotated[
        str,
        typer.Option(
            help="In space: districts, blocks:2000 (m), or a file of basins, each in turn.",
            rich_help_panel=_EVENT,
        ),
    ] = "districts",
    classes: Annotated[
        str,
        typer.Option(
            help="Of the map: natural, quantiles, or breaks as 0.2,0.5.", rich_help_panel=_EVENT
        ),
    ] = "natural",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the products.", rich_help_panel=_EVENT),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="Labelled points (CSV) instead of an event.", rich_help_panel=_POINTS),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Its column of true/false or 1/0.", rich_help_panel=_POINTS),
    ] = None,
    crs: Annotated[
        str | None,
        typer.Option(help="Its CRS: 32717. Default: the raster's.", rich_help_panel=_POINTS),
    ] = None,
    raster: Annotated[
        Path | None,
        typer.Option(
            help="Bands that are the factors. Default: the CSV's other columns.",
            rich_help_panel=_POINTS,
        ),
    ] = None,
    categorical: Annotated[
        str | None,
        typer.Option(help="Factors whose numbers are classes: a,b.", rich_help_panel=_POINTS),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Parts, each held out once.", rich_help_panel=_POINTS)
    ] = 5,
    repeats: Annotated[
        int, typer.Option(min=1, help="Times the parts are drawn anew.", rich_help_panel=_POINTS)
    ] = 100,
    block_m: Annotated[
        float | None,
        typer.Option(
            min=1, help="Hold out blocks of this side, not districts.", rich_help_panel=_POINTS
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Column of events or basins: hold out each in turn.", rich_help_panel=_POINTS
        ),
    ] = None,
    apart_m: Annotated[
        float,
        typer.Option(
            min=0, help="Learn from nothing nearer to what is held out.", rich_help_panel=_POINTS
        ),
    ] = 0.0,
    factors: Annotated[
        str | None,
        typer.Option(
            help="Of an event: a TOML file that names more. Of points: those to use, as a,b."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="rf, logistic, hgb, svm, mlp, cnn, woe, fr, physical or ensemble."),
    ] = "rf",
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Equal seeds give equal numbers.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn where slopes fail, and score that on ground held out in space and at random.

    Example: scarp susceptibility emilia-romagna-2023 --dem dem.tif

    Of points: scarp susceptibility --points points.csv --label landslide --model logistic
    """
    from flows.options import SusceptibilityOptions
    from tasks.errors import BadInputError

    if (event_id is None) == (points is None):
        raise BadInputError("give either an event or labelled points: EVENT, or --points FILE.csv")
    _refuse_options(ctx, _EVENT if points else _POINTS)
    if points is not None:
        if block_m and group:
            raise BadInputError("hold out either blocks or groups: --block-m or --group")
        score_points(
            points,
            label,
            crs,
            raster,
            factors,
            categorical,
            model,
            folds,
            repeats,
            block_m,
            group,
            apart_m,
            seed,
            as_json,
        )
        return
    options = checked(
        SusceptibilityOptions,
        dem=dem,
        factors=factors,
        model=model,
        sampling=sampling,
        presence=presence,
        ratio=ratio,
        buffer_m=buffer_m,
        least_slope_deg=least_slope_deg,
        strata=strata,
        classes=classes,
        hold_out=hold_out,
        learn_from=tuple(listed(learn_from)),
        seed=seed,
    )
    if options.learn_from and inventory is not None:
        raise BadInputError(
            "--inventory says which landslides of the event to learn from, and --from learns from "
            "those published of others; leave out one"
        )
    if learn_from is not None and not options.learn_from:
        raise BadInputError(f"--from {learn_from!r} names no event; name some, as EVENT2,EVENT3")
    if dem is None:
        raise BadInputError("susceptibility is learned from the terrain: add --dem FILE")
    _show(*_assess(str(event_id), options, inventory, out), as_json)


def _refuse_options(ctx: typer.Context, panel: str) -> None:
    """An option that the other form of the command has would be passed over in silence."""
    from tasks.errors import BadInputError

    for option in ctx.command.params:
        source = ctx.get_parameter_source(str(option.name))
        given = source is not None and source.name == "COMMANDLINE"
        if given and option.name != "points" and getattr(option, "rich_help_panel", "") == panel:
            raise BadInputError(f"{option.opts[0]} is an option {panel.lower()} only; leave it out")


def _assess(
    event_id: str, options: SusceptibilityOptions, version: int | None, out: Path | None
) -> tuple[Assessed, Path]:
    from flows.assess_susceptibility import assess_susceptibility
    from flows.carry_susceptibility import carry_susceptibility
    from flows.ephemeral import EphemeralServer
    from flows.susceptibility_products import publish_assessment
    from flows.terrain import check_terrain
    from flows.world import open_world, require_room
    from tasks.events.registry import find_registered
    from tasks.inventory.store import get_inventory

    world = open_world()
    # Said before Prefect is started, which takes seconds.
    with world.engine.connect() as connection:
        known = find_registered(connection, event_id)
        if not options.learn_from:
            get_inventory(connection, known.event.id, version)
    check_terrain(options, known.aoi)
    for folder in (world.home, *([out] if out else [])):
        require_room(folder)
    EphemeralServer()
    with progress_bars():
        assessed = (
            carry_susceptibility(event_id, options)
            if options.learn_from
            else assess_susceptibility(event_id, options, version)
        )
        return assessed, publish_assessment(event_id, assessed, out)


def _show(assessed: Assessed, folder: Path, as_json: bool) -> None:
    from flows.susceptibility_products import as_json as record
    from tasks.errors import SamplingError

    made = assessed.susceptibility
    if made is None:
        raise SamplingError(f"there is no susceptibility map: {assessed.skipped}")
    if as_json:
        print_json(record(made) | {"products": folder, "rasters": made.rasters})
    else:
        _show_map(made, folder)


def _show_map(made: StoredSusceptibility, folder: Path) -> None:
    rows = {
        "model": made.model,
        "AUC held out in space": with_ends(made.auc_spatial),
        "AUC held out at random": with_ends(made.auc_random),
        "random minus spatial": f"{made.gap:+.3f}",
        "most telling factors": ", ".join(list(made.importance)[:3]),
        "area of applicability": f"{percent(made.applicable_share or 0)} of the map",
        "products": folder,
    }
    screen.print(table(made.event_id, [{"": name, "result": said} for name, said in rows.items()]))
    classes = [
        {
            "class": one.number,
            "susceptibility": f"{one.low:.2f} to {one.high:.2f}",
            "area, km²": f"{one.area_km2:.3g}",
            "of the map": percent(one.area_share),
        }
        | ({} if made.kind == "carried" else _failed(one))
        for one in reversed(made.classes)
    ]
    screen.print(table("Classes", classes))
    if made.learned_here:
        said = "the model learnt from these landslides: the classes prove nothing, the AUC does"
        print_line(said)
    for one in made.compared:
        if one["auc"]:
            said = f"AUC {one['auc']['value']:.3f} of {one['what']}, which knew none of this"
            print_line(said)
    for doubt in made.doubts:
        print_note(doubt.text)


def _failed(one: ClassRow) -> dict[str, Any]:
    """What slid in a class; where nothing is mapped yet, none is not what was found."""
    return {
        "landslides": one.landslides,
        "ground that failed": percent(one.density),
        "times the mean": f"{one.frequency_ratio:.2f}",
    }
