"""Linear support vector machine: squared hinge, one class against the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.heads.convex import Kind


def loss(
    scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Return the weighted sum of squared hinges, (m,), and its slopes by score, for scores (m, c, n)."""
    at = np.arange(len(y))
    own = 1 - scores[:, y, at]
    short = scores
    short += 1
    short[:, y, at] = own
    np.maximum(short, 0, out=short)
    value = np.einsum("mcn,mcn,mn->m", short, short, weights, dtype=np.float64)
    short *= 2 * weights[:, None]
    short[:, y, at] *= -1
    return value, short


SVM = Kind(loss, lambda c: 2.0, penalties=tuple(float(10.0**half) for half in np.arange(3, -3.01, -0.5)))
