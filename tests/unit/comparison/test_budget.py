"""What a comparison can afford, on planted costs: what is given up first, and how few sizes are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from headstart.comparison.arms import Costs
from headstart.comparison.budget import (
    MARGIN,
    ArmPlan,
    Cells,
    ExperimentCell,
    ExperimentPlan,
    Limits,
    batch_for,
    costs_at,
    enough,
    minutes,
    plan_experiment,
    settled_plan,
)
from headstart.judge.benefit.results import COARSE_EPOCH_RATIO, EPOCH_RATIO

SIZES = [224, 128, 64]
SECONDS = {224: 0.04, 128: 0.025, 64: 0.015}
"""What a picture costs at each size, in seconds."""
SCRATCH = [ArmPlan("all", size, Costs(1.0, 3 * cost, cost)) for size, cost in SECONDS.items()]
TUNED = [ArmPlan("all", 0, Costs(1.0, 0.12, 0.04)), ArmPlan("last:1", 0, Costs(2.0, 0.02, 0.008))]
CELLS: Cells = {
    "scratch": {5: ExperimentCell(10, 150, 120), 10: ExperimentCell(20, 150, 120), None: ExperimentCell(400, 150, 46)},
    "tuned": {None: ExperimentCell(800, 150, 12)},
}
NUMBERS = (5, 10, None)


def planned(left: float, ways: Mapping[str, list[ArmPlan]] | None = None, seeds: int = 5) -> ExperimentPlan:
    ways = {"scratch": SCRATCH, "tuned": TUNED} if ways is None else ways
    return plan_experiment(ways, CELLS, left=left, seeds=seeds, numbers=NUMBERS)


def total(plan: ExperimentPlan) -> float:
    return sum(plan.seconds(CELLS).values())


def test_with_time_for_everything_all_is_run_at_the_largest_size() -> None:
    plan = planned(1e6)
    assert (plan.seeds, plan.numbers, plan.needed) == (5, NUMBERS, {})
    assert plan.arms["scratch"].size == 224 and plan.arms["scratch"].epochs_share == 1.0
    assert plan.arms["tuned"].mode == "all" and plan.arms["tuned"].pace == EPOCH_RATIO


def test_each_plan_fits_and_less_time_never_gives_more() -> None:
    before = planned(1e6)
    for left in (20000.0, 9000.0, 5000.0, 2500.0, 1200.0, 600.0, 300.0, 150.0, 60.0, 20.0, 5.0):
        plan = planned(left)
        assert total(plan) <= MARGIN * left
        assert len(plan.arms) <= len(before.arms)
        assert plan.seeds <= before.seeds or plan.numbers[-1] != before.numbers[-1] or not plan.arms
        before = plan


def test_pictures_become_smaller_then_epochs_fewer_then_seeds_before_the_tuned_arm_and_labels_go() -> None:
    plans = [planned(left) for left in (30000.0, 9000.0, 3200.0, 1500.0, 1000.0, 500.0, 150.0)]
    sizes = [plan.arms["scratch"].size for plan in plans]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1] == 64
    first_short = next(plan for plan in plans if plan.arms["scratch"].epochs_share < 1)
    assert first_short.arms["scratch"].size == 64, "epochs go when no smaller picture is left"
    assert all(plan.numbers == NUMBERS for plan in plans if "tuned" in plan.arms)
    assert all(plan.seeds >= 3 for plan in plans if plan.numbers == NUMBERS and "tuned" in plan.arms)
    assert plans[-1].numbers != NUMBERS and "tuned" not in plans[-1].arms


def test_the_number_of_seeds_that_was_asked_for_is_never_exceeded() -> None:
    assert planned(1e6, seeds=1).seeds == 1
    assert {planned(left, seeds=2).seeds for left in (1e6, 1000.0, 100.0)} <= {1, 2}


def test_where_nothing_fits_no_arm_is_trained_and_the_plan_says_what_it_takes() -> None:
    plan = planned(2.0)
    assert plan.arms == {} and plan.needed.keys() == {"scratch", "tuned"}
    lines = plan.lines(CELLS, (5, NUMBERS), budget=60.0, spent=58.0)
    budget = enough(58.0, plan.needed["scratch"])
    assert f"Scratch does not fit: it takes a budget of {minutes(budget)}." in lines
    assert budget % 60 == 0
    assert "scratch" in planned(budget * (1 - Limits.reserve) - 58.0, {"scratch": SCRATCH}).arms, "and that suffices"


def test_the_plan_tells_its_minutes_seeds_labels_epochs_and_sizes() -> None:
    plan = ExperimentPlan(3, (5, None), {"scratch": SCRATCH[2]})
    lines = plan.lines(CELLS, (5, NUMBERS), budget=600.0, spent=30.0)
    assert lines[0].startswith("Plan: 3 seeds of 5, 5 and all labels per class of 3 numbers of labels; ")
    assert lines[0].endswith(" of 10.0 minutes, of which 0.5 minutes are over.")
    assert lines[1].startswith("Scratch: 6 runs of 46 to 120 epochs at 64 px, all, ")


def test_a_plan_comes_back_from_plain_values() -> None:
    plan = planned(1500.0)
    assert ExperimentPlan.of_dict(plan.as_dict()) == plan


def test_runs_are_measured_less_often_before_the_pictures_become_smaller() -> None:
    whole = 5 * sum(SCRATCH[0].seconds(cell) for cell in CELLS["scratch"].values()) / MARGIN
    assert planned(whole + 1, {"scratch": SCRATCH}).arms["scratch"].pace == EPOCH_RATIO
    coarser = planned(whole - 1, {"scratch": SCRATCH}).arms["scratch"]
    assert (coarser.size, coarser.pace) == (224, COARSE_EPOCH_RATIO)


@pytest.mark.parametrize("left", [150.0, 1000.0, 4000.0, 1e6])
def test_the_size_that_is_taken_was_measured_and_few_others(left: float) -> None:
    timed: list[int] = []

    def measure(size: int) -> Costs:
        timed.append(size)
        return Costs(1.0, 3 * SECONDS[size], SECONDS[size])

    def plan(costs: Callable[[int], Costs]) -> tuple[ExperimentPlan, int | None]:
        made = planned(left, {"scratch": [ArmPlan("all", size, costs(size)) for size in SIZES]})
        return made, made.arms["scratch"].size

    settled = settled_plan(measure, SIZES, plan).arms["scratch"]
    assert settled.size in timed and len(timed) == len(set(timed)) <= len(SIZES)
    assert settled.costs.measure == SECONDS[settled.size]
    assert timed[0] == 64, "the cheapest first"


def test_costs_elsewhere_grow_with_the_pixels_and_what_begins_a_run_does_not() -> None:
    measured = {32: Costs(4.0, 0.01, 0.001), 64: Costs(1.5, 0.02, 0.002)}
    assert costs_at(128, measured) == Costs(1.5, 0.08, 0.008)
    assert costs_at(32, measured) == Costs(1.5, 0.01, 0.001)
    assert costs_at(0, {0: Costs(1.0, 2.0, 3.0)}) == Costs(1.0, 2.0, 3.0)


def test_cached_activations_are_paid_for_once_a_run_and_by_the_example() -> None:
    cached = TUNED[1]
    few, many = ExperimentCell(16, 16, 1), ExperimentCell(160, 160, 1)
    assert cached.seconds(many) - cached.seconds(few) > 9 * cached.costs.begin


def test_few_labels_have_more_epochs_and_smaller_steps() -> None:
    limits = Limits()
    assert [limits.epochs_for("scratch", labels) for labels in (20, 100, 450, 5000)] == [120, 86, 40, 20]
    assert [limits.epochs_for("tuned", labels) for labels in (20, 100, 450, 5000)] == [30, 22, 10, 8]
    assert (batch_for(100), batch_for(450)) == (16, 32)


@pytest.mark.parametrize(("seconds", "words"), [(60.0, "1 minute"), (62.0, "1 minute"), (150.0, "2.5 minutes")])
def test_times_are_told_in_minutes(seconds: float, words: str) -> None:
    assert minutes(seconds) == words
