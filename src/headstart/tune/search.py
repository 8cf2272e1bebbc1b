"""The search for better weights: from the chosen head to a tuned source, or to the finding that none is better."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.base.errors import UsageError
from headstart.base.memory import reraise_out_of_memory
from headstart.base.progress import Progress
from headstart.heads.linear import softmax
from headstart.tune.attempt import Attempt, Followed, SearchLimits, TrialRunner
from headstart.tune.frozen_checks import class_names_help, flip_keeps_labels
from headstart.tune.inputs.base import DecodedCache
from headstart.tune.inputs.by_modality import PIPELINES, learning_rate_of
from headstart.tune.inputs.contrastive import BATCH_FACTOR
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.result import Tuning, early_end_note, evaluate, not_kept_note, retrained_note
from headstart.tune.settings import ALL, AUTO, MIN_VALIDATION, Settings
from headstart.tune.training.task import Recipe
from headstart.tune.training.trackers import Tracker

DEFAULT_BUDGET = 600.0
"""Seconds for `auto` where no budget is given."""


def tune(
    problem: TuningProblem,
    settings: Settings,
    *,
    seed: int,
    pooled_problem: TuningProblem | None = None,
    limits: SearchLimits | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    trackers: Sequence[Tracker] = (),
    followed: Followed | None = None,
    decoded_cache: DecodedCache | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Tune the source, and keep the result only where it beats the frozen one beyond the paired interval.

    Args:
        problem: the data, the source, and the head to start from, which is also what tuning has to beat.
        seed: of everything that is drawn.
        pooled_problem: the same with a head on `pool`, for `all` to start from. Joined layers serve a source of which
            most is frozen; where everything learns, the last layer comes to hold what they hold, and their unit lengths
            and square roots only answer each step with a jump.
        folder: where checkpoints are kept and looked for; None keeps none.
        identity: plain values that say which data and source these are.
        followed: test examples whose scores are passed on while the final model learns; see `attempt.Followed`.
        decoded_cache: of pictures that are decoded already, the followed ones too.

    Raises:
        UsageError: the source has no such stages, a checkpoint is of another run, or a batch does not fit in memory.
        DataError: a picture cannot be read any more.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    count = len(problem.validation_positions)
    if count < MIN_VALIDATION:
        raise UsageError(
            f"tuning needs {MIN_VALIDATION} examples to judge it by", f"{count}", "add examples, or leave --tune out"
        )
    plain_settings = {name: value for name, value in asdict(settings).items() if name not in ("tensorboard", "track")}
    with reraise_out_of_memory(f"tuning in batches of {settings.batch_size}"):
        runner = TrialRunner(
            problem,
            pooled_problem or problem,
            seed=seed,
            limits=limits or SearchLimits(),
            folder=folder,
            identity={**(identity or {}), **plain_settings, "seed": seed},
            trackers=trackers,
            followed=followed,
            decoded_cache={} if decoded_cache is None else decoded_cache,
            progress=progress or Progress(),
        )
        search = Search(runner, settings)
        return search.auto() if settings.mode == AUTO else search.single()


class Search:
    """The configurations that one `fit` tries, and the choice between them."""

    def __init__(self, runner: TrialRunner, settings: Settings) -> None:
        self.runner, self.problem, self.limits, self.settings = runner, runner.problem, runner.limits, settings
        self.notes: list[str] = []

    def single(self) -> Tuning:
        """Tune with the one mode that the settings name."""
        budget = self.settings.budget
        end = None if budget is None else time.monotonic() + budget
        share = None if budget is None else budget / (1 + self.runner.retrain_share)
        return self._outcome([self.runner.single(self._config(self.settings.mode), share)], end)

    def auto(self) -> Tuning:
        """Try the configurations that the budget affords, cheapest first, and spend the rest of it on the best half.

        That is successive halving (Jamieson & Talwalkar 2016): of the configurations that still gain, the better half
        goes on. One whose rung gains nothing is given up, and the time goes to the next best; it ends where none gains.
        What is left of the budget then goes into confirming the best one, and the next one if that does not gain. Where
        none does, configurations whose epochs were cut short go on: at a high learning rate, the loss rises before it
        falls.
        """
        left = self.settings.budget or DEFAULT_BUDGET
        end = time.monotonic() + left
        attempts: dict[str, Attempt] = {}
        gaining = {config.name: config for config in self._configs(left)}
        standing = list(gaining)
        while standing and left > 0:
            each = left / len(standing)
            for name in standing:
                previous = attempts.get(name)
                attempt = self._rung(gaining[name], self.rung_seconds(each, previous), previous)
                least = (previous.result.gain.value if previous else 0) + self.limits.gain
                if attempt is None or attempt.result.gain.value <= least:
                    del gaining[name]
                if attempt is not None:
                    attempts[name] = attempt
            ranked = sorted(gaining, key=lambda name: attempts[name].result.log_loss)
            standing = [name for name in ranked[: max(1, len(ranked) // 2)] if attempts[name].cut_short]
            left = end - time.monotonic()
        return self._outcome(self._prolonged(self._confirmed(list(attempts.values()), end), end), end)

    def _prolonged(self, ranked: list[Attempt], end: float) -> list[Attempt]:
        """Return the attempts, best first, after those that were cut short went on until one is found better."""
        while not (ranked and self.is_better(ranked[0])):
            left = end - time.monotonic()
            cut = next((attempt for attempt in ranked if attempt.cut_short), None)
            if cut is None or self.rung_seconds(left, cut) < self.limits.rung_seconds:
                break
            longer = self._rung(cut.trial.config, self.rung_seconds(left, cut), cut)
            if longer is None:
                break
            ranked = self._confirmed([longer if attempt is cut else attempt for attempt in ranked], end)
        return ranked

    def _confirmed(self, attempts: Sequence[Attempt], end: float) -> list[Attempt]:
        """Return the attempts, best first, each confirmed on further examples until one is found better."""
        ranked = sorted(attempts, key=lambda attempt: attempt.result.log_loss)
        for rank, attempt in enumerate(ranked):
            if not self.problem.held_out or attempt.result.gain.value <= self.limits.gain:
                break
            if attempt.confirmation is not None:
                continue
            confirmation = self.runner.confirm(attempt, end)
            if confirmation is None:
                break
            ranked[rank] = replace(attempt, confirmation=confirmation)
            if self.is_better(ranked[rank]):
                return [ranked[rank], *ranked[:rank], *ranked[rank + 1 :]]
        return ranked

    def is_better(self, attempt: Attempt) -> bool:
        """Return whether an attempt beats the frozen source beyond its interval, and by more than rounding.

        Of several attempts the best one owes some of its gain to having been picked: parts that took no part in that
        decide.
        """
        result, confirmation = attempt.result, attempt.confirmation
        if confirmation is None:
            if self.needs_confirmation:
                return False
            gain, as_accurate = result.gain, result.accuracy >= self.runner.frozen.accuracy
        else:
            gain, as_accurate = confirmation.gain, confirmation.tuned[1] >= confirmation.frozen[1]
        return as_accurate and gain.low > 0 and gain.value > self.limits.gain

    @property
    def needs_confirmation(self) -> bool:
        """Whether one of several attempts is picked, and examples are left that take no part in it."""
        return self.problem.held_out and self.settings.mode == AUTO

    def rung_seconds(self, left: float, previous: Attempt | None) -> float:
        """Return the seconds for a rung that leave time to confirm the attempt; `left` are those of the budget."""
        if previous is None or not self.needs_confirmation:
            return left * self.limits.rung_share
        looks = self.limits.hopeless_parts * (1 + self.runner.retrain_share)
        return min(left * self.limits.rung_share, (left - looks * previous.seconds) / (1 + looks))

    def _rung(self, config: TrialConfig, seconds: float, previous: Attempt | None) -> Attempt | None:
        attempt = self.runner.attempt(config, seconds, previous)
        if attempt is None and previous is None:
            self.notes.append(f"{config.name}: {seconds:.0f} s are too short for one epoch of it.")
        return attempt

    def _configs(self, budget: float) -> list[TrialConfig]:
        """Return the configurations that `auto` tries, cheapest first: as many as the budget gives a fair run."""
        stages = len(self.problem.source.stages)
        modes = PIPELINES[self.problem.dataset.kind].auto_modes(self.problem)
        modes = modes[: max(1, int(self.limits.rung_share * budget / self.limits.rung_seconds))]
        fitting = [pair for pair in modes if pair[0] == ALL or int(pair[0][-1]) < stages] or [(ALL, modes[0][1])]
        cheapest_first = sorted(fitting, key=lambda pair: (pair[0] == ALL, pair[0]))
        configs = [self._config(mode, contrastive=contrastive) for mode, contrastive in cheapest_first]
        # A learning rate high enough to leave the frozen source first raises the loss: here rungs and budget end a run,
        # and patience does not before the rate has come down.
        return [replace(config, recipe=replace(config.recipe, patience=config.recipe.epochs)) for config in configs]

    def _config(self, mode: str, *, contrastive: bool = False) -> TrialConfig:
        settings, size = self.settings, self.settings.size or 0
        learning_rate = learning_rate_of(self.problem.source, mode, contrastive=contrastive)
        recipe = Recipe(
            # What pairs teach is soon learned, and goes on into what these pairs alone have in common.
            epochs=max(1, settings.epochs // 2) if contrastive else settings.epochs,
            learning_rate=settings.learning_rate or learning_rate,
            batch_size=BATCH_FACTOR * settings.batch_size if contrastive else settings.batch_size,
            patience=settings.patience,
            mixup=settings.mixup,
            label_smoothing=settings.label_smoothing,
            seed=self.runner.seed,
        )
        return TrialConfig(
            mode=mode,
            size=0 if (size, size) == self.problem.size else size,
            augment=settings.augment,
            horizontal_flip=self._flips,
            augmented_views=settings.augmented_views,
            train_batchnorm=settings.batchnorm == "train",
            contrastive=contrastive,
            class_names=contrastive and self._class_names_help,
            recipe=recipe,
        )

    @cached_property
    def _flips(self) -> bool:
        """Whether augmented views may be flipped."""
        return self.settings.augment != "none" and flip_keeps_labels(self.problem, self.runner.device)

    @cached_property
    def _class_names_help(self) -> bool:
        return class_names_help(self.problem, self.runner.device, seed=self.runner.seed)

    def _outcome(self, attempts: Sequence[Attempt], end: float | None) -> Tuning:
        """Keep the first attempt where it is better than the frozen source, else the frozen source."""
        results = tuple(attempt.result for attempt in attempts)
        confirmation = attempts[0].confirmation if attempts else None
        self.notes += [note for attempt in attempts for note in attempt.trial.notes]
        self.notes += [early_end_note(result) for result in results if result.stop_reason in ("exploded", "short")]
        frozen = self.runner.frozen
        tuning = Tuning(
            source=None,
            head=None,
            layer="",
            frozen=(frozen.log_loss, frozen.accuracy),
            trials=results,
            confirmation=confirmation,
            notes=(),
            device=str(self.runner.device),
        )
        if attempts and self.is_better(attempts[0]):
            tuning = self._with_source(tuning, attempts[0], end)
        else:
            self.notes.append(not_kept_note(results, confirmation, confirmation_due=self.needs_confirmation))
        return replace(tuning, notes=tuple(self.notes))

    def _with_source(self, tuning: Tuning, best: Attempt, end: float | None) -> Tuning:
        """Return the result with the tuned source, which has learned again from every example where that is due."""
        trial, name = best.trial, best.result.name
        scores = trial.validation_scores()
        temperature = evaluate(self.problem, scores).temperature
        if self.problem.held_out:
            left = None if end is None else end - time.monotonic()
            retrained = self.runner.retrain_whole(best, left)
            count = None if retrained is None else len(retrained.problem.train_positions)
            self.notes.append(retrained_note(name, count))
            trial = retrained or trial
        if not best.epochs:
            self.notes.append(f"{name}: no epoch was better than its start; what gains is the size of the input alone.")
        return replace(
            tuning,
            source=trial.tuned_source(),
            head=replace(trial.classifier.head(temperature=temperature), kind=f"{trial.problem.head.kind}, tuned"),
            layer=trial.problem.layer,
            validation_probabilities=softmax(scores / temperature),
        )
