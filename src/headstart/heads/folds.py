"""Which examples train and which judge: folds, groups, and how much each class counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IMBALANCE = 2.0  # the largest class may weigh this many times the smallest


def class_weights(y: NDArray[np.int64], c: int) -> NDArray[np.float64]:
    """Return how much one example of each class counts, float64 of shape (c,), 1 on average over examples.

    Every example counts the same while no class is larger than IMBALANCE times another. Beyond that, examples of
    the small classes count more, up to that ratio: fitting, choice and calibration then cannot gain by giving a
    rare class up. Classes without an example get 0.
    """
    counts = np.bincount(y, minlength=c).astype(np.float64)
    mass = np.where(counts > 0, np.maximum(counts, counts.max() / IMBALANCE), 0)
    weights = np.divide(mass, counts, out=np.zeros(c), where=counts > 0)
    return np.asarray(weights * (len(y) / mass.sum()))


def content_groups(x: NDArray[np.float32], groups: Sequence[str] | None) -> tuple[NDArray[np.int64], list[bytes]]:
    """Return a group id for each row, and a key for each group that follows from its content alone.

    Without `groups`, rows of equal features are one group. Keys do not depend on the order of the rows.
    """
    keys = [hashlib.sha256(np.ascontiguousarray(row).data).digest() for row in x]
    number: dict[object, int] = {}
    ids = [number.setdefault(name, len(number)) for name in (keys if groups is None else groups)]
    least: list[bytes] = [b"\xff" * 32] * len(number)
    for group, key in zip(ids, keys, strict=True):
        least[group] = min(key, least[group])
    return np.array(ids, np.int64), least


def assign_folds(
    y: NDArray[np.int64], groups: NDArray[np.int64], keys: Sequence[bytes], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """Return the fold in which each row is held out, int64 of shape (n,): stratified, groups kept together.

    The fold of a row follows from what the rows hold and from the seed, not from their order nor from the numbers
    of the classes. A class that stands in one group only is never held out: its rows get -1.
    """
    salted = [hashlib.sha256(b"%d:%b" % (seed, key)).digest() for key in keys]
    rank = np.empty(len(keys), np.int64)
    rank[sorted(range(len(keys)), key=salted.__getitem__)] = np.arange(len(keys))
    first = np.full(y.max() + 1, len(keys))
    np.minimum.at(first, y, rank[groups])
    stratum = np.full(len(keys), len(keys))
    np.minimum.at(stratum, groups, first[y])
    sizes = np.bincount(groups, minlength=len(keys))
    alone = _alone(y, groups, len(keys))
    fold_of = np.full(len(keys), -1)
    held: dict[int, list[int]] = {}
    total = [0] * folds
    for group in np.lexsort((rank, -sizes, stratum)).tolist():
        if alone[group]:
            continue
        of_class = held.setdefault(int(stratum[group]), [0] * folds)
        fold = min(range(folds), key=lambda fold: (of_class[fold], total[fold]))
        fold_of[group] = fold
        of_class[fold] += int(sizes[group])
        total[fold] += int(sizes[group])
    return fold_of[groups]


def _alone(y: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return, for each group, whether it holds all there is of some class."""
    pairs = np.unique(np.stack([y, groups]), axis=1)
    in_groups = np.bincount(pairs[0])
    alone = np.zeros(count, bool)
    alone[pairs[1][in_groups[pairs[0]] == 1]] = True
    return alone
