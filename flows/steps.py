"""How a plain function becomes a Prefect task: retried on transient errors only, with backoff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from tasks.errors import TransientError

P = ParamSpec("P")
R = TypeVar("R")


def step(function: Callable[P, R], **settings: Any) -> Callable[P, R]:
    """Run `function` as a task of the flow it is called in.

    Results are kept by the products on disk and in the store, so Prefect caches nothing.
    """
    return task(  # type: ignore[call-overload, no-any-return]
        function,
        retries=3,
        retry_delay_seconds=exponential_backoff(backoff_factor=2),
        retry_jitter_factor=0.5,
        retry_condition_fn=_is_transient,
        cache_policy=NO_CACHE,
        **settings,
    )


def _is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), TransientError)
