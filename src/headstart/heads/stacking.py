"""Stacking: what a head on source features and the simple baseline predict together, where it pays (Wolpert 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.heads.folds import weighted_mean
from headstart.heads.linear import LinearHead, log_losses, log_probabilities, softmax
from headstart.heads.tfidf import TfidfHead

MAX_STACKING_STEPS = 50
SHARE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Stacking:
    """What stacking a source with the simple baseline comes to, on examples that neither head had seen."""

    shares: tuple[float, float]  # how much the log probabilities of the source and of the baseline count
    log_loss: float  # of both together, in nats
    standard_error: float  # of `log_loss`
    source_log_loss: float  # of the source alone, with the share that suits it best
    improves: bool  # whether the baseline gains enough beyond the error of the paired difference


def fit_stacking(
    source: NDArray[np.float32],
    simple: NDArray[np.float32],
    y: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    errors: float = 1.0,
) -> Stacking:
    """Return what a weighted sum of the log probabilities of two heads gains over the first alone.

    Both have out-of-fold probabilities (n, c) of the same n examples, whose class ids `y` and `weights` are of shape
    (n,). It improves where it gains more than so many standard `errors` of the paired difference, and on all examples
    together more than the one nat that its one further parameter costs (Akaike 1974): where both heads are right and
    sure, adding them makes them surer, and nothing else.
    """
    logs = log_probabilities(source, simple).astype(np.float64)
    shares, source_share = _fit_shares(logs, y, weights), _fit_shares(logs[:1], y, weights)
    losses = log_losses(np.tensordot(shares, logs, axes=1), y, 1.0)
    source_losses = log_losses(np.tensordot(source_share, logs[:1], axes=1), y, 1.0)
    gain, gain_error = weighted_mean(source_losses - losses, weights)
    return Stacking(
        (float(shares[0]), float(shares[1])),
        *weighted_mean(losses, weights),
        source_log_loss=weighted_mean(source_losses, weights)[0],
        improves=gain > max(errors * gain_error, _one_example(weights)) and bool(shares[1] > 0),
    )


def unseen_losses(
    heads: Sequence[NDArray[np.float32]], shares: Sequence[float], y: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the log loss of each of n examples, float64, by heads' probabilities (n, c), stacked with shares."""
    return log_losses(np.tensordot(np.array(shares), log_probabilities(*heads), axes=1), y, 1.0)


def best_share(head: NDArray[np.float32], y: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Return the share of a head alone with which its probabilities (n, c) have the least weighted log loss."""
    return float(_fit_shares(log_probabilities(head).astype(np.float64), y, weights)[0])


def stacked_log_loss(
    shares: tuple[float, float],
    source: NDArray[np.float32],
    words: NDArray[np.float32],
    y: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> float:
    """Return the weighted log loss in nats of two heads' probabilities (n, c), stacked with known shares."""
    return weighted_mean(unseen_losses([source, words], shares, y), weights)[0]


def stack_heads(head: LinearHead, words: TfidfHead, shares: tuple[float, float]) -> tuple[LinearHead, TfidfHead]:
    """Return the two heads with their shares folded in: the scores of both, added, are those of the stacked head."""
    source_share = np.float32(shares[0] / head.temperature)
    words_share = np.float32(shares[1] / words.temperature)
    bias = source_share * head.bias + words_share * words.bias
    kind = f"{head.kind} + words"
    return (
        replace(head, kind=kind, weight=source_share * head.weight, bias=bias, temperature=1.0),
        replace(words, weight=words_share * words.weight, bias=np.zeros_like(words.bias), temperature=1.0),
    )


def _one_example(weights: NDArray[np.float64]) -> float:
    """Return the share of one example among all, 1 / n where their weights are equal (Kish 1965)."""
    return float(np.square(weights).sum() / weights.sum() ** 2)


def _fit_shares(logs: NDArray[np.float64], y: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares >= 0 of the log probabilities (k, n, c) with the least log loss, which is convex: by Newton.

    A normal prior of deviation 1 says that the first counts as it is and the others do not, as strongly as one example
    does: where few examples are told apart without a mistake, the shares would grow without bound.
    """
    prior: NDArray[np.float64] = np.eye(1, len(logs))[0]
    strength = _one_example(weights)
    weights = weights / weights.sum()
    rows = np.arange(len(y))

    def loss_of(shares: NDArray[np.float64]) -> float:
        losses = log_losses(np.tensordot(shares, logs, axes=1), y, 1.0)
        return float(weights @ losses + strength / 2 * np.square(shares - prior).sum())

    shares, loss = prior, loss_of(prior)
    for _ in range(MAX_STACKING_STEPS):
        probabilities = softmax(np.tensordot(shares, logs, axes=1))
        means = np.einsum("nc,knc->kn", probabilities, logs)
        gradient = (means - logs[:, rows, y]) @ weights + strength * (shares - prior)
        spread = logs - means[:, :, None]
        hessian = np.tensordot(spread * (weights[:, None] * probabilities), spread, axes=((1, 2), (1, 2)))
        step = np.linalg.solve(hessian + strength * np.eye(len(logs)), gradient)
        while (nearer := loss_of(after := np.maximum(shares - step, 0))) > loss and np.abs(
            step
        ).max() > SHARE_TOLERANCE:
            step = step / 2
        if np.abs(after - shares).max() < SHARE_TOLERANCE or nearer > loss:
            break
        shares, loss = after, nearer
    return np.asarray(shares)
