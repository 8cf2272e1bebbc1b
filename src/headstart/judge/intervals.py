"""Intervals: how far a figure may lie from the truth, 95 times in 100 not farther."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
RESAMPLES = 1000
CELLS = 2**22  # random numbers that are held at a time


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the three numbers, ready for JSON."""
        return self._asdict()


def wilson(successes: float, n: int) -> Interval:
    """Return a proportion with its score interval (Wilson 1927); it keeps its rate for few examples and near 0 and 1.

    Args:
        successes: 0..n.
        n: at least 1.
    """
    share = successes / n
    shrunk = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Interval(share, float(max(0, min(shrunk - half, share))), float(min(1, max(shrunk + half, share))))


def mean_of_proportions(successes: NDArray[np.integer], n: NDArray[np.integer]) -> Interval:
    """Return the mean of independent proportions, such as recalls of classes, with its interval.

    The distances to the Wilson limits of each are added in squares (MOVER, Zou & Donner 2008), which holds where
    every proportion is 1 and a bootstrap would claim certainty.

    Args:
        successes: of shape (c,).
        n: trials of each, of shape (c,), at least 1.
    """
    parts = np.array([wilson(float(s), int(m)) for s, m in zip(successes, n, strict=True)])
    value = parts[:, 0].mean()
    below = np.sqrt(np.square(parts[:, 0] - parts[:, 1]).sum()) / len(parts)
    above = np.sqrt(np.square(parts[:, 2] - parts[:, 0]).sum()) / len(parts)
    return Interval(float(value), float(max(0, value - below)), float(min(1, value + above)))


def resample_counts(strata: NDArray[np.integer], *, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """Return how often each example is drawn in each bootstrap resample, float32 of shape (resamples, n).

    Args:
        strata: of shape (n,); examples are redrawn within their stratum, so that no class vanishes.
        seed: of the draws.
        resamples: how many.
    """
    rng = np.random.default_rng(seed)
    n = len(strata)
    order = np.argsort(strata, kind="stable")
    _, first, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    start, size = np.repeat(first, sizes), np.repeat(sizes, sizes).astype(np.float32)
    counts = np.empty((resamples, n), np.float32)
    step = max(1, CELLS // n)
    for low in range(0, resamples, step):
        rows = min(step, resamples - low)
        # The product may round up to the size of the stratum itself.
        drawn = start + np.minimum(
            (rng.random((rows, n), np.float32) * size).astype(np.int64), size.astype(np.int64) - 1
        )
        drawn += np.arange(rows)[:, None] * n
        counts[low : low + rows, order] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
    return counts


def bias_corrected(value: float, resampled: NDArray[np.floating]) -> Interval:
    """Return `value` with the bias-corrected percentile interval (Efron 1987) of its resampled values, shape (b,).

    Figures that resampling shifts, such as calibration error, are shifted back. The interval always holds `value`.
    """
    from statistics import NormalDist

    normal = NormalDist()
    b = len(resampled)
    below = float(np.mean(resampled < value) + np.mean(resampled == value) / 2)
    shift = normal.inv_cdf(min(max(below, 0.5 / b), 1 - 0.5 / b))
    low, high = np.quantile(resampled, [normal.cdf(2 * shift - Z), normal.cdf(2 * shift + Z)])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def bootstrap_mean(values: NDArray[np.floating], *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of `values` (n,) with its bootstrap interval."""
    counts = resample_counts(np.zeros(len(values), np.int64), seed=seed, resamples=resamples)
    return bias_corrected(float(values.mean()), counts @ values / len(values))


def paired_difference(
    first: NDArray[np.bool_] | NDArray[np.floating], second: NDArray[np.bool_] | NDArray[np.floating], *, seed: int
) -> Interval:
    """Return the mean of `first - second` on the same examples, with its interval.

    Args:
        first: of shape (n,), what is right (bool), or a score of each example.
        second: of shape (n,), the same of another model.
        seed: of the resamples.

    Returns:
        The difference of the two means. For bool one win and one loss are imagined beside the data (Agresti & Min
        2005), so that two models that never differ are not declared equal for certain.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    value = float(difference.mean())
    if first.dtype == second.dtype == np.bool_:
        difference = np.append(difference, [1.0, -1.0])
    _, low, high = bootstrap_mean(difference, seed=seed)
    return Interval(value, min(low, value), max(high, value))
