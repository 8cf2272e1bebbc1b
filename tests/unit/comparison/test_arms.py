"""The arms without training, on planted features; the curve on the test part; and what trackers are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prepared import prepared_data

from headstart.base.errors import SourceError
from headstart.base.progress import Progress
from headstart.comparison.arms import measured_costs, random_network, run_untrained_arms, trained_layer
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SIMPLE, START
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import prepare
from headstart.testing import ToySource, toy_stripes

LABELS = ["a", "b"] * 20 + ["b"] * 20


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


class HandMade(ToySource):
    """A source that cannot be had with other weights."""

    def anew(self, seed: int) -> Any:
        return None


def test_scratch_needs_a_network_that_can_be_had_with_random_weights() -> None:
    data = prepared_data(LABELS)
    assert random_network(data, seed=3).info.uri == "toy:convnet@3"
    with pytest.raises(SourceError, match="scratch needs a source that was opened by its URI; found toy:convnet@0"):
        random_network(replace(data, source=HandMade()), seed=3)


def test_costs_are_measured_in_a_few_steps_on_the_clock_that_is_handed_in() -> None:
    ticks = iter(range(10_000))
    pictures = toy_stripes(2, 20, noise=0.05)
    prepared = prepare(pictures, FitOptions(source=ToySource(), engine="torch"), Progress(), Clock())
    for mode in ("scratch", "last:1"):
        costs = measured_costs(prepared, ToySource(), mode, 0, now=lambda: float(next(ticks)))
        assert costs.begin > 0 and costs.learn > 0 and costs.measure > 0
    assert next(ticks) > 10, "no other clock was read"
