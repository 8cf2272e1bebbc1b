"""Baselines: classifiers that need no source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.mapped import by_blocks
from headstart.heads.linear import LinearHead
from headstart.heads.select import fit_logistic

PENALTIES = (10.0, 1.0, 0.1, 0.01)
MAX_BASELINE_EXAMPLES = 10_000  # that are fitted on; more would make the baseline slower than the source


def majority_baseline(y: NDArray[np.int64], c: int, n: int) -> NDArray[np.float32]:
    """Return the class frequencies of the training labels for each of `n` examples, float32 of shape (n, c).

    Their largest is the majority class, so that the accuracy of these probabilities is the share of that class.
    """
    frequencies = np.bincount(y, minlength=c) / len(y)
    return np.tile(frequencies.astype(np.float32), (n, 1))


@dataclass(frozen=True)
class SimpleFit:
    """The simple baseline of photos or recordings, fitted."""

    head: LinearHead  # on plain numbers, pixels in 0..1
    rows: NDArray[np.intp]  # which m of the training examples it was fitted on
    out_of_fold: NDArray[np.float32]  # float32 of shape (m, c), of each of these by a head fitted without it
    test_weights: NDArray[np.float64]  # float64 of shape (m,), how much each counts in its error


def plain_numbers(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return baseline inputs as the baseline reads them: pixels of uint8 as 0..1."""
    if rows.dtype != np.uint8:
        return np.asarray(rows, np.float32)
    return by_blocks(len(rows), rows.shape[1], lambda part: rows[part].astype(np.float32) / np.float32(255), np.float32)


def fit_simple(
    train: NDArray[Any],
    y: NDArray[np.int64],
    c: int,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
    limit: int = MAX_BASELINE_EXAMPLES,
) -> SimpleFit:
    """Fit logistic regression on plain numbers; of more than `limit` examples, on so many drawn at random.

    Args:
        train: of shape (n, d): of pictures the raw pixels, uint8 in 0..255, scaled down to a small fixed size; of
            recordings mean and spread of their MFCC, float32.
        y: class ids of the training examples, of shape (n,), in 0..c-1.
        seed: of that draw, and of the folds that choose the strength of the penalty.
        groups: n names; training examples of one are held out together. Without it, equal ones are.
        counts: how many equal training examples each row stands for, of shape (n,); None for one.

    Raises:
        UsageError: fewer than two classes with examples.
    """
    rows = np.arange(len(y))
    if len(y) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(y), limit, replace=False))
        train, y, counts = train[rows], y[rows], None if counts is None else counts[rows]
        groups = None if groups is None else [groups[row] for row in rows.tolist()]
    choice, weights = fit_logistic(
        plain_numbers(train), y, c, penalties=PENALTIES, seed=seed, groups=groups, counts=counts
    )
    return SimpleFit(choice.head, rows, choice.out_of_fold, weights)
