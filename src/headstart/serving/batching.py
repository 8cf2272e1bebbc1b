"""Micro-batching: what waits is run together, first come first served, and how much may wait is bounded."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS = 0.5
"""How long what was accepted may wait, as far as the rate of late tells."""
GROUPS = 4
"""Batches that may always wait, whatever the rate."""
REMEMBERED = 0.2  # the share that the newest group has in the rate


class Busy(Exception):
    """So much waits already that another item would wait for too long."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too much is waiting: try again in {retry_after} s")
        self.retry_after = retry_after  # seconds


class Batcher(Generic[Item, Result]):
    """One thread that runs items in groups.

    Args:
        run: returns the result of each item of a group, in their order.
        batch: how many items make a group, at most.
        size_of: how much of a group an item is; an item larger than a group is one alone.
        on_group: is told how many items a group had, and the seconds that it took.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        batch: int,
        size_of: Callable[[Item], int] = lambda item: 1,
        on_group: Callable[[int, float], None] = lambda items, seconds: None,
        seconds: float = SECONDS,
    ) -> None:
        self._run, self._size_of, self._on_group = run, size_of, on_group
        self.batch, self._seconds = batch, seconds
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()
        self._changed = threading.Condition()
        self._admitted, self._rate, self._ending = 0, 0.0, False
        self._since = 0.0  # when the last group was done, or the first item after a pause accepted
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def admitted(self) -> int:
        """How many items are accepted and not answered yet."""
        return self._admitted

    @property
    def capacity(self) -> int:
        """How many items may be accepted at once."""
        return max(GROUPS * self.batch, int(self._rate * self._seconds))

    @property
    def is_full(self) -> bool:
        """Whether another item would be refused."""
        return self._admitted >= self.capacity

    def admit(self, count: int) -> None:
        """Accept so many items, each of which is to be submitted or withdrawn; Busy where too much waits already."""
        with self._changed:
            if self._admitted and self._admitted + count > self.capacity:
                raise Busy(max(1, math.ceil(self._admitted / self._rate)) if self._rate else 1)
            if not self._admitted:
                self._since = time.perf_counter()
            self._admitted += count

    def withdraw(self, count: int = 1) -> None:
        """Take back items that were accepted and will not be submitted."""
        with self._changed:
            self._admitted -= count
            self._changed.notify()

    def submit(self, item: Item) -> Future[Result]:
        """Return the result to come of an item that was accepted."""
        future: Future[Result] = Future()
        with self._changed:
            self._waiting.append((item, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Answer what was accepted, and end the thread; it is not waited for."""
        with self._changed:
            self._ending = True
            self._changed.notify()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while group := self._next_group():
            start = time.perf_counter()
            live = [(item, future) for item, future in group if future.set_running_or_notify_cancel()]
            self._answer(live)
            now = time.perf_counter()
            if live:
                rate = len(live) / max(now - self._since, 1e-6)
                self._rate += (rate - self._rate) * (REMEMBERED if self._rate else 1.0)
                self._on_group(len(live), now - start)
            self._since = now
            self.withdraw(len(group))

    def _next_group(self) -> list[tuple[Item, Future[Result]]]:
        """Return what to run next, once something waits; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or (self._ending and not self._admitted))
            group: list[tuple[Item, Future[Result]]] = []
            room = self.batch
            while self._waiting and (not group or self._size_of(self._waiting[0][0]) <= room):
                group.append(self._waiting.popleft())
                room -= self._size_of(group[-1][0])
                if room <= 0:
                    break
            return group

    def _answer(self, group: Sequence[tuple[Item, Future[Result]]]) -> None:
        """Run a group; where that fails each item alone, so that no item fails for another."""
        if not group:
            return
        try:
            results = self._run([item for item, _ in group])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the thread goes on
            if len(group) == 1:
                group[0][1].set_exception(error)
                return
            for waiting in group:
                self._answer([waiting])
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
