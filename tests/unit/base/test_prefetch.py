"""Working ahead: in order, bounded, and never stuck."""

from __future__ import annotations

import threading
import time
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.base.prefetch import MOST_AHEAD, Prefetcher, bytes_of


def squared(number: int) -> int:
    time.sleep(0.001 * (number % 3))
    return number**2


def test_results_come_in_order() -> None:
    with Prefetcher(squared, range(50), workers=4, window=7) as ahead:
        assert list(ahead) == [number**2 for number in range(50)]


def test_no_more_than_the_window_is_begun_before_it_is_wanted() -> None:
    begun: list[int] = []

    def watched(number: int) -> int:
        begun.append(number)
        return squared(0)

    with Prefetcher(watched, range(100), workers=2, window=8) as ahead:
        while len(begun) < 8:
            time.sleep(0.001)
        for taken, _ in enumerate(ahead, 1):
            assert len(begun) <= taken + 8
    assert sorted(begun) == list(range(100))


def test_peek_waits_for_the_results_and_takes_none_away() -> None:
    with Prefetcher(squared, range(2, 30), workers=2, window=10) as ahead:
        assert list(ahead.peek()) == [number**2 for number in range(2, 12)]
        assert list(ahead) == [number**2 for number in range(2, 30)]


def test_leaving_early_ends_the_threads() -> None:
    before = threading.active_count()
    with Prefetcher(squared, range(1000), workers=3, window=20) as ahead:
        next(iter(ahead))
    assert threading.active_count() == before


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    with Prefetcher(lambda number: 1 / (3 - number), range(10), workers=2, window=4) as ahead:
        results = iter(ahead)
        assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
        with pytest.raises(ZeroDivisionError):
            next(results)


@dataclass
class Large:
    """A result that says how large it is, and takes no memory."""

    number: int
    nbytes: int


def test_the_size_of_a_result_is_what_it_or_its_parts_say() -> None:
    assert bytes_of(np.zeros((3, 2), np.float32)) == 24
    assert bytes_of([Large(0, 5), (np.zeros(2, np.uint8), "text", None)]) == 7
    assert bytes_of(12) == 0


@pytest.mark.parametrize("sizes", [[30] * 40, [1] * 20 + [30] * 20, [200] * 10, [0] * 40])
def test_large_results_are_begun_no_further_ahead_than_memory_allows(sizes: list[int]) -> None:
    """Also where small ones came first: nothing is foretold from the size of those before."""
    workers, most, lock, taken, worst = 3, 100, threading.Lock(), -1, 0
    begun: list[int] = []

    def work(number: int) -> Large:
        nonlocal worst
        with lock:
            begun.append(number)
            worst = max(worst, sum(sizes[each] for each in begun if each > taken))
        time.sleep(0.0005)
        return Large(number, sizes[number])

    with Prefetcher(work, range(len(sizes)), workers=workers, window=24, most_bytes=most) as ahead:
        for place, result in enumerate(ahead):
            assert result.number == place
            taken = place
            time.sleep(0.001)
    assert worst < most + (workers + 1) * max(sizes) + 1  # the one that is handed over is counted still
    assert sorted(begun) == list(range(len(sizes)))


def test_peek_gives_what_memory_allows_and_at_least_the_first() -> None:
    with Prefetcher(lambda number: Large(number, 60), range(30), workers=2, window=20, most_bytes=100) as ahead:
        numbers = [result.number for result in ahead.peek()]
        assert numbers == list(range(len(numbers))) and 1 <= len(numbers) <= 3
        assert [result.number for result in ahead] == list(range(30))


def test_leaving_early_frees_what_waits_for_memory() -> None:
    before = threading.active_count()
    with Prefetcher(lambda number: Large(number, 100), range(30), workers=3, window=20, most_bytes=100) as ahead:
        next(iter(ahead))
    assert threading.active_count() == before


def test_of_arrays_of_38_megabytes_less_than_300_are_held() -> None:
    def decoded(_: int) -> NDArray[np.float32]:
        return np.empty(600 * 16_000, np.float32)

    tracemalloc.start()
    try:
        with Prefetcher(decoded, range(40), workers=2, window=96) as ahead:
            for _ in ahead:
                time.sleep(0.001)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert MOST_AHEAD < most < 300 << 20
