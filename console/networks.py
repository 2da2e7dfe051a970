"""`scarp model`: which weights there are, what they were trained on, what a network costs."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from console.output import AsJson, print_json, screen, table

app = typer.Typer(help="List weights, read their cards, measure networks.", no_args_is_help=True)


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the weights that come with Scarp. Example: scarp model list."""
    from models.weights import available, read_card

    cards = [read_card(path) for path in available().values()]
    if as_json:
        print_json(cards)
        return
    rows = [
        {
            "name": card.name,
            "architecture": card.architecture,
            "bands": ", ".join(card.bands),
            "pixels (m)": "–".join(f"{gsd:g}" for gsd in card.gsd_range_m),
            "trained on": card.training_data,
        }
        for card in cards
    ]
    screen.print(table("Weights", rows))


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="Name or path of the weights.")],
    as_json: AsJson = False,
) -> None:
    """Show the card of weights and check their digest. Example: scarp model info ldm-net-tiny."""
    from models.weights import load

    network, card = load(name)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if as_json:
        print_json(dataclasses.asdict(card) | {"parameters": parameters})
        return
    fields = {"parameters": f"{parameters:,}"} | dataclasses.asdict(card)
    screen.print(table(card.name, [{"field": key, "value": fields[key]} for key in fields]))
