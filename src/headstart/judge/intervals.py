"""95 % intervals: how far a figure may lie from the truth."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
RESAMPLES = 1000
Clusters = NDArray[np.integer[Any]] | None
"""The cluster of each of n examples, of shape (n,); members are copies or of one group. None: each stands alone."""
MAX_RANDOM_NUMBERS = 2**22  # held in memory at a time


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the three numbers, ready for JSON."""
        return self._asdict()


def wilson(successes: float, n: float) -> Interval:
    """Return `successes` (0..n) of n >= 1 as a proportion with its score interval (Wilson 1927).

    It keeps its rate for few examples and near 0 and 1. `scipy.stats.binomtest(k, n).proportion_ci(method="wilson")`
    gives the same to 1e-12 (`tests/golden`), but importing scipy.stats costs 1.4 s of CPU, which is as long as a whole
    `fit` on cached features, and each call 1.7 ms.
    """
    share = successes / n
    shrunk = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Interval(share, float(max(0, min(shrunk - half, share))), float(min(1, max(shrunk + half, share))))


def share_of(correct: NDArray[np.bool_], clusters: Clusters = None) -> Interval:
    """Return the share of `correct`, of shape (n,), with its score interval, for the effective number of examples."""
    n = effective_number(correct, clusters)
    return wilson(float(correct.mean() * n), n)


def effective_number(correct: NDArray[np.bool_], clusters: Clusters = None) -> float:
    """Return of how many independent examples the share of `correct` is as certain (Kish 1965).

    That is n over the design effect, which is estimated from the sums of the clusters and lies between 1 and what it is
    where members are always alike. Where nothing differs it is the latter. As the estimate is uncertain, Student's t of
    the clusters stands for the normal quantile (Korn & Graubard 1998).
    """
    n, places = len(correct), places_of(clusters)
    if places is None:
        return n
    sizes = np.bincount(places)
    share, count = float(correct.mean()), len(sizes)
    least = n**2 / float(np.square(sizes).sum())
    if count == 1:
        return least
    errors = np.square(np.bincount(places, correct - share)).sum() * count / (count - 1)
    effective = min(n, max(least, n**2 * share * (1 - share) / errors)) if 0 < share < 1 else least
    return float(effective * (Z / student_quantile(count - 1)) ** 2)


def places_of(clusters: Clusters) -> NDArray[np.intp] | None:
    """Return the clusters as numbers from 0; None where each has one member."""
    if clusters is None:
        return None
    names, places = np.unique(clusters, return_inverse=True)
    return None if len(names) == len(clusters) else places


def mean_of_proportions(successes: NDArray[Any], n: NDArray[Any]) -> Interval:
    """Return the mean of c independent proportions, such as recalls of classes, with its interval.

    The distances to the Wilson limits of each are added in squares (MOVER, Zou & Donner 2008), which holds where every
    proportion is 1 and a bootstrap would claim certainty. Each has at least one trial.
    """
    parts = np.array([wilson(float(s), float(m)) for s, m in zip(successes, n, strict=True)])
    value = parts[:, 0].mean()
    below = np.sqrt(np.square(parts[:, 0] - parts[:, 1]).sum()) / len(parts)
    above = np.sqrt(np.square(parts[:, 2] - parts[:, 0]).sum()) / len(parts)
    return Interval(float(value), float(max(0, value - below)), float(min(1, value + above)))


