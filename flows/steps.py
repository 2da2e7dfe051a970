"""How a plain function becomes a Prefect task: bounded in time, retried if that can help."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError

from tasks.errors import TransientError

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_WAIT_S = 30.0
WAITS_S = [min(2.0 * 3**tried, LONGEST_WAIT_S) for tried in range(4)]
# A wait is up to half as long again, so that what failed together does not come back together.
JITTER = 0.5


def step(function: Callable[P, R], hours: float, **settings: Any) -> Callable[P, R]:
    """Run `function` as a task of the flow it is called in.

    Results are kept by content, by the products on disk and in the store, whose names are digests
    of what they were made from: Prefect caches nothing.

    Args:
        function: a plain function.
        hours: what takes longer is stopped, and fails with a `TransientError`.
        settings: further ones of Prefect's `task`.
    """
    run = task(  # type: ignore[call-overload]
        function,
        retries=len(WAITS_S),
        retry_delay_seconds=WAITS_S,
        retry_jitter_factor=JITTER,
        retry_condition_fn=_is_transient,
        timeout_seconds=hours * 3600,
        cache_policy=NO_CACHE,
        **settings,
    )

    what = function.__name__.replace("_", " ")

    @wraps(function)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        began = time.monotonic()
        try:
            done: R = run(*args, **kwargs)
        except TaskRunTimeoutError as error:
            raise TransientError(f"to {what} took longer than {hours:g} h, its limit") from error
        took = round(time.monotonic() - began, 3)
        log.info("%s: done", what, extra={"seconds": took})
        return done

    return within


def _is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), TransientError)
