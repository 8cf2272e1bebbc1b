"""A comparison under way: every arm in every seed at every number of labels, within one budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.base.errors import HeadstartError, UsageError
from headstart.base.progress import Progress
from headstart.comparison.arms import (
    ArmConfig,
    horizontal_flip_keeps_labels,
    random_network,
    run_untrained_arms,
    train_arm,
    trained_layer,
)
from headstart.comparison.budget import (
    SMALLEST_SIDE,
    ExperimentCell,
    Limits,
    Plan,
    affordable_sizes,
    batch_for,
    pass_timer,
    plan_arm,
)
from headstart.comparison.options import CompareOptions
from headstart.comparison.outcome_store import Outcomes
from headstart.comparison.splits import MIN_SEEDS, ExperimentSplits, LabelSplit
from headstart.heads.folds import visits_of
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SCRATCH, SIMPLE, START, TUNED
from headstart.judge.benefit.results import Outcome
from headstart.run.clock import Clock
from headstart.run.prepare import PreparedData, as_network
from headstart.tune.settings import AUTO, NONE
from headstart.tune.training.trackers import Tracker

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache

UNTRAINED_SHARE = 0.4  # the share of the budget that baselines and frozen source may take in all seeds
SCARCE_SHARE = 0.4  # where less than this share of the seconds that training is planned to take is left, seeds go
LEARNING_SHARE = 0.6  # the share of the seconds left that learning has at least, however long measuring takes
MIN_RUN_SECONDS = 5.0  # what a run may take at least, while the budget lasts: the planned costs hold no overhead
RERUN_FACTOR = 1.5  # a run that was cut is run again where at least so many times its seconds are left
RERUN_MARGIN = 1.2  # it may then take so many times the seconds that all of its epochs are expected to take
UNTRAINED = (MAJORITY, SIMPLE, START, FROZEN)


class Experiment:
    """A comparison under way.

    Raises:
        DataError: the data has not as many labels per class as were asked for.
        UsageError: what lies in the folder is of another comparison.
    """

    def __init__(
        self,
        prepared: PreparedData,
        options: CompareOptions,
        *,
        clock: Clock,
        trackers: Sequence[Tracker],
        limits: Limits,
        progress: Progress,
    ) -> None:
        self.prepared, self.options, self.clock, self.progress = prepared, options, clock, progress
        self.trackers, self.limits = trackers, limits
        self.splits = ExperimentSplits(prepared, options)
        self.notes, self.failures = list(self.splits.notes), dict[str, str]()
        self.outcomes = Outcomes(options.checkpoints, progress.say)
        source = prepared.source.info
        self.outcomes.begin(
            {**options.identity, "data": prepared.scan.fingerprint, "source": source.uri, "weights": source.sha256}
        )
        self._decoded_cache: DecodedCache = {}
        self._sizes_of: dict[tuple[int | None, int], tuple[int, int]] = {}

    @property
    def left(self) -> float:
        """Seconds of the budget that are left for training."""
        return self.options.budget * (1 - self.limits.reserve) - self.clock.read()["total"]

    def run_untrained(self) -> None:
        """Run baselines and frozen source in every seed, or in as many as their share of the budget allows."""
        layer = trained_layer(self.prepared.source)
        examples = max(1, len(self.prepared.scan.dataset.examples))
        extraction = self.clock.seconds["extract"] / examples if self.prepared.extraction.misses else 0.0
        start, splits = time.perf_counter(), self.splits.every()
        with self.progress.step("Baselines and frozen source", len(splits), "fits") as step:
            for index, label_split in enumerate(splits):
                seeds_done = label_split.seed - self.options.seed
                if seeds_done >= MIN_SEEDS and label_split.seed != splits[index - 1].seed:
                    expected = (time.perf_counter() - start) * (seeds_done + 1) / seeds_done
                    if expected > UNTRAINED_SHARE * self.options.budget:
                        self.splits.drop_from(label_split.seed)
                        break
                if any(self._outcome(label_split, arm) is None for arm in UNTRAINED):
                    with self.clock.part("head"):
                        outcomes = run_untrained_arms(
                            label_split.prepared, layer, seed=label_split.seed, extraction=extraction
                        )
                    for arm, outcome in outcomes.items():
                        self.outcomes.put(arm, label_split.labels, label_split.seed, outcome)
                step.advance()

    def run_trained(self) -> None:
        """Run scratch and the tuned arm; one that fails is named, and the others go on."""
        arms = [SCRATCH] if self.options.tune == NONE else [SCRATCH, TUNED]
        plans: dict[str, Plan] = {}
        for arm in arms:
            with self._guarded(arm):
                plans[arm] = Plan(**self.outcomes.remembered(f"plan-{arm}", partial(self._plan, arm, len(arms))))
        if not plans:
            return
        self._drop_unaffordable_seeds(plans)
        flip = self.outcomes.remembered("mirror", self._check_flip)["keeps labels"]
        waiting = [
            (label_split, arm)
            for label_split in self.splits.every()
            for arm in plans
            if self._outcome(label_split, arm) is None
        ]
        costs = [plans[arm].training_cost(self._cell(label_split, arm)) for label_split, arm in waiting]
        measuring = [plans[arm].measuring_cost(self._cell(label_split, arm)) for label_split, arm in waiting]
        for index, (label_split, arm) in enumerate(waiting):
            if arm in self.failures or label_split.seed not in self.splits.seeds[label_split.per_class]:
                continue
            learning = max(self.left - sum(measuring[index:]), LEARNING_SHARE * self.left, 0.0)
            share = costs[index] / sum(costs[index:]) * learning
            with self._guarded(arm):
                self._train(
                    label_split, arm, plans[arm], min(max(share, MIN_RUN_SECONDS), max(self.left, 0.0)), flip=flip
                )
        self._rerun_cut(plans, flip=flip)

    def _rerun_cut(self, plans: Mapping[str, Plan], *, flip: bool) -> None:
        """Run again what its share of the budget cut, where time is left: not every planned cost arises."""
        cut = [
            (outcome, label_split, arm)
            for label_split in self.splits.every()
            for arm in plans
            if (outcome := self._outcome(label_split, arm)) is not None and outcome.cut
        ]
        for outcome, label_split, arm in sorted(cut, key=lambda entry: int(entry[0].epochs[-1])):
            plan, cell, seconds = plans[arm], self._cell(label_split, arm), float(outcome.seconds[-1])
            left = self.left - plan.measuring_cost(cell)
            if arm in self.failures or left < RERUN_FACTOR * seconds:
                continue
            whole = RERUN_MARGIN * seconds * cell.epochs / max(1, int(outcome.epochs[-1]))
            with self._guarded(arm):
                self._train(label_split, arm, plan, min(left, whole), flip=flip)

    def _outcome(self, label_split: LabelSplit, arm: str) -> Outcome | None:
        return self.outcomes.get(arm, label_split.labels, label_split.seed)

    def _drop_unaffordable_seeds(self, plans: Mapping[str, Plan]) -> None:
        """Leave out seeds that the budget does not suffice for, down to the fewest that give an interval."""
        while self.splits.most_seeds > MIN_SEEDS:
            needed = sum(plan.cost(self._cells(arm)) for arm, plan in plans.items())
            if SCARCE_SHARE * needed <= self.left:
                return
            self.splits.drop_from(max(seed for seeds in self.splits.seeds.values() for seed in seeds))

    def _cell(self, label_split: LabelSplit, arm: str, runs: int = 1) -> ExperimentCell:
        labels, tested = self._sizes(label_split)
        return ExperimentCell(labels, tested, self.limits.epochs_for(arm, labels), runs)

    def _sizes(self, label_split: LabelSplit) -> tuple[int, int]:
        """Return how many examples an epoch visits, and how many a measurement runs: repeats are not run again."""
        key = label_split.per_class, label_split.seed
        if key not in self._sizes_of:
            prepared = label_split.prepared
            train, test = map(prepared.distinct, (prepared.parts.train, prepared.parts.test))
            self._sizes_of[key] = int(visits_of(train.counts).sum()), len(test.counts)
        return self._sizes_of[key]

    def _cells(self, arm: str) -> list[ExperimentCell]:
        of_numbers = [self.splits.of_number(number) for number in self.splits.numbers]
        return [self._cell(splits[0], arm, len(splits)) for splits in of_numbers]

    def _check_flip(self) -> dict[str, Any]:
        first = self.splits.split_of(self.splits.numbers[-1], self.options.seed).prepared
        return {"keeps labels": horizontal_flip_keeps_labels(first, as_network(self.prepared, "training"))}

    def _plan(self, arm: str, arms: int) -> dict[str, Any]:
        """Return how an arm is run, as plain values."""
        source = as_network(self.prepared, "training")
        left, cells = self.left * (self.limits.shares[arm] if arms > 1 else 1.0), self._cells(arm)
        sizes, a_pass = affordable_sizes(source, self.prepared, SMALLEST_SIDE[arm]), pass_timer(source, self.prepared)
        if arm == SCRATCH:
            random_network(self.prepared, seed=self.options.seed)  # fails here, where the architecture is not known
            mode: str | None = "all"
        else:
            mode = None if self.options.tune == AUTO else self.options.tune
        return asdict(plan_arm(sizes, a_pass, cells, left, mode=mode, stages=len(source.stages)))

    def _train(self, label_split: LabelSplit, arm: str, plan: Plan, budget: float, *, flip: bool) -> None:
        """Run an arm in one seed; of two runs, the one with more epochs stands. One too short for an epoch gets more.

        Raises:
            UsageError: the budget is too short for one epoch in the first seed.
        """
        scratch = arm == SCRATCH
        source = (
            random_network(self.prepared, seed=label_split.seed) if scratch else as_network(self.prepared, "training")
        )
        before, cell = self._outcome(label_split, arm), self._cell(label_split, arm)
        config = ArmConfig(
            arm,
            plan.mode,
            plan.size,
            horizontal_flip=flip,
            pace=plan.pace,
            epochs=cell.epochs,
            batch_size=batch_for(cell.labels),
            budget=budget,
            name=self._name(label_split, arm) + (", again" if before is not None else ""),
        )
        with self.clock.part("tune"):
            outcome = train_arm(
                label_split.prepared,
                source,
                config,
                seed=label_split.seed,
                decoded_cache=self._decoded_cache,
                trackers=self.trackers,
                progress=self.progress,
            )
        if before is not None and before.epochs[-1] >= outcome.epochs[-1]:
            return
        if not (outcome.cut and len(outcome.epochs) == 1):
            self.outcomes.put(arm, label_split.labels, label_split.seed, outcome)
        elif 2 * budget < self.left:
            self._train(label_split, arm, plan, 2 * budget, flip=flip)
        elif label_split.seed > self.options.seed:
            self.splits.drop_from(label_split.seed)
        else:
            seconds = f"{self.options.budget:g} s, which end before it"
            raise UsageError("--budget must allow one epoch", seconds, "give more time")

    def _name(self, label_split: LabelSplit, arm: str) -> str:
        number = "all labels" if label_split.per_class is None else f"{label_split.per_class} labels per class"
        seeds = len(self.splits.seeds[label_split.per_class])
        return f"{arm.capitalize()}, {number}, {label_split.seed - self.options.seed + 1} of {seeds}"

    @contextmanager
    def _guarded(self, arm: str) -> Iterator[None]:
        """Where the block fails, note why and leave the arm out."""
        try:
            yield
        except (HeadstartError, RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
            reason = str(error) if isinstance(error, HeadstartError) else f"{type(error).__name__}: {error}"
            self.failures[arm] = reason
            note = f"{arm.capitalize()} failed and was left out: {reason}"
            self.progress.say(note)
            self.notes.append(note)
