"""Pools and automations of a Prefect server, applied by name: `python -m infra.automations cpu=2`.

Each pool has three queues. A free slot goes to `first`, which holds what takes seconds or finishes
what was begun, then to `default`, the responses, then to `last`, which can wait for days.

A file of base job templates before the pools says what their workers start, see `infra.pools`.

Prefect leaves a run whose process was killed as it was. With these it is seen and tried again: one
that is not heard of for `SILENT_S`, or does not begin within `BEGIN_S`, has crashed, and one that
crashed is scheduled again until it has run `TRIES` times. What still crashes is left, for people.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from infra import notifications
from infra.errors import PoolError
from infra.orchestration import HEARTBEAT_S
from infra.pools import Pool, read_pools

SILENT_S = 75
BEGIN_S = 240
TRIES = 3
QUEUES = {"first": 1, "default": 2, "last": 3}
_RUN = "prefect.flow-run"
HEARTBEAT = f"{_RUN}.heartbeat"
_ENDS = {f"{_RUN}.{end}" for end in ("Completed", "Failed", "Cancelled", "Crashed", "Cancelling")}


def automations() -> list[AutomationCore]:
    """What the server does by itself when a run falls silent or crashes."""
    begins = {f"{_RUN}.Running", f"{_RUN}.AwaitingConcurrencySlot"}
    return [
        AutomationCore(
            name="a silent run has crashed",
            trigger=_missing(after=HEARTBEAT, expect={HEARTBEAT, *_ENDS}, within_s=SILENT_S),
            actions=[_change(StateType.CRASHED, f"nothing was heard of it for {SILENT_S} s")],
        ),
        AutomationCore(
            name="a run that does not begin has crashed",
            trigger=_missing(after=f"{_RUN}.Pending", expect=begins | _ENDS, within_s=BEGIN_S),
            actions=[_change(StateType.CRASHED, f"it did not begin within {BEGIN_S} s")],
        ),
        AutomationCore(
            name="a crashed run is tried again",
            trigger=EventTrigger(
                expect={f"{_RUN}.Crashed"},
                match=_runs(tried=range(TRIES)),
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[_change(StateType.SCHEDULED, "it crashed and is tried again")],
        ),
    ]


def _missing(after: str, expect: set[str], within_s: int) -> EventTrigger:
    """None of the events came in time after the first."""
    return EventTrigger(
        after={after},
        expect=expect,
        match=_runs(),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=within_s),
    )


def _runs(tried: range | None = None) -> ResourceSpecification:
    labels: dict[str, str | list[str]] = {"prefect.resource.id": f"{_RUN}.*"}
    if tried is not None:
        labels["prefect.run-count"] = [str(times) for times in tried]
    return ResourceSpecification(labels)


def _change(state: StateType, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, name=None, message=message, force=False)


def apply(slots: Mapping[str, int], pools: Mapping[str, Pool]) -> None:
    """Make the work pools with their slots, the automations and whom they tell; again, the same.

    Raises:
        PoolError: a pool is there and of another type.
    """
    with get_client(sync_client=True) as client:
        for name, limit in slots.items():
            _make_pool(client, name, limit, pools.get(name, Pool()))
            _make_queues(client, name)
        for wanted in automations():
            if stored := client.read_automations_by_name(wanted.name):
                client.update_automation(stored[0].id, wanted)
            else:
                client.create_automation(wanted)
        notifications.apply(client)


def _make_pool(client: SyncPrefectClient, name: str, limit: int, pool: Pool) -> None:
    settled: dict[str, Any] = {
        "concurrency_limit": limit,
        "base_job_template": pool.template or _template(),
    }
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type=pool.kind, **settled))
        return
    if found.type != pool.kind:
        raise PoolError(
            f"the pool {name} is of type {found.type}, not {pool.kind}; delete it with "
            f"`prefect work-pool delete {name}` and run this again"
        )
    client.update_work_pool(name, WorkPoolUpdate(**settled))


def _make_queues(client: SyncPrefectClient, pool: str) -> None:
    known = {queue.name: queue.id for queue in client.read_work_queues(work_pool_name=pool)}
    for name, priority in QUEUES.items():
        if name not in known:
            known[name] = client.create_work_queue(name, work_pool_name=pool).id
        client.update_work_queue(known[name], priority=priority)


def _template() -> dict[str, Any]:
    """How a worker starts a run: as one process, heard of often whoever started the worker.

    Without a command it starts a process that looks for code to download, and that one the run.
    """
    template = ProcessWorker.get_default_base_job_template()
    variables = template["variables"]["properties"]
    variables["command"]["default"] = shlex.join((sys.executable, "-m", "prefect.engine"))
    variables["env"]["default"] = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}
    return template


def main(words: list[str]) -> None:
    """Apply what the command line says: at most one file of templates, and `pool=slots`."""
    files = [word for word in words if "=" not in word]
    slots = {pool: int(limit) for pool, limit in (w.split("=") for w in words if w not in files)}
    try:
        apply(slots, read_pools(Path(files[0]), slots) if files else {})
    except PoolError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
