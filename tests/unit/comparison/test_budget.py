"""What a comparison can afford: the largest size that fits, then fewer measurements, then the cheapest way."""

from __future__ import annotations

from headstart.comparison.budget import ExperimentCell, Limits, Plan, batch_for, plan_arm
from headstart.judge.benefit.results import COARSE_EPOCH_RATIO, EPOCH_RATIO

LIMITS = Limits()
SCRATCH, TUNED = ([ExperimentCell(100, 200, LIMITS.epochs_for(arm, 100), runs=5)] for arm in ("scratch", "tuned"))
SECONDS = {0: 0.04, 128: 0.025, 64: 0.015}
"""What a picture costs at each size at which it may be seen, in seconds."""


def scratch(left: float) -> Plan:
    return plan_arm(list(SECONDS), SECONDS.__getitem__, SCRATCH, left, mode="all", stages=3)


def tuned(left: float, mode: str | None = None) -> Plan:
    return plan_arm(list(SECONDS), SECONDS.__getitem__, TUNED, left, mode=mode, stages=3)


def test_scratch_runs_at_the_largest_size_whose_epochs_all_fit() -> None:
    whole = Plan("all", 0, EPOCH_RATIO, SECONDS[0]).cost(SCRATCH)
    assert (scratch(whole).size, scratch(whole).pace) == (0, EPOCH_RATIO)
    assert scratch(0.99 * whole).size == 128
    assert scratch(whole / 2.6).size == 64


def test_where_nothing_fits_it_is_the_cheapest_and_measured_less_often() -> None:
    found = scratch(1.0)
    assert (found.size, found.pace) == (64, COARSE_EPOCH_RATIO)
    between = Plan("all", 64, COARSE_EPOCH_RATIO, SECONDS[64]).cost(SCRATCH)
    assert scratch(between).pace == COARSE_EPOCH_RATIO and scratch(between).size == 64


def test_the_budget_decides_what_is_tuned_unless_it_was_asked_for() -> None:
    assert tuned(1e6).mode == "all"
    assert tuned(600.0).mode == tuned(1.0).mode == "last:1"
    assert tuned(1.0, "all").mode == "all" and tuned(1.0, "all").size == 64
    asked = tuned(1.0, "last:2")
    assert (asked.mode, asked.size) == ("last:2", 0), "kept activations are those of the source's own size"


def test_few_labels_have_more_epochs_and_smaller_steps() -> None:
    assert [LIMITS.epochs_for("scratch", labels) for labels in (20, 100, 450, 5000)] == [120, 86, 40, 20]
    assert [LIMITS.epochs_for("tuned", labels) for labels in (20, 100, 450, 5000)] == [30, 22, 10, 8]
    assert (batch_for(100), batch_for(450)) == (16, 32)
