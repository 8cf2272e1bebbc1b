"""How many epochs a budget affords, before the first one and after each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headstart.tune.training.task import Task

RESERVED_SHARE = 0.12
"""Share of a budget that no epoch is planned into."""


@dataclass(frozen=True)
class EpochsDone:
    """The progress of a run with a budget.

    Attributes:
        epochs: number of epochs done.
        planned: number of epochs in all.
        limit: the most epochs that there may be.
        last_seconds: seconds of the last epoch, validation included.
        left: seconds of the budget that are left.
        budget: seconds in all.
    """

    epochs: int
    planned: int
    limit: int
    last_seconds: float
    left: float
    budget: float


def affordable_epochs(task: Task, costs: Mapping[str, float], *, done: int, limit: int, left: float) -> int:
    """Return how many epochs, those done included, end within the time that is left; at least those done.

    Args:
        task: whose plan says of which kind each epoch is.
        costs: seconds of an epoch of each kind.
        done: epochs that are over.
        limit: the most epochs in all.
        left: seconds.
    """
    few, many = done, limit
    while few < many:
        middle = (few + many + 1) // 2
        fits = sum(costs[str(kind)] for kind in task.plan(middle)[done:]) <= left
        few, many = (middle, many) if fits else (few, middle - 1)
    return few


def replanned(task: Task, costs: Mapping[str, float], done: EpochsDone) -> tuple[dict[str, float], int]:
    """Return costs and number of epochs if all take as long as the last one did; more than planned only early on.

    Late in a run the learning rate has fallen, and must not rise again. An epoch that was planned is begun even if it
    cannot end: the loop lets the rate fall with the time that is left.

    Args:
        task: whose plan says of which kind each epoch is.
        costs: seconds of an epoch of each kind, as planned.
        done: where the run stands.
    """
    share = done.last_seconds / costs[str(task.plan(done.planned)[done.epochs - 1])]
    now = {kind: seconds * share for kind, seconds in costs.items()}
    planned = affordable_epochs(task, now, done=done.epochs, limit=done.planned, left=done.left)
    planned = max(planned, min(done.planned, done.epochs + 1))
    if planned == done.planned and 2 * done.epochs <= planned:
        left = done.left - RESERVED_SHARE * done.budget
        planned = max(planned, affordable_epochs(task, now, done=done.epochs, limit=done.limit, left=left))
    return now, planned
