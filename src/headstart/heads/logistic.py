"""Multinomial logistic regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.heads.convex import Kind


def loss(
    scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Return the weighted cross entropy in nats, (m,), and its slopes by score, for scores (m, c, n)."""
    at = np.arange(len(y))
    scores -= scores.max(axis=1, keepdims=True)
    own = scores[:, y, at]
    np.exp(scores, out=scores)
    total = scores.sum(axis=1)
    value = np.einsum("mn,mn->m", weights, np.log(total) - own, dtype=np.float64)
    scores *= (weights / total)[:, None]
    scores[:, y, at] -= weights
    return value, scores


def curvature(c: int) -> float:
    """Return p (1 - p), for probabilities that are near 1/c while there are many classes."""
    return min(0.25, 1 / c)


LOGISTIC = Kind(loss, curvature, penalties=tuple(float(10.0**half) for half in np.arange(1.5, -4.01, -0.5)))
