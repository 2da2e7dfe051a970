"""Doing the next thing while the last one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T], depth: int) -> Iterator[T]:
    """Yield what `items` yields, made up to `depth` items in advance by one thread of its own.

    What `items` raises is raised here, in its place. When the caller stops early, `items` is closed
    in that thread and the thread ends; at most one item more is made.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        pending = deque(thread.submit(next, items, None) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not None:
                pending.append(thread.submit(next, items, None))
                yield item
        finally:
            for future in pending:
                future.cancel()
            thread.submit(items.close).result()
