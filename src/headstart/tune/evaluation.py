"""How a model does on the validation examples of a tuning problem, compared with the frozen source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.heads.folds import class_weights
from headstart.heads.linear import fit_temperature, log_losses
from headstart.heads.select import refit
from headstart.judge.intervals import Interval, paired_difference
from headstart.tune.problem import TuningProblem


@dataclass(frozen=True)
class Evaluation:
    """A model on n validation examples.

    Attributes:
        losses: log loss of each example in nats, after calibration, times its weight; float64 of shape (n,).
        correct: whether each example is classified correctly, bool of shape (n,).
        weights: weight of each example, which follows from its class; float64 of shape (n,).
        temperature: the one that calibrates the model on these examples.
    """

    losses: NDArray[np.float64]
    correct: NDArray[np.bool_]
    weights: NDArray[np.float64]
    temperature: float = 1.0

    @property
    def log_loss(self) -> float:
        """The weighted mean log loss in nats."""
        return float(self.losses.sum() / self.weights.sum())

    @property
    def accuracy(self) -> float:
        """The share that is classified correctly, 0..1."""
        return float(self.correct.mean())


def evaluate(problem: TuningProblem, scores: NDArray[np.float32]) -> Evaluation:
    """Return how class scores of shape (n, c) do on the n validation examples of a problem."""
    y = problem.y_validation
    per_class = class_weights(problem.y_train, problem.c)
    weights = np.where(per_class > 0, per_class, 1.0)[y]
    temperature = fit_temperature(scores, y, weights)
    losses = log_losses(scores, y, temperature) * weights
    return Evaluation(losses, scores.argmax(axis=1) == y, weights, temperature)


def evaluate_frozen(problem: TuningProblem) -> Evaluation:
    """Return how the chosen head does on frozen features, fitted on the training examples alone."""
    head = refit(problem.x_train, problem.y_train, problem.c, like=problem.head)
    return evaluate(problem, head.scores(problem.x_validation))


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluations of several sets of examples as one."""
    return Evaluation(
        np.concatenate([part.losses for part in evaluations]),
        np.concatenate([part.correct for part in evaluations]),
        np.concatenate([part.weights for part in evaluations]),
    )


def gain(frozen: Evaluation, tuned: Evaluation, *, seed: int) -> Interval:
    """Return by how many nats the tuned model's log loss is lower, with the paired 95 % interval."""
    return paired_difference(frozen.losses, tuned.losses, seed=seed)
