"""Which examples train and which are left out: folds, groups, and how much each class counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_CLASS_RATIO = 2.0  # the largest class may weigh this many times the smallest
MOST_VISITS = 8  # of each content in an epoch, on average; beyond it repeats count as a weight


@dataclass(frozen=True)
class LabelledFolds:
    """The classes of n rows, and the folds of a cross-validation."""

    present: NDArray[np.int64]  # int64 of shape (c,), ids of the classes that have examples
    y: NDArray[np.int64]  # int64 of shape (n,), positions in `present`
    weights: NDArray[np.float64]  # float64 of shape (n,), how much each row counts
    groups: NDArray[np.int64]  # int64 of shape (n,); rows of one group are left out together
    folds: NDArray[np.int64]  # int64 of shape (n,), the fold that leaves each row out, or -1 for none
    counts: NDArray[np.int64]  # int64 of shape (n,), how many equal examples each row stands for

    @property
    def c(self) -> int:
        """The number of classes that have examples."""
        return len(self.present)

    @property
    def count(self) -> int:
        """The number of folds, at least 1."""
        return max(int(self.folds.max()) + 1, 1)

    @property
    def test_weights(self) -> NDArray[np.float64]:
        """How much each row counts in the error: its weight, or 0 where no fold leaves it out."""
        left_out = self.folds >= 0
        return np.where(left_out, self.weights, 0) if left_out.any() else self.weights


def label_folds(
    contents: Iterable[bytes | NDArray[np.generic]],
    y: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    folds: int,
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> LabelledFolds:
    """Return stratified folds of rows that hold `contents`; equal ones, or those of one group, stay together.

    Each row stands for as many equal examples as `counts` says; None for one.
    """
    counts = np.ones(len(y), np.int64) if counts is None else counts
    present, y = np.unique(y, return_inverse=True)
    ids, keys = content_groups(contents, groups)
    fold_of = assign_folds(y, ids, keys, folds=folds, seed=seed, counts=counts)
    return LabelledFolds(present, y, weights, ids, fold_of, counts)


def distinct_pairs(
    contents: NDArray[np.integer], y: NDArray[np.int64], c: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Return the distinct pairs of content and class among n examples, in the order of their contents.

    Contents are numbers >= 0 of shape (n,), `y` class ids in 0..c-1.

    Returns:
        Of the m pairs the first example, intp of shape (m,); the pair of each example, intp of shape (n,); and of how
        many examples each is, int64 of shape (m,).
    """
    pairs = contents.astype(np.int64) * c + y
    _, first, pair_of, counts = np.unique(pairs, return_index=True, return_inverse=True, return_counts=True)
    return first, pair_of, counts


def visits_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often an epoch visits each of m distinct pairs that stand for `counts` (m,) examples: int64, >= 1.

    It visits every example while there are `MOST_VISITS` of each pair, or fewer, on average. Beyond that the visits are
    in proportion, and each stands for as many examples as the pair has a visit: an epoch over a million rows of 20
    texts is one over 160.
    """
    most = MOST_VISITS * len(counts)
    total = int(counts.sum())
    return counts if total <= most else -(-counts * most // total)


def weighted_mean(values: NDArray[np.floating], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of `values` (n,), each counting as `weights` (n,) says, and its standard error."""
    mean = float(weights @ values / weights.sum())
    spread = weights * (values - mean)
    return mean, float(np.sqrt(spread @ spread) / weights.sum())


def class_weights(
    y: NDArray[np.int64], c: int, counts: NDArray[np.int64] | NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return how much one example of each class counts, float64 of shape (c,), 1 on average over examples.

    Every example counts the same while no class is larger than MAX_CLASS_RATIO times another. Beyond that, examples
    of the small classes count more, up to that ratio: fitting, choice and calibration then cannot gain by giving a
    rare class up. Classes without an example get 0. Each of `y` (n,) stands for as many examples as `counts` (n,) says.
    """
    sizes = np.bincount(y, counts, minlength=c).astype(np.float64)
    mass = np.where(sizes > 0, np.maximum(sizes, sizes.max() / MAX_CLASS_RATIO), 0)
    weights = np.divide(mass, sizes, out=np.zeros(c), where=sizes > 0)
    return np.asarray(weights * (sizes.sum() / mass.sum()))


def content_groups(
    contents: Iterable[bytes | NDArray[np.generic]], groups: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[bytes]]:
    """Return a group id for each row, and a key for each group that follows from its content alone.

    Without `groups`, rows of equal content are one group. Keys do not depend on the order of the rows.
    """
    keys = [
        hashlib.sha256(content if isinstance(content, bytes) else np.ascontiguousarray(content).data).digest()
        for content in contents
    ]
    number: dict[object, int] = {}
    ids = [number.setdefault(name, len(number)) for name in (keys if groups is None else groups)]
    least: list[bytes] = [b"\xff" * 32] * len(number)
    for group, key in zip(ids, keys, strict=True):
        least[group] = min(key, least[group])
    return np.array(ids, np.int64), least


def assign_folds(
    y: NDArray[np.int64],
    groups: NDArray[np.int64],
    keys: Sequence[bytes],
    *,
    folds: int,
    seed: int,
    counts: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the fold that leaves each row out, int64 of shape (n,): stratified, groups kept together.

    The fold of a row follows from what the rows hold and from the seed, not from their order nor from the numbers
    of the classes. A class that stands in one group only is never left out: its rows get -1. A row is as large as
    `counts` (n,) says; None for 1.
    """
    salted = [hashlib.sha256(b"%d:%b" % (seed, key)).digest() for key in keys]
    rank = np.empty(len(keys), np.int64)
    rank[sorted(range(len(keys)), key=salted.__getitem__)] = np.arange(len(keys))
    first = np.full(y.max() + 1, len(keys))
    np.minimum.at(first, y, rank[groups])
    stratum = np.full(len(keys), len(keys))
    np.minimum.at(stratum, groups, first[y])
    sizes = np.bincount(groups, counts, minlength=len(keys))
    indispensable = _hold_whole_classes(y, groups, len(keys))
    fold_of = np.full(len(keys), -1)
    rows_of_stratum: dict[int, list[int]] = {}
    rows_of_fold = [0] * folds
    for group in np.lexsort((rank, -sizes, stratum)).tolist():
        if indispensable[group]:
            continue
        rows = rows_of_stratum.setdefault(int(stratum[group]), [0] * folds)
        fold = min(range(folds), key=lambda fold: (rows[fold], rows_of_fold[fold]))
        fold_of[group] = fold
        rows[fold] += int(sizes[group])
        rows_of_fold[fold] += int(sizes[group])
    return fold_of[groups]


def _hold_whole_classes(y: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return, for each group, whether it holds all there is of some class."""
    pairs = np.unique(np.stack([y, groups]), axis=1)
    groups_of_class = np.bincount(pairs[0])
    whole = np.zeros(count, bool)
    whole[pairs[1][groups_of_class[pairs[0]] == 1]] = True
    return whole
