"""`scarp notify`: who is told of published maps, failures and silence."""

from __future__ import annotations

import os

import typer

from console.output import print_line, say


def notify() -> None:
    """Have every Prefect block named `scarp` told of news, and send each a word to try it.

    How such a block is made, for a webhook, e-mail or a chat, is in docs/operations.md.
    Example: scarp notify
    """
    from infra.errors import ServiceError
    from infra.orchestration import api_url_of
    from infra.settings import Settings

    api_url = api_url_of(Settings())
    if api_url is None:
        raise ServiceError("nothing is up; `scarp up --detach` starts it")
    os.environ["PREFECT_API_URL"] = api_url
    from prefect.client.orchestration import get_client

    from infra import notifications

    with get_client(sync_client=True) as client:
        blocks = notifications.apply(client)
    if not blocks:
        raise ServiceError(
            f"the Prefect server {api_url} has no block named scarp that can notify; make one as "
            "docs/operations.md says"
        )
    failed = False
    for block in blocks:
        kind = block.block_type.name if block.block_type else "block"
        try:
            notifications.try_out(block)
            print_line(f"{kind}: told")
        except Exception as error:
            failed = True
            say(f"{kind}: not reached ({notifications.why(error)})")
    if failed:
        raise typer.Exit(1)
