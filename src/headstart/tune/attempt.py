"""Running the trials of a search: one configuration at a time, evaluated, confirmed on further parts, learned again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.base.progress import Progress
from headstart.data.split import hold_out
from headstart.tune.inputs.base import DecodedCache
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.result import (
    Confirmation,
    Evaluation,
    TrialResult,
    confirmation_of,
    evaluate,
    evaluate_frozen,
    gain,
    pooled,
)
from headstart.tune.settings import ALL
from headstart.tune.training.task import EpochCallback, TrainResult, default_device
from headstart.tune.training.trackers import Tracker
from headstart.tune.trial import Interpolation, TuningTrial

SHARED = 0.7  # of computing cached activations, what a trial on other parts of the same examples is spared
ALPHAS = (0.25, 0.5, 0.75, 1.0)
REFIT_ALPHAS = (0.5, 1.0)  # where the head is fitted again as well, which takes a pass over every training example


@dataclass(frozen=True)
class SearchLimits:
    """The limits of a search."""

    rung_share: float = 0.4  # share of the remaining budget that goes into a rung of several configurations
    caching_share: float = 0.3  # share of the budget that activations which all trials share may take to compute
    slack: float = 1.2  # times the seconds that runs on other parts are expected to take
    used_share: float = 0.8  # share of the budget below which the search says why it ended
    rates: tuple[float, ...] = (3.0, 1 / 3)  # times the learning rate of the mode, which are tried too
    rung_seconds: float = 60.0  # below them a rung says little of a configuration
    parts: int = 5  # parts of the training examples; the first of them evaluates the search, the others confirm it
    hopeless_parts: int = 2  # parts of a confirmation that gain no more than `gain` together, after which it ends
    retrained_share: float = 0.5  # share of the evaluated epochs that the final model must have learned for
    gain: float = 1e-3  # nats that tuning must gain at least: what rounding alone gains is steady, and nothing


Followed = tuple[Sequence[int], NDArray[np.int64], EpochCallback]
"""Positions and class ids (n,) of test examples, and what gets their scores while the final model learns."""


@dataclass(frozen=True)
class Attempt:
    """A trial under way, with the weights that do best on the validation examples.

    `seconds` are those that its runs take again on other parts; `confirmation` is the evaluation on parts that took no
    part in the search.
    """

    trial: TuningTrial
    runs: list[TrainResult]
    result: TrialResult
    seconds: float = 0.0
    confirmation: Confirmation | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs that did best; 0 where what gains is the size of the input alone."""
        return sum(run.best for run in self.runs)

    @property
    def cut_short(self) -> bool:
        """Whether its last run had time for fewer epochs than its recipe has, and its loss is sound."""
        last = self.runs[-1]
        return last.stop_reason != "exploded" and last.planned < self.trial.config.recipe.epochs


