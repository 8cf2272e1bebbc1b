"""The tuned arm: what `fit` would make of the same labels by tuning, from the same start and behind the same gate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headstart.base.progress import Progress
from headstart.comparison.arms import LEARNING_SHARE, ArmConfig, decode_all, fit_frozen, tuning_problem
from headstart.comparison.curve import TestCurve
from headstart.fitting.tuning import training_and_validation, tuned_predictor
from headstart.judge.benefit.results import Outcome, measured_epochs
from headstart.run.prepare import PreparedData, as_network
from headstart.tune.settings import MIN_VALIDATION, Settings
from headstart.tune.training.trackers import Tracker

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache


def enough_to_judge(prepared: PreparedData, *, seed: int) -> bool:
    """Return whether there are examples enough to judge tuning by, held out of the labels or of the data's own."""
    return len(training_and_validation(prepared, seed)[1]) >= MIN_VALIDATION


def run_tuned_arm(
    prepared: PreparedData,
    config: ArmConfig,
    frozen: Outcome,
    *,
    seed: int,
    decoded_cache: DecodedCache,
    trackers: Sequence[Tracker] = (),
    progress: Progress,
    now: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Return the outcome of tuning as `fit` tunes; that of the frozen source, where tuning is not kept.

    Labels are held out to judge it by; what is kept learns again from all of them, which gives its curve.

    Raises:
        SourceError: the source has no network that could learn, or no such stages.
        UsageError: a batch does not fit in memory.
    """
    if not enough_to_judge(prepared, seed=seed):
        return replace(frozen, note="frozen: too few labels to judge tuning by")
    start = now()
    decode_all(decoded_cache, tuning_problem(prepared, as_network(prepared, "training")), progress)
    curve = TestCurve(prepared.labels(prepared.parts.test), measured_epochs(config.epochs, config.pace), now)
    budget = None
    if config.seconds is not None:
        budget = max(config.seconds - config.measuring, LEARNING_SHARE * config.seconds)
        curve.allowance = config.seconds - budget
        budget = max(budget - (now() - start), 1e-3)
    settings = Settings(config.mode, budget=budget, epochs=config.epochs, batch_size=config.batch_size)
    predictor = tuned_predictor(
        fit_frozen(replace(prepared, engine="torch"), seed=seed),
        settings,
        seed=seed,
        checkpoints=None,
        progress=progress,
        trackers=trackers,
        on_epoch=curve.record,
        decoded_cache=decoded_cache,
    )
    tuning = predictor.tuning or {}
    if not tuning["kept"]:
        seconds = frozen.seconds + now() - start
        return replace(frozen, seconds=seconds, note=f"frozen: tuning ({config.mode}) was tried and not kept")
    curve.put(max(curve.right, default=0), predictor.probabilities)
    best = tuning["tried"][0]
    done = best["history"][-1]["epoch"]
    cut = best["why"] != "patience" and done < config.epochs
    return curve.outcome(cut=cut, note=f"--tune {best['name']} from {predictor.layer}, {done} epochs")
