"""Baselines: classifiers that need no source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.modality import Kind
from headstart.heads.select import fit_logistic

PENALTIES = (10.0, 1.0, 0.1, 0.01)
MAX_BASELINE_EXAMPLES = 10_000  # that are fitted on; more would make the baseline slower than the source


def majority_baseline(y: NDArray[np.int64], c: int, n: int) -> NDArray[np.float32]:
    """Return the class frequencies of the training labels for each of `n` examples, float32 of shape (n, c).

    Their largest is the majority class, so that the accuracy of these probabilities is the share of that class.
    """
    frequencies = np.bincount(y, minlength=c) / len(y)
    return np.tile(frequencies.astype(np.float32), (n, 1))


def pixel_baseline(
    train: NDArray[np.uint8],
    y: NDArray[np.int64],
    test: NDArray[np.uint8],
    *,
    c: int,
    seed: int,
    counts: NDArray[np.int64] | None = None,
    limit: int = MAX_BASELINE_EXAMPLES,
) -> NDArray[np.float32]:
    """Return class probabilities of test pictures, float32 of shape (m, c), by logistic regression on their raw pixels.

    Of more than `limit` training pictures, it is fitted on so many drawn at random.

    Args:
        train: pixels of shape (n, d), 0..255, of pictures scaled down to a small fixed size.
        y: class ids of the training pictures, of shape (n,), in 0..c-1.
        test: pixels of shape (m, d), 0..255.
        seed: of that draw, and of the folds that choose the strength of the penalty.
        counts: how many equal training pictures each row stands for, of shape (n,); None for one.

    Raises:
        UsageError: fewer than two classes with examples.
    """
    scale = np.float32(255)
    inputs = train, y, test, lambda rows: rows.astype(np.float32) / scale
    return _regression(*inputs, c=c, seed=seed, counts=counts, limit=limit)


def mfcc_baseline(
    train: NDArray[np.float32],
    y: NDArray[np.int64],
    test: NDArray[np.float32],
    *,
    c: int,
    seed: int,
    counts: NDArray[np.int64] | None = None,
    limit: int = MAX_BASELINE_EXAMPLES,
) -> NDArray[np.float32]:
    """Return class probabilities of test recordings by logistic regression on mean and spread of MFCC.

    The arguments are as for `pixel_baseline`; what is learned from are those statistics, float32 of shape (n, d).
    """
    return _regression(train, y, test, np.asarray, c=c, seed=seed, counts=counts, limit=limit)


SIMPLE_BASELINES: dict[Kind, Callable[..., NDArray[np.float32]]] = {"image": pixel_baseline, "sound": mfcc_baseline}
"""The baseline without a source, of each kind whose examples a row of numbers summarises."""


def _regression(
    train: NDArray[Any],
    y: NDArray[np.int64],
    test: NDArray[Any],
    decode: Callable[[NDArray[Any]], NDArray[np.float32]],
    *,
    c: int,
    seed: int,
    counts: NDArray[np.int64] | None,
    limit: int,
) -> NDArray[np.float32]:
    if len(y) > limit:
        drawn = np.sort(np.random.default_rng(seed).choice(len(y), limit, replace=False))
        train, y, counts = train[drawn], y[drawn], None if counts is None else counts[drawn]
    head = fit_logistic(decode(train), y, c, penalties=PENALTIES, seed=seed, counts=counts)
    return head.predict_proba(decode(test))
