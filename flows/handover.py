"""Work handed to another pool of the same Prefect server, and waited for."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment

import models.errors
from infra.automations import TRIES
from infra.orchestration import workers_online
from models.errors import ModelError
from tasks import errors
from tasks.errors import ScarpError, TransientError

LOOK_S = 1.0
NOBODY_S = 45.0
_RAISED = re.compile(r"Flow run encountered an exception: (?:\w+\.)*(\w+): (.+)", re.DOTALL)


def hand_over(deployment: str, parameters: dict[str, Any], key: str, api_url: str) -> FlowRun:
    """Have a deployment run by the worker of its pool, and wait until it is done.

    Args:
        deployment: `flow/deployment`.
        parameters: as JSON has them.
        key: the same key again gives the run that was begun with it, and begins none.
        api_url: the server.

    Raises:
        ScarpError, ModelError: what the run failed with, by its own kind and sentence; or it was
            cancelled, or its pool has no worker.
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
                raise _as_it_failed(deployment, state)
            # Once it is pending a worker has it.
            if state is not None and state.type == StateType.SCHEDULED:
                if time.monotonic() - since > NOBODY_S:
                    _require_worker(run, api_url)
            else:
                since = time.monotonic()
            time.sleep(LOOK_S)


def _comes_back(run: FlowRun) -> bool:
    """Whether a crashed run is about to be tried again, by an automation."""
    return run.state is not None and run.state.is_crashed() and run.run_count < TRIES


def _as_it_failed(deployment: str, state: State[Any]) -> ScarpError | ModelError:
    """The error that ended a run in another process, as far as Prefect's words tell it."""
    said = state.message or "no reason given"
    told = _RAISED.match(said)
    kind = told and (getattr(errors, told[1], None) or getattr(models.errors, told[1], None))
    if told and isinstance(kind, type) and issubclass(kind, ScarpError | ModelError):
        return kind(told[2])
    how = f"{deployment} {(state.name or state.type).lower()}: {said}"
    return TransientError(how) if state.is_crashed() else ScarpError(how)


def _require_worker(run: FlowRun, api_url: str) -> None:
    pool = run.work_pool_name or ""
    try:
        manned = bool(workers_online(api_url, pool))
    except httpx.HTTPError:
        return
    if not manned:
        with get_client(sync_client=True) as client:
            client.delete_flow_run(run.id)
        raise ScarpError(
            f"the pool {pool} has had no worker for {NOBODY_S:.0f} s; start one with `scarp up` or "
            f"`prefect worker start --pool {pool}`, then `scarp runs replay EVENT`"
        )
