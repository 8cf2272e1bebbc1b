"""Two heads joined: what a head on source features and one on words say together, where that is worth it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.heads.linear import LinearHead
from headstart.heads.tfidf import TfidfHead, TfidfTrial

LEAST = 1e-9  # probability below which a certainty is not believed
STEPS = 50


@dataclass(frozen=True)
class Joined:
    """What joining a source with words comes to, on training texts that neither head had seen.

    Attributes:
        shares: how much the log probabilities of the source and of the words count.
        log_loss: of both together, in nats.
        standard_error: of `log_loss`.
        alone: log loss of the source alone, weighted as suits it best.
        better: whether joining gains more than one standard error of the paired difference.
    """

    shares: tuple[float, float]
    log_loss: float
    standard_error: float
    alone: float
    better: bool


def try_joined(source: NDArray[np.float32], words: TfidfTrial, y: NDArray[np.int64]) -> Joined:
    """Return what a weighted sum of log probabilities gains (stacking, Wolpert 1992).

    Args:
        source: out-of-fold probabilities of the head on source features, of shape (n, c).
        words: the trial of the head on words, on the same n texts.
        y: class ids of shape (n,).
    """
    logs = np.stack([np.log(np.maximum(one, LEAST)) for one in (source, words.out_of_fold)]).astype(np.float64)
    counted = words.counted
    shares = _shares(logs, y, counted)
    losses = _losses(np.tensordot(shares, logs, axes=1), y)
    alone = _losses(np.tensordot(_shares(logs[:1], y, counted), logs[:1], axes=1), y)

    def mean(values: NDArray[np.float64]) -> tuple[float, float]:
        average = float(counted @ values / counted.sum())
        spread = counted * (values - average)
        return average, float(np.sqrt(spread @ spread) / counted.sum())

    gain, error = mean(alone - losses)
    value, spread = mean(losses)
    better = gain > error and shares[1] > 0
    return Joined((float(shares[0]), float(shares[1])), value, spread, mean(alone)[0], better)


def joined_loss(
    shares: tuple[float, float],
    said: tuple[NDArray[np.float32], NDArray[np.float32]],
    y: NDArray[np.int64],
    counted: NDArray[np.float64],
) -> float:
    """Return the log loss in nats of two probabilities (n, c) each, joined with given shares.

    Args:
        shares: of the two.
        said: by the source, and by words.
        y: class ids of shape (n,).
        counted: how much each example counts, of shape (n,).
    """
    logs = np.stack([np.log(np.maximum(one, LEAST)) for one in said]).astype(np.float64)
    losses = _losses(np.tensordot(np.array(shares), logs, axes=1), y)
    return float(counted @ losses / counted.sum())


def join(head: LinearHead, words: TfidfHead, joined: Joined) -> tuple[LinearHead, TfidfHead]:
    """Return the two heads with their shares folded in: the scores of both, added, are those of the joined head."""
    mine = np.float32(joined.shares[0] / head.temperature)
    theirs = np.float32(joined.shares[1] / words.temperature)
    bias = mine * head.bias + theirs * words.bias
    one = replace(head, kind=f"{head.kind} + words", weight=mine * head.weight, bias=bias, temperature=1.0)
    other = replace(words, weight=theirs * words.weight, bias=np.zeros_like(words.bias), temperature=1.0)
    return one, other


def _shares(logs: NDArray[np.float64], y: NDArray[np.int64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of each of the log probabilities (k, n, c) that gives the least log loss; none is below 0.

    The loss is convex: Newton's method.
    """
    shares = np.eye(1, len(logs))[0]
    weights = counted / counted.sum()
    own = logs[:, np.arange(len(y)), y]
    for _ in range(STEPS):
        scores = np.tensordot(shares, logs, axes=1)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        powers /= powers.sum(axis=1, keepdims=True)
        means = np.einsum("nc,knc->kn", powers, logs)
        slope = (means - own) @ weights
        spread = logs - means[:, :, None]
        bend = np.einsum("nc,inc,jnc,n->ij", powers, spread, spread, weights, optimize=True) + 1e-9 * np.eye(len(logs))
        step = np.linalg.solve(bend, slope)
        following = np.maximum(shares - step, 0)
        if np.abs(following - shares).max() < 1e-6:
            break
        shares = following
    return np.asarray(shares)


def _losses(scores: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    gaps = scores - scores.max(axis=1, keepdims=True)
    losses: NDArray[np.float64] = np.log(np.exp(gaps).sum(axis=1)) - gaps[np.arange(len(y)), y]
    return losses
