"""How models do on validation examples; the result of tuning, and the sentences that describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.split import clusters
from headstart.heads.folds import class_weights
from headstart.heads.linear import LinearHead, fit_temperature, log_losses
from headstart.judge.intervals import Interval, paired_difference
from headstart.sources.base import Source
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import EpochResult


@dataclass(frozen=True)
class Evaluation:
    """A model on n validation examples."""

    losses: NDArray[np.float64]  # of each example, in nats, after calibration, times its weight; of shape (n,)
    correct: NDArray[np.bool_]  # whether each example is classified correctly, of shape (n,)
    weights: NDArray[np.float64]  # of each example, which follows from its class; of shape (n,)
    clusters: NDArray[np.intp]  # of each example, see `data.split.clusters`; of shape (n,)
    temperature: float = 1.0  # the one that calibrates the model on these examples

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
    among = clusters(problem.dataset.examples, problem.validation_positions, problem.keys)
    return Evaluation(losses, scores.argmax(axis=1) == y, weights, among, temperature)


def evaluate_frozen(problem: TuningProblem) -> Evaluation:
    """Return how the chosen head does on frozen features, fitted on the training examples alone."""
    return evaluate(problem, problem.validation_scores(problem.refitted()))


def pooled(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluations of several sets of examples as one."""
    return Evaluation(
        np.concatenate([part.losses for part in evaluations]),
        np.concatenate([part.correct for part in evaluations]),
        np.concatenate([part.weights for part in evaluations]),
        np.concatenate([part.clusters for part in evaluations]),
    )


def gain(frozen: Evaluation, tuned: Evaluation, *, seed: int) -> Interval:
    """Return by how many nats the tuned model's log loss is lower, with the paired 95 % interval."""
    return paired_difference(frozen.losses, tuned.losses, seed=seed, clusters=frozen.clusters)


@dataclass(frozen=True)
class TrialResult:
    """One trial, evaluated on the validation examples."""

    name: str
    log_loss: float  # in nats, after calibration
    accuracy: float  # 0..1
    gain: Interval  # reduction of log loss against the frozen source, with its paired interval; above 0 is better
    alpha: float  # how far from start to end the weights stand (WiSE-FT)
    refit_head: bool  # whether the head was fitted again on the features of the body that stands there
    stop_reason: str  # why its last run ended
    history: tuple[EpochResult, ...]  # its epochs, over all its runs
    images_per_second: float
    cached: bool  # whether its epochs ran from cached activations

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            "name": self.name,
            "log_loss": self.log_loss,
            "accuracy": self.accuracy,
            "gain": self.gain.as_dict(),
            "alpha": self.alpha,
            "settled": self.refit_head,
            "why": self.stop_reason,
            "history": [epoch.as_dict() for epoch in self.history],
            "images_per_second": self.images_per_second,
            "kept": self.cached,
        }


@dataclass(frozen=True)
class Confirmation:
    """The best trial, evaluated on examples that took no part in choosing it."""

    parts: int  # sets of training examples that were held out in turn
    examples: int  # number of examples in all of them
    frozen: tuple[float, float]  # log loss in nats and accuracy, 0..1, of the frozen source on them
    tuned: tuple[float, float]  # the same of the best trial, learned each time from all the others
    gain: Interval  # reduction of log loss, with its paired interval; above 0 is better

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            "parts": self.parts,
            "examples": self.examples,
            "frozen": _loss_and_accuracy(self.frozen),
            "tuned": _loss_and_accuracy(self.tuned),
            "gain": self.gain.as_dict(),
        }


@dataclass(frozen=True)
class Tuning:
    """The result of tuning."""

    source: Source | None  # the tuned source; None unless it is better than the frozen one beyond the interval
    head: LinearHead | None  # its head, on features at `layer`; None without it
    layer: str
    frozen: tuple[float, float]  # log loss and accuracy of the frozen source on the validation examples
    trials: tuple[TrialResult, ...]  # every trial, best first
    confirmation: Confirmation | None  # the best trial on further examples, where there was such an evaluation
    notes: tuple[str, ...]  # what its user must know, one sentence each
    device: str
    validation_probabilities: NDArray[np.float32] | None = None  # of shape (m, c), as evaluated

    @property
    def kept(self) -> bool:
        """Whether the model is the tuned source."""
        return self.source is not None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            "kept": self.kept,
            "way": self.trials[0].name if self.trials else "",
            "frozen": _loss_and_accuracy(self.frozen),
            "device": self.device,
            "confirmed": None if self.confirmation is None else self.confirmation.as_dict(),
            "tried": [trial.as_dict() for trial in self.trials],
        }


def early_end_note(trial: TrialResult) -> str:
    """Return the sentence on a trial whose last run had to end early."""
    if trial.stop_reason == "short":
        return f"{trial.name}: the budget is too short for one epoch; the frozen source stands."
    return (
        f"{trial.name}: the loss exploded or was not finite, and the last good weights stand;"
        " give a smaller --learning-rate."
    )


def confirmation_of(frozen: Sequence[Evaluation], tuned: Sequence[Evaluation], *, seed: int) -> Confirmation:
    """Return the evaluations of the frozen source and of the best trial on several parts, taken together."""
    before, after = pooled(frozen), pooled(tuned)
    return Confirmation(
        len(frozen),
        len(before.correct),
        (before.log_loss, before.accuracy),
        (after.log_loss, after.accuracy),
        gain(before, after, seed=seed),
    )


def not_kept_note(trials: Sequence[TrialResult], confirmation: Confirmation | None, *, confirmation_due: bool) -> str:
    """Return why the model is the frozen source.

    `trials` are best first; the best of several must be confirmed on further examples where `confirmation_due`.
    """
    if not trials:
        return "Nothing could be tuned within the budget: the model is the frozen one."
    best = trials[0]
    measured = best.gain if confirmation is None else confirmation.gain
    where = "" if confirmation is None else f" on {confirmation.examples:,} examples that had no say in the search"
    reason = "no gain beyond the interval"
    if measured.low > 0:
        unconfirmed = confirmation_due and confirmation is None
        reason = "but its accuracy is lower"
        if unconfirmed:
            reason = "and there was no time to confirm it on further examples (give a larger --budget)"
    return (
        f"Tuning was not kept: {best.name} changed the validation log loss by {-measured.value:+.3f} "
        f"[{-measured.high:+.3f}, {-measured.low:+.3f}]{where}, {reason}; the model is the frozen one."
    )


def retrained_note(name: str, examples: int | None) -> str:
    """Return what the final model has learned from: `examples`, or None where it is the one that was evaluated."""
    if examples is None:
        return (
            f"{name}: the budget had no time to learn again from all examples; the model is the one evaluated before."
        )
    return f"{name}: evaluated on examples held out, then learned again from all {examples:,} training examples."


def _loss_and_accuracy(pair: tuple[float, float]) -> dict[str, float]:
    return {"log_loss": pair[0], "accuracy": pair[1]}
