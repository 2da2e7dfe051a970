"""Many fits in turn: here, or on every processor where that would take long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

# Starting processes takes seconds, which short work would spend on nothing.
WORTH_PROCESSES_S = 5.0


def each(task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results of `task` for every item, in order, whichever way they are computed.

    Processes and not threads, since scikit-learn's forests exchange the warning filters of the
    whole process while they grow, and much of a small fit is Python. Libraries get one thread
    each: a fit is small, and more threads than processors only wait for each other.

    Args:
        task: can be pickled, as `functools.partial` of a module's function can.
        items: what to do it to; the first tells how long the others take.
    """
    begun = time.perf_counter()
    with threadpool_limits(1):
        yield from map(task, items[:1])
        took = time.perf_counter() - begun
        if took * (len(items) - 1) < WORTH_PROCESSES_S:
            yield from map(task, items[1:])
            return
    yield from Parallel(n_jobs=-1, return_as="generator")(delayed(task)(item) for item in items[1:])
