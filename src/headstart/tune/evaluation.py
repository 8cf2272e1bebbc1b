"""How an answer does on the examples that judge, beside the frozen source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.heads.calibration import fit_temperature, log_losses
from headstart.heads.folds import class_weights
from headstart.heads.select import refit
from headstart.judge.intervals import Interval, paired_difference
from headstart.tune.problem import TuningProblem


@dataclass(frozen=True)
class EvaluatedTrial:
    """An answer on the n examples that judge.

    Attributes:
        losses: log loss of each in nats, after calibration, times what its class counts; float64 of shape (n,).
        right: whether each is named right, bool of shape (n,).
        counted: what each counts, float64 of shape (n,).
        temperature: that calibrates the answer on them.
    """

    losses: NDArray[np.float64]
    right: NDArray[np.bool_]
    counted: NDArray[np.float64]
    temperature: float = 1.0

    @property
    def log_loss(self) -> float:
        """The mean log loss in nats."""
        return float(self.losses.sum() / self.counted.sum())

    @property
    def accuracy(self) -> float:
        """The share that is named right, 0..1."""
        return float(self.right.mean())


def judged(ground: TuningProblem, scores: NDArray[np.float32]) -> EvaluatedTrial:
    """Return how class scores (n, c) do on the examples of a ground that judge."""
    y = ground.y_judge
    counted = class_weights(ground.y_learn, ground.c)
    counted = np.where(counted > 0, counted, 1.0)[y]
    temperature = fit_temperature(scores, y, counted)
    return EvaluatedTrial(
        log_losses(scores, y, temperature) * counted, scores.argmax(axis=1) == y, counted, temperature
    )


def judged_frozen(ground: TuningProblem) -> EvaluatedTrial:
    """Return how the chosen head does on frozen features, learned from the examples to learn from alone."""
    head = refit(ground.x, ground.y_learn, ground.c, like=ground.head)
    return judged(ground, head.scores(ground.x_judge))


def joined(parts: Sequence[EvaluatedTrial]) -> EvaluatedTrial:
    """Return what several sets of examples say together."""
    return EvaluatedTrial(
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.counted for part in parts]),
    )


def gain(frozen: EvaluatedTrial, tuned: EvaluatedTrial, *, seed: int) -> Interval:
    """Return by how many nats the tuned answer's log loss is better, with the paired 95 % interval."""
    return paired_difference(frozen.losses, tuned.losses, seed=seed)
