"""Orders and the deaths of workers: nothing is lost, done twice, or left out that does not kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.scale.schedule import WorkerDied, run_orders
from headstart.scale.worker import Order

Death = Callable[[int, Order, bool, int], WorkerDied | None]


class Here:
    """Workers that do nothing but die as `death` says, of (number, order, carefully, how often it was given)."""

    def __init__(self, count: int, death: Death, seed: int = 0) -> None:
        self.count, self.death, self.random = count, death, np.random.default_rng(seed)
        self.busy: list[tuple[int, Order, bool]] = []
        self.times: Counter[int] = Counter()

    def idle(self) -> bool:
        return len(self.busy) < self.count

    def give(self, number: int, order: Order, *, carefully: bool) -> None:
        self.times[number] += 1
        self.busy.append((number, order, carefully))

    def wait(self) -> tuple[int, Callable[[], Any]]:
        number, order, carefully = self.busy.pop(int(self.random.integers(len(self.busy))))
        died = self.death(number, order, carefully, self.times[number])

        def result() -> Any:
            if died is not None:
                raise died
            return order.poison

        return number, result


def orders(count: int, size: int = 4) -> list[Order]:
    every = [tuple(range(start, start + size)) for start in range(0, count * size, size)]
    return [Order(some[0], tuple(map(str, some))) for some in every]


def poisonous(*positions: int) -> Death:
    """Return the death of whoever touches an example at one of these positions that is not left out."""

    def death(number: int, order: Order, carefully: bool, times: int) -> WorkerDied | None:
        for place, name in enumerate(order.ids):
            if int(name) in positions and place not in order.poison:
                return WorkerDied(place if carefully else None)
        return None

    return death


@pytest.mark.parametrize("count", [1, 2, 4])
def test_three_poison_examples_are_found_after_three_deaths_each_at_most__DST_03(count: int) -> None:
    done: dict[int, Any] = {}
    workers = Here(count, poisonous(5, 6, 17))
    run_orders(workers, orders(6), done.__setitem__)
    assert done == {0: frozenset(), 1: {1, 2}, 2: frozenset(), 3: frozenset(), 4: {1}, 5: frozenset()}
    assert workers.times == {0: 1, 1: 6, 2: 1, 3: 1, 4: 4, 5: 1}  # two of the second order, and three deaths of another


def test_twenty_kills_cost_one_order_each_and_leave_nothing_out__DST_01() -> None:
    done: dict[int, Any] = {}
    workers = Here(2, lambda number, order, carefully, times: WorkerDied() if number % 5 < 2 and times == 1 else None)
    run_orders(workers, orders(50), done.__setitem__)
    assert done == dict.fromkeys(range(50), frozenset())
    assert workers.times.total() == 50 + 20


def test_a_kill_while_an_example_is_touched_does_not_make_it_poison__DST_01() -> None:
    done: dict[int, Any] = {}
    run_orders(
        Here(1, lambda number, order, carefully, times: WorkerDied(times % 4) if times < 4 else None),
        orders(1),
        done.__setitem__,
    )
    assert done == {0: frozenset()}


def test_deaths_before_an_order_was_begun_are_not_counted__DST_01() -> None:
    done: dict[int, Any] = {}
    careful: list[bool] = []

    def death(number: int, order: Order, carefully: bool, times: int) -> WorkerDied | None:
        careful.append(carefully)
        return WorkerDied(begun=False) if times <= 50 else None

    run_orders(Here(1, death), orders(1), done.__setitem__)
    assert done == {0: frozenset()} and careful == [False] * 51


def test_workers_that_die_whatever_is_left_out_end_the_run() -> None:
    with pytest.raises(UsageError, match="examples 0 to 3; found 11 of them died"):
        run_orders(Here(1, lambda *_: WorkerDied(-1)), orders(1), lambda number, result: None)


def test_what_a_worker_raises_ends_the_run() -> None:
    def accept(number: int, result: Any) -> None:
        raise UsageError("a", "b", "c")

    with pytest.raises(UsageError, match="a; found b; c"):
        run_orders(Here(1, lambda *_: None), orders(1), accept)
