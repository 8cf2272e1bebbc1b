"""Examples decoded on other threads, ahead of the network that wants them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Self

from headstart.data.dataset import BadExample
from headstart.engines.base import PreparedExample


class Prefetcher:
    """Yields (position, prepared example or why it is unusable) in order, with at most `window` examples in memory.

    Args:
        prepare: reads and decodes the example at a position; raises Unusable.
        positions: which examples, asked for lazily.
        workers: threads that decode.
        window: how many examples are decoded, or being decoded, before they are wanted.
    """

    def __init__(
        self, prepare: Callable[[int], PreparedExample], positions: Iterable[int], *, workers: int, window: int
    ) -> None:
        self._prepare, self._positions, self._window = prepare, iter(positions), window
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._waiting: deque[tuple[int, Future[PreparedExample | BadExample]]] = deque()

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def peek(self, count: int) -> list[PreparedExample]:
        """Return the first `count` usable examples of the window, waiting for them, and leave them in place."""
        usable = (said for _, future in list(self._waiting) if not isinstance(said := future.result(), BadExample))
        return list(islice(usable, count))

    def __iter__(self) -> Iterator[tuple[int, PreparedExample | BadExample]]:
        while self._waiting:
            position, future = self._waiting.popleft()
            said = future.result()
            self._fill()
            yield position, said

    def _fill(self) -> None:
        for position in islice(self._positions, self._window - len(self._waiting)):
            self._waiting.append((position, self._pool.submit(self._tried, position)))

    def _tried(self, position: int) -> PreparedExample | BadExample:
        try:
            return self._prepare(position)
        except BadExample as error:
            return error
