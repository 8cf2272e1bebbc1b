"""Calibration: one temperature, fitted on scores of examples that the head had not seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TINY = 1e-300  # a curve below so much of the slope would overflow
STEPS = 100
CLOSE = 1e-5  # of a Newton step, as a share of where it starts: what is still missing after it is about the square
FLATTEST = 1e-3  # scores that say nothing keep this share of their spread, so that float32 keeps their order


def fit_temperature(scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Return the temperature with the least weighted log loss (Guo et al. 2017).

    One imaginary example, spread evenly over the classes, is added to the data (in the manner of Platt 1999), so
    that scores without a single error do not end in certainty.

    Args:
        scores: class scores of unseen examples, of shape (n, c).
        y: class ids, of shape (n,).
        weights: how much each example counts, of shape (n,); at least one is > 0.
    """
    used = weights > 0
    gaps = scores[used].astype(np.float64)
    gaps -= gaps.max(axis=1, keepdims=True)
    weights = weights[used] / weights[used].sum()
    spread = 1 / (len(gaps) + 1)
    own = (1 - spread) * gaps[np.arange(len(gaps)), y[used]] + spread * gaps.mean(axis=1)
    unit = -(weights @ gaps.mean(axis=1))
    if not unit > 0:
        return 1.0
    # The loss is convex in the inverse temperature: Newton's method, kept inside a shrinking bracket.
    low, high, inverse = FLATTEST / unit, 1e6 / unit, 1 / unit
    for _ in range(STEPS):
        powers = np.exp(gaps * inverse)
        powers /= powers.sum(axis=1, keepdims=True)
        mean = np.einsum("nc,nc->n", powers, gaps)
        slope = weights @ (mean - own)
        curve = weights @ (np.einsum("nc,nc,nc->n", powers, gaps, gaps) - mean**2)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curve if curve > TINY * abs(slope) else np.inf
        following = step if low < step < high else np.sqrt(low * high)
        close = abs(following - inverse) <= CLOSE * inverse
        inverse = following
        if close:
            break
    return float(1 / inverse)


def log_losses(scores: NDArray[np.floating], y: NDArray[np.int64], temperature: float) -> NDArray[np.float64]:
    """Return the log loss of each example in nats, float64 of shape (n,), for class scores of shape (n, c)."""
    gaps = scores / temperature
    gaps -= gaps.max(axis=1, keepdims=True)
    own = gaps[np.arange(len(gaps)), y].astype(np.float64)
    losses: NDArray[np.float64] = np.log(np.exp(gaps).sum(axis=1, dtype=np.float64)) - own
    return losses
