"""Work handed to another pool of the same Prefect server, and waited for."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment

from infra.automations import TRIES
from infra.orchestration import workers_online
from models import errors as model_errors
from models.errors import ModelError
from tasks import errors
from tasks.errors import ScarpError, TransientError

LOOK_S = 1.0
NOBODY_S = 60.0


def hand_over(deployment: str, parameters: dict[str, Any], key: str, api_url: str) -> FlowRun:
    """Have a deployment run by the worker of its pool, and wait until it is done.

    Args:
        deployment: `flow/deployment`.
        parameters: as JSON has them.
        key: the same key again gives the run that was begun with it, and begins none.
        api_url: the server.

    Raises:
        ScarpError: the run was cancelled, or its pool has no worker; if it failed, of the kind
            that it failed with.
        TransientError: it crashed once too often.
    """
    begun = run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key)
    assert isinstance(begun, FlowRun)
    since = time.monotonic()
    with get_client(sync_client=True) as client:
        while True:
            run = client.read_flow_run(begun.id)
            state = run.state
            if state is not None and state.is_completed():
                return run
            if state is not None and state.is_final() and not _comes_back(run):
                how, why = (state.name or state.type).lower(), state.message or "no reason given"
                kind = TransientError if state.is_crashed() else _kind_of(why)
                raise kind(f"{deployment} {how}: {why}")
            if state is not None and state.type == StateType.SCHEDULED:
                if time.monotonic() - since > NOBODY_S:
                    _require_worker(run, api_url)
            else:
                since = time.monotonic()
            time.sleep(LOOK_S)


def _kind_of(message: str) -> type[ScarpError | ModelError]:
    """The kind of error a run failed with: Prefect keeps of it the name, and then the sentence."""
    named = re.search(r"\b(\w+Error): ", message)
    for module in (errors, model_errors):
        kind = getattr(module, named[1], None) if named else None
        if isinstance(kind, type) and issubclass(kind, ScarpError | ModelError):
            return kind
    return ScarpError


def _comes_back(run: FlowRun) -> bool:
    """Whether a crashed run is about to be tried again, by an automation."""
    return run.state is not None and run.state.is_crashed() and run.run_count < TRIES


def _require_worker(run: FlowRun, api_url: str) -> None:
    pool = run.work_pool_name or ""
    try:
        somebody = workers_online(api_url, pool)
    except httpx.HTTPError:
        # A server too busy to answer has said nothing of its workers.
        return
    if not somebody:
        with get_client(sync_client=True) as client:
            client.delete_flow_run(run.id)
        raise ScarpError(
            f"the pool {pool} has had no worker for {NOBODY_S:.0f} s; start one with `scarp up` or "
            f"`prefect worker start --pool {pool}`, then `scarp runs replay EVENT`"
        )
