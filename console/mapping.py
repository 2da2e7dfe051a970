"""`scarp map`: landslides of images, with no event and no database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.output import (
    AsJson,
    print_json,
    print_line,
    print_note,
    print_screens,
    progress_bars,
)
from tasks.percent import percent


def map_image(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...",
            help="GeoTIFFs with red, green and blue bands, or folders of them; several make one "
            "mosaic, the first on top.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")],
    weights: Annotated[str, typer.Option(help="Name or path of the weights.")] = "current",
    threshold: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Default: the weights' own.")
    ] = None,
    minimum_mapping_unit_m2: Annotated[float, typer.Option(min=0)] = 300.0,
    window_px: Annotated[int, typer.Option(min=32)] = 512,
    overlap_px: Annotated[
        int | None, typer.Option(min=0, help="Default: an eighth of the window.")
    ] = None,
    views: Annotated[
        int, typer.Option(help="1, or 4 or 8 to average over flips and turns of every window.")
    ] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Windows the network takes at once.")] = 1,
    disagreement: Annotated[
        bool, typer.Option(help="Write also where overlapping windows disagree.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …")] = "cpu",
    dem: Annotated[Path | None, typer.Option(help="Elevation in metres, for relief.")] = None,
    screens: Annotated[
        list[str] | None,
        typer.Option("--screen", help="Set aside: slope=5 (degrees), water=FILE, built=FILE."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Map landslides in images, with no event and no database.

    A run that was stopped goes on where it was when the same command is given again.

    Example: scarp map scene.tif -o mapped
    """
    from flows.map_image import map_image as run
    from tasks.mapping.windows import WindowPlan, usual_overlap

    overlap = usual_overlap(window_px) if overlap_px is None else overlap_px
    plan = WindowPlan(window_px, overlap, views, batch)
    with progress_bars():
        result = run(
            images,
            out,
            weights,
            plan,
            threshold,
            minimum_mapping_unit_m2,
            disagreement,
            device,
            dem,
            screens or (),
        )
    if as_json:
        print_json(result)
    else:
        print_line(
            f"{result.landslides} landslides, {result.area_m2 / 1e6:.2f} km², on "
            f"{result.observed_km2:.3g} km² seen, {percent(result.observed_share)} of the images, "
            f"in {result.folder}",
        )
        print_screens(result.screens)
        for reason in result.refused:
            print_line(f"left out: {reason}")
        for doubt in result.doubts:
            print_note(doubt.text)