def resample_counts(
    strata: NDArray[np.integer], *, seed: int, resamples: int = RESAMPLES, clusters: Clusters = None
) -> Iterator[NDArray[np.float32]]:
    """Yield how often each example is drawn in each bootstrap resample, some at a time: float32 of shape (b, n).

    Examples are redrawn within their stratum (`strata`, of shape (n,)), so that no class vanishes; clusters as a whole,
    within the stratum of their first member.
    """
    if (places := places_of(clusters)) is not None:
        _, firsts = np.unique(places, return_index=True)
        some = max(1, MAX_RANDOM_NUMBERS // len(places))  # clusters may be few, their members many
        for counts in resample_counts(strata[firsts], seed=seed, resamples=resamples):
            for low in range(0, len(counts), some):
                yield counts[low : low + some, places]
        return
    rng = np.random.default_rng(seed)
    n = len(strata)
    order = np.argsort(strata, kind="stable")
    _, first, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    start, size = np.repeat(first, sizes), np.repeat(sizes, sizes).astype(np.float32)
    step = max(1, MAX_RANDOM_NUMBERS // n)
    for low in range(0, resamples, step):
        rows = min(step, resamples - low)
        # The product may round up to the size of the stratum itself.
        drawn = start + np.minimum(
            (rng.random((rows, n), np.float32) * size).astype(np.int64), size.astype(np.int64) - 1
        )
        drawn += np.arange(rows)[:, None] * n
        counts = np.empty((rows, n), np.float32)
        counts[:, order] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        yield counts


def bias_corrected(value: float, resampled: NDArray[np.floating]) -> Interval:
    """Return `value` with the bias-corrected percentile interval (Efron 1987) of its resampled values, shape (b,).

    Figures that resampling shifts, such as calibration error, are shifted back. The interval always holds `value`.
    """
    normal = NormalDist()
    b = len(resampled)
    below = float(np.mean(resampled < value) + np.mean(resampled == value) / 2)
    shift = normal.inv_cdf(min(max(below, 0.5 / b), 1 - 0.5 / b))
    low, high = np.quantile(resampled, [normal.cdf(2 * shift - Z), normal.cdf(2 * shift + Z)])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def bootstrap_mean(values: NDArray[np.floating], *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of `values` (n,) with its bootstrap interval."""
    return bias_corrected(float(values.mean()), _resampled_means(values, np.ones(len(values)), seed, resamples))


def _resampled_means(
    sums: NDArray[np.floating], sizes: NDArray[np.floating], seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Return the means of resampled units, float64 of shape (b,), from the sum and the size of each."""
    drawn = resample_counts(np.zeros(len(sums), np.int64), seed=seed, resamples=resamples)
    return np.concatenate([(counts @ sums) / (counts @ sizes) for counts in drawn])


def paired_difference(
    first: NDArray[np.bool_] | NDArray[np.floating],
    second: NDArray[np.bool_] | NDArray[np.floating],
    *,
    seed: int,
    clusters: Clusters = None,
) -> Interval:
    """Return the mean of `first - second`, of shape (n,), on the same examples, with its interval.

    Both say whether each example is classified correctly (bool), or give a score of it. Clusters are resampled as a
    whole; as they may be few, what they give is widened to Student's t. For bool one win and one loss, each as large as
    a cluster is on average, are added to the resampled data (Agresti & Min 2005), so that two models that never differ
    are not declared equal for certain.
    """
    sums: NDArray[np.float64] = first.astype(np.float64) - second.astype(np.float64)
    value, sizes, wider = float(sums.mean()), np.ones(len(sums)), 1.0
    if (places := places_of(clusters)) is not None:
        sums, sizes = (np.bincount(places, weights).astype(np.float64) for weights in (sums, None))
        count = len(sizes)
        wider = float(student_quantile(count - 1) / Z * np.sqrt(count / (count - 1))) if count > 1 else 1.0
    if first.dtype == second.dtype == np.bool_:
        size = sizes.mean()
        sums, sizes = np.append(sums, [size, -size]), np.append(sizes, [size, size])
    _, low, high = bias_corrected(float(sums.sum() / sizes.sum()), _resampled_means(sums, sizes, seed))
    return Interval(value, value - wider * max(0.0, value - low), value + wider * max(0.0, high - value))


def paired_mean(differences: NDArray[np.float64], clusters: Clusters = None, *, widest: float = 0.0) -> Interval:
    """Return the mean of paired differences (n,) with Student's interval, in closed form: for many comparisons at once.

    Sums of clusters stand for their members. One win and one loss of `widest` each are added to the variance (Agresti &
    Min 2005), so that two models that never differ are not declared equal for certain.
    """
    places = np.arange(len(differences)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.bincount(places, differences), np.bincount(places)
    value, size = float(differences.mean()), float(sizes.mean())
    residuals = np.append(sums - value * sizes, [size * widest, -size * widest] if widest else [])
    count = len(residuals)
    if count < 2:
        return Interval(value, -np.inf, np.inf)
    error = np.sqrt(np.square(residuals).sum() * count / (count - 1)) / (size * count)
    half = float(student_quantile(count - 1) * error)
    return Interval(value, value - half, value + half)


def student_quantile(freedom: float, share: float = 0.975) -> float:
    """Return below what a share of Student's t lies."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))
