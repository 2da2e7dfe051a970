"""`scarp token`: who may use the console, and for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from console.output import AsJson, print_json, say, screen, table

app = typer.Typer(help="Give people tokens for the console.", no_args_is_help=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose it is; reviews carry this name.")],
    role: Annotated[str, typer.Option(help="viewer, reviewer or operator.")] = "viewer",
    days: Annotated[float, typer.Option(help="How long it is good.")] = 90.0,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, once. Example: scarp token add ann --role operator."""
    from flows.world import open_world
    from infra.settings import Settings
    from tasks.access.tokens import add_token, one

    now = datetime.now(UTC)
    # What is no number of days is none, and what is more than any calendar holds is too many.
    lasting = timedelta(days=min(max(0.0, days), 1e6))
    with open_world().engine.begin() as connection:
        made, holder = add_token(connection, name, role, lasting, now)
    if as_json:
        print_json({"token": made, "name": holder.name, "role": holder.role})
        return
    say(f"{holder.name} is {one(holder.role)} until {holder.expires_at:%Y-%m-%d}; log in at")
    say(f"{Settings().console_url}/login with this token, which is shown only now:")
    typer.echo(made)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show who has a token. Example: scarp token list."""
    from flows.world import open_world
    from tasks.access.tokens import list_tokens

    with open_world().engine.connect() as connection:
        holders = list_tokens(connection)
    if as_json:
        print_json(holders)
    elif holders:
        now = datetime.now(UTC)
        rows = [
            {
                "name": one.name,
                "role": one.role,
                "good until": f"{one.expires_at:%Y-%m-%d %H:%M}",
                "": "taken back" if one.revoked_at else "" if one.expires_at > now else "expired",
            }
            for one in holders
        ]
        screen.print(table("Tokens", rows))
    else:
        say("nobody has a token; `scarp token add NAME --role operator` makes one")


@app.command()
def revoke(name: str) -> None:
    """Take somebody's token back, at once. Example: scarp token revoke ann."""
    from flows.world import open_world
    from tasks.access.tokens import revoke_token

    with open_world().engine.begin() as connection:
        holder = revoke_token(connection, name, datetime.now(UTC))
    say(f"the token of {holder.name} is void")
