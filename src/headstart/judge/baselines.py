"""Baselines: classifiers that need no source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.select import fit_logistic

PENALTIES = (10.0, 1.0, 0.1, 0.01)
MAX_BASELINE_EXAMPLES = 10_000  # that are fitted on; more would make the baseline slower than the source


def majority_baseline(y: NDArray[np.int64], c: int, n: int) -> NDArray[np.float32]:
    """Return the class frequencies of the training labels for each of `n` examples, float32 of shape (n, c).

    Their largest is the majority class, so that the accuracy of these probabilities is the share of that class.
    """
    frequencies = np.bincount(y, minlength=c) / len(y)
    return np.tile(frequencies.astype(np.float32), (n, 1))


def simple_baseline(
    train: NDArray[Any],
    y: NDArray[np.int64],
    test: NDArray[Any],
    *,
    c: int,
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
    limit: int = MAX_BASELINE_EXAMPLES,
) -> NDArray[np.float32]:
    """Return class probabilities of test examples, float32 of shape (m, c), by logistic regression on plain numbers.

    Of more than `limit` training examples, it is fitted on so many drawn at random.

    Args:
        train: of shape (n, d): of pictures the raw pixels, uint8 in 0..255, scaled down to a small fixed size; of
            recordings mean and spread of their MFCC, float32.
        y: class ids of the training examples, of shape (n,), in 0..c-1.
        test: the same of the test examples, of shape (m, d).
        seed: of that draw, and of the folds that choose the strength of the penalty.
        groups: n names; training examples of one are held out together. Without it, equal ones are.
        counts: how many equal training examples each row stands for, of shape (n,); None for one.

    Raises:
        UsageError: fewer than two classes with examples.
    """
    if len(y) > limit:
        drawn = np.sort(np.random.default_rng(seed).choice(len(y), limit, replace=False))
        train, y, counts = train[drawn], y[drawn], None if counts is None else counts[drawn]
        groups = None if groups is None else [groups[row] for row in drawn]
    if train.dtype == np.uint8:
        train, test = (rows.astype(np.float32) / np.float32(255) for rows in (train, test))
    return fit_logistic(train, y, c, penalties=PENALTIES, seed=seed, groups=groups, counts=counts).predict_proba(test)
