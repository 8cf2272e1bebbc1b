"""The arms without training, on planted features; the curve on the test part; and what trackers are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from prepared import prepared_data

from headstart.base.errors import SourceError
from headstart.comparison.arms import (
    TestCurve,
    TestTracker,
    random_network,
    run_untrained_arms,
    trained_layer,
)
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SIMPLE, START
from headstart.testing import ToySource

LABELS = ["a", "b"] * 20 + ["b"] * 20
Y = np.array([0, 1, 1])


def scores(right: str) -> Any:
    """Return scores that are sure of the class of each example, or of the other one where `right` has a 0."""
    sure = np.where([mark == "1" for mark in right], Y, 1 - Y)
    return np.float32(4.0) * np.eye(2, dtype=np.float32)[sure]


def test_a_source_that_knows_the_classes_beats_pixels_that_do_not() -> None:
    outcomes = run_untrained_arms(prepared_data(LABELS), "pool", seed=0, extraction=0.5)
    assert set(outcomes) == {MAJORITY, SIMPLE, START, FROZEN}
    share = {arm: outcome.right.mean() for arm, outcome in outcomes.items()}
    assert share[START] == share[FROZEN] == 1.0 and share[SIMPLE] < 0.95
    assert share[MAJORITY] == pytest.approx(2 / 3)
    assert all(outcome.epochs.tolist() == [0] and not outcome.cut for outcome in outcomes.values())
    assert outcomes[FROZEN].loss.mean() < 0.1 < outcomes[MAJORITY].loss.mean()


def test_an_ignorant_source_is_not_said_to_know() -> None:
    outcomes = run_untrained_arms(prepared_data(["a", "b"] * 40, known=0.0), "pool", seed=0, extraction=0.0)
    assert all(abs(outcome.right.mean() - 0.5) < 0.35 for outcome in outcomes.values())


def test_features_count_as_the_time_of_the_source_and_of_no_baseline() -> None:
    data = prepared_data(LABELS)
    outcomes = run_untrained_arms(data, "pool", seed=0, extraction=1000.0)
    features = 1000.0 * len(data.parts.train)
    assert outcomes[MAJORITY].seconds[0] == 0 and outcomes[SIMPLE].seconds[0] < features
    assert outcomes[START].seconds[0] > features and outcomes[FROZEN].seconds[0] > features


def test_each_arm_says_how_it_was_run() -> None:
    outcomes = run_untrained_arms(prepared_data(LABELS), "stage1.avg", seed=0, extraction=0.0)
    assert outcomes[START].note == "ridge on stage1.avg"
    assert " on " in outcomes[FROZEN].note and outcomes[MAJORITY].note == ""


def test_the_layer_of_a_network_that_learns_is_pool_unless_another_is_named() -> None:
    assert trained_layer(ToySource()) == "pool"
    assert trained_layer(ToySource().at("stage1.avg")) == "stage1.avg"


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


class HandMade(ToySource):
    """A source that cannot be had with other weights."""

    def anew(self, seed: int) -> Any:
        return None


def test_scratch_needs_a_network_that_can_be_had_with_random_weights() -> None:
    data = prepared_data(LABELS)
    assert random_network(data, seed=3).info.uri == "toy:convnet@3"
    with pytest.raises(SourceError, match="scratch needs a source that was opened by its URI; found toy:convnet@0"):
        random_network(replace(data, source=HandMade()), seed=3)
