"""Work that other threads do ahead of whoever wants its results: in order, and bounded by number and by memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from threading import Condition
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_AHEAD = 128 << 20
"""Bytes of results that may lie ready before no more work is begun; what is under way then comes on top."""


def bytes_of(result: object) -> int:
    """Return the bytes that a result says it holds in `nbytes`, as arrays do; of a list or tuple, those of all."""
    if isinstance(result, (list, tuple)):
        return sum(map(bytes_of, result))
    return int(getattr(result, "nbytes", 0))


class Prefetcher(Generic[Item, Result]):
    """Yields `function(item)` of every item, in order, with at most `window` results ready, or being worked on.

    Nothing is begun while results of `most_bytes` or more lie ready, except the very next result. Items are asked for
    lazily. What `function` raises is raised where its result would have been yielded.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        workers: int,
        window: int,
        most_bytes: int = MOST_AHEAD,
    ) -> None:
        self._function, self._items, self._window, self._most = function, enumerate(items), window, most_bytes
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
        self._waiting: deque[Future[Result]] = deque()
        self._changed = Condition()  # guards what follows
        self._ready, self._taken, self._left = 0, 0, False  # bytes that lie ready, results handed over, whether it ends

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(self, *error: object) -> None:
        interrupted = isinstance(error[1], KeyboardInterrupt)  # then what is under way is of no use to anyone
        with self._changed:
            self._left = True
            self._changed.notify_all()
        self._pool.shutdown(wait=not interrupted, cancel_futures=True)

    def peek(self) -> Iterator[Result]:
        """Yield the results of the window, waiting for each, and leave them in place; no further than memory allows."""
        for place, future in enumerate(list(self._waiting)):
            if place and not self._comes(future):
                return
            yield future.result()

    def __iter__(self) -> Iterator[Result]:
        while self._waiting:
            result = self._waiting.popleft().result()
            with self._changed:
                self._ready -= bytes_of(result)
                self._taken += 1
                self._changed.notify_all()
            self._fill()
            yield result

    def _fill(self) -> None:
        for place, item in islice(self._items, self._window - len(self._waiting)):
            future = self._pool.submit(self._work, place, item)
            future.add_done_callback(self._note_done)
            self._waiting.append(future)

    def _comes(self, future: Future[Result]) -> bool:
        """Wait for a result, and return whether it is there: not where it, or one before it, awaits memory."""
        with self._changed:
            self._changed.wait_for(lambda: future.done() or self._is_full())
        return future.done()

    def _is_full(self) -> bool:
        return self._ready >= self._most

    def _work(self, place: int, item: Item) -> Result:
        with self._changed:
            self._changed.wait_for(lambda: self._left or place <= self._taken or not self._is_full())
            if self._left:
                raise CancelledError
        result = self._function(item)
        with self._changed:
            self._ready += bytes_of(result)
        return result

    def _note_done(self, _: Future[Result]) -> None:
        with self._changed:
            self._changed.notify_all()
