"""A comparison under way: every arm in every seed at every number of labels, within one budget."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.base.errors import DataError, HeadstartError, UsageError
from headstart.base.progress import Progress
from headstart.comparison.budget import (
    KEPT_BACK,
    SHARES,
    ExperimentCell,
    Plan,
    needed,
    plan_scratch,
    plan_tuned,
)
from headstart.comparison.options import ALL, CompareOptions
from headstart.comparison.outcome_store import Outcomes
from headstart.comparison.trained_arms import ArmConfig, epochs_for, from_random, mirrors, trained
from headstart.comparison.untrained_arms import trained_layer, without_training
from headstart.data.split import Parts, split
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SCRATCH, SIMPLE, START, TUNED
from headstart.run.clock import Clock
from headstart.run.prepared import PreparedData
from headstart.run.trainable import as_network
from headstart.tune.settings import AUTO, NONE

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache

LABELS = (5, 10, 20, None)
FEW, SPLITS = 10, 5
"""Below so many labels per class there are at least so many seeds: one draw of few labels says little."""
LEAST_SEEDS = 3
SHARE_FIRST = 0.4
"""Of the budget, what baselines and frozen source may take in all seeds."""
SCARCE = 0.4
"""Of the seconds that training is planned to take; where less is left, seeds are left out."""
LEARNING = 0.6
"""Of the seconds that are left, what learning has at least, however long measuring takes."""
LEAST_SECONDS = 5.0
"""What a run may take at least, while the budget lasts: the costs that are foreseen hold no overhead."""
AGAIN = 1.5
"""As much time as a run took that was cut, at least, for it to be run again."""
SPARE = 1.2
"""As much time as all its epochs are then foreseen to take."""
UNTRAINED = (MAJORITY, SIMPLE, START, FROZEN)


@dataclass(frozen=True)
class Division:
    """The split of one seed at one number of labels.

    Attributes:
        prepared: the data with that split.
        per_class: labels of each class; None for all.
        seed: of the draw.
    """

    prepared: PreparedData
    per_class: int | None
    seed: int

    @property
    def labels(self) -> str:
        """The number of labels per class as a word."""
        return ALL if self.per_class is None else str(self.per_class)


class Experiment:
    """A comparison under way.

    Args:
        prepared: the data and its features.
        options: how.
        clock: began with the command.
        progress: where to show progress.

    Raises:
        DataError: the data has not as many labels per class as were asked for.
        UsageError: what lies in the folder is of another comparison.
    """

    def __init__(self, prepared: PreparedData, options: CompareOptions, clock: Clock, progress: Progress) -> None:
        self.prepared, self.options, self.clock, self.progress = prepared, options, clock, progress
        self.watchers: Sequence[Any] = ()
        self.notes: list[str] = []
        self.failures: dict[str, str] = {}
        self.dropped = (0, 0)
        self.parts: dict[tuple[int | None, int], Parts] = {}
        self.numbers = self._numbers()
        self.seeds = {number: self._seeds(number) for number in self.numbers}
        self.outcomes = Outcomes(options.checkpoints, progress.say)
        source = prepared.source.info
        self.outcomes.begin(
            {**options.identity, "data": prepared.scan.fingerprint, "source": source.uri, "weights": source.sha256}
        )
        self.decoded_cache: DecodedCache = {}

    # --- what is to be run

    def _numbers(self) -> tuple[int | None, ...]:
        """Return the numbers of labels per class that the data has; those that it has not are said."""
        asked = self.options.labels_per_class or LABELS
        counts = [self._smallest(self.options.seed + at) for at in range(self.options.seeds)]
        least, most = min(low for low, _ in counts), max(high for _, high in counts)
        found = [one for one in asked if one is None or (one <= least and (one < most or None not in asked))]
        left_out = [str(one) for one in asked if one is not None and one > least]
        if left_out and self.options.labels_per_class:
            said = f"Left out {', '.join(left_out)} labels per class: the smallest class has {least} to learn from."
            self.notes.append(said)
        if not found:
            raise DataError(
                f"the smallest class must have {min(one for one in asked if one is not None)} examples to learn from",
                f"{least}",
                "ask for fewer with --labels-per-class, or for all",
            )
        return tuple(found)

    def _smallest(self, seed: int) -> tuple[int, int]:
        """Return how many examples the smallest and the largest class have to learn from."""
        examples = self.prepared.scan.dataset.examples
        counts = Counter(examples[at].label for at in self.parts_of(None, seed).train)
        return min(counts.values()), max(counts.values())

    def _seeds(self, number: int | None) -> list[int]:
        least = self._smallest(self.options.seed)[0] if number is None else number
        count = max(self.options.seeds, SPLITS) if least < FEW else self.options.seeds
        return list(range(self.options.seed, self.options.seed + count))

    def parts_of(self, number: int | None, seed: int) -> Parts:
        """Return the split of a seed; a test part that the data gives is the same in all."""
        if (number, seed) not in self.parts:
            scanned, drop = self.prepared.scan, self.options.drop_test_duplicates
            self.parts[number, seed] = split(
                scanned.dataset, scanned.hashes, seed=seed, labels_per_class=number, drop_test_duplicates=drop
            )
        return self.parts[number, seed]

    def division(self, number: int | None, seed: int) -> Division:
        """Return the split of one seed at one number of labels."""
        return Division(replace(self.prepared, parts=self.parts_of(number, seed)), number, seed)

    def divisions(self) -> list[Division]:
        """Return every split, seed by seed, the fewest labels first."""
        seeds = sorted({seed for found in self.seeds.values() for seed in found})
        return [self.division(number, seed) for seed in seeds for number in self.numbers if seed in self.seeds[number]]

    @property
    def given(self) -> bool:
        """Whether the test part is the same in every seed."""
        return len({self.parts_of(None, seed).test for seed in self.seeds[self.numbers[-1]]}) == 1

    @property
    def left(self) -> float:
        """Seconds of the budget that are left for training."""
        return self.options.budget * (1 - KEPT_BACK) - self.clock.read()["total"]

    # --- the arms

    def run_untrained(self) -> None:
        """Run baselines and frozen source in every seed, or in as many as their share of the budget allows."""
        layer = trained_layer(self.prepared.source)
        read = self.clock.seconds["extract"]
        each = read / max(1, len(self.prepared.scan.dataset.examples)) if self.prepared.extraction.misses else 0.0
        begun, divisions = time.perf_counter(), self.divisions()
        with self.progress.step("Baselines and frozen source", len(divisions), "fits") as step:
            for at, one in enumerate(divisions):
                spent = time.perf_counter() - begun
                new_seed = at > 0 and one.seed != divisions[at - 1].seed
                if new_seed and one.seed - self.options.seed >= LEAST_SEEDS and self._too_long(spent, divisions, at):
                    self._drop(one.seed)
                    break
                if any(self.outcomes.get(arm, one.labels, one.seed) is None for arm in UNTRAINED):
                    with self.clock.part("head"):
                        found = without_training(one.prepared, layer, seed=one.seed, extraction=each)
                    for arm, said in found.items():
                        self.outcomes.put(arm, one.labels, one.seed, said)
                step.advance()

    def _too_long(self, spent: float, divisions: Sequence[Division], at: int) -> bool:
        seeds_done = divisions[at].seed - self.options.seed
        return spent * (seeds_done + 1) / seeds_done > SHARE_FIRST * self.options.budget

    def _drop(self, seed: int) -> None:
        """Leave out this seed and those after it."""
        before = max(len(found) for found in self.seeds.values())
        self.seeds = {number: [one for one in found if one < seed] for number, found in self.seeds.items()}
        now = max(len(found) for found in self.seeds.values())
        self.dropped = (now, max(before, self.dropped[1]))

    def run_trained(self) -> None:
        """Run scratch and the tuned arm; one that fails is named, and the others go on."""
        arms = [SCRATCH] if self.options.tune == NONE else [SCRATCH, TUNED]
        plans: dict[str, Plan] = {}
        for arm in arms:
            with self._guarded(arm):
                found = self.outcomes.remembered(f"plan-{arm}", partial(self._plan, arm, len(arms)))
                plans[arm] = Plan(**found)
        if not plans:
            return
        self._afford(plans)
        mirror = self.outcomes.remembered("mirror", self._mirror)["keeps labels"]
        waiting = [(one, arm) for one in self.divisions() for arm in plans if not self._known(one, arm)]
        costs = [plans[arm].cost(arm, self._cell(one, 1)) for one, arm in waiting]
        measuring = [plans[arm].measuring(arm, self._cell(one, 1)) for one, arm in waiting]
        for at, (one, arm) in enumerate(waiting):
            if arm in self.failures or one.seed not in self.seeds[one.per_class]:
                continue
            learning = max(self.left - sum(measuring[at:]), LEARNING * self.left, 0.0)
            plan, share = plans[arm], costs[at] / sum(costs[at:]) * learning
            share = min(max(share, LEAST_SECONDS), max(self.left, 0.0))
            with self._guarded(arm):
                self._train(one, arm, plan, share, mirror=mirror)
        self._go_on(plans, mirror=mirror)

    def _go_on(self, plans: Mapping[str, Plan], *, mirror: bool) -> None:
        """Run again what its share of the budget cut, where time is left: not every cost that is foreseen arises."""
        known = [
            (found, one, arm)
            for one in self.divisions()
            for arm in plans
            if (found := self.outcomes.get(arm, one.labels, one.seed)) is not None and found.cut
        ]
        for found, one, arm in sorted(known, key=lambda cut: int(cut[0].epochs[-1])):
            plan, cell, took = plans[arm], self._cell(one, 1), float(found.seconds[-1])
            left = self.left - plan.measuring(arm, cell)
            if arm in self.failures or left < AGAIN * took:
                continue
            whole = SPARE * took * epochs_for(arm, cell.labels) / max(1, int(found.epochs[-1]))
            with self._guarded(arm):
                self._train(one, arm, plan, min(left, whole), mirror=mirror)

    def _known(self, one: Division, arm: str) -> bool:
        return self.outcomes.get(arm, one.labels, one.seed) is not None

    def _afford(self, plans: Mapping[str, Plan]) -> None:
        """Leave out seeds that the budget does not suffice for, down to the fewest that say how sure anything is."""
        while max(len(found) for found in self.seeds.values()) > LEAST_SEEDS:
            asked = sum(needed(arm, plan, self._cells()) for arm, plan in plans.items())
            if SCARCE * asked <= self.left:
                return
            self._drop(max(seed for found in self.seeds.values() for seed in found))

    def _cell(self, one: Division, runs: int) -> ExperimentCell:
        parts = one.prepared.parts
        return ExperimentCell(len(parts.train), len(parts.test), runs)

    def _cells(self) -> list[ExperimentCell]:
        return [
            self._cell(self.division(number, self.seeds[number][0]), len(self.seeds[number])) for number in self.numbers
        ]

    def _mirror(self) -> dict[str, Any]:
        first = self.division(self.numbers[-1], self.options.seed).prepared
        return {"keeps labels": mirrors(first, as_network(self.prepared, "training"))}

    def _plan(self, arm: str, arms: int) -> dict[str, Any]:
        """Return how an arm is run, as plain values."""
        source = as_network(self.prepared, "training")
        left = self.left * (SHARES[arm] if arms > 1 else 1.0)
        if arm == SCRATCH:
            from_random(self.prepared, seed=self.options.seed)
            return asdict(plan_scratch(source, self.prepared, self._cells(), left))
        mode = None if self.options.tune == AUTO else self.options.tune
        return asdict(plan_tuned(source, self.prepared, self._cells(), left, mode))

    def _train(self, one: Division, arm: str, plan: Plan, budget: float, *, mirror: bool) -> None:
        """Run an arm in one seed; of two runs, the one with more epochs stands.

        Raises:
            UsageError: the budget is too short for one epoch in the first seed.
        """
        source = from_random(self.prepared, seed=one.seed) if arm == SCRATCH else as_network(self.prepared, "training")
        before = self.outcomes.get(arm, one.labels, one.seed)
        name = self._name(one, arm) + (", again" if before is not None else "")
        with self.clock.part("tune"):
            found = trained(
                one.prepared,
                source,
                ArmConfig(arm, plan.mode, plan.size, mirror, plan.pace, budget, name),
                seed=one.seed,
                decoded_cache=self.decoded_cache,
                watchers=self.watchers,
                progress=self.progress,
            )
        if before is not None and before.epochs[-1] >= found.epochs[-1]:
            return
        if found.cut and len(found.epochs) == 1:
            if one.seed > self.options.seed:
                self._drop(one.seed)
                return
            raise UsageError(
                "--budget must allow one epoch", f"{self.options.budget:g} s, which end before it", "give more time"
            )
        self.outcomes.put(arm, one.labels, one.seed, found)

    def _name(self, one: Division, arm: str) -> str:
        number = "all labels" if one.per_class is None else f"{one.per_class} labels per class"
        return f"{arm.capitalize()}, {number}, {one.seed - self.options.seed + 1} of {len(self.seeds[one.per_class])}"

    @contextmanager
    def _guarded(self, arm: str) -> Iterator[None]:
        """Where the block fails, say so and leave the arm out."""
        try:
            yield
        except (HeadstartError, RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
            reason = str(error) if isinstance(error, HeadstartError) else f"{type(error).__name__}: {error}"
            self.failures[arm] = reason
            said = f"{arm.capitalize()} failed and was left out: {reason}"
            self.progress.say(said)
            self.notes.append(said)
