"""Many fits in turn: here, or on several processors where that would take long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

# Starting processes takes seconds, which short work would spend on nothing.
WORTH_PROCESSES_S = 5.0
MOST_PROCESSES = 8  # each holds the libraries, a third of a gigabyte


def each(task: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results of `task` for every item, in order, whichever way they are computed.

    Processes and not threads, since scikit-learn's forests exchange the warning filters of the
    whole process while they grow, and much of a small fit is Python. Libraries get one thread
    each: a fit is small, and more threads than processors only wait for each other.

    Args:
        task: can be pickled, as `functools.partial` of a module's function can.
        items: what to do it to; the second tells how long the others take.
    """
    with threadpool_limits(1):
        # what is done first also pays for what is imported only then
        yield from map(task, items[:1])
        begun = time.perf_counter()
        yield from map(task, items[1:2])
        took, rest = time.perf_counter() - begun, items[2:]
        if took * len(rest) < WORTH_PROCESSES_S:
            yield from map(task, rest)
            return
    processes = Parallel(min(cpu_count(), MOST_PROCESSES), return_as="generator")
    yield from processes(delayed(task)(item) for item in rest)
