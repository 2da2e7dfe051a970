"""`scarp dataset`: which datasets can be read, and making one from scenes and polygons."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from console.output import AsJson, print_json, progress_bars, screen, table
from tasks.errors import BadInputError

app = typer.Typer(help="Datasets to train and judge on.", no_args_is_help=True)


@app.command("list")
def list_datasets(as_json: AsJson = False) -> None:
    """List the datasets that `--data NAME=DIR` reads. Example: scarp dataset list."""
    from tasks.learning.catalog import READERS

    rows = [
        {"name": name, "what": (reader.__doc__ or "").split("\n")[0]}
        for name, reader in READERS.items()
    ]
    if as_json:
        print_json(rows)
    else:
        screen.print(table("Datasets", rows))


@app.command("build")
def build(
    scenes: Annotated[Path, typer.Argument(help="Folder of GeoTIFFs with polygons beside them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    chip_px: Annotated[
        int | None, typer.Option(min=8, help="Side of a chip. Default: by the landslides' sizes.")
    ] = None,
    least_share: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of landslide pixels in a chip.")
    ] = 0.1,
    negatives: Annotated[
        float, typer.Option(min=0, help="Chips without landslides for each chip with.")
    ] = 0.25,
    split: Annotated[str, typer.Option(help="auto, event or block.")] = "auto",
    block_m: Annotated[
        float | None,
        typer.Option(
            min=1, help="Side of a block of ground; default: 2000, or two chips if that is more."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Cut scenes and the landslides drawn in them into chips and masks for training.

    Example: scarp dataset build scenes -o chips && scarp train compact --data chips=chips -o run
    """
    from flows.progress import report
    from tasks.learning.building import Wishes, build_dataset

    if split not in ("auto", "event", "block"):
        raise BadInputError(f"--split {split}: choose auto, event or block")
    # A range of typer's lets what is no number through.
    for option, value in (
        ("--least-share", least_share), ("--negatives", negatives), ("--block-m", block_m),
    ):  # fmt: skip
        if value is not None and not isfinite(value):
            raise BadInputError(f"{option} {value:g}: give a number that is finite")
    wishes = Wishes(chip_px, least_share, negatives, split, block_m, seed)  # type: ignore[arg-type]
    with progress_bars():
        card = build_dataset(
            scenes, out, wishes, lambda done, total: report("cutting scenes", done, total)
        )
    if as_json:
        print_json(card)
        return
    rows = [
        {"split": name, "chips": row["chips"], "with landslides": row["with_landslides"]}
        for name, row in card["splits"].items()
    ]
    title = f"{card['chips']} chips of {card['chip_px']}² in {out}, split by {card['split_by']}"
    screen.print(table(title, rows))
