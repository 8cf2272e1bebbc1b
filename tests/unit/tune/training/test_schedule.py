"""A budget plans epochs of several costs, and is kept when they take longer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_task import task

from headstart.tune.training.run_state import RunState
from headstart.tune.training.schedule import affordable_epochs, replanned

COSTS = {"0": 1.0, "1": 4.0}
TASK = replace(task(), plan=lambda epochs: [int((epoch + 1) / epochs > 0.5) for epoch in range(epochs)])


@pytest.mark.parametrize(("left", "epochs"), [(3.9, 0), (4.0, 1), (5.0, 2), (9.9, 3), (10.0, 4), (1000.0, 40)])
def test_as_many_epochs_as_fit(left: float, epochs: int) -> None:
    assert affordable_epochs(TASK, COSTS, done=0, limit=40, left=left) == epochs


def after(epochs: int, planned: int, seconds: float, left: float) -> tuple[dict[str, float], int]:
    """Return the plan after so many epochs, of which the last one took so many seconds of a budget of 100."""
    history = [{"seconds": 0.0}, {"seconds": seconds}]
    state = RunState(epoch=epochs, planned=planned, seconds=100.0 - left, costs=dict(COSTS), history=history)
    return replanned(TASK, state, limit=40, budget=100.0)


def test_slower_epochs_are_fewer() -> None:
    now, planned = after(4, 20, seconds=2.0, left=52.0)
    assert now == {"0": 2.0, "1": 8.0}
    assert planned == affordable_epochs(TASK, now, done=4, limit=20, left=52.0) < 20


def test_faster_ones_are_more_in_the_first_half_alone() -> None:
    assert after(4, 10, seconds=0.5, left=90.0)[1] > 10
    assert after(6, 10, seconds=2.0, left=90.0)[1] == 10


def test_an_epoch_that_was_planned_is_begun() -> None:
    assert after(4, 10, seconds=50.0, left=1.0)[1] == 5
    assert after(4, 4, seconds=50.0, left=90.0)[1] == 4
