"""Baselines: what a classifier reaches without any source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.modality import Kind
from headstart.heads.select import fit_logistic

PENALTIES = (10.0, 1.0, 0.1, 0.01)
MOST = 10_000  # examples that are learned from; more would make the baseline slower than the source


def majority(y: NDArray[np.int64], c: int, n: int) -> NDArray[np.float32]:
    """Return the class frequencies of the training labels for each of `n` examples, float32 of shape (n, c).

    Their largest is the majority class, so that the accuracy of these probabilities is the share of that class.
    """
    frequencies = np.bincount(y, minlength=c) / len(y)
    return np.tile(frequencies.astype(np.float32), (n, 1))


def simple_images(
    train: NDArray[np.uint8], y: NDArray[np.int64], test: NDArray[np.uint8], *, c: int, seed: int
) -> NDArray[np.float32]:
    """Return class probabilities of test pictures by logistic regression on their raw pixels.

    Of more than 10,000 training pictures, 10,000 drawn at random are learned from.

    Args:
        train: pixels of shape (n, d), 0..255, of pictures scaled down to a small fixed size.
        y: class ids of the training pictures, of shape (n,), in 0..c-1.
        test: pixels of shape (m, d), 0..255.
        c: number of classes.
        seed: of that draw, and of the folds that choose the strength of the penalty.

    Returns:
        float32 of shape (m, c).

    Raises:
        UsageError: fewer than two classes with examples.
    """
    scale = np.float32(255)
    return _regression(train, y, test, lambda rows: rows.astype(np.float32) / scale, c=c, seed=seed)


def simple_sounds(
    train: NDArray[np.float32], y: NDArray[np.int64], test: NDArray[np.float32], *, c: int, seed: int
) -> NDArray[np.float32]:
    """Return class probabilities of test recordings by logistic regression on mean and spread of their MFCC.

    Args:
        train: those numbers of the training recordings, float32 of shape (n, d).
        y: class ids of shape (n,), in 0..c-1.
        test: those of the test recordings, float32 of shape (m, d).
        c: number of classes.
        seed: as for `simple_images`.

    Returns:
        float32 of shape (m, c).

    Raises:
        UsageError: fewer than two classes with examples.
    """
    return _regression(train, y, test, np.asarray, c=c, seed=seed)


SIMPLE: dict[Kind, Callable[..., NDArray[np.float32]]] = {"image": simple_images, "sound": simple_sounds}
"""The baseline without a source, of each kind whose examples a row of numbers summarises."""


def _regression(
    train: NDArray[Any],
    y: NDArray[np.int64],
    test: NDArray[Any],
    numbers: Callable[[NDArray[Any]], NDArray[np.float32]],
    *,
    c: int,
    seed: int,
) -> NDArray[np.float32]:
    if len(y) > MOST:
        drawn = np.sort(np.random.default_rng(seed).choice(len(y), MOST, replace=False))
        train, y = train[drawn], y[drawn]
    head = fit_logistic(numbers(train), y, c, penalties=PENALTIES, seed=seed)
    return head.predict_proba(numbers(test))
