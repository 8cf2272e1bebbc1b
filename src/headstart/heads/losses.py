"""Convex losses of class scores: multinomial logistic, and the squared hinge of a support vector machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ValuesAndSlopes = tuple[NDArray[np.float64], NDArray[np.floating]]


@dataclass(frozen=True)
class ConvexLoss:
    """A loss that a linear head can be fitted with.

    Attributes:
        evaluate: takes scores (m, c, n), class ids (n,) and weights (m, n) of m heads, and returns their weighted
            losses (m,) and the slopes by score (m, c, n). It may reuse the memory of the scores for the slopes.
        curvature: about how large the second derivative of the loss by a score is, by the number of classes.
        penalties: L2 strengths worth trying, strongest first.
    """

    evaluate: Callable[[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating]], ValuesAndSlopes]
    curvature: Callable[[int], float]
    penalties: tuple[float, ...]


def cross_entropy(scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating]) -> ValuesAndSlopes:
    """Return the weighted cross entropy in nats, and its slopes; shapes are those of `ConvexLoss.evaluate`."""
    rows = np.arange(len(y))
    scores -= scores.max(axis=1, keepdims=True)
    true_scores = scores[:, y, rows]
    np.exp(scores, out=scores)
    total = scores.sum(axis=1)
    values = np.einsum("mn,mn->m", weights, np.log(total) - true_scores, dtype=np.float64)
    scores *= (weights / total)[:, None]
    scores[:, y, rows] -= weights
    return values, scores


def squared_hinge(scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating]) -> ValuesAndSlopes:
    """Return the weighted sum of squared hinges, one class against the rest, and its slopes; shapes as above."""
    rows = np.arange(len(y))
    true_shortfall = 1 - scores[:, y, rows]
    shortfall = scores
    shortfall += 1
    shortfall[:, y, rows] = true_shortfall
    np.maximum(shortfall, 0, out=shortfall)
    values = np.einsum("mcn,mcn,mn->m", shortfall, shortfall, weights, dtype=np.float64)
    shortfall *= 2 * weights[:, None]
    shortfall[:, y, rows] *= -1
    return values, shortfall


def _half_powers_of_ten(first: float, last: float) -> tuple[float, ...]:
    return tuple(float(10.0**half) for half in np.arange(first, last - 0.01, -0.5))


LOGISTIC = ConvexLoss(
    cross_entropy,
    lambda c: min(0.25, 1 / c),  # p (1 - p), for probabilities that are near 1/c where there are many classes
    penalties=_half_powers_of_ten(1.5, -4),
)
SVM = ConvexLoss(squared_hinge, lambda c: 2.0, penalties=_half_powers_of_ten(3, -3))
CONVEX_LOSSES = {"logistic": LOGISTIC, "svm": SVM}
