"""A model on labelled data that it was not fitted on: its metrics, and the difference to another model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError, did_you_mean, list_some
from headstart.data.audit import Scan
from headstart.data.dataset import Dataset
from headstart.data.split import clusters
from headstart.judge.intervals import Interval, paired_difference
from headstart.judge.metrics import METRICS, evaluate
from headstart.judge.novelty import THRESHOLD


@dataclass(frozen=True)
class Evaluation:
    """What a model reaches on labelled data.

    Attributes:
        scan: the readable examples, and what was noticed of them.
        positions: of the n examples that are judged, among those of the scan.
        classes: the c classes of the model.
        y: the class of each by its label, int64 of shape (n,), a column of `probabilities`.
        probabilities: float32 of shape (n, c), rows summing to 1.
        clusters: of each the first of its cluster, of shape (n,): copies, near copies and members of a group.
        metrics: as `judge.metrics.evaluate` returns them, with 95 % intervals.
    """

    scan: Scan
    positions: tuple[int, ...]
    classes: tuple[str, ...]
    y: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    clusters: NDArray[np.intp]
    metrics: Mapping[str, Any]
    engine: str  # what computed the features
    cached: tuple[int, int]  # how many features came from the cache, and how many were computed
    # how unlike the training data each is, float32 of shape (n,), beyond it above 1; None where the model cannot tell
    novelty: NDArray[np.float32] | None = None

    @property
    def unlike(self) -> int | None:
        """How many of the examples are unlike the training data; None where the model cannot tell."""
        return None if self.novelty is None else int((self.novelty > THRESHOLD).sum())

    @property
    def accuracy(self) -> float:
        """The share of the examples that are classified correctly, 0..1."""
        return float(self.metrics["accuracy"]["value"])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each example is classified correctly, of shape (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.y)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the judged examples."""
        return tuple(self.scan.dataset.examples[position].id for position in self.positions)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {METRICS[name].format(self.metrics[name]['value'])}" for name in METRICS)
        return f"<Evaluation of {len(self.positions):,} {self.scan.dataset.items}: {figures}>"


def judged_positions(dataset: Dataset) -> tuple[int, ...]:
    """Return the positions of the test examples where the data names any, else of all."""
    test = tuple(position for position, example in enumerate(dataset.examples) if example.split == "test")
    return test or tuple(range(len(dataset)))


def columns_of(dataset: Dataset, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return for each class of the data its place among the classes of a model, of shape (number of classes,).

    UsageError: the model does not know one of them.
    """
    unknown = [name for name in dataset.classes if name not in classes]
    if unknown:
        raise UsageError(
            f"every class of {dataset.name} must be one of the model's {len(classes)}, {list_some(classes)}",
            list_some([repr(name) for name in unknown]),
            f"rename it, or leave its {dataset.items} out{did_you_mean(unknown[0], classes)}",
        )
    return np.array([classes.index(name) for name in dataset.classes], dtype=np.int64)


def evaluated(
    scan: Scan,
    probabilities: NDArray[np.float32],
    classes: tuple[str, ...],
    *,
    engine: str,
    cached: tuple[int, int],
    novelty: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Return what probabilities (m, c) of the m examples of a scan are worth, on its test part where it names one.

    `novelty` is how unlike the training data each of the m is; None where the model cannot tell.

    UsageError: the data holds a class that is none of the model's.
    """
    dataset = scan.dataset
    columns, positions = columns_of(dataset, classes), judged_positions(dataset)
    y, rows = columns[dataset.class_ids(positions)], probabilities[list(positions)]
    together = clusters(dataset.examples, positions, scan.hashes)
    metrics = evaluate(rows, y, classes, seed=seed, clusters=together)
    judged = None if novelty is None else novelty[list(positions)]
    return Evaluation(scan, positions, classes, y, rows, together, metrics, engine, cached, judged)


def difference(first: Evaluation, second: Evaluation, *, seed: int = 0) -> Interval:
    """Return the accuracy of `first` minus that of `second`, -1..1, paired over the examples that both judged.

    UsageError: they share no example.
    """
    places = {name: place for place, name in enumerate(second.ids)}
    pairs = [(place, places[name]) for place, name in enumerate(first.ids) if name in places]
    if not pairs:
        raise UsageError(
            "two evaluations must share examples", "no id that both hold", "evaluate both on the same data"
        )
    mine, theirs = (list(rows) for rows in zip(*pairs, strict=True))
    return paired_difference(first.correct[mine], second.correct[theirs], seed=seed, clusters=first.clusters[mine])
