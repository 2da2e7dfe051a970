"""`scarp model`: which weights there are, what they were trained on, what a network costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.learning import show_scores
from console.output import AsJson, print_json, print_line, progress_bars, screen, table

if TYPE_CHECKING:
    from models.cards import Card

app = typer.Typer(help="List weights, read their cards, measure networks.", no_args_is_help=True)


@app.command("list")
def list_weights(
    networks: Annotated[
        bool, typer.Option("--networks", help="List what can be built and trained instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the weights that come with Scarp or were promoted. Example: scarp model list."""
    if networks:
        _list_networks(as_json)
        return
    from flows.weights import current_weights, promoted_weights
    from models.cards import available, read_card

    found = {name: read_card(path) for name, path in (available() | promoted_weights()).items()}
    if as_json:
        print_json(list(found.values()))
        return
    now = current_weights()
    rows = [
        {
            "name": f"{name} (current)" if name == now else name,
            "architecture": card.architecture,
            "bands": ", ".join(card.bands),
            "pixels (m)": _range_m(card),
            "trained on": card.training_data,
        }
        for name, card in found.items()
    ]
    screen.print(table("Weights", rows))


def _range_m(card: Card) -> str:
    return "–".join(f"{gsd:g}" for gsd in card.gsd_range_m)


def _list_networks(as_json: bool) -> None:
    """The networks by name, and where each comes from."""
    from importlib.util import find_spec

    from models.registry import library_of, names

    rows = []
    for name in names():
        library, extra = library_of(name)
        here = not library or find_spec(library) is not None
        rows.append({"name": name, "library": library, "extra": extra, "installed": here})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["library"] = row["library"] or "Scarp"
        row["extra"] = row["extra"] or None
        row["installed"] = "yes" if row["installed"] else "no"
    screen.print(table("Networks", rows))


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="Name or path of the weights.")],
    as_json: AsJson = False,
) -> None:
    """Show the card of weights and check their digest. Example: scarp model info ldm-net-tiny."""
    from flows.weights import locate_weights
    from models.weights import load

    network, card = load(locate_weights(name))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if as_json:
        print_json(dataclasses.asdict(card) | {"parameters": parameters})
        return
    fields = {
        "network": f"{card.architecture}, {parameters:,} parameters",
        "bands": ", ".join(card.bands),
        "pixels": f"{_range_m(card)} m",
        "normalisation": card.normalisation.kind,
        "threshold": f"{card.threshold:g}",
        "sureness": f"{card.sureness:.3f}" if card.sureness else None,
        "trained on": card.training_data,
        "regions seen": "; ".join(card.regions) or None,
        "licence": card.licence,
        "SHA-256": card.digest,
    }
    screen.print(table(card.name, [{"field": key, "value": fields[key]} for key in fields]))
    show_scores(card)
    print_line("options, quantiles of the normalisation, recipe and all scores: --json")


@app.command("promote")
def promote(
    name: Annotated[str, typer.Argument(help="Name or path of the weights.")],
    as_json: AsJson = False,
) -> None:
    """Use weights from now on where no others are named; those before stay.

    Inventories stay as they are. Example: scarp model promote runs/reviewed/NAME.safetensors
    """
    from flows.weights import current_weights, promote_weights

    before = current_weights()
    now = promote_weights(name)
    if as_json:
        print_json({"current": now, "before": before})
        return
    print_line(f"{now} is used from now on; back: scarp model promote {before}")


@app.command("join")
def join(
    names: Annotated[list[str], typer.Argument(help="Names or paths of two weights or more.")],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=DIR", help="A dataset whose validation chooses the threshold; repeat."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of what comes out.")],
    name: Annotated[str, typer.Option(help="Of what comes out.")] = "joined",
    numbers: Annotated[
        bool,
        typer.Option(
            "--numbers",
            help="Take the mean of the weights' numbers: one network, as small as each.",
        ),
    ] = False,
    composed: Annotated[
        int,
        typer.Option(min=0, help="Scenes composed of small tiles that choose the threshold too."),
    ] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make one of several weights: the mean of their scores; how much is landslide the first says.

    Example: scarp model join ldm-net-rgb runs/teacher/teacher.safetensors --data bijie=data/bijie \
    -o runs/joined
    """
    from flows.train_protocol import join as join_weights

    with progress_bars():
        card = join_weights(names, data, out, name, device, numbers, composed)
    if as_json:
        print_json(card)
        return
    show_scores(card)
    print_line(f"weights and card in {out}")


@app.command("profile")
def profile(
    names: Annotated[list[str], typer.Argument(help="Networks: ldm-net, vmamba, segformer-b4 …")],
    size: Annotated[
        list[int] | None, typer.Option(help="Pixels a side, 512 by default; several make a table.")
    ] = None,
    bands: Annotated[int, typer.Option(min=1)] = 3,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(min=1, help="Passes timed; the median counts.")] = 5,
    figure: Annotated[
        Path | None, typer.Option(help="Draw cost against size into this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count and time networks: parameters, multiply-accumulates, seconds, memory.

    Example: scarp model profile ldm-net --size 512 --json
    """
    from models import profile as cost
    from models.registry import build

    if figure:
        cost.check_figure(figure)
    profiles = [
        cost.profile(build(name, bands), name, side, bands, device, repeats)
        for name in names
        for side in size or [512]
    ]
    if figure:
        cost.figure(profiles, figure)
    flat = [
        {"network": row.network, "size": row.size, "bands": row.bands}
        | dataclasses.asdict(row.counts)
        | dataclasses.asdict(row.measured)
        for row in profiles
    ]
    if as_json:
        print_json(flat[0] if len(flat) == 1 else flat)
    else:
        typer.echo(cost.table(profiles))
