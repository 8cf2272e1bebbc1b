"""Work that other threads do ahead of whoever wants its results: in order, and never more than a window of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Prefetcher(Generic[Item, Result]):
    """Yields `function(item)` of every item, in order, with at most `window` results ready, or being worked on.

    Items are asked for lazily. What `function` raises is raised where its result would have been yielded.
    """

    def __init__(self, function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, window: int) -> None:
        self._function, self._items, self._window = function, iter(items), window
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
        self._waiting: deque[Future[Result]] = deque()

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(self, *error: object) -> None:
        interrupted = isinstance(error[1], KeyboardInterrupt)  # then what is under way is of no use to anyone
        self._pool.shutdown(wait=not interrupted, cancel_futures=True)

    def peek(self) -> Iterator[Result]:
        """Yield the results of the window, waiting for each, and leave them in place."""
        for future in list(self._waiting):
            yield future.result()

    def __iter__(self) -> Iterator[Result]:
        while self._waiting:
            result = self._waiting.popleft().result()
            self._fill()
            yield result

    def _fill(self) -> None:
        for item in islice(self._items, self._window - len(self._waiting)):
            self._waiting.append(self._pool.submit(self._function, item))
