"""Working ahead: in order, bounded, and never stuck."""

from __future__ import annotations

import threading
import time

import pytest

from headstart.base.prefetch import Prefetcher


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
    assert begun == list(range(100))


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
