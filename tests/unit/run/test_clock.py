"""Seconds by part: what fails took its time too, and what a resumed run did before counts in its total."""

from __future__ import annotations

from contextlib import suppress

import pytest

from headstart.run.clock import Clock


@pytest.fixture
def ticks() -> list[float]:
    """Return a list of one number, which a test moves on: what a clock reads."""
    return [100.0]


def clock_of(ticks: list[float]) -> Clock:
    return Clock(now=lambda: ticks[0])


def test_parts_add_up_and_the_total_is_that_of_the_run(ticks: list[float]) -> None:
    clock = clock_of(ticks)
    for seconds in (2.0, 3.5):
        with clock.part("head"):
            ticks[0] += seconds
    ticks[0] += 4.0
    assert clock.read() == {"total": 9.5, "read": 0.0, "extract": 0.0, "head": 5.5, "tune": 0.0}


def test_a_part_that_fails_counts(ticks: list[float]) -> None:
    clock = clock_of(ticks)
    with suppress(KeyboardInterrupt), clock.part("tune"):
        ticks[0] += 7.0
        raise KeyboardInterrupt
    assert clock.seconds["tune"] == 7.0


def test_seconds_of_before_are_in_the_part_and_in_the_total(ticks: list[float]) -> None:
    clock = clock_of(ticks)
    clock.add("tune", 60.0)
    ticks[0] += 1.00049
    assert clock.read()["total"] == 61.0 and clock.read()["tune"] == 60.0


def test_parts_inside_each_other_count_each_their_own(ticks: list[float]) -> None:
    clock = clock_of(ticks)
    with clock.part("extract"):
        ticks[0] += 1.0
        with clock.part("read"):
            ticks[0] += 2.0
    assert (clock.seconds["extract"], clock.seconds["read"]) == (3.0, 2.0)
