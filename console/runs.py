"""`scarp runs`: responses that run, wait or were given up, and what a person can do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from console.output import AsJson, print_json, say, screen, table

if TYPE_CHECKING:
    from tasks.events.turns import Turn

app = typer.Typer(
    help="See the responses that run, wait or were given up; try again, or stop.",
    no_args_is_help=True,
)


@app.command("list")
def list_runs(as_json: AsJson = False) -> None:
    """List the responses that run, wait for their turn or another try, or were given up.

    Example: scarp runs list
    """
    from datetime import UTC, datetime

    from flows.world import open_world
    from tasks.events.turns import due, list_turns

    with open_world().engine.connect() as connection:
        turns = list_turns(connection)
        waiting = due(connection, datetime.now(UTC))
    rows = [
        {"event": one.event_id, "state": "due", "tries": 0, "why": one.reason} for one in waiting
    ]
    due_now = {one.event_id for one in waiting}
    rows += [_row(turn) for turn in turns if turn.event_id not in due_now]
    none = "no response runs, is due or was given up; `scarp events due` lists what is asked for"
    _show("Responses", rows, as_json, none)
    _say_unmanned()


@app.command()
def dead(as_json: AsJson = False) -> None:
    """List the responses that were given up, with the reason. Example: scarp runs dead."""
    from flows.world import open_world
    from tasks.events.turns import dead_letters

    with open_world().engine.connect() as connection:
        rows = [_row(turn) for turn in dead_letters(connection)]
    _show("Given up", rows, as_json, "no response was given up")


@app.command()
def replay(event_id: str) -> None:
    """Try a response that was given up again. Example: scarp runs replay us2000h8ty."""
    from flows.world import open_world
    from tasks.events import turns

    with open_world().engine.begin() as connection:
        turns.replay(connection, event_id)
    say(f"the response to {event_id} is due again")


@app.command()
def cancel(event_id: str) -> None:
    """Stop the response to an event; what it finished stays. Example: scarp runs cancel us2000h8ty.

    It is not tried again, unless a newer version of the event asks for it or `scarp runs replay`.
    """
    from flows.stopping import stop_response
    from flows.world import open_world
    from infra.orchestration import api_url_of
    from infra.settings import Settings

    say(stop_response(open_world(), event_id, api_url_of(Settings())))


def _say_unmanned() -> None:
    """Say which pools lack a worker, where a server is up and runs wait for one."""
    from datetime import UTC, datetime

    import httpx

    from flows.pools import ASK_S, pools_without_worker
    from infra.orchestration import api_url_of
    from infra.settings import Settings

    if (api_url := api_url_of(Settings())) is None:
        return
    try:
        with httpx.Client(base_url=api_url, timeout=ASK_S) as client:
            for pool in pools_without_worker(client, datetime.now(UTC)):
                say(pool.sentence)
    except httpx.HTTPError as error:
        say(f"the Prefect server {api_url} does not answer: {error}")


def _row(turn: Turn) -> dict[str, Any]:
    state = "given up" if turn.dead_at else "runs" if turn.held_by else "waits"
    why = turn.failure if not turn.held_by else f"flow run {turn.held_by}"
    row = {"event": turn.event_id, "state": state, "tries": turn.attempts, "why": why}
    return row | ({"retry_at": turn.retry_at} if turn.retry_at else {})


def _show(title: str, rows: list[dict[str, Any]], as_json: bool, none: str) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        screen.print(table(title, rows))
    else:
        say(none)
