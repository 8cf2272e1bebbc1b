"""The results of a comparison's arms on the test examples, epoch by epoch, and the plain figures of their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.judge.intervals import Clusters

TAIL_SHARE = 0.2  # the last share of the epochs, over which a curve's final accuracy is taken
FLAT_GAIN = 0.01
"""A curve is flat where its accuracy over the tail is no more than this above that over as many epochs before it."""
SLOPE_SHARE = 0.25  # the first share of the epochs of the shorter curve, over which slopes are taken
EPOCH_RATIO, COARSE_EPOCH_RATIO = 1.2, 1.6
"""Each measured epoch is so many times the one before: most happens early. The second, where measuring is costly."""


@dataclass(frozen=True)
class ComparisonMeta:
    """What was compared."""

    source: str
    simple: str  # name of the simple baseline, such as `raw pixels with logistic regression`
    items: str  # plural noun for the examples, such as `photos`
    # test examples of a split over its training examples, where the splits of the seeds overlap; else 0
    overlap: float = 0.0
    seed: int = 0
    remedy: str = ""  # what would let scratch be trained, as a sentence; empty where it was, or nothing would


@dataclass(frozen=True)
class Outcome:
    """The results of one arm in one seed."""

    epochs: NDArray[np.int64]  # ascending, int64 of shape (p,); 0 alone for an arm without epochs
    right: NDArray[np.bool_]  # bool of shape (p, n): whether each test example was classified correctly
    loss: NDArray[np.float32]  # float32 of shape (p, n): log loss of each, in nats
    seconds: NDArray[np.float64]  # float64 of shape (p,): since the arm began, the time of measuring left out
    cut: bool = False  # whether it ended before its planned number of epochs
    note: str = ""  # how it was run, such as the size of its pictures and what was trained; may be empty


@dataclass(frozen=True)
class LearningCurve:
    """The results of one arm in every seed, at the same epochs."""

    epochs: NDArray[np.int64]  # ascending, int64 of shape (p,)
    right: NDArray[np.bool_]  # bool of shape (s, p, n); False where an example was not tested
    loss: NDArray[np.float32]  # float32 of shape (s, p, n), in nats; 0 where an example was not tested
    seconds: NDArray[np.float64]  # float64 of shape (s, p)
    cut: bool  # whether it ended early in any seed
    note: str  # how it was run, in the seed that had the fewest epochs

    @property
    def tail(self) -> NDArray[np.bool_]:
        """Which points the final accuracy is taken over, bool of shape (p,)."""
        return np.asarray(self.epochs >= (1 - TAIL_SHARE) * self.epochs[-1])

    @property
    def final_right(self) -> NDArray[np.float64]:
        """The share of the tail's points at which each example was classified correctly, float64 of shape (s, n)."""
        return np.asarray(self.right[:, self.tail].mean(axis=1))

    @property
    def final_loss(self) -> NDArray[np.float64]:
        """The mean log loss of each example over the tail, float64 of shape (s, n)."""
        return np.asarray(self.loss[:, self.tail].mean(axis=1, dtype=np.float64))

    def first_seeds(self, count: int) -> LearningCurve:
        """Return the results of the first seeds."""
        arrays = self.right[:count], self.loss[:count], self.seconds[:count]
        return LearningCurve(self.epochs, *arrays, self.cut, self.note)


@dataclass(frozen=True)
class ArmResults:
    """The results of every arm at one number of labels, on the same splits and test examples."""

    per_class: int | None  # training labels of each class; None for all of them
    labels: float  # training labels in all, on average over seeds
    arms: Mapping[str, LearningCurve]  # results by the arm's name; all have the same seeds
    tested: NDArray[np.bool_]  # bool of shape (s, n): which examples each seed tested
    clusters: Clusters = None  # of the n examples
    related: NDArray[np.bool_] | None = None  # bool of shape (s, n): tested, with a copy or near copy in the train part

    def first_seeds(self, count: int) -> ArmResults:
        """Return the results of the first seeds."""
        arms = {name: curve.first_seeds(count) for name, curve in self.arms.items()}
        related = None if self.related is None else self.related[:count]
        return replace(self, arms=arms, tested=self.tested[:count], related=related)


def measured_epochs(epochs: int, ratio: float = EPOCH_RATIO) -> set[int]:
    """Return the epochs after which an arm of so many is measured: ever farther apart, the last one included."""
    measured, epoch = {0, epochs}, 1
    while epoch < epochs:
        measured.add(epoch)
        epoch = max(epoch + 1, round(epoch * ratio))
    return measured


def stack_seeds(outcomes: Sequence[Outcome], positions: Sequence[NDArray[np.intp]], n: int) -> LearningCurve:
    """Return the outcomes of several seeds as one curve; between two of its points, a seed keeps the earlier results.

    `positions` are the columns of each seed's test examples among the n of all seeds.
    """
    epochs = np.unique(np.concatenate([outcome.epochs for outcome in outcomes]))
    shape = (len(outcomes), len(epochs), n)
    right, loss = np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
    seconds = np.zeros(shape[:2])
    for seed, (outcome, columns) in enumerate(zip(outcomes, positions, strict=True)):
        point = np.searchsorted(outcome.epochs, epochs, side="right") - 1
        right[seed][:, columns], loss[seed][:, columns] = outcome.right[point], outcome.loss[point]
        seconds[seed] = outcome.seconds[point]
    shortest = min(outcomes, key=lambda outcome: int(outcome.epochs[-1]))
    return LearningCurve(epochs, right, loss, seconds, any(outcome.cut for outcome in outcomes), shortest.note)


def accuracies(curve: LearningCurve, tested: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the accuracy at each point over all seeds, float64 of shape (p,), 0..1."""
    return np.asarray(curve.right.sum(axis=(0, 2)) / tested.sum())


def is_flat(curve: LearningCurve, tested: NDArray[np.bool_]) -> bool:
    """Return whether a curve has reached its level: it had all its epochs, and no longer rises at its end."""
    if curve.cut or len(curve.epochs) == 1:
        return not curve.cut
    last = curve.epochs[-1]
    before = (curve.epochs >= (1 - 2 * TAIL_SHARE) * last) & ~curve.tail
    if not before.any():
        before[np.flatnonzero(~curve.tail)[-1]] = True  # measured less often than that
    accuracy = accuracies(curve, tested)
    return bool(accuracy[curve.tail].mean() - accuracy[before].mean() <= FLAT_GAIN)


def slope_epochs(first: LearningCurve, second: LearningCurve) -> int:
    """Return up to which epoch the slopes of two curves are taken; 0 where one has no epochs, or no such part."""
    shorter = int(min(first.epochs[-1], second.epochs[-1]))
    if not shorter:
        return 0
    until = max(round(SLOPE_SHARE * shorter), int(first.epochs[1]), int(second.epochs[1]))
    return until if until <= shorter else 0


def example_slopes(curve: LearningCurve, until: int) -> NDArray[np.float64]:
    """Return the slope of each example's results per epoch up to epoch `until`, float64 of shape (s, n).

    It is that of the least-squares line through its points, so that the mean over examples is the slope of the curve.
    """
    points = curve.epochs <= until
    epochs = curve.epochs[points].astype(np.float64)
    centred = epochs - epochs.mean()
    weights = centred / np.square(centred).sum()
    return np.asarray(np.einsum("p,spn->sn", weights, curve.right[:, points].astype(np.float64)))
