"""What a comparison can afford, from measured costs: sizes of pictures, epochs, seeds, numbers of labels, and arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from headstart.base.errors import counted
from headstart.comparison.arms import TIMED, Costs, trained_layer
from headstart.comparison.options import ALL
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing, shorter_side
from headstart.judge.benefit.gains import SCRATCH, TUNED
from headstart.judge.benefit.results import COARSE_EPOCH_RATIO, EPOCH_RATIO, measured_epochs
from headstart.run.prepare import PreparedData
from headstart.sources.base import Source

CACHED_VIEWS = 4  # the views of each picture whose activations are cached
SAMPLED_PICTURES = 32  # the pictures whose size is looked at
SMALLEST_SIDE = 32  # pixels at which random weights may learn
SMALLER_SIDES = (192, 160, 128, 96, 64, 48, 32)
SMALL_BATCH, BATCH, FEW_LABELS = 16, 32, 200  # the examples of a step: the smaller number below so many labels
MIN_SEEDS = 3  # as many seeds stay before anything but the size of the pictures and the epochs is given up
EPOCH_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)  # of the epochs after which an arm has usually learned what it can
TUNED_SHARE = 0.35  # of the seconds left, what the tuned arm may take: scratch alone can answer
MARGIN = 0.85  # of the seconds left, what is planned into: costs vary
PASSES = 3.0  # over the labelled examples before a run: features, statistics, head


@dataclass(frozen=True)
class Limits:
    """What bounds a comparison beside its options."""

    epochs: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {SCRATCH: (20, 120), TUNED: (8, 30)})
    # the steps after which an arm has usually learned what it can from a few hundred labels
    steps: Mapping[str, int] = field(default_factory=lambda: {SCRATCH: 600, TUNED: 150})
    reserve: float = 0.06  # the share of the budget that is kept for what comes after training

    def epochs_for(self, arm: str, labels: int) -> int:
        """Return how many epochs an arm is meant to have with so many labels: more where they are few."""
        least, most = self.epochs[arm]
        return int(np.clip(-(-self.steps[arm] // -(-labels // batch_for(labels))), least, most))


def batch_for(labels: int) -> int:
    """Return how many examples a step takes for so many labels."""
    return SMALL_BATCH if labels < FEW_LABELS else BATCH


@dataclass(frozen=True)
class ExperimentCell:
    """One run of an arm at one number of labels: examples to learn from, examples to measure on, and epochs."""

    labels: int
    tested: int
    epochs: int


@dataclass(frozen=True)
class ArmPlan:
    """How an arm that learns is to be run."""

    mode: str
    size: int  # side of its pictures in pixels; 0 for the source's own
    costs: Costs
    pace: float = EPOCH_RATIO  # each epoch after which it is measured is so many times the one before
    epochs_share: float = 1.0  # of the epochs that it is meant to have

    def epochs(self, cell: ExperimentCell) -> int:
        """Return the epochs of a run."""
        return max(1, round(self.epochs_share * cell.epochs))

    def measuring(self, cell: ExperimentCell) -> float:
        """Return the seconds that a run takes to measure."""
        return self.costs.measure * cell.tested * len(measured_epochs(self.epochs(cell), self.pace))

    def seconds(self, cell: ExperimentCell) -> float:
        """Return the seconds of a run, measuring included."""
        begin = self.costs.begin + PASSES * self.costs.measure * cell.labels
        if self.mode.startswith("last:"):
            cached = CACHED_VIEWS * cell.labels + cell.tested
            begin = self.costs.begin * max(1.0, cached / ((CACHED_VIEWS + 1) * TIMED))
        return begin + self.costs.learn * cell.labels * self.epochs(cell) + self.measuring(cell)


Cells = Mapping[str, Mapping[int | None, ExperimentCell]]
"""The run of each arm at each number of labels at which it is trained."""


@dataclass(frozen=True)
class ExperimentPlan:
    """What a comparison runs.

    Attributes:
        numbers: of labels per class, None for all.
        arms: that are trained.
        needed: the seconds of training with which an arm that does not fit would be trained as asked, by arm.
    """

    seeds: int
    numbers: tuple[int | None, ...]
    arms: Mapping[str, ArmPlan]
    needed: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, cells: Cells) -> dict[str, float]:
        """Return the seconds of each arm in all seeds."""
        return {
            arm: self.seeds * sum(plan.seconds(cells[arm][number]) for number in self.numbers if number in cells[arm])
            for arm, plan in self.arms.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, plain: Mapping[str, Any]) -> ExperimentPlan:
        """Return a plan from what `as_dict` gave."""
        arms = {arm: ArmPlan(**{**each, "costs": Costs(**each["costs"])}) for arm, each in plain["arms"].items()}
        return cls(plain["seeds"], tuple(plain["numbers"]), arms, plain["needed"])

    def lines(
        self, cells: Cells, splits: tuple[int, Sequence[int | None]], *, budget: float, spent: float
    ) -> list[str]:
        """Return the plan in sentences; `splits` are the seeds and the numbers of labels that were asked for."""
        seconds, (asked, numbers) = self.seconds(cells), splits
        seeds = counted(self.seeds, "seed", "seeds") + (f" of {asked}" if self.seeds < asked else "")
        labels = " and ".join(ALL if number is None else str(number) for number in self.numbers)
        of_numbers = f" of {len(numbers)} numbers of labels" if len(self.numbers) < len(numbers) else ""
        lines = [
            f"Plan: {seeds}, {labels} labels per class{of_numbers}; {minutes(spent + sum(seconds.values()))} of "
            f"{minutes(budget)}, of which {minutes(spent)} are over."
        ]
        for arm, plan in self.arms.items():
            runs = [plan.epochs(cells[arm][number]) for number in self.numbers if number in cells[arm]]
            if not runs:
                continue
            size = f" at {plan.size} px" if plan.size else ""
            epochs = f"{min(runs)}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
            lines.append(
                f"{arm.capitalize()}: {counted(self.seeds * len(runs), 'run', 'runs')} of {epochs} epochs{size}, "
                f"{plan.mode}, {minutes(seconds[arm])}."
            )
        for arm, needed in self.needed.items():
            lines.append(f"{arm.capitalize()} does not fit: it takes a budget of {minutes(enough(spent, needed))}.")
        return lines


def minutes(seconds: float) -> str:
    """Return a time in words, such as `2.5 minutes`."""
    return f"{seconds / 60:.1f} minutes" if round(seconds / 60, 1) != 1.0 else "1 minute"


def enough(spent: float, needed: float) -> float:
    """Return the budget that suffices for so many seconds of training after what is spent, in whole minutes."""
    return 60.0 * math.ceil((spent + needed / MARGIN) / (1 - Limits.reserve) / 60)


def plan_experiment(
    ways: Mapping[str, Sequence[ArmPlan]], cells: Cells, *, left: float, seeds: int, numbers: Sequence[int | None]
) -> ExperimentPlan:
    """Return the best plan that fits into the seconds left.

    First the pictures of scratch become smaller and are measured less often, then it has fewer epochs, then there are
    fewer seeds, down to three. Then the tuned arm goes; then numbers of labels, those between the fewest and the most
    first, before further seeds. Where nothing fits, no arm is trained.

    Args:
        ways: of running each arm, the best first.
    """
    affordable = MARGIN * left
    full = ExperimentPlan(seeds, tuple(numbers), {})
    needed = {arm: _cheapest(arm, ways[arm], cells, full) for arm in ways}
    for arms, kept, count in _reductions(tuple(ways), tuple(numbers), seeds):
        plan = _fitting(ways, cells, ExperimentPlan(count, kept, {}), arms, affordable)
        if plan is not None:
            return replace(plan, needed={arm: needed[arm] for arm in ways if arm not in plan.arms})
    return replace(full, needed=needed)


def _reductions(
    arms: tuple[str, ...], numbers: tuple[int | None, ...], seeds: int
) -> Iterator[tuple[tuple[str, ...], tuple[int | None, ...], int]]:
    """Return arms, numbers of labels and seeds, from all that was asked for down to one run."""
    least = min(seeds, MIN_SEEDS)
    for count in range(seeds, least - 1, -1):
        yield arms, numbers, count
    if SCRATCH not in arms:
        return
    for count in range(seeds, least - 1, -1):
        yield (SCRATCH,), numbers, count
    ends = tuple(dict.fromkeys((numbers[0], numbers[-1])))
    fewer = (numbers, ends, numbers[-1:], *(numbers[:count] for count in range(len(numbers) - 1, 0, -1)))
    for count in range(least, 0, -1):
        for kept in fewer:
            yield (SCRATCH,), kept, count


def _fitting(
    ways: Mapping[str, Sequence[ArmPlan]], cells: Cells, plan: ExperimentPlan, arms: Sequence[str], left: float
) -> ExperimentPlan | None:
    """Return the plan with the best way of each arm that fits; None where one has none."""
    chosen: dict[str, ArmPlan] = {}
    for arm in sorted(arms, key=lambda arm: arm == SCRATCH):  # the tuned arm first: scratch gets what is left
        room = left * (TUNED_SHARE if arm == TUNED and SCRATCH in arms else 1.0)
        fits = (way for way in _variants(arm, ways[arm]) if _cost(arm, way, cells, plan) <= room)
        way = next(fits, None)
        if way is None:
            return None
        chosen[arm] = way
        left -= _cost(arm, way, cells, plan)
    return replace(plan, arms={arm: chosen[arm] for arm in arms})


def _variants(arm: str, ways: Sequence[ArmPlan]) -> Iterator[ArmPlan]:
    """Return the ways of an arm, each measured less and less often, then with fewer epochs; the tuned arm has all."""
    for share in EPOCH_SHARES if arm == SCRATCH else EPOCH_SHARES[:1]:
        for way in ways:
            for pace in (EPOCH_RATIO, COARSE_EPOCH_RATIO):
                yield replace(way, epochs_share=share, pace=pace)


def _cost(arm: str, way: ArmPlan, cells: Cells, plan: ExperimentPlan) -> float:
    return sum(replace(plan, arms={arm: way}).seconds(cells).values())


def _cheapest(arm: str, ways: Sequence[ArmPlan], cells: Cells, plan: ExperimentPlan) -> float:
    return min(_cost(arm, way, cells, plan) for way in _variants(arm, ways))


def settled_plan(
    measure: Callable[[int], Costs],
    sizes: Sequence[int],
    plan: Callable[[Callable[[int], Costs]], tuple[ExperimentPlan, int | None]],
) -> ExperimentPlan:
    """Return the plan whose size was measured, from costs that are measured at as few sizes as that takes.

    Args:
        measure: gives the costs at a size.
        sizes: that may be chosen, in pixels, the largest first; 0 alone where there is no choice.
        plan: gives a plan from what gives the costs at a size, and the size that it takes; None where it takes none.
    """
    measured = {sizes[-1]: measure(sizes[-1])}
    while True:
        made, size = plan(lambda size: costs_at(size, measured))
        if size is None or size in measured:
            return made
        measured[size] = measure(size)


def costs_at(size: int, measured: Mapping[int, Costs]) -> Costs:
    """Return the costs at a size: those at the nearest measured one, in proportion to the number of pixels."""
    nearest = min(measured, key=lambda known: abs(known - size))
    scale = (size / nearest) ** 2 if nearest else 1.0
    costs = measured[nearest]
    return Costs(min(each.begin for each in measured.values()), scale * costs.learn, scale * costs.measure)


def affordable_sizes(source: Source, prepared: PreparedData) -> list[int]:
    """Return the sizes at which random weights may learn, in pixels, the largest first; 0 for the source's own alone.

    Pictures smaller than its input hold no more than their own pixels: no size beyond them is tried.
    """
    preprocessing = source.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        return [0]
    height, width = preprocessing.size
    if isinstance(preprocessing, AudioPreprocessing) or height != width or height <= SMALLEST_SIDE:
        return [0]
    if trained_layer(source) == "flatten":
        return [0]
    from headstart.sources.networks.tapped import accepts_size

    train = prepared.parts.train
    step = max(1, len(train) // SAMPLED_PICTURES)
    sides = [shorter_side(prepared.scan.dataset.read(position)) for position in train[::step][:SAMPLED_PICTURES]]
    enough = min(height, max(SMALLEST_SIDE, 32 * math.ceil(float(np.median(sides)) / 32)))
    largest = enough if enough < height and accepts_size(source, enough) else height
    return [largest, *(side for side in SMALLER_SIDES if side < enough and accepts_size(source, side))]
