"""Runs that wait for a worker which is not there: said, rather than left pending for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from infra.orchestration import workers_online

# Workers tell that they are there every 10 s or so, and one that is busy leaves runs waiting too.
PATIENCE = timedelta(seconds=45)
ASK_S = 10.0
_MOST = 200


@dataclass(frozen=True)
class Unmanned:
    """A pool without a worker, and how many runs wait for one."""

    name: str
    waiting: int

    @property
    def sentence(self) -> str:
        """What is wrong, and what to do."""
        return (
            f"{self.waiting} runs wait for the pool {self.name}, which has no worker; `scarp up` "
            f"keeps one, `prefect worker start --pool {self.name}` starts one"
        )


def pools_without_worker(client: httpx.Client, now: datetime) -> list[Unmanned]:
    """Pools whose runs are late for want of a worker, by name.

    Args:
        client: of the Prefect server, with its API as base URL.
        now: UTC.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    late = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": (now - PATIENCE).isoformat()},
    }
    asked = client.post("/flow_runs/filter", json={"flow_runs": late, "limit": _MOST})
    waiting = Counter(run["work_pool_name"] for run in asked.raise_for_status().json())
    api_url = str(client.base_url).rstrip("/")
    return [
        Unmanned(name, count)
        for name, count in sorted(waiting.items(), key=str)
        if name and not workers_online(api_url, name)
    ]
