"""Decoding ahead: in order, bounded, and never stuck."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from headstart.data.dataset import BadExample
from headstart.features.prefetch import Prefetcher


def prepare(position: int) -> np.ndarray:
    if position % 5 == 3:
        raise BadExample(f"bad {position}")
    time.sleep(0.001 * (position % 3))
    return np.full(2, position, dtype=np.uint8)


def test_examples_come_in_order_with_the_reasons_of_the_broken() -> None:
    with Prefetcher(prepare, range(50), workers=4, window=7) as ahead:
        said = list(ahead)
    assert [position for position, _ in said] == list(range(50))
    for position, value in said:
        if position % 5 == 3:
            assert isinstance(value, BadExample)
            assert value.reason == f"bad {position}"
        else:
            assert value.tolist() == [position, position]


def test_no_more_than_the_window_is_decoded_before_it_is_wanted() -> None:
    begun: list[int] = []

    def watched(position: int) -> np.ndarray:
        begun.append(position)
        return prepare(0)

    with Prefetcher(watched, range(100), workers=2, window=8) as ahead:
        time.sleep(0.05)
        assert len(begun) == 8
        for taken, _ in enumerate(ahead, 1):
            assert len(begun) <= taken + 8


def test_peek_waits_for_the_usable_ones_and_takes_none_away() -> None:
    with Prefetcher(prepare, range(2, 30), workers=2, window=10) as ahead:
        assert [picture[0] for picture in ahead.peek(4)] == [2, 4, 5, 6]
        assert [picture[0] for picture in ahead.peek(100)] == [2, 4, 5, 6, 7, 9, 10, 11]
        assert [position for position, _ in ahead] == list(range(2, 30))


def test_leaving_early_ends_the_threads() -> None:
    before = threading.active_count()
    with Prefetcher(prepare, range(1000), workers=3, window=20) as ahead:
        next(iter(ahead))
    assert threading.active_count() == before


def test_a_bug_in_decoding_is_not_taken_for_a_broken_example() -> None:
    def broken(position: int) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Prefetcher(broken, range(10), workers=2, window=4) as ahead:
        list(ahead)
