"""The search for better weights: from the chosen head to a tuned source, or to the finding that none is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from headstart.base.errors import UsageError
from headstart.base.memory import reraise_out_of_memory
from headstart.base.progress import Progress
from headstart.heads.linear import softmax
from headstart.tune.attempt import Attempt, Followed, SearchLimits, TrialRunner
from headstart.tune.frozen_checks import class_names_help, flip_keeps_labels
from headstart.tune.inputs.base import DecodedCache, forget_activations
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
    limits = limits or SearchLimits()
    with reraise_out_of_memory(f"tuning in batches of {settings.batch_size}"):
        runner = TrialRunner(
            problem,
            pooled_problem or problem,
            seed=seed,
            limits=limits,
            folder=folder,
            identity={**(identity or {}), **plain_settings, "seed": seed},
            trackers=trackers,
            followed=followed,
            decoded_cache={} if decoded_cache is None else decoded_cache,
            caching=caching_seconds(settings, limits),
            progress=progress or Progress(),
        )
        search = Search(runner, settings)
        try:
            return search.auto() if settings.mode == AUTO else search.single()
        finally:
            forget_activations(runner.decoded_cache)


def caching_seconds(settings: Settings, limits: SearchLimits) -> float | None:
    """Return what computing the activations that all trials of `auto` share may take; None for any other mode."""
    return limits.caching_share * (settings.budget or DEFAULT_BUDGET) if settings.mode == AUTO else None


class Waiting(NamedTuple):
    """A configuration, and what came of it so far; None where there was no time for an epoch."""

    config: TrialConfig
    attempt: Attempt | None = None
    gaining: bool = False  # whether its last rung has gained something

    @property
    def log_loss(self) -> float:
        """The log loss on the validation examples, in nats."""
        return math.inf if self.attempt is None else self.attempt.result.log_loss


def _log_loss(waiting: Waiting) -> float:
    return waiting.log_loss


def _better_half(standing: Sequence[Waiting]) -> list[Waiting]:
    """Return the better half of those that gain and would learn for longer; none where that is fewer than two."""
    gaining = [one for one in standing if one.gaining and one.attempt is not None and one.attempt.cut_short]
    half = sorted(gaining, key=_log_loss)[: len(gaining) // 2]
    return half if len(half) > 1 else []


class Search:
    """The configurations that one `fit` tries, and the choice between them."""

    def __init__(self, runner: TrialRunner, settings: Settings) -> None:
        self.runner, self.problem, self.limits, self.settings = runner, runner.problem, runner.limits, settings
        self.notes: list[str] = []

    def single(self) -> Tuning:
        """Tune with the one mode that the settings name."""
        budget = self.settings.budget
        end = None if budget is None else self.runner.now() + budget
        share = None if budget is None else budget / (1 + self.runner.retrain_share)
        return self._outcome([self.runner.single(self._config(self.settings.mode), share)], end)

    def auto(self) -> Tuning:
        """Try the configurations that the budget affords, and spend what is left where it pays.

        That is successive halving (Jamieson & Talwalkar 2016) over modes, learning rates and epochs, followed by what
        its winner needs: to learn at its full length and to be confirmed, before the next one gets what it left.
        """
        budget = self.settings.budget or DEFAULT_BUDGET
        start = self.runner.now()
        waiting = self._explored(self._configs(budget), start + budget)
        ranked = self._exploited(waiting, start + budget)
        self._note_end(ranked, budget, self.runner.now() - start)
        return self._outcome(ranked, start + budget)

    def _explored(self, configs: Sequence[TrialConfig], end: float) -> list[Waiting]:
        """Return the configurations after their rungs, the most promising first; without an attempt, none had time.

        Each has a rung, cheapest first, from activations that all of them share. The better half of them have one at
        other learning rates too, as long as all this leaves most of the budget. While several gain, the better half
        has another rung.
        """
        start = self.runner.now()
        arms = len(configs) + (0 if self.settings.learning_rate else len(self.limits.rates))
        seconds = self.rung_seconds((end - start - (self.runner.caching or 0.0)) / arms, None)
        waiting = [self._after_rung(Waiting(configs[0]), seconds)]  # this one has cached what all share
        seconds = self.rung_seconds((end - self.runner.now()) / max(1, arms - 1), None)
        waiting += [self._after_rung(Waiting(config), seconds) for config in configs[1:]]
        for own in sorted(waiting, key=_log_loss)[: (len(waiting) + 1) // 2]:
            for config in self._other_rates(own):
                spent = self.runner.now() - start
                if own.attempt and spent + own.attempt.seconds <= self.limits.rung_share * (end - start):
                    waiting.append(self._after_rung(Waiting(config), seconds))
        standing = waiting
        while half := _better_half(standing):
            each = (end - self.runner.now()) / len(half)
            standing = [self._after_rung(one, self.rung_seconds(each, one.attempt)) for one in half]
            waiting = [*standing, *(one for one in waiting if one not in half)]
        return sorted(waiting, key=_log_loss)

    def _after_rung(self, waiting: Waiting, seconds: float) -> Waiting:
        config, previous, _ = waiting
        attempt = self._rung(config, seconds, previous)
        before = previous.result.gain.value if previous else 0.0
        gaining = attempt is not None and attempt.result.gain.value > before + self.limits.gain
        return Waiting(config, attempt or previous, gaining)

    def _other_rates(self, own: Waiting) -> list[TrialConfig]:
        """Return a configuration at other learning rates: the higher one first where its own gains something."""
        if own.attempt is None or self.settings.learning_rate:
            return []
        sound = own.attempt.runs[-1].stop_reason != "exploded"
        rates = sorted((rate for rate in self.limits.rates if sound or rate < 1), reverse=own.gaining)
        return [own.config.at_rate(rate) for rate in rates]

    def _exploited(self, waiting: Sequence[Waiting], end: float) -> list[Attempt]:
        """Return the attempts, the one to keep first, after each had what was left.

        One that was cut short learns for as long as leaves time to confirm it: one without gain too, for at a high
        learning rate the loss rises before it falls. Once one is found better than the frozen source, the others have
        what it leaves beyond the time to learn again, and replace it where they do better and are confirmed.
        """
        best: Attempt | None = None
        done: list[Attempt] = []
        for config, previous, _ in waiting:
            left = end - self._retraining(best) - self.runner.now()
            attempt = self._at_full_length(config, previous, left)
            if attempt is None:
                if best is None:
                    self.notes.append(f"{config.name}: {max(0.0, left):.0f} s are too short for one epoch of it.")
                continue
            if best is None or attempt.result.log_loss < best.result.log_loss:
                if self.problem.held_out and attempt.result.gain.value > self.limits.gain:
                    reserve = max(0.0, self._retraining(best) - self._retraining(attempt))
                    attempt = replace(attempt, confirmation=self.runner.confirm(attempt, end - reserve))
                best = attempt if self.is_better(attempt) else best
            done.append(attempt)
        return sorted(done, key=lambda each: (each is not best, each.confirmation is None, each.result.log_loss))

    def _at_full_length(self, config: TrialConfig, previous: Attempt | None, left: float) -> Attempt | None:
        """Return an attempt that has learned for as long as `left` seconds allow with what must follow."""
        if previous is not None and not previous.cut_short:
            return previous
        return self._rung(config, self.full_seconds(left, previous), previous) or previous

    def _retraining(self, best: Attempt | None) -> float:
        """Return the seconds that learning again from every example takes."""
        return 0.0 if best is None else self.limits.slack * self.runner.retrain_share * best.seconds

    def _note_end(self, ranked: Sequence[Attempt], budget: float, used: float) -> None:
        """Note why the search ended, where it left much of the budget."""
        if not ranked:
            return
        used += self._retraining(ranked[0]) if self.is_better(ranked[0]) else 0.0
        if used >= self.limits.used_share * budget:
            return
        if any(attempt.cut_short for attempt in ranked):
            reason = "what was left was too short to learn for longer, confirm that, and learn again from all examples"
        else:
            reason = "nothing more can be gained, for every configuration that was tried has learned at its full length"
        self.notes.append(f"The search ended after {used:.0f} of {budget:.0f} s: {reason}.")

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
        return max(0.0, min(left * self.limits.rung_share, self.full_seconds(left, previous)))

    def full_seconds(self, left: float, previous: Attempt | None) -> float:
        """Return the seconds for a run that leave time to confirm it on two parts, and to learn from all examples."""
        after = self.runner.retrain_share + (self.limits.hopeless_parts if self.needs_confirmation else 0)
        after *= self.limits.slack
        return (left - after * (previous.seconds if previous else 0.0)) / (1 + after)

    def _rung(self, config: TrialConfig, seconds: float, previous: Attempt | None) -> Attempt | None:
        """Return an attempt after so many seconds more; None where they are known not to pay for one epoch."""
        return (
            self.runner.attempt(config, seconds, previous) if seconds > self.runner.costs.get(config.way, 0.0) else None
        )

    def _configs(self, budget: float) -> list[TrialConfig]:
        """Return the configurations that `auto` tries, cheapest first: as many as the budget gives a fair run."""
        stages = len(self.problem.source.stages)
        modes = PIPELINES[self.problem.dataset.kind].auto_modes(self.problem)
        modes = modes[: max(1, int(self.limits.rung_share * budget / self.limits.rung_seconds))]
        fitting = [pair for pair in modes if pair[0] == ALL or int(pair[0][-1]) < stages] or [(ALL, modes[0][1])]
        cheapest_first = sorted(fitting, key=lambda pair: (pair[0] == ALL, pair[0]))
        deepest = max((mode for mode, _ in fitting if mode != ALL), default=None)
        configs = [
            replace(self._config(mode, contrastive=contrastive), cached_at=None if mode == ALL else deepest)
            for mode, contrastive in cheapest_first
        ]
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
            left = None if end is None else end - self.runner.now()
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
