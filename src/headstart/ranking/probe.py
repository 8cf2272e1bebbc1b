"""The measured probe: what closed-form heads on features say of examples that they were fitted without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.heads import closed_form as ridge
from headstart.heads.cross_validation import choose_ridge_penalty, cross_validation_task, evaluate_scores
from headstart.heads.folds import class_weights
from headstart.heads.linear import (
    fit_temperature,
    log_probabilities,
    mean_scores,
    probabilities_of_all_classes,
    softmax,
)
from headstart.heads.stacking import fit_stacking
from headstart.judge.intervals import Clusters, Interval, Z, effective_number, paired_mean, wilson
from headstart.judge.metrics import log_losses

PROBE_VERSION = 1
"""Counts up when the same features come to give other figures."""
REPEATS = 3
"""Splits into folds, each by another seed, over which an example's results are averaged."""
FOLDS = 5
FIRST_RUNG = 600
"""Examples that all candidates are measured on first; the next rung has GROWTH times as many."""
GROWTH = 4
SURVIVING = 0.5
"""Of the sources, how many go on to the next rung at least; what is tied with the best goes on as well."""
LEAST_SURVIVORS = 3
CURVE_SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the examples, those at which a learning curve is measured."""


@dataclass(frozen=True)
class Unseen:
    """What heads say of n distinct examples that they were fitted without, averaged over repeated splits."""

    probabilities: NDArray[np.float32]  # float32 of shape (repeats, n, c), calibrated
    y: NDArray[np.int64]  # int64 of shape (n,), class ids in 0..c-1
    tested: NDArray[np.bool_]  # of shape (n,): the only example of a class is never left out

    @property
    def right(self) -> NDArray[np.float64]:
        """In how many of the splits each example is classified correctly, as a share, float64 of shape (n,)."""
        return np.asarray((self.probabilities.argmax(axis=2) == self.y).mean(axis=0))

    @property
    def losses(self) -> NDArray[np.float64]:
        """The log loss of each example in nats, float64 of shape (n,)."""
        return np.asarray(np.mean([log_losses(split, self.y) for split in self.probabilities], axis=0))


@dataclass(frozen=True)
class Difference:
    """A candidate minus the best one, on the same examples."""

    accuracy: Interval  # -1..1
    log_loss: Interval  # in nats

    @property
    def tied(self) -> bool:
        """Whether neither figure tells the two apart."""
        return self.accuracy.high >= 0 and self.log_loss.low <= 0

    @property
    def close(self) -> bool:
        """Whether the two are tied, and the log loss is higher by no more than one standard error of the difference."""
        return self.tied and self.log_loss.value <= standard_error(self.log_loss)


def standard_error(interval: Interval) -> float:
    """Return the standard error behind a 95 % interval of a mean."""
    return (interval.high - interval.value) / Z


def probe(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    c: int,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
    words: NDArray[np.float32] | None = None,
    repeats: int = REPEATS,
) -> Unseen:
    """Return what ridge regression on features says of examples that it was fitted without.

    One decomposition of the features serves every penalty and every split: the penalty is that of the least
    leave-one-out error, and the folds of each split are left out exactly, without a second fit.

    Args:
        x: features of shape (n, d).
        y: class ids of shape (n,), in 0..c-1.
        seed: of the first split; the others have those that follow.
        groups: n names; examples of one are left out together. Without it, those of equal features are.
        counts: how many equal examples each row stands for, of shape (n,); None for one.
        words: of texts, what words alone say of the same examples unseen, float32 of shape (n, c): the two are stacked
            where that helps, as `fit` does.

    Raises:
        UsageError: fewer than two classes have examples, or a feature is not finite.
    """
    task = cross_validation_task(x, y, c, seed=seed, folds=FOLDS, groups=groups, counts=counts)
    penalty, _ = choose_ridge_penalty(task)
    splits: list[NDArray[np.float32]] = []
    shares: tuple[float, float] | None = None
    for repeat in range(repeats):
        own = cross_validation_task(
            x, y, c, seed=seed + repeat, folds=FOLDS, groups=groups, counts=counts, principal=task.principal
        )
        left_out = np.where(own.folds < 0, len(y) + own.groups, own.folds)
        scores = next(ridge.leave_out_scores(own.principal, own.y, own.c, penalties=[penalty], groups=left_out))
        trial = evaluate_scores(own, "ridge", penalty, scores)
        unseen = probabilities_of_all_classes(trial.scores, trial.temperature, own.present, c)
        if words is not None and not repeat:
            stacking = fit_stacking(unseen, words, y, own.test_weights)
            shares = stacking.shares if stacking.improves else None
        splits.append(unseen if words is None or shares is None else _with_words(unseen, words, shares))
    return Unseen(np.stack(splits), y, task.folds >= 0)


def mean_unseen(members: Sequence[Unseen], counts: NDArray[np.int64]) -> Unseen:
    """Return what the mean of the calibrated scores of several heads says of the same n examples, recalibrated.

    `counts` (n,) says how many equal examples each stands for.
    """
    y, tested = members[0].y, members[0].tested
    present, positions = np.unique(y, return_inverse=True)
    weights = class_weights(positions, len(present), counts)[positions] * counts * tested
    splits = []
    for split in zip(*(member.probabilities for member in members), strict=True):
        scores = mean_scores([probabilities[:, present] for probabilities in split])
        temperature = fit_temperature(scores, positions, weights)
        splits.append(probabilities_of_all_classes(scores, temperature, present, split[0].shape[1]))
    return Unseen(np.stack(splits), y, tested)


def _with_words(
    source: NDArray[np.float32], words: NDArray[np.float32], shares: tuple[float, float]
) -> NDArray[np.float32]:
    return softmax(np.tensordot(np.array(shares, np.float32), log_probabilities(source, words), axes=1))


def accuracy_of(unseen: Unseen, row_of: NDArray[np.intp], clusters: Clusters) -> Interval:
    """Return the accuracy on unseen examples with its 95 % interval, for as many as the clusters tell.

    `row_of` (m,) is the row of each of the m examples, and `clusters` (m,) what hangs together among them.
    """
    tested = unseen.tested[row_of]
    right = unseen.right[row_of][tested]
    n = effective_number(right > 0.5, None if clusters is None else clusters[tested])
    return wilson(float(right.mean() * n), n)


def difference_of(first: Unseen, best: Unseen, row_of: NDArray[np.intp], clusters: Clusters) -> Difference:
    """Return one candidate minus the best, paired on the m examples of `row_of` (m,), each with its 95 % interval."""
    tested = first.tested[row_of]
    some = None if clusters is None else clusters[tested]
    right, losses = (first.right - best.right)[row_of][tested], (first.losses - best.losses)[row_of][tested]
    return Difference(paired_mean(right, some, widest=1.0), paired_mean(losses, some))


def mean_loss(unseen: Unseen, row_of: NDArray[np.intp]) -> float:
    """Return the mean log loss over the m examples of `row_of` (m,), in nats."""
    return float(unseen.losses[row_of][unseen.tested[row_of]].mean())


def nested_order(y: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """Return an order of n examples each beginning of which is stratified and drawn at random by `seed`."""
    drawn = np.random.default_rng(seed).permutation(len(y))
    place = np.empty(len(y))
    for own in np.unique(y):
        members = drawn[y[drawn] == own]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.asarray(drawn[np.argsort(place[drawn], kind="stable")])


def rungs(n: int, c: int, first: int = FIRST_RUNG) -> tuple[int, ...]:
    """Return on how many of n examples of c classes candidates are measured, fewest first; the last is all of them.

    A rung has at least ten examples a class, and is left out where the next is less than twice as large.
    """
    sizes = [n]
    while sizes[0] // GROWTH >= max(first, 10 * c):
        sizes.insert(0, sizes[0] // GROWTH)
    return tuple(sizes)


def survivors(losses: Sequence[float], tied: Sequence[bool], share: float = SURVIVING) -> list[int]:
    """Return which sources go on to the next rung: the better half by log loss, and whatever is tied with the best."""
    order = np.argsort(losses, kind="stable").tolist()
    count = max(LEAST_SURVIVORS, int(np.ceil(share * len(order))))
    return sorted({*order[:count], *(place for place, level in enumerate(tied) if level)})
