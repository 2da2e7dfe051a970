"""Every product points to a run: these record how runs begin and end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from flows.world import code_version
from infra.logs import about
from tasks.imagery.hosts import is_remote, without_query
from tasks.inventory.runs import finish_run, sign_of_life, start_run
from tasks.types import Outcome, Provenance


@contextmanager
def recorded_run(
    engine: Engine, provenance: Provenance, flow: str, known: UUID | None = None
) -> Iterator[UUID]:
    """Open a run; if the block fails or is interrupted, the run keeps the reason.

    The block itself finishes the run it succeeds in, since only it knows whether the product is
    empty. `known` is the run that made a product whose files are made again: it stays as it was.
    """
    if known:
        yield known
        return
    with ExitStack() as signs:
        with engine.begin() as connection:
            run_id = start_run(connection, provenance, flow, _flow_run_id(), code_version())
            # Before anybody sees the run: one without a sign is taken for lost.
            signs.enter_context(sign_of_life(engine, run_id))
        try:
            with about(event=provenance.event_id, run=str(run_id)):
                yield run_id
        except BaseException as error:
            outcome: Outcome = "failed" if isinstance(error, Exception) else "cancelled"
            with engine.begin() as connection:
                cause = type(error).__name__
                finish_run(connection, run_id, outcome, str(error) or cause, cause)
            raise


@contextmanager
def failure_recorded(engine: Engine, provenance: Provenance, flow: str) -> Iterator[None]:
    """If the block fails, leave a failed run with the reason; otherwise leave nothing.

    Analysts read runs: what may be a token in an address that was asked is left out.
    """
    try:
        with about(event=provenance.event_id):
            yield
    except Exception:
        inputs, parameters = map(_without_tokens, (provenance.inputs, provenance.parameters))
        told = replace(provenance, inputs=inputs, parameters=parameters)
        with recorded_run(engine, told, flow):
            raise


def _without_tokens(values: dict[str, Any]) -> dict[str, Any]:
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return values | {name: without_query(text) for name, text in texts.items() if is_remote(text)}


def _flow_run_id() -> str | None:
    """The Prefect run this is part of; where nobody imported Prefect, nothing runs under it."""
    if "prefect" not in sys.modules:
        return None
    from prefect.context import get_run_context
    from prefect.exceptions import MissingContextError

    try:
        context = get_run_context()
    except MissingContextError:
        return None
    run = getattr(context, "flow_run", None)
    return str(run.id) if run else None
