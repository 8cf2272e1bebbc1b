"""The curve on the test part: what is measured, what it takes, and what trackers are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

from headstart.comparison.curve import TestCurve, TestTracker

Y = np.array([0, 1, 1])


def scores(right: str) -> Any:
    """Return scores that are sure of the class of each example, or of the other one where `right` has a 0."""
    sure = np.where([mark == "1" for mark in right], Y, 1 - Y)
    return np.float32(4.0) * np.eye(2, dtype=np.float32)[sure]


def test_a_curve_computes_what_it_measures_and_nothing_else() -> None:
    curve, computed = TestCurve(Y, {0, 2}), []

    def scores_after(epoch: int) -> Any:
        computed.append(epoch)
        return scores("111" if epoch > 1 else "110")

    for epoch in range(5):
        curve.record(epoch, last=epoch == 4, scores_of=partial(scores_after, epoch))
    assert computed == [0, 2, 4] == list(curve.right) == list(curve.loss)
    assert curve.right[0].tolist() == [True, True, False] and curve.right[4].all()
    expected = [math.log1p(math.exp(-4)), math.log1p(math.exp(4))]
    assert curve.loss[0] == pytest.approx([expected[0], expected[0], expected[1]], rel=1e-4)


def test_scores_that_explode_end_a_curve_and_at_the_beginning_are_an_error() -> None:
    curve, broken = TestCurve(Y, {0, 1}), scores("111") * np.float32(np.nan)
    curve.record(0, last=False, scores_of=lambda: scores("101"))
    curve.record(1, last=False, scores_of=lambda: broken)
    assert list(curve.right) == [0]
    with pytest.raises(ArithmeticError, match="not finite before it has learned"):
        TestCurve(Y, {0}).record(0, last=False, scores_of=lambda: broken)


class Heard:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def started(self, details: Mapping[str, Any]) -> None:
        self.calls.append(("started", dict(details)))

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        self.calls.append((epoch, dict(numbers)))

    def finished(self, details: Mapping[str, Any]) -> None:
        self.calls.append(("finished", dict(details)))


def test_a_tracker_gets_the_figures_of_the_test_part_where_they_were_measured_and_no_nan() -> None:
    curve, heard = TestCurve(Y, {0}), Heard()
    tracker = TestTracker(heard, curve)
    curve.record(0, last=False, scores_of=lambda: scores("110"))
    tracker.started({"arm": "tuned"})
    tracker.epoch({"loss": 0.5, "validation/loss": math.nan, "rate": math.inf}, epoch=0)
    tracker.epoch({"loss": 0.25}, epoch=1)
    tracker.finished({"epochs": 1})
    assert heard.calls[0] == ("started", {"arm": "tuned"}) and heard.calls[-1] == ("finished", {"epochs": 1})
    assert heard.calls[1][1].keys() == {"loss", "test/accuracy", "test/loss"}
    assert heard.calls[1][1]["test/accuracy"] == pytest.approx(2 / 3) and heard.calls[2] == (1, {"loss": 0.25})


def test_a_curve_is_measured_less_often_where_measuring_takes_too_long_and_always_at_its_end() -> None:
    seconds = [0.0]

    def slow() -> Any:
        seconds[0] += 5.0
        return scores("111")

    curve = TestCurve(Y, set(range(10)), lambda: seconds[0])
    curve.allowance = 18.0
    for epoch in range(10):
        seconds[0] += 1.0
        curve.record(epoch, last=epoch == 9, scores_of=slow)
    assert list(curve.right) == [0, 1, 9] and sum(curve.durations) <= 18.0
    assert list(curve.seconds.values()) == [1.0, 2.0, 10.0], "the time of measuring is left out"
    outcome = curve.outcome(cut=True, note="so")
    assert outcome.epochs.tolist() == [0, 1, 9] and outcome.cut and outcome.right.all()
