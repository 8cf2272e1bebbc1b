"""A comparison under way: planned from measured costs, then every arm in every seed at every number of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headstart.base.errors import HeadstartError, UsageError
from headstart.base.progress import Progress
from headstart.comparison.arms import (
    ArmConfig,
    Costs,
    horizontal_flip_keeps_labels,
    measured_costs,
    random_network,
    run_untrained_arms,
    train_arm,
    trained_layer,
)
from headstart.comparison.bar import Bar
from headstart.comparison.budget import (
    ArmPlan,
    Cells,
    ExperimentCell,
    ExperimentPlan,
    Limits,
    affordable_sizes,
    batch_for,
    enough,
    minutes,
    plan_experiment,
    settled_plan,
)
from headstart.comparison.options import CompareOptions
from headstart.comparison.outcome_store import Outcomes
from headstart.comparison.splits import ExperimentSplits, LabelSplit
from headstart.comparison.tuned_arm import enough_to_judge, run_tuned_arm
from headstart.heads.folds import visits_of
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SCRATCH, SIMPLE, START, TUNED
from headstart.judge.benefit.results import Outcome
from headstart.run.clock import Clock
from headstart.run.prepare import PreparedData, as_network
from headstart.sources.base import Source
from headstart.tune.settings import ALL, AUTO, MIN_VALIDATION, NONE
from headstart.tune.training.trackers import Tracker

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache

UNTRAINED_SHARE = 0.4  # the share of the budget that baselines and frozen source may take in all seeds
FEWEST_SEEDS = 2  # that give an interval over seeds
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
        self.left_out: tuple[int | None, ...] = ()  # numbers of labels that the budget did not suffice for
        self.remedy = ""  # what would let scratch be trained, as a sentence
        self._warm = False  # whether a network has learned in this process
        self._decoded_cache: DecodedCache = {}
        self._sizes_of: dict[tuple[int | None, int], tuple[int, int]] = {}

    @property
    def left(self) -> float:
        """Seconds of the budget that are left for training."""
        return self.options.budget * (1 - self.limits.reserve) - self.clock.total

    def run_untrained(self) -> None:
        """Run baselines and frozen source in every seed, or in as many as their share of the budget allows."""
        layer = trained_layer(self.prepared.source)
        examples = max(1, len(self.prepared.scan.dataset.examples))
        extraction = self.clock.seconds["extract"] / examples if self.prepared.extraction.misses else 0.0
        start, splits = self.clock.now(), self.splits.every()
        with self.progress.step("Baselines and frozen source", len(splits), "fits") as step:
            for index, label_split in enumerate(splits):
                done = label_split.seed - self.options.seed
                expected = (self.clock.now() - start) * (done + 1) / max(1, done)
                new_seed = done >= FEWEST_SEEDS and label_split.seed != splits[index - 1].seed
                if new_seed and expected > UNTRAINED_SHARE * self.options.budget:
                    self.splits.keep(done, self.splits.numbers)
                    break
                if any(self._outcome(label_split, arm) is None for arm in UNTRAINED):
                    with self.clock.part("head"):
                        outcomes = run_untrained_arms(
                            label_split.prepared,
                            layer,
                            seed=label_split.seed,
                            extraction=extraction,
                            now=self.clock.now,
                        )
                    for arm, outcome in outcomes.items():
                        self.outcomes.put(arm, label_split.labels, label_split.seed, outcome)
                step.advance()

    def run_trained(self) -> None:
        """Plan scratch and the tuned arm, and run them; one that fails is named, and the others go on."""
        with self.progress.step("Measuring what training costs"), self.clock.part("tune"):
            plain = self.outcomes.remembered("plan", self._plan)
        self.failures, self.notes = dict(plain["failures"]), list(plain["notes"])
        plan = ExperimentPlan.of_dict(plain)
        self._adopt(plan)
        waiting = [
            (label_split, arm)
            for label_split in self.splits.every()
            for arm in plan.arms
            if label_split.per_class in self.cells[arm] and self._outcome(label_split, arm) is None
        ]
        if plan.arms:
            flip = self.outcomes.remembered("mirror", self._check_flip)["keeps labels"]
            planned = sum(plan.arms[arm].seconds(self._cell(split, arm)) for split, arm in waiting)
            with self.progress.step("Training", max(1, round(planned)), "planned seconds") as step:
                bar = Bar(step, self.clock.now)
                self._run(waiting, plan.arms, bar, flip=flip)
                self._rerun_cut(plan.arms, bar, flip=flip)
        self._fill_tuned(plan)

    def _adopt(self, plan: ExperimentPlan) -> None:
        """Say the plan, and leave out what does not fit."""
        asked = (len(self.splits.seeds), self.splits.numbers)
        for line in plan.lines(self.cells, asked, budget=self.options.budget, spent=self.clock.total):
            self.progress.say(line)
        for arm, needed in plan.needed.items():
            budget = minutes(enough(self.clock.total, needed))
            self.failures[arm] = f"the budget does not suffice: give {budget} with --budget"
            if arm == SCRATCH:
                self.remedy = f"A budget of {budget} would answer."
        self.left_out = tuple(number for number in asked[1] if number not in plan.numbers)
        self.splits.keep(plan.seeds, plan.numbers)

    def _run(
        self, waiting: Sequence[tuple[LabelSplit, str]], plans: Mapping[str, ArmPlan], bar: Bar, *, flip: bool
    ) -> None:
        """Run every arm of every split, seed by seed; seeds go where time runs short."""
        costs = [plans[arm].seconds(self._cell(split, arm)) for split, arm in waiting]
        began, done = self.clock.now(), 0.0
        for index, (label_split, arm) in enumerate(waiting):
            seed, rest = label_split.seed, [(split.seed, cost) for (split, _), cost in zip(waiting, costs, strict=True)]
            if index and seed != waiting[index - 1][0].seed:
                self._drop_late_seeds(rest[index:], (self.clock.now() - began) / max(done, 1e-9))
            if arm in self.failures or seed not in self.splits.seeds:
                continue
            needed = self.splits.seeds[: max(FEWEST_SEEDS, self.splits.seeds.index(seed) + 1)]
            share = costs[index] / sum(cost for of_seed, cost in rest[index:] if of_seed in needed)
            title = f"{self._name(label_split, arm)} (run {index + 1} of {len(waiting)})"
            with self._guarded(arm), bar.run(title, costs[index]):
                self._train(label_split, arm, plans[arm], share * max(self.left, 0.0), bar, flip=flip)
            done += costs[index]

    def _drop_late_seeds(self, rest: Sequence[tuple[int, float]], slowness: float) -> None:
        """Leave out the last seeds where the planned costs that are left, each of a seed, would end too late."""
        while len(self.splits.seeds) > FEWEST_SEEDS and self.splits.seeds[-1] >= rest[0][0]:
            if slowness * sum(cost for seed, cost in rest if seed in self.splits.seeds) <= self.left:
                return
            self.splits.keep(len(self.splits.seeds) - 1, self.splits.numbers)

    def _rerun_cut(self, plans: Mapping[str, ArmPlan], bar: Bar, *, flip: bool) -> None:
        """Run again what was cut before its last epoch, where time is left: not every planned cost arises."""
        cut = [
            (outcome, label_split, arm)
            for label_split in self.splits.every()
            for arm in plans
            if (outcome := self._outcome(label_split, arm)) is not None and outcome.cut
        ]
        for outcome, label_split, arm in sorted(cut, key=lambda entry: int(entry[0].epochs[-1])):
            plan, cell, seconds = plans[arm], self._cell(label_split, arm), float(outcome.seconds[-1])
            left = self.left - plan.measuring(cell)
            if arm in self.failures or left < RERUN_FACTOR * seconds:
                continue
            whole = RERUN_MARGIN * seconds * plan.epochs(cell) / max(1, int(outcome.epochs[-1]))
            with self._guarded(arm), bar.run(f"{self._name(label_split, arm)}, again", 0.0):
                self._train(label_split, arm, plan, min(left, whole) + plan.measuring(cell), bar, flip=flip)

    def _fill_tuned(self, plan: ExperimentPlan) -> None:
        """Let the frozen source stand for the tuned one where the labels are too few to judge tuning by."""
        for label_split in self.splits.every() if TUNED in plan.arms and TUNED not in self.failures else ():
            frozen = self._outcome(label_split, FROZEN)
            if label_split.per_class not in self.cells[TUNED] and frozen is not None:
                outcome = replace(frozen, note="frozen: too few labels to judge tuning by")
                self.outcomes.put(TUNED, label_split.labels, label_split.seed, outcome)

    def _outcome(self, label_split: LabelSplit, arm: str) -> Outcome | None:
        return self.outcomes.get(arm, label_split.labels, label_split.seed)

    def _cell(self, label_split: LabelSplit, arm: str) -> ExperimentCell:
        """Return what a run costs; tuning learns twice: to be judged, and from all labels."""
        labels, tested = self._sizes(label_split)
        return ExperimentCell(labels * (1 + (arm == TUNED)), tested, self.limits.epochs_for(arm, labels))

    def _sizes(self, label_split: LabelSplit) -> tuple[int, int]:
        """Return how many examples an epoch visits, and how many a measurement runs: repeats are not run again."""
        key = label_split.per_class, label_split.seed
        if key not in self._sizes_of:
            prepared = label_split.prepared
            train, test = map(prepared.distinct, (prepared.parts.train, prepared.parts.test))
            self._sizes_of[key] = int(visits_of(train.counts).sum()), len(test.counts)
        return self._sizes_of[key]

    @cached_property
    def cells(self) -> Cells:
        """The run of each arm that is asked for at each number of labels at which it can be trained."""
        arms = [SCRATCH] if self.options.tune == NONE else [SCRATCH, TUNED]
        first = {number: self.splits.split_of(number, self.options.seed) for number in self.splits.numbers}
        return {
            arm: {
                number: self._cell(split, arm)
                for number, split in first.items()
                if arm == SCRATCH or enough_to_judge(split.prepared, seed=split.seed)
            }
            for arm in arms
        }

    def _check_flip(self) -> dict[str, Any]:
        first = self.splits.split_of(self.splits.numbers[-1], self.options.seed).prepared
        return {"keeps labels": horizontal_flip_keeps_labels(first, as_network(self.prepared, "training"))}

    def _plan(self) -> dict[str, Any]:
        """Return the plan and what cannot be run, as plain values."""
        tuned, auto = list[ArmPlan](), self.options.tune == AUTO
        if TUNED in self.cells:
            with self._guarded(TUNED):
                network = as_network(self.prepared, "training")
                if not self.cells[TUNED]:
                    raise UsageError(f"tuning needs {MIN_VALIDATION} labels to judge it by", "fewer", "add labels")
                mode = self.options.tune if not auto else "last:1" if len(network.stages) > 1 else ALL
                tuned = [ArmPlan(mode, 0, self._costs(network, mode, 0))]
        plan = self._planned({TUNED: tuned} if tuned else {})[0]
        with self._guarded(SCRATCH):
            scratch = random_network(self.prepared, seed=self.options.seed)
            sizes = affordable_sizes(scratch, self.prepared)

            def planned(costs: Callable[[int], Costs]) -> tuple[ExperimentPlan, int | None]:
                # Where every weight learns, tuning costs what scratch costs at the source's own size.
                everything = [ArmPlan(ALL, 0, costs(sizes[0]))] if auto and tuned else []
                ways = {SCRATCH: [ArmPlan(ALL, size, costs(size)) for size in sizes], TUNED: [*everything, *tuned]}
                return self._planned({arm: of_arm for arm, of_arm in ways.items() if of_arm})

            plan = settled_plan(lambda size: self._costs(scratch, SCRATCH, size), sizes, planned)
        return {**plan.as_dict(), "failures": self.failures, "notes": self.notes}

    def _planned(self, ways: Mapping[str, Sequence[ArmPlan]]) -> tuple[ExperimentPlan, int | None]:
        """Return the plan for ways of running the arms, and the size at which scratch learns in it."""
        seeds, numbers = len(self.splits.seeds), self.splits.numbers
        plan = plan_experiment(ways, self.cells, left=self.left, seeds=seeds, numbers=numbers)
        return plan, plan.arms[SCRATCH].size if SCRATCH in plan.arms else None

    def _costs(self, source: Source, mode: str, size: int) -> Costs:
        prepared = self.splits.split_of(None, self.options.seed).prepared
        if not self._warm:  # what the first run of a process takes is no measure
            measured_costs(prepared, source, mode, size, epochs=1)
        self._warm = True
        return measured_costs(prepared, source, mode, size, now=self.clock.now)

    def _train(self, label_split: LabelSplit, arm: str, plan: ArmPlan, seconds: float, bar: Bar, *, flip: bool) -> None:
        """Run an arm in one seed, within so many seconds; of two runs, the one with more epochs stands.

        Raises:
            UsageError: there is no time for one epoch in the first seed.
        """
        before, cell = self._outcome(label_split, arm), self._cell(label_split, arm)
        config = ArmConfig(
            arm,
            plan.mode,
            plan.size,
            horizontal_flip=flip,
            pace=plan.pace,
            epochs=plan.epochs(cell),
            batch_size=batch_for(self._sizes(label_split)[0]),
            seconds=seconds,
            measuring=seconds * plan.measuring(cell) / plan.seconds(cell),
            name=self._name(label_split, arm) + (", again" if before is not None else ""),
        )
        with self.clock.part("tune"):
            outcome = self._outcome_of_run(label_split, config, bar)
        if before is not None and before.epochs[-1] >= outcome.epochs[-1]:
            return
        if arm == TUNED or not (outcome.cut and len(outcome.epochs) == 1):
            self.outcomes.put(arm, label_split.labels, label_split.seed, outcome)
        elif label_split.seed > self.options.seed:
            self.splits.keep(label_split.seed - self.options.seed, self.splits.numbers)
        else:
            self.remedy = "More time with --budget, or less else on the machine, would answer."
            raise UsageError(f"{arm} needs time for one epoch", f"{seconds:.0f} s", "give more with --budget")

    def _outcome_of_run(self, label_split: LabelSplit, config: ArmConfig, bar: Bar) -> Outcome:
        common: dict[str, Any] = {
            "seed": label_split.seed,
            "decoded_cache": self._decoded_cache,
            "trackers": self.trackers,
            "now": self.clock.now,
        }
        if config.arm == TUNED:
            frozen = self._outcome(label_split, FROZEN)
            assert frozen is not None
            return run_tuned_arm(label_split.prepared, config, frozen, progress=bar, **common)
        source = random_network(self.prepared, seed=label_split.seed)
        return train_arm(label_split.prepared, source, config, progress=self.progress, shown=bar, **common)[1]

    def _name(self, label_split: LabelSplit, arm: str) -> str:
        number = "all labels" if label_split.per_class is None else f"{label_split.per_class} labels per class"
        seeds = len(self.splits.seeds)
        return f"{arm.capitalize()}, {number}, seed {label_split.seed - self.options.seed + 1} of {seeds}"

    @contextmanager
    def _guarded(self, arm: str) -> Iterator[None]:
        """Where the block fails, note why and leave the arm out."""
        try:
            yield
        except (HeadstartError, RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
            reason = str(error) if isinstance(error, HeadstartError) else f"{type(error).__name__}: {error}"
            self.failures[arm] = reason
            self.notes.append(f"{arm.capitalize()} failed and was left out: {reason}")
