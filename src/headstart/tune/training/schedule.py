"""The schedule of a run: the learning rate at each step, and how many epochs a budget affords."""

from __future__ import annotations

import math
from collections.abc import Mapping

from headstart.tune.training.run_state import RunState
from headstart.tune.training.task import Task

WARM_UP = 0.1
"""Share of the steps over which the rate rises."""
RESERVED_SHARE = 0.12
"""Share of a budget that no epoch is planned into."""


def learning_rate_share(step: int, steps: int) -> float:
    """Return the share of the full rate, 0..1, at a step from 0: a linear warm-up, then half a cosine down to nothing.

    That is the schedule of Loshchilov & Hutter (2017) after a warm-up; a step beyond the `steps` has a share of 0.
    """
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    if step >= steps:
        return 0.0
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def affordable_epochs(task: Task, costs: Mapping[str, float], *, done: int, limit: int, left: float) -> int:
    """Return how many epochs, of at most `limit`, end within the seconds that are `left`; at least those done.

    The plan of the task says of which kind each epoch is; `costs` are seconds of an epoch of each kind.
    """
    few, many = done, limit
    while few < many:
        middle = (few + many + 1) // 2
        fits = sum(costs[str(kind)] for kind in task.plan(middle)[done:]) <= left
        few, many = (middle, many) if fits else (few, middle - 1)
    return few


def replanned(task: Task, state: RunState, *, limit: int, budget: float) -> tuple[dict[str, float], int]:
    """Return costs and number of epochs if all take as long as the last one did; more than planned only early on.

    Late in a run the learning rate has fallen, and must not rise again. An epoch that was planned is begun even if it
    cannot end: the loop lets the rate fall with the time that is left. There are at most `limit` epochs; `budget` is
    that of the whole run, in seconds.
    """
    last_seconds = state.history[-1]["seconds"] - state.history[-2]["seconds"]
    left = budget - state.seconds
    share = last_seconds / state.costs[str(task.plan(state.planned)[state.epoch - 1])]
    now = {kind: seconds * share for kind, seconds in state.costs.items()}
    planned = affordable_epochs(task, now, done=state.epoch, limit=state.planned, left=left)
    planned = max(planned, min(state.planned, state.epoch + 1))
    if planned == state.planned and 2 * state.epoch <= planned:
        left -= RESERVED_SHARE * budget
        planned = max(planned, affordable_epochs(task, now, done=state.epoch, limit=limit, left=left))
    return now, planned
