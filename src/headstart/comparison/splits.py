"""The splits of a comparison: for each number of labels, one a seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from headstart.base.errors import DataError
from headstart.comparison.options import ALL, CompareOptions
from headstart.data.split import Parts, fewer_labels, split
from headstart.run.prepare import PreparedData

DEFAULT_LABELS = (5, 10, 20, None)


@dataclass(frozen=True)
class LabelSplit:
    """The split of one seed at one number of labels."""

    prepared: PreparedData
    per_class: int | None
    seed: int

    @property
    def labels(self) -> str:
        """The number of labels per class as a word."""
        return ALL if self.per_class is None else str(self.per_class)


class ExperimentSplits:
    """The numbers of labels and the seeds of a comparison, and the split of each.

    Attributes:
        numbers: of labels per class, ascending, None (all) last.
        dropped: how many seeds were left, and how many there were to be; zeros where none was left out.

    Raises:
        DataError: the data has not as many labels per class as were asked for.
    """

    def __init__(self, prepared: PreparedData, options: CompareOptions) -> None:
        self.prepared, self.options = prepared, options
        self.notes: list[str] = []
        self.dropped = (0, 0)
        self._parts: dict[tuple[int | None, int], Parts] = {}
        self.numbers = self._numbers()
        self.seeds = list(range(options.seed, options.seed + options.seeds))

    def _numbers(self) -> tuple[int | None, ...]:
        """Return the numbers of labels per class that the data has; a note names those that it has not."""
        requested = self.options.labels_per_class or DEFAULT_LABELS
        first = self.options.seed
        counts = [self._class_sizes(seed) for seed in range(first, first + self.options.seeds)]
        least, most = min(low for low, _ in counts), max(high for _, high in counts)
        numbers = [
            number
            for number in requested
            if number is None or (number <= least and (number < most or None not in requested))
        ]
        missing = [number for number in requested if number is not None and number > least]
        if missing and self.options.labels_per_class:
            names = ", ".join(map(str, missing))
            self.notes.append(f"Left out {names} labels per class: the smallest class has {least} to learn from.")
        if not numbers:
            raise DataError(
                f"the smallest class must have {min(missing)} examples to learn from",
                f"{least}",
                "ask for fewer with --labels-per-class, or for all",
            )
        return tuple(numbers)

    def _class_sizes(self, seed: int) -> tuple[int, int]:
        """Return how many examples the smallest and the largest class have to learn from."""
        examples = self.prepared.scan.dataset.examples
        counts = Counter(examples[position].label for position in self.parts_of(None, seed).train)
        return min(counts.values()), max(counts.values())

    def parts_of(self, number: int | None, seed: int) -> Parts:
        """Return the parts of a seed; a test part that the data brings is the same in all."""
        if (number, seed) not in self._parts:
            dataset, hashes = self.prepared.scan.dataset, self.prepared.scan.hashes
            if number is None:
                parts = split(dataset, hashes, seed=seed, drop_test_duplicates=self.options.drop_test_duplicates)
            else:
                whole = self.parts_of(None, seed)
                parts = fewer_labels(dataset, hashes, whole, seed=seed, labels_per_class=number)
            self._parts[number, seed] = parts
        return self._parts[number, seed]

    @property
    def parts(self) -> Parts:
        """The parts of the first seed, with all labels."""
        return self.parts_of(None, self.options.seed)

    def split_of(self, number: int | None, seed: int) -> LabelSplit:
        """Return the split of one seed at one number of labels."""
        return LabelSplit(replace(self.prepared, parts=self.parts_of(number, seed)), number, seed)

    def of_number(self, number: int | None) -> list[LabelSplit]:
        """Return the splits at one number of labels, seed by seed."""
        return [self.split_of(number, seed) for seed in self.seeds]

    def every(self) -> list[LabelSplit]:
        """Return every split, seed by seed, the fewest labels first."""
        return [self.split_of(number, seed) for seed in self.seeds for number in self.numbers]

    @property
    def same_test(self) -> bool:
        """Whether the test part is the same in every seed."""
        return len({self.parts_of(None, seed).test for seed in self.seeds}) == 1

    def keep(self, seeds: int, numbers: tuple[int | None, ...]) -> None:
        """Leave out the seeds beyond so many, and every other number of labels."""
        if seeds < len(self.seeds):
            self.dropped = (seeds, max(len(self.seeds), self.dropped[1]))
            self.seeds = self.seeds[:seeds]
        self.numbers = tuple(number for number in self.numbers if number in numbers)
