"""What arms answered on the test examples, epoch by epoch, and the plain figures that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TAIL = 0.2
"""The last share of the epochs, over which a curve's level is taken."""
FLAT = 0.01
"""A curve is flat where its accuracy over the tail is no more than this above that over as many epochs before it."""
FIRST = 0.25
"""The first share of the epochs of the shorter curve, over which slopes are taken."""
PACE, FAST = 1.2, 1.6
"""Each measured epoch is so many times the one before: most happens early. The second, where measuring is costly."""


@dataclass(frozen=True)
class ComparisonMeta:
    """What was compared.

    Attributes:
        source: URI of the source.
        simple: what the simple baseline is called.
        items: what examples are called, such as `photos`.
        overlap: test examples of a split over its training examples, where the splits of the seeds overlap; else 0.
        seed: of the intervals.
    """

    source: str
    simple: str
    items: str
    overlap: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one arm answered in one seed.

    Attributes:
        epochs: ascending, int64 of shape (p,): the epoch of each point; 0 alone for an arm without epochs.
        right: bool of shape (p, n): whether each test example was named right.
        loss: float32 of shape (p, n): log loss of each, in nats.
        seconds: float64 of shape (p,): since the arm began, measuring apart.
        cut: whether it ended before the epochs that it was meant to have.
        note: how it was run, such as the size of its pictures and what learned; empty where there is nothing to say.
    """

    epochs: NDArray[np.int64]
    right: NDArray[np.bool_]
    loss: NDArray[np.float32]
    seconds: NDArray[np.float64]
    cut: bool = False
    note: str = ""


@dataclass(frozen=True)
class Results:
    """What one arm answered in every seed, at the same epochs.

    Attributes:
        epochs: ascending, int64 of shape (p,).
        right: bool of shape (s, p, n); False where an example was not tested.
        loss: float32 of shape (s, p, n), in nats; 0 where an example was not tested.
        seconds: float64 of shape (s, p).
        cut: whether it ended early in any seed.
        note: how it was run, in the seed that had the fewest epochs.
    """

    epochs: NDArray[np.int64]
    right: NDArray[np.bool_]
    loss: NDArray[np.float32]
    seconds: NDArray[np.float64]
    cut: bool
    note: str

    @property
    def tail(self) -> NDArray[np.bool_]:
        """Which points its level is taken over, bool of shape (p,)."""
        return np.asarray(self.epochs >= (1 - TAIL) * self.epochs[-1])

    @property
    def level(self) -> NDArray[np.float64]:
        """The share of the points in the tail at which each example was right, float64 of shape (s, n)."""
        return np.asarray(self.right[:, self.tail].mean(axis=1))

    @property
    def final_loss(self) -> NDArray[np.float64]:
        """The mean log loss of each example over the tail, float64 of shape (s, n)."""
        return np.asarray(self.loss[:, self.tail].mean(axis=1, dtype=np.float64))

    def first(self, count: int) -> Results:
        """Return the results of the first seeds."""
        return Results(self.epochs, self.right[:count], self.loss[:count], self.seconds[:count], self.cut, self.note)


@dataclass(frozen=True)
class ArmResults:
    """What every arm answered at one number of labels, on the same splits and test examples.

    Attributes:
        per_class: labels of each class to learn from; None for all of them.
        labels: to learn from, in all, on average over seeds.
        arms: results by the arm's name; all have the same seeds.
        tested: bool of shape (s, n): which examples each seed tested.
    """

    per_class: int | None
    labels: float
    arms: Mapping[str, Results]
    tested: NDArray[np.bool_]

    def first(self, count: int) -> ArmResults:
        """Return the first seeds alone."""
        arms = {name: one.first(count) for name, one in self.arms.items()}
        return ArmResults(self.per_class, self.labels, arms, self.tested[:count])


def judged_at(epochs: int, pace: float = PACE) -> set[int]:
    """Return the epochs after which an arm of so many is measured: ever farther apart, the last one included."""
    found, at = {0, epochs}, 1
    while at < epochs:
        found.add(at)
        at = max(at + 1, round(at * pace))
    return found


def stack_seeds(outcomes: Sequence[Outcome], positions: Sequence[NDArray[np.intp]], n: int) -> Results:
    """Return the outcomes of several seeds side by side; between its points, an arm stays where the last one was.

    Args:
        outcomes: one a seed.
        positions: where the test examples of each seed stand among the n of all seeds.
        n: examples that any seed tests.
    """
    epochs = np.unique(np.concatenate([one.epochs for one in outcomes]))
    shape = (len(outcomes), len(epochs), n)
    right, loss = np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
    seconds = np.zeros(shape[:2])
    for seed, (one, at) in enumerate(zip(outcomes, positions, strict=True)):
        point = np.searchsorted(one.epochs, epochs, side="right") - 1
        right[seed][:, at], loss[seed][:, at], seconds[seed] = one.right[point], one.loss[point], one.seconds[point]
    least = min(outcomes, key=lambda one: int(one.epochs[-1]))
    return Results(epochs, right, loss, seconds, any(one.cut for one in outcomes), least.note)


def accuracies(results: Results, tested: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the accuracy at each point over all seeds, float64 of shape (p,), 0..1."""
    return np.asarray(results.right.sum(axis=(0, 2)) / tested.sum())


def is_flat(results: Results, tested: NDArray[np.bool_]) -> bool:
    """Return whether a curve stays at its level: it ran as long as it was meant to, and rises no more at its end."""
    if results.cut or len(results.epochs) == 1:
        return not results.cut
    last = results.epochs[-1]
    before = (results.epochs >= (1 - 2 * TAIL) * last) & ~results.tail
    if not before.any():
        before[np.flatnonzero(~results.tail)[-1]] = True  # measured less often than that
    curve = accuracies(results, tested)
    return bool(curve[results.tail].mean() - curve[before].mean() <= FLAT)


def first_part(one: Results, other: Results) -> int:
    """Return up to which epoch the slopes of two curves are taken; 0 where one has no epochs, or no such part."""
    shorter = int(min(one.epochs[-1], other.epochs[-1]))
    if not shorter:
        return 0
    until = max(round(FIRST * shorter), int(one.epochs[1]), int(other.epochs[1]))
    return until if until <= shorter else 0


def gained(results: Results, until: int) -> NDArray[np.float64]:
    """Return what each example gains per epoch up to epoch `until`, float64 of shape (s, n).

    That is the slope of the least-squares line through its points, so that its mean is the slope of the curve.
    """
    points = results.epochs <= until
    epochs = results.epochs[points].astype(np.float64)
    away = epochs - epochs.mean()
    weight = away / np.square(away).sum()
    return np.asarray(np.einsum("p,spn->sn", weight, results.right[:, points].astype(np.float64)))
