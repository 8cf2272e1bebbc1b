"""What a comparison can afford: the largest size that fits, then fewer measurements, then the cheapest way."""

from __future__ import annotations

from typing import Any, cast

import pytest

from headstart.comparison import budget as affording
from headstart.comparison.budget import ExperimentCell, Plan, needed, plan_scratch, plan_tuned
from headstart.comparison.trained_arms import batch_for, epochs_for
from headstart.judge.benefit.results import COARSE_EPOCH_RATIO, EPOCH_RATIO
from headstart.testing import ToySource

CELLS = [ExperimentCell(100, 200, 5)]
SECONDS = {0: 0.04, 128: 0.025, 64: 0.015}


@pytest.fixture(autouse=True)
def _timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affording, "sizes", lambda source, prepared, smallest: list(SECONDS))
    monkeypatch.setattr(affording, "a_pass", lambda source, prepared, size: SECONDS[size])


def scratch(left: float) -> Plan:
    return plan_scratch(ToySource(), cast(Any, None), CELLS, left)


def tuned(left: float, mode: str | None = None) -> Plan:
    return plan_tuned(ToySource(), cast(Any, None), CELLS, left, mode)


def test_scratch_runs_at_the_largest_size_whose_epochs_all_fit() -> None:
    whole = needed("scratch", Plan("all", 0, EPOCH_RATIO, SECONDS[0]), CELLS)
    assert (scratch(whole).size, scratch(whole).pace) == (0, EPOCH_RATIO)
    assert scratch(0.99 * whole).size == 128
    assert scratch(whole / 2.6).size == 64


def test_where_nothing_fits_it_is_the_cheapest_and_measured_less_often() -> None:
    found = scratch(1.0)
    assert (found.size, found.pace) == (64, COARSE_EPOCH_RATIO)
    between = needed("scratch", Plan("all", 64, COARSE_EPOCH_RATIO, SECONDS[64]), CELLS)
    assert scratch(between).pace == COARSE_EPOCH_RATIO and scratch(between).size == 64


def test_the_budget_decides_what_is_tuned_unless_it_was_asked_for() -> None:
    assert tuned(1e6).mode == "all"
    assert tuned(600.0).mode == tuned(1.0).mode == "last:1"
    assert tuned(1.0, "all").mode == "all" and tuned(1.0, "all").size == 64
    asked = tuned(1.0, "last:2")
    assert (asked.mode, asked.size) == ("last:2", 0), "kept activations are those of the source's own size"


def test_few_labels_have_more_epochs_and_smaller_steps() -> None:
    assert [epochs_for("scratch", labels) for labels in (20, 100, 450, 5000)] == [120, 86, 40, 20]
    assert [epochs_for("tuned", labels) for labels in (20, 100, 450, 5000)] == [30, 22, 10, 8]
    assert (batch_for(100), batch_for(450)) == (16, 32)