@dataclass(frozen=True)
class TrialRunner:
    """Runs configurations on a problem, and evaluates them against the frozen source.

    `all` starts from `pooled_problem`, the same with a head on `pool`. `identity` are plain values that say which data,
    source and settings these are; without `folder`, no checkpoints are kept.
    """

    problem: TuningProblem
    pooled_problem: TuningProblem
    seed: int
    limits: SearchLimits = field(default_factory=SearchLimits)
    folder: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    trackers: Sequence[Tracker] = ()
    progress: Progress = field(default_factory=Progress)
    device: torch.device = field(default_factory=default_device)
    decoded_cache: DecodedCache = field(default_factory=dict)
    caching: float | None = None  # seconds that computing cached activations may take; None for a share of each run
    now: Callable[[], float] = time.monotonic
    followed: Followed | None = None
    costs: dict[str, float] = field(default_factory=dict)  # seconds of an epoch of each way that was measured

    @cached_property
    def frozen(self) -> Evaluation:
        """The evaluation of the frozen source."""
        return evaluate_frozen(self.problem)

    @property
    def retrain_share(self) -> float:
        """Time that learning again from every example takes, as a share of that of the trial; 0 where it is not due."""
        problem = self.problem
        held_out, learned = len(problem.validation_positions), len(problem.train_positions)
        return 1 + held_out / learned if problem.held_out else 0.0

    def attempt(self, config: TrialConfig, seconds: float, previous: Attempt | None) -> Attempt | None:
        """Run a configuration for so many seconds more; return None where they are too few for one more epoch.

        What is cached for all trials is computed by the first of them, beside its seconds.
        """
        start = self.now()
        runs = previous.runs if previous else []
        trial = previous.trial if previous else None
        trial, run = self._run(config, seconds, f"rung{len(runs)}-", trial, caching=self.caching)
        self.costs[config.way] = max(run.costs.values(), default=0.0)
        if run.stop_reason == "short":
            return None
        runs = [*runs, run]
        shared = 0.0 if previous else SHARED * trial.caching_seconds
        spent = (previous.seconds if previous else 0.0) + self.now() - start - shared
        return Attempt(trial, runs, self._evaluated(trial, runs), spent)

    def single(self, config: TrialConfig, seconds: float | None) -> Attempt:
        """Run a configuration once and evaluate it, also where the time was too short for an epoch."""
        trial, run = self._run(config, seconds, "")
        return Attempt(trial, [run], self._evaluated(trial, [run]))

    def confirm(self, best: Attempt, end: float) -> Confirmation | None:
        """Evaluate an attempt on parts that took no part in its choice; return None where there is no time for one.

        The search has picked configuration, epoch and interpolation on one part, which flatters them there. Here each
        further part is held out in turn, the configuration learns from all the others as it did in the search, and is
        evaluated on the part. It ends where these parts together show no gain, and by `end` on the monotonic clock.
        """
        frozen, tuned = [], []
        remaining, seconds = self.problem.train_positions, best.seconds
        for number in range(1, self.limits.parts):
            start = self.now()
            if end - start < seconds * (1 + self.retrain_share):
                break
            part = remaining
            if number < self.limits.parts - 1:
                share = 1 / (self.limits.parts - number)
                dataset, keys = self.problem.dataset, self.problem.keys
                remaining, part = hold_out(dataset, keys, remaining, share=share, seed=self.seed)
            if not part:
                break
            # An attempt that went on after its first confirmation is another one: its checkpoints stand by themselves.
            prefix = f"part{number}-of-{len(best.runs)}-"
            left = end - start - seconds * self.retrain_share
            trial = self.retrain(best, best.trial.problem.with_validation(part), left, prefix)
            if trial is None:
                break
            problem = self.problem.with_validation(part)
            frozen.append(evaluate_frozen(problem))
            tuned.append(evaluate(problem, trial.validation_scores()))
            seconds = self.now() - start
            gain = pooled(frozen).log_loss - pooled(tuned).log_loss
            if number >= self.limits.hopeless_parts and gain <= self.limits.gain:
                break
        return confirmation_of(frozen, tuned, seed=self.seed) if tuned else None

    def retrain_whole(self, best: Attempt, left: float | None) -> TuningTrial | None:
        """Return a trial that has learned from every example as the best one did, followed where that is asked for."""
        problem = best.trial.problem.without_validation()
        if self.followed is None:
            return self.retrain(best, problem, left, "whole-")
        positions, y, on_epoch = self.followed
        return self.retrain(best, problem.tested_on(positions, y), left, "whole-", on_epoch)

    def retrain(
        self,
        best: Attempt,
        problem: TuningProblem,
        left: float | None,
        prefix: str,
        on_epoch: EpochCallback | None = None,
    ) -> TuningTrial | None:
        """Return a trial that has learned on another problem as the best one did; None where time or loss forbid it.

        It takes the epochs and the interpolation that did best, and nothing is chosen on its way. That is what a search
        with cross-validation does at its end: the configuration was evaluated, and the final model is made with it from
        everything there is.
        """
        if left is not None and left <= 0:
            return None
        recipe = replace(best.trial.config.recipe, epochs=best.epochs, keep_last=True)
        config = replace(best.trial.config, recipe=recipe)
        trial = self._open(problem, config)
        if not best.epochs:  # its start is what did best
            return trial
        trial, run = self._run(config, left, prefix, trial, on_epoch)
        if run.stop_reason not in ("epochs", "budget") or run.best < self.limits.retrained_share * best.epochs:
            return None
        trial.interpolate(Interpolation(best.result.alpha, best.result.refit_head), *trial.final_state())
        return trial

    def _open(self, problem: TuningProblem, config: TrialConfig) -> TuningTrial:
        cache = self.decoded_cache
        return TuningTrial(problem, config, decoded_cache=cache, device=self.device, progress=self.progress)

    def _run(
        self,
        config: TrialConfig,
        budget: float | None,
        prefix: str,
        trial: TuningTrial | None = None,
        on_epoch: EpochCallback | None = None,
        *,
        caching: float | None = None,
    ) -> tuple[TuningTrial, TrainResult]:
        start = self.now()
        trial = trial or self._open(self.pooled_problem if config.mode == ALL else self.problem, config)
        left = None if budget is None else max(0.0, budget - (self.now() - start))
        name = prefix + config.name.replace(":", "-").replace(" ", "-")
        folder = None if self.folder is None else self.folder / name
        return trial, trial.run(
            budget=left,
            folder=folder,
            identity=self.identity,
            trackers=self.trackers,
            on_epoch=on_epoch,
            caching=caching,
        )

    def _evaluated(self, trial: TuningTrial, runs: Sequence[TrainResult]) -> TrialResult:
        """Set a trial to the interpolation that does best on the validation examples, and return how well it does."""
        final_state = trial.final_state()
        contrastive = trial.config.contrastive
        points = [Interpolation(alpha, refit_head=True) for alpha in (ALPHAS if contrastive else REFIT_ALPHAS)]
        if not contrastive:
            points = [*(Interpolation(alpha, refit_head=False) for alpha in ALPHAS), *points]
        evaluations = []
        for point in points:
            trial.interpolate(point, *final_state)
            evaluations.append(evaluate(self.problem, trial.validation_scores()))
        best, point = min(zip(evaluations, points, strict=True), key=lambda pair: pair[0].log_loss)
        trial.interpolate(point, *final_state)
        return TrialResult(
            trial.config.name,
            best.log_loss,
            best.accuracy,
            gain(self.frozen, best, seed=self.seed),
            *point,
            runs[-1].stop_reason,
            tuple(epoch for run in runs for epoch in run.history),
            runs[-1].images_per_second,
            trial.cached,
        )
