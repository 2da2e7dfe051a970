"""`scarp susceptibility` and what stands under it; the plain form needs no second word."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from console import susceptibility, susceptibility_compare

PLAIN = "assess"


class PlainByDefault(TyperGroup):
    """Takes what names none of its commands as meant for `PLAIN`: an event, or an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name in front where it is missing."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [PLAIN, *args])


app = typer.Typer(cls=PlainByDefault, help="Learn where slopes fail, and compare inventories.")
app.command(PLAIN, epilog="See also: scarp susceptibility compare --help")(
    susceptibility.susceptibility
)
app.command("compare")(susceptibility_compare.compare)
