"""What waits is run together; more than may wait is refused; what was accepted is answered at the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from headstart.serving.batching import GROUPS, Batcher, Busy


class Gate:
    """Doubles numbers, one group after the other as the test lets it."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.open = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, group: Sequence[int]) -> list[int]:
        self.groups.append(list(group))
        self.begun.release()
        assert self.open.acquire(timeout=10)
        if 13 in group:
            raise ValueError("13")
        return [2 * item for item in group]


def test_what_waits_is_run_together_and_everyone_gets_their_own() -> None:
    gate = Gate()
    batcher = Batcher(gate, batch=4, size_of=lambda item: 3 if item == 30 else 1)
    batcher.admit(8)
    futures = [batcher.submit(0)]
    gate.begun.acquire()
    futures += [batcher.submit(item) for item in (1, 2, 30, 3, 4, 5, 6)]
    batcher.close()
    for _ in range(4):
        gate.open.release()
    assert [future.result(10) for future in futures] == [0, 2, 4, 60, 6, 8, 10, 12]
    assert gate.groups == [[0], [1, 2], [30, 3], [4, 5, 6]]
    batcher.join(10)


def test_more_than_may_wait_is_refused_with_a_time__SRV_04() -> None:
    gate = Gate()
    batcher = Batcher(gate, batch=2)
    assert batcher.capacity == 2 * GROUPS
    batcher.admit(100)  # a request is never refused for its own size
    assert batcher.is_full
    with pytest.raises(Busy) as busy:
        batcher.admit(1)
    assert busy.value.retry_after >= 1
    batcher.withdraw(100)
    assert not batcher.is_full and batcher.admitted == 0
    batcher.close()
    batcher.join(10)


def test_one_item_that_fails_takes_no_other_with_it() -> None:
    gate = Gate()
    batcher = Batcher(gate, batch=4)
    batcher.admit(4)
    futures = [batcher.submit(1)]
    gate.begun.acquire()
    futures += [batcher.submit(item) for item in (2, 13, 3)]
    for _ in range(5):
        gate.open.release()
    batcher.close()
    assert [futures[at].result(10) for at in (0, 1, 3)] == [2, 4, 6]
    with pytest.raises(ValueError, match="13"):
        futures[2].result(10)
    batcher.join(10)
